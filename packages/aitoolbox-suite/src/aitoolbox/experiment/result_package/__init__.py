"""Sets of metrics that describe one task."""
