"""Natural language."""
