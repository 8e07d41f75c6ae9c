"""All public names: metrics and packages to use, and what metrics of your own are built from.

Metrics of one's own need `Metric`, a state (`Confusion`, `Sums`, `Segments`, or a `State` of one's
own, with `entry` to read a merged one) and the checks on what users pass (`as_array`, `as_numbers`,
`as_pair`). Other packages import this module only.
"""

from __future__ import annotations

from tt_metrics._classification.accuracy import AccuracyMetric as AccuracyMetric
from tt_metrics._classification.accuracy import HammingLossMetric as HammingLossMetric
from tt_metrics._classification.accuracy import TopKAccuracyMetric as TopKAccuracyMetric
from tt_metrics._classification.agreement import BalancedAccuracyMetric as BalancedAccuracyMetric
from tt_metrics._classification.agreement import CohenKappaMetric as CohenKappaMetric
from tt_metrics._classification.agreement import (
    MatthewsCorrelationMetric as MatthewsCorrelationMetric,
)
from tt_metrics._classification.class_report import ClassReport as ClassReport
from tt_metrics._classification.class_report import class_report as class_report
from tt_metrics._classification.confusion_metric import (
    ConfusionMatrixMetric as ConfusionMatrixMetric,
)
from tt_metrics._classification.multilabel import LabelCounts as LabelCounts
from tt_metrics._classification.precision_recall import F1ScoreMetric as F1ScoreMetric
from tt_metrics._classification.precision_recall import FBetaScoreMetric as FBetaScoreMetric
from tt_metrics._classification.precision_recall import JaccardMetric as JaccardMetric
from tt_metrics._classification.precision_recall import PrecisionMetric as PrecisionMetric
from tt_metrics._classification.precision_recall import RecallMetric as RecallMetric
from tt_metrics._classification.precision_recall import SpecificityMetric as SpecificityMetric
from tt_metrics._classification.samples import SampleCounts as SampleCounts
from tt_metrics._core.confusion import Confusion as Confusion
from tt_metrics._core.inputs import as_array as as_array
from tt_metrics._core.inputs import as_numbers as as_numbers
from tt_metrics._core.inputs import as_pair as as_pair
from tt_metrics._core.merging import merge_all as merge_all
from tt_metrics._core.metric import Metric as Metric
from tt_metrics._core.segments import Segments as Segments
from tt_metrics._core.state import State as State
from tt_metrics._core.state import entry as entry
from tt_metrics._core.state_file import load_state as load_state
from tt_metrics._core.state_file import save_state as save_state
from tt_metrics._core.sums import Sums as Sums
from tt_metrics._core.whole import AbstractBaseMetric as AbstractBaseMetric
from tt_metrics._errors import MetricError as MetricError
from tt_metrics._errors import MetricInputError as MetricInputError
from tt_metrics._errors import MetricStateError as MetricStateError
from tt_metrics._errors import MetricTypeError as MetricTypeError
from tt_metrics._errors import NoDataError as NoDataError
from tt_metrics._errors import UnknownResultError as UnknownResultError
from tt_metrics._packages.base import AbstractResultPackage as AbstractResultPackage
from tt_metrics._packages.combined import (
    MultipleResultPackageWrapper as MultipleResultPackageWrapper,
)
from tt_metrics._packages.combined import PreCalculatedResultPackage as PreCalculatedResultPackage
from tt_metrics._packages.foreign import HFEvaluateResultPackage as HFEvaluateResultPackage
from tt_metrics._packages.foreign import TorchMetricsPackage as TorchMetricsPackage
from tt_metrics._packages.metrics import (
    BinaryClassificationResultPackage as BinaryClassificationResultPackage,
)
from tt_metrics._packages.metrics import ClassificationResultPackage as ClassificationResultPackage
from tt_metrics._packages.metrics import GeneralResultPackage as GeneralResultPackage
from tt_metrics._packages.metrics import RegressionResultPackage as RegressionResultPackage
from tt_metrics._probability.calibration import Calibration as Calibration
from tt_metrics._probability.calibration import CalibrationErrorMetric as CalibrationErrorMetric
from tt_metrics._probability.calibration import Reliability as Reliability
from tt_metrics._probability.scores import BrierScoreMetric as BrierScoreMetric
from tt_metrics._probability.scores import LogLossMetric as LogLossMetric
from tt_metrics._ranking.areas import AveragePrecisionMetric as AveragePrecisionMetric
from tt_metrics._ranking.areas import EqualErrorRateMetric as EqualErrorRateMetric
from tt_metrics._ranking.areas import (
    PrecisionRecallCurveAUCMetric as PrecisionRecallCurveAUCMetric,
)
from tt_metrics._ranking.areas import RecallAtPrecisionMetric as RecallAtPrecisionMetric
from tt_metrics._ranking.areas import ROCAUCMetric as ROCAUCMetric
from tt_metrics._ranking.curves import PrecisionRecallCurve as PrecisionRecallCurve
from tt_metrics._ranking.curves import PrecisionRecallCurveMetric as PrecisionRecallCurveMetric
from tt_metrics._ranking.curves import ROCCurve as ROCCurve
from tt_metrics._ranking.curves import ROCCurveMetric as ROCCurveMetric
from tt_metrics._ranking.retrieval import MeanAveragePrecisionMetric as MeanAveragePrecisionMetric
from tt_metrics._ranking.retrieval import MeanReciprocalRankMetric as MeanReciprocalRankMetric
from tt_metrics._ranking.retrieval import NDCGMetric as NDCGMetric
from tt_metrics._ranking.state import Ranking as Ranking
from tt_metrics._regression.correlation import ExplainedVarianceMetric as ExplainedVarianceMetric
from tt_metrics._regression.correlation import PearsonCorrelationMetric as PearsonCorrelationMetric
from tt_metrics._regression.correlation import R2ScoreMetric as R2ScoreMetric
from tt_metrics._regression.errors import MeanAbsoluteErrorMetric as MeanAbsoluteErrorMetric
from tt_metrics._regression.errors import (
    MeanAbsolutePercentageErrorMetric as MeanAbsolutePercentageErrorMetric,
)
from tt_metrics._regression.errors import MeanSquaredErrorMetric as MeanSquaredErrorMetric
from tt_metrics._regression.errors import RootMeanSquaredErrorMetric as RootMeanSquaredErrorMetric
from tt_metrics._regression.rank_correlation import (
    SpearmanCorrelationMetric as SpearmanCorrelationMetric,
)
from tt_metrics._regression.shaped_losses import HuberLossMetric as HuberLossMetric
from tt_metrics._regression.shaped_losses import QuantileLossMetric as QuantileLossMetric
from tt_metrics._report.report import Report as Report
from tt_metrics._uncertainty.compare import Comparison as Comparison
from tt_metrics._uncertainty.compare import compare as compare
from tt_metrics._uncertainty.interval import Interval as Interval

__all__ = [
    "AbstractBaseMetric",
    "AbstractResultPackage",
    "AccuracyMetric",
    "AveragePrecisionMetric",
    "BalancedAccuracyMetric",
    "BinaryClassificationResultPackage",
    "BrierScoreMetric",
    "Calibration",
    "CalibrationErrorMetric",
    "ClassReport",
    "ClassificationResultPackage",
    "CohenKappaMetric",
    "Comparison",
    "Confusion",
    "ConfusionMatrixMetric",
    "EqualErrorRateMetric",
    "ExplainedVarianceMetric",
    "F1ScoreMetric",
    "FBetaScoreMetric",
    "GeneralResultPackage",
    "HFEvaluateResultPackage",
    "HammingLossMetric",
    "HuberLossMetric",
    "Interval",
    "JaccardMetric",
    "LabelCounts",
    "LogLossMetric",
    "MatthewsCorrelationMetric",
    "MeanAbsoluteErrorMetric",
    "MeanAbsolutePercentageErrorMetric",
    "MeanAveragePrecisionMetric",
    "MeanReciprocalRankMetric",
    "MeanSquaredErrorMetric",
    "Metric",
    "MetricError",
    "MetricInputError",
    "MetricStateError",
    "MetricTypeError",
    "MultipleResultPackageWrapper",
    "NDCGMetric",
    "NoDataError",
    "PearsonCorrelationMetric",
    "PreCalculatedResultPackage",
    "PrecisionMetric",
    "PrecisionRecallCurve",
    "PrecisionRecallCurveAUCMetric",
    "PrecisionRecallCurveMetric",
    "QuantileLossMetric",
    "R2ScoreMetric",
    "ROCAUCMetric",
    "ROCCurve",
    "ROCCurveMetric",
    "Ranking",
    "RecallAtPrecisionMetric",
    "RecallMetric",
    "RegressionResultPackage",
    "Reliability",
    "Report",
    "RootMeanSquaredErrorMetric",
    "SampleCounts",
    "Segments",
    "SpearmanCorrelationMetric",
    "SpecificityMetric",
    "State",
    "Sums",
    "TopKAccuracyMetric",
    "TorchMetricsPackage",
    "UnknownResultError",
    "as_array",
    "as_numbers",
    "as_pair",
    "class_report",
    "compare",
    "entry",
    "load_state",
    "merge_all",
    "save_state",
]
