"""Runs of other tools as runs of ours; one module for each."""
