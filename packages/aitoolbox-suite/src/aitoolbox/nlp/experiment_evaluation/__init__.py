"""Evaluation of language tasks."""
