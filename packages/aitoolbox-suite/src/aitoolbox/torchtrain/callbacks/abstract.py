"""What callbacks of your own inherit from."""

from tt_loop.api import AbstractCallback

__all__ = ["AbstractCallback"]
