"""Data on its way to a loop: order, randomness, batches, loaders."""

__all__: list[str] = []
