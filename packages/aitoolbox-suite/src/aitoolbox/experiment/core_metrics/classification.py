"""Metrics of classification."""

from tt_metrics.api import (
    AccuracyMetric,
    F1ScoreMetric,
    PrecisionMetric,
    PrecisionRecallCurveAUCMetric,
    RecallMetric,
    ROCAUCMetric,
)

__all__ = [
    "AccuracyMetric",
    "F1ScoreMetric",
    "PrecisionMetric",
    "PrecisionRecallCurveAUCMetric",
    "ROCAUCMetric",
    "RecallMetric",
]
