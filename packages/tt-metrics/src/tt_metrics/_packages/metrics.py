"""Result packages made of metrics."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterable
from typing import Any

from tt_metrics._classification.accuracy import AccuracyMetric
from tt_metrics._classification.precision_recall import F1ScoreMetric
from tt_metrics._core.metric import Metric
from tt_metrics._core.state import State
from tt_metrics._core.value import joined
from tt_metrics._errors import MetricInputError, MetricTypeError
from tt_metrics._packages.streamed import StreamedResultPackage
from tt_metrics._ranking.areas import PrecisionRecallCurveAUCMetric, ROCAUCMetric
from tt_metrics._regression.errors import MeanAbsoluteErrorMetric, MeanSquaredErrorMetric
from tt_metrics._report.content import Intervals, Section, section_of_metrics, section_of_results

__all__ = [
    "BinaryClassificationResultPackage",
    "ClassificationResultPackage",
    "GeneralResultPackage",
    "RegressionResultPackage",
]


class GeneralResultPackage(StreamedResultPackage):
    """The results of several metrics: 'GeneralResult'.

    It is filled with whole predictions (`prepare_result_package`) or batch by batch (`update`), and
    computes from states alone. Metrics that need the same state share it: accuracy, precision,
    recall and F1 cost one confusion matrix.

    Args:
        metrics_list: Metric classes, or instances where a metric has settings. The instances'
            own data is neither used nor touched.
        strict_content_check: Raise on doubtful content instead of warning.
        pkg_name: What the package is called where several are reported.
        **kwargs: Whatever else is to be known of the package.
    """

    def __init__(
        self,
        metrics_list: Iterable[type[Metric[Any]] | Metric[Any]],
        strict_content_check: bool = False,
        *,
        pkg_name: str = "GeneralResult",
        **kwargs: Any,
    ) -> None:
        super().__init__(pkg_name, strict_content_check, np_array=False, **kwargs)
        self.metrics_list = list(metrics_list)
        self.qa_check_metrics_list()
        self._metrics = [_template(metric) for metric in self.metrics_list]
        self._keys = _state_keys(self._metrics)
        self.reset()

    def qa_check_metrics_list(self) -> None:
        """Check that there are metrics, and that targets and predictions are what they take."""
        if not self.metrics_list:
            msg = "A result package needs at least one metric; metrics_list is empty."
            raise MetricInputError(msg)
        for metric in self.metrics_list:
            kind = metric if isinstance(metric, type) else type(metric)
            if not issubclass(kind, Metric):
                msg = f"metrics_list must hold metric classes or instances; {metric!r} came."
                raise MetricTypeError(msg)
            if not kind.takes_predictions:
                msg = (
                    f"A result package hands out targets and predictions; {kind.__name__} takes "
                    "something else. Fill it yourself and join its results with `+`."
                )
                raise MetricTypeError(msg)

    @property
    def metrics(self) -> list[Metric[Any]]:
        """The metrics, each over all data so far."""
        states = {state.key: state for state in self._states}
        items = self.items
        return [
            metric.of(states[key], items)
            for metric, key in zip(self._metrics, self._keys, strict=True)
        ]

    def prepare_results_dict(self) -> dict[str, Any]:
        """The results of all metrics by name."""
        return joined(*(metric.get_metric_dict() for metric in self.metrics))

    def _report_sections(self, intervals: Intervals) -> list[Section]:
        section = section_of_metrics(self._shown_name, self.metrics, intervals)
        return [section.joined(section_of_results("", self._added))]

    def _fresh_states(self) -> list[State]:
        states = {state.key: state for state in (metric.make_state() for metric in self._metrics)}
        return [states[key] for key in dict.fromkeys(self._keys)]


def _template(metric: type[Metric[Any]] | Metric[Any]) -> Metric[Any]:
    return metric.template() if isinstance(metric, type) else copy.copy(metric)


def _state_keys(metrics: Iterable[Metric[Any]]) -> list[tuple[Hashable, ...]]:
    """The key of the state that each metric computes from: its own, or a larger one in its place.

    A state that is replaced itself serves nobody.
    """
    needs = [(metric.make_state().key, metric.served_by()) for metric in metrics]
    wanted = {own for own, _ in needs}
    staying = {own for own, larger in needs if larger not in wanted}
    return [larger if larger in staying else own for own, larger in needs]  # type: ignore[misc]  # in staying, so no None


class BinaryClassificationResultPackage(GeneralResultPackage):
    """Accuracy, both areas under curves, and F1 of probabilities: 'BinaryClassificationResult'.

    Args:
        positive_class_thresh: A probability of at least this makes label 1.
        strict_content_check: Raise on doubtful content instead of warning.
        **kwargs: Whatever else is to be known of the package.
    """

    def __init__(
        self,
        positive_class_thresh: float = 0.5,
        strict_content_check: bool = False,
        **kwargs: Any,
    ) -> None:
        self.positive_class_thresh = positive_class_thresh
        metrics: list[Metric[Any]] = [
            AccuracyMetric(positive_class_thresh=positive_class_thresh),
            ROCAUCMetric(),
            PrecisionRecallCurveAUCMetric(),
            F1ScoreMetric(positive_class_thresh=positive_class_thresh),
        ]
        name = "BinaryClassificationResult"
        super().__init__(metrics, strict_content_check, pkg_name=name, **kwargs)


class ClassificationResultPackage(GeneralResultPackage):
    """The accuracy of class labels: 'ClassificationResult'.

    Args:
        strict_content_check: Raise on doubtful content instead of warning.
        **kwargs: Whatever else is to be known of the package.
    """

    def __init__(self, strict_content_check: bool = False, **kwargs: Any) -> None:
        name = "ClassificationResult"
        super().__init__([AccuracyMetric], strict_content_check, pkg_name=name, **kwargs)


class RegressionResultPackage(GeneralResultPackage):
    """Mean squared and mean absolute error of real numbers: 'RegressionResult'.

    Args:
        strict_content_check: Raise on doubtful content instead of warning.
        **kwargs: Whatever else is to be known of the package.
    """

    def __init__(self, strict_content_check: bool = False, **kwargs: Any) -> None:
        metrics = [MeanSquaredErrorMetric, MeanAbsoluteErrorMetric]
        super().__init__(metrics, strict_content_check, pkg_name="RegressionResult", **kwargs)
