"""Metrics on real numbers."""
