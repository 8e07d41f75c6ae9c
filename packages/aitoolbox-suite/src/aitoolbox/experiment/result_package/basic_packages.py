"""Result packages of classification and regression."""

from tt_metrics.api import (
    ClassificationResultPackage,
    GeneralResultPackage,
    RegressionResultPackage,
)

__all__ = ["ClassificationResultPackage", "GeneralResultPackage", "RegressionResultPackage"]
