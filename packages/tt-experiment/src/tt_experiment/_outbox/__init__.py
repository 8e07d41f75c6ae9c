"""How a run gets into a store, and back."""
