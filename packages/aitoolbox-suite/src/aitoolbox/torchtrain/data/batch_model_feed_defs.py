"""How a batch is fed to a plain module inside a `ModelWrap`."""

from tt_loop.api import AbstractModelFeedDefinition

__all__ = ["AbstractModelFeedDefinition"]
