"""What every metric is built from."""
