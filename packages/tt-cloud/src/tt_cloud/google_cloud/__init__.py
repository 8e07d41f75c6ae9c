"""AIToolbox's names for Google Cloud Storage: those of `tt_cloud.aws` over another bucket."""
