"""Metrics of regression."""

from tt_metrics.api import MeanAbsoluteErrorMetric, MeanSquaredErrorMetric

__all__ = ["MeanAbsoluteErrorMetric", "MeanSquaredErrorMetric"]
