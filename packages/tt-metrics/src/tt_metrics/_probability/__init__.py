"""Metrics on predicted probabilities."""
