"""Metrics on class labels."""
