"""Callbacks that steer a training."""

from tt_loop.api import EarlyStopping

__all__ = ["EarlyStopping"]
