"""AIToolbox's names for S3: savers, loaders and fetchers over a store."""
