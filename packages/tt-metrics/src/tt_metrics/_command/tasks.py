"""Which metrics the command knows for a task, and which it takes if none are named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tt_metrics import api
from tt_metrics._core.metric import Metric
from tt_metrics._errors import MetricInputError

__all__ = ["TASKS", "Settings", "Task"]


@dataclass(frozen=True)
class Settings:
    """What a user can set for metrics; None leaves a metric's own default."""

    average: str | None = None
    labels: Sequence[Any] | None = None
    positive_class_thresh: float | None = None
    k: int | None = None
    multilabel: bool | None = None


@dataclass(frozen=True)
class _Choice:
    """A metric, and which of the settings it takes."""

    make: Callable[..., Metric[Any]]
    takes: tuple[str, ...]

    def __call__(self, y_true: Any, y_predicted: Any, settings: Settings) -> Metric[Any]:
        own = {name: getattr(settings, name) for name in self.takes}
        given = {name: value for name, value in own.items() if value is not None}
        if own.get("average") == "none":
            given["average"] = None
        return self.make(y_true, y_predicted, **given)


@dataclass(frozen=True)
class Task:
    """One kind of predictions.

    Attributes:
        metrics: What makes each metric, by its name.
        default: The metrics of labels, or of numbers.
        of_probabilities: The metrics that probabilities have besides.
        of_scores: The metrics of scores that are neither labels nor probabilities.
        average: The average over classes if none is named.
    """

    metrics: Mapping[str, _Choice]
    default: Sequence[str]
    of_probabilities: Sequence[str] = ()
    of_scores: Sequence[str] = ()
    average: str | None = None

    def names(self, wanted: str | None, kind: str) -> list[str]:
        """The metrics that were asked for, whatever the case of their letters, or the default."""
        if wanted is None:
            if kind == "scores":
                return list(self.of_scores)
            return [*self.default, *(self.of_probabilities if kind == "probabilities" else ())]
        known = {name.lower(): name for name in self.metrics}
        asked = [name.strip() for name in wanted.split(",")]
        for name in asked:
            if name.lower() not in known:
                msg = f"A metric must be one of {', '.join(self.metrics)}; {name!r} came."
                raise MetricInputError(msg)
        return list(dict.fromkeys(known[name.lower()] for name in asked))

    def check_used(self, settings: Settings, names: Sequence[str]) -> None:
        """Refuse a setting that a user gave and that none of the metrics takes."""
        used = {setting for name in names for setting in self.metrics[name].takes}
        for setting, option in _OPTIONS.items():
            if getattr(settings, setting) is not None and setting not in used:
                msg = f"{option} must be for one of the metrics; {', '.join(names)} have no use "
                msg += "for it. Leave it out, or choose others with --metrics."
                raise MetricInputError(msg)


_OPTIONS = {"average": "--average", "positive_class_thresh": "--threshold", "k": "--k"}
_DECIDED = ("labels", "positive_class_thresh", "multilabel")
_AVERAGED = (*_DECIDED, "average")
_MATRIX = ("labels", "positive_class_thresh")
_RANKED = ("labels", "average", "multilabel")

_LABELS = {
    "Accuracy": _Choice(api.AccuracyMetric, _DECIDED),
    "Precision": _Choice(api.PrecisionMetric, _AVERAGED),
    "Recall": _Choice(api.RecallMetric, _AVERAGED),
    "F1_score": _Choice(api.F1ScoreMetric, _AVERAGED),
    "Jaccard": _Choice(api.JaccardMetric, _AVERAGED),
    "Specificity": _Choice(api.SpecificityMetric, _AVERAGED),
    "Hamming_loss": _Choice(api.HammingLossMetric, _DECIDED),
}
_ONE_LABEL = {
    "Balanced_accuracy": _Choice(api.BalancedAccuracyMetric, _MATRIX),
    "Matthews_correlation": _Choice(api.MatthewsCorrelationMetric, _MATRIX),
    "Cohen_kappa": _Choice(api.CohenKappaMetric, _MATRIX),
    "Log_loss": _Choice(api.LogLossMetric, ("labels",)),
    "Brier_score": _Choice(api.BrierScoreMetric, ("labels",)),
    "Calibration_error": _Choice(api.CalibrationErrorMetric, ("labels",)),
}
_RANKINGS = {
    "ROC_AUC": _Choice(api.ROCAUCMetric, _RANKED),
    "Average_precision": _Choice(api.AveragePrecisionMetric, _RANKED),
    "PrecisionRecall_AUC": _Choice(api.PrecisionRecallCurveAUCMetric, _RANKED),
    "Equal_error_rate": _Choice(api.EqualErrorRateMetric, _RANKED),
}
_NUMBERS = {
    "Mean_squared_error": _Choice(api.MeanSquaredErrorMetric, ()),
    "Root_mean_squared_error": _Choice(api.RootMeanSquaredErrorMetric, ()),
    "Mean_absolute_error": _Choice(api.MeanAbsoluteErrorMetric, ()),
    "Mean_absolute_percentage_error": _Choice(api.MeanAbsolutePercentageErrorMetric, ()),
    "R2_score": _Choice(api.R2ScoreMetric, ()),
    "Explained_variance": _Choice(api.ExplainedVarianceMetric, ()),
    "Pearson_correlation": _Choice(api.PearsonCorrelationMetric, ()),
    "Spearman_correlation": _Choice(api.SpearmanCorrelationMetric, ()),
    "Huber_loss": _Choice(api.HuberLossMetric, ()),
    "Quantile_loss": _Choice(api.QuantileLossMetric, ()),
}
_BEST = {"Top_k_accuracy": _Choice(api.TopKAccuracyMetric, ("k", "labels"))}
_QUERIES = {
    "NDCG": _Choice(api.NDCGMetric, ("k",)),
    "MRR": _Choice(api.MeanReciprocalRankMetric, ("k",)),
    "MAP": _Choice(api.MeanAveragePrecisionMetric, ("k",)),
}

TASKS = {
    "classification": Task(
        _LABELS | _ONE_LABEL | _RANKINGS | _BEST,
        ("Accuracy", "Balanced_accuracy", "Precision", "Recall", "F1_score", "Cohen_kappa"),
        of_probabilities=("Log_loss",),
        average="macro",
    ),
    "binary": Task(
        _LABELS | _ONE_LABEL | _RANKINGS,
        ("Accuracy", "Balanced_accuracy", "Precision", "Recall", "F1_score", "Specificity"),
        of_probabilities=("ROC_AUC", "Average_precision", "Log_loss", "Brier_score"),
        of_scores=("ROC_AUC", "Average_precision", "Equal_error_rate"),
    ),
    "multilabel": Task(
        _LABELS | _RANKINGS,
        ("Accuracy", "Hamming_loss", "Precision", "Recall", "F1_score", "Jaccard"),
        of_probabilities=("ROC_AUC", "Average_precision"),
        of_scores=("ROC_AUC", "Average_precision"),
        average="macro",
    ),
    "regression": Task(
        _NUMBERS,
        (
            "Mean_squared_error",
            "Root_mean_squared_error",
            "Mean_absolute_error",
            "R2_score",
            "Explained_variance",
        ),
    ),
    "retrieval": Task(_QUERIES, list(_QUERIES)),
}
