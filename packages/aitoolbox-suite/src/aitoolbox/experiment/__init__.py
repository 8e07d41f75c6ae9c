"""Metrics and result packages."""
