"""Losses, predictions and metrics of a model over a loader."""

__all__: list[str] = []
