"""What AIToolbox's classes for S3 and for Google Cloud Storage have in common."""
