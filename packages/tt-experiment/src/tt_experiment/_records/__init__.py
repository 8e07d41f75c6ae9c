"""Metrics and events: the lines, reading them, handing them on."""
