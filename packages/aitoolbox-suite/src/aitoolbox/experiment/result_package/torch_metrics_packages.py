"""Result packages of torchmetrics' metrics."""

from tt_metrics.api import TorchMetricsPackage

__all__ = ["TorchMetricsPackage"]
