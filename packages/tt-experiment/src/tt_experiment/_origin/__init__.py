"""What is written down about where a run comes from."""
