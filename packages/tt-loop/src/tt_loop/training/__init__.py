"""One fit: steps, losses, length, state."""

__all__: list[str] = []
