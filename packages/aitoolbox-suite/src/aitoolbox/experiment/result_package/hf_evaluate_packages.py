"""Result packages of Hugging Face evaluate's metrics."""

from tt_metrics.api import HFEvaluateResultPackage

__all__ = ["HFEvaluateResultPackage"]
