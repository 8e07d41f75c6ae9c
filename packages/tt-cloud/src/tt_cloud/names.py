"""AIToolbox's words for where to save to (``cloud_save_mode``); any other one means locally."""

from __future__ import annotations

__all__ = ["gcs_available_options", "s3_available_options"]

s3_available_options = ["s3", "aws_s3", "aws"]
"""All of them mean S3."""

gcs_available_options = ["gcs", "google_storage", "google storage"]
"""All of them mean Google Cloud Storage."""
