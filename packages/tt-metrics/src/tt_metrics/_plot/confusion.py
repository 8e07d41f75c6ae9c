"""The picture of a confusion matrix."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from tt_metrics._classification.confusion_metric import ConfusionMatrixMetric
from tt_metrics._core.confusion import Confusion
from tt_metrics._errors import MetricInputError
from tt_metrics._plot.figure import literal, new_figure, short, state_of

__all__ = ["confusion_matrix"]

Normalize = Literal["true", "pred", "all"]

MOST_NUMBERS = 30  # with more classes than this, numbers in cells could not be read


def confusion_matrix(
    metric: Any, *, normalize: Normalize | None = None, title: str = "Confusion matrix"
) -> Figure:
    """Draw how often each label was predicted for each label.

    Args:
        metric: A metric that computes from a confusion matrix, such as `ConfusionMatrixMetric` or
            `F1ScoreMetric`, or a result package with one.
        normalize: None shows counts; ``"true"`` shares of each row, ``"pred"`` of each column,
            ``"all"`` of everything.
        title: What stands above.

    Raises:
        MetricTypeError: The metric has no confusion matrix.
        NoDataError: It has seen no data.
    """
    if normalize not in (None, *get_args(Normalize)):
        msg = f"normalize must be None, 'true', 'pred' or 'all'; it is {normalize!r}."
        raise MetricInputError(msg)
    needed = "a confusion matrix, as ConfusionMatrixMetric or F1ScoreMetric has one"
    state = state_of(metric, Confusion, needed)
    cells = ConfusionMatrixMetric(normalize=normalize).of(state).matrix
    names = [short(label, 20) for label in state.labels]
    side = min(max(2.8, 0.55 * len(names)), 12.0)  # of the matrix, in inches
    margin = 0.8 + 0.085 * max(map(len, names))
    figure = new_figure(side + margin + 1.0, side + margin)
    axes = figure.add_subplot()
    top = cells.max() if normalize in (None, "all") else 1.0
    image = axes.imshow(cells, cmap="Blues", vmin=0, vmax=top or 1)
    figure.colorbar(image, ax=axes, label="share" if normalize else _unit(cells), shrink=0.8)
    _name_axes(axes, names, title)
    if len(names) <= MOST_NUMBERS:
        _write_numbers(axes, image, cells, side / len(names))
    return figure


def _unit(cells: NDArray[Any]) -> str:
    return "weight" if cells.dtype.kind == "f" else "items"


def _name_axes(axes: Axes, names: list[str], title: str) -> None:
    step = max(1, round(len(names) / 40))  # more names than this would overlap
    places = range(0, len(names), step)
    shown = names[::step]
    turned = max(map(len, shown)) > 3
    axes.set_xticks(places, shown, rotation=90 if turned else 0)
    axes.set_yticks(places, shown)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        literal(label)
    axes.set(xlabel="predicted", ylabel="true")
    literal(axes.set_title(short(title, 60)))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _write_numbers(axes: Axes, image: AxesImage, cells: NDArray[Any], width: float) -> None:
    """Write each number into its cell, of a width in inches, dark on light or light on dark."""
    texts = {place: _number(cell) for place, cell in np.ndenumerate(cells)}
    points = 72 * width / (0.75 * max(map(len, texts.values())))
    shades = image.to_rgba(cells)[..., :3] @ np.array([0.299, 0.587, 0.114])
    for (row, column), text in texts.items():
        colour = "white" if shades[row, column] < 0.5 else "black"
        size = min(points, 10.0)
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=size)


def _number(cell: Any) -> str:
    """A count as it is, shortened from six digits up; a share or weight with two decimals."""
    if isinstance(cell, np.integer):
        return str(cell) if cell < 100_000 else f"{cell:.1e}"
    return f"{cell:.2f}" if cell < 1000 else f"{cell:.3g}"
