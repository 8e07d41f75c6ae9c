"""Text metrics and result packages for language tasks."""
