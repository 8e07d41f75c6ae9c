"""One small object-store interface over folders, S3 and Google Cloud Storage."""
