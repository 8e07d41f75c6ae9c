"""Metrics of classification."""

from tt_metrics.api import AccuracyMetric, F1ScoreMetric, PrecisionMetric, RecallMetric

__all__ = ["AccuracyMetric", "F1ScoreMetric", "PrecisionMetric", "RecallMetric"]
