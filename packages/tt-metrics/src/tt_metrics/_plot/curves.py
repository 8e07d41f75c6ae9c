"""The pictures of rankings: ROC and precision-recall curves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tt_metrics._errors import MetricInputError
from tt_metrics._plot.figure import (
    FAINT,
    add_legend,
    legend_text,
    named,
    new_figure,
    state_of,
    style_of,
    unit_square,
)
from tt_metrics._ranking.kernels import Column, average_precision, curve, roc_auc
from tt_metrics._ranking.state import Ranking

__all__ = ["precision_recall_curve", "roc_curve"]

Floats = NDArray[np.float64]

MOST_POINTS = 2000  # of a curve: more could not be told apart, and files would be huge


class _Curve(NamedTuple):
    name: str
    column: Column


def roc_curve(
    metrics: Any, *, labels: Sequence[Any] | None = None, title: str = "ROC curve"
) -> Figure:
    """Draw the share of positives found over the share of negatives taken for positives.

    Args:
        metrics: A metric on rankings, such as `ROCAUCMetric`, a result package with one, or a dict
            of several by name. With more than two classes, each class against the rest is a curve.
        labels: For which classes; left out, for all, and of two for the second.
        title: What stands above.

    Raises:
        MetricTypeError: A metric keeps no ranking.
        MetricInputError: A label is not there, or all items or none are of the class.
        NoDataError: A metric has seen no data.
    """
    figure, axes = _square()
    axes.plot([0, 1], [0, 1], color=FAINT, linestyle=":", label="chance")
    for place, (name, column) in enumerate(_curves(metrics, labels, needs_negatives=True)):
        cut = curve(column)
        false = np.concatenate([[0.0], cut.alarms / column.negatives])
        true = np.concatenate([[0.0], cut.hits / column.positives])
        label = legend_text(name, "AUC", roc_auc(column))
        axes.plot(*_thinned(false, true), label=label, linewidth=1.8, **style_of(place))
    unit_square(axes, "False positive rate", "True positive rate", title)
    add_legend(axes, "lower right")
    return figure


def precision_recall_curve(
    metrics: Any, *, labels: Sequence[Any] | None = None, title: str = "Precision-recall curve"
) -> Figure:
    """Draw the precision over the recall, a step at each threshold.

    The legend gives the average precision, which is the area under the steps. The dotted lines are
    chance: the share of positives.

    Args:
        metrics: A metric on rankings, such as `AveragePrecisionMetric`, a result package with one,
            or a dict of several by name. With more than two classes, each class against the rest is
            a curve.
        labels: For which classes; left out, for all, and of two for the second.
        title: What stands above.

    Raises:
        MetricTypeError: A metric keeps no ranking.
        MetricInputError: A label is not there, or no item is of the class.
        NoDataError: A metric has seen no data.
    """
    figure, axes = _square()
    chances: dict[float, Any] = {}
    for place, (name, column) in enumerate(_curves(metrics, labels, needs_negatives=False)):
        cut = curve(column)
        precision = cut.hits / (cut.hits + cut.alarms)
        recall = np.concatenate([[0.0], cut.hits / column.positives])
        points = _thinned(recall, np.concatenate([precision[:1], precision]))
        label, style = legend_text(name, "AP", average_precision(column)), style_of(place)
        axes.plot(*points, label=label, linewidth=1.8, drawstyle="steps-pre", **style)
        share = column.positives / (column.positives + column.negatives)
        chances[share] = FAINT if share in chances else style["color"]
    axes.plot([], [], color=FAINT, linestyle=":", label="chance")
    for share, colour in chances.items():
        axes.axhline(share, color=FAINT if len(chances) == 1 else colour, linestyle=":")
    unit_square(axes, "Recall", "Precision", title)
    add_legend(axes, "lower left")
    return figure


def _square() -> tuple[Figure, Axes]:
    figure = new_figure(5.2, 5.2)
    return figure, figure.add_subplot()


def _curves(
    metrics: Any, labels: Sequence[Any] | None, *, needs_negatives: bool
) -> Iterator[_Curve]:
    for name, metric in named(metrics).items():
        needed = "rankings, as ROCAUCMetric or AveragePrecisionMetric keeps them"
        state = state_of(metric, Ranking, needed)
        for label, column in _columns(state, labels):
            if not column.positives or (needs_negatives and not column.negatives):
                msg = (
                    f"A curve needs items of the class and others; label {label!r} has "
                    f"{column.positives} and {column.negatives}. Choose others with `labels`."
                )
                raise MetricInputError(msg)
            parts = [name, "" if state.binary and labels is None else str(label)]
            yield _Curve(": ".join(filter(None, parts)), column)


def _columns(state: Ranking, labels: Sequence[Any] | None) -> Iterator[tuple[Any, Column]]:
    there = state.labels
    ranked = there[1:] if state.binary else there  # of two classes, scores are of the second
    for label in ranked if labels is None else labels:
        if label not in ranked:
            msg = f"labels must be among {list(ranked)}; {label!r} came."
            raise MetricInputError(msg)
        yield label, state.column(there.index(label))


def _thinned(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Points about equally far from each other along the curve, with both ends."""
    if len(x) <= MOST_POINTS:
        return x, y
    way = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
    kept = np.unique(np.searchsorted(way, np.linspace(0, way[-1], MOST_POINTS)))
    return x[kept], y[kept]
