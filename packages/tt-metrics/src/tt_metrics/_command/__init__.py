"""The command `tt-metrics`."""
