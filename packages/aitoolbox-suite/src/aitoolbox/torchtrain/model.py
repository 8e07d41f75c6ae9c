"""What a model needs to be trained by the loop."""

from tt_loop.api import ModelWrap, TTBasicModel, TTModel

__all__ = ["ModelWrap", "TTBasicModel", "TTModel"]
