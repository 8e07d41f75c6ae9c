"""All public names: metrics and packages to use, and what metrics of your own are built from.

Metrics of one's own need `Metric`, a state (`Confusion`, `Sums`, `Segments`, or a `State` of one's
own, with `entry` to read a merged one) and the checks on what users pass (`as_array`, `as_numbers`,
`as_pair`). Other packages import this module only.
"""

from __future__ import annotations

from tt_metrics._classification import AccuracyMetric as AccuracyMetric
from tt_metrics._classification import F1ScoreMetric as F1ScoreMetric
from tt_metrics._classification import PrecisionMetric as PrecisionMetric
from tt_metrics._classification import RecallMetric as RecallMetric
from tt_metrics._confusion import Confusion as Confusion
from tt_metrics._errors import MetricError as MetricError
from tt_metrics._errors import MetricInputError as MetricInputError
from tt_metrics._errors import MetricStateError as MetricStateError
from tt_metrics._errors import MetricTypeError as MetricTypeError
from tt_metrics._errors import NoDataError as NoDataError
from tt_metrics._errors import UnknownResultError as UnknownResultError
from tt_metrics._inputs import as_array as as_array
from tt_metrics._inputs import as_numbers as as_numbers
from tt_metrics._inputs import as_pair as as_pair
from tt_metrics._interval import Interval as Interval
from tt_metrics._metric import Metric as Metric
from tt_metrics._metric_package import ClassificationResultPackage as ClassificationResultPackage
from tt_metrics._metric_package import GeneralResultPackage as GeneralResultPackage
from tt_metrics._metric_package import RegressionResultPackage as RegressionResultPackage
from tt_metrics._package import AbstractResultPackage as AbstractResultPackage
from tt_metrics._regression import MeanAbsoluteErrorMetric as MeanAbsoluteErrorMetric
from tt_metrics._regression import MeanSquaredErrorMetric as MeanSquaredErrorMetric
from tt_metrics._segments import Segments as Segments
from tt_metrics._state import State as State
from tt_metrics._state import entry as entry
from tt_metrics._sums import Sums as Sums
from tt_metrics._whole import AbstractBaseMetric as AbstractBaseMetric

__all__ = [
    "AbstractBaseMetric",
    "AbstractResultPackage",
    "AccuracyMetric",
    "ClassificationResultPackage",
    "Confusion",
    "F1ScoreMetric",
    "GeneralResultPackage",
    "Interval",
    "MeanAbsoluteErrorMetric",
    "MeanSquaredErrorMetric",
    "Metric",
    "MetricError",
    "MetricInputError",
    "MetricStateError",
    "MetricTypeError",
    "NoDataError",
    "PrecisionMetric",
    "RecallMetric",
    "RegressionResultPackage",
    "Segments",
    "State",
    "Sums",
    "UnknownResultError",
    "as_array",
    "as_numbers",
    "as_pair",
    "entry",
]
