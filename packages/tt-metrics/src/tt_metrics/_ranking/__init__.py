"""Metrics on the order that scores give."""
