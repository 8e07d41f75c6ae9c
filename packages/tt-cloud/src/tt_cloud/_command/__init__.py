"""The command ``tt-cloud``."""
