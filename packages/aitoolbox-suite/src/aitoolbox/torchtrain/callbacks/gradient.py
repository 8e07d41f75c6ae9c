"""Callbacks that bound the gradients."""

from tt_loop.api import GradNormClip, GradValueClip

__all__ = ["GradNormClip", "GradValueClip"]
