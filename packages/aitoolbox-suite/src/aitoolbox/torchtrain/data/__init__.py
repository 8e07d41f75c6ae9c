"""How batches reach a model."""
