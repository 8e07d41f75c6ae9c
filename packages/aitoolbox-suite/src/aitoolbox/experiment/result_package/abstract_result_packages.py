"""What result packages of your own inherit from, and packages of ready results."""

from tt_metrics.api import (
    AbstractResultPackage,
    MultipleResultPackageWrapper,
    PreCalculatedResultPackage,
)

__all__ = [
    "AbstractResultPackage",
    "MultipleResultPackageWrapper",
    "PreCalculatedResultPackage",
]
