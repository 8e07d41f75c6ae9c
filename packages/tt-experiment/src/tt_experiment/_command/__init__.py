"""The command ``tt-experiment``."""
