"""What result packages of your own inherit from."""

from tt_metrics.api import AbstractResultPackage

__all__ = ["AbstractResultPackage"]
