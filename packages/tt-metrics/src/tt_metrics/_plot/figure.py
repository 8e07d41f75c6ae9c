"""What all pictures share: a figure without pyplot, and what is drawn in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from tt_metrics._core.state import State
from tt_metrics._errors import MetricInputError, MetricTypeError, NoDataError
from tt_metrics._report.formats import one_line

__all__ = [
    "FAINT",
    "add_legend",
    "legend_text",
    "literal",
    "named",
    "new_figure",
    "short",
    "state_of",
    "style_of",
    "unit_square",
]

S = TypeVar("S", bound=State)
LegendPlace = Literal["upper left", "lower left", "lower right"]

FAINT = "#767676"
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Told apart by colour-blind readers too (M. Okabe and K. Ito, Color Universal Design, 2008)."""
_DASHES = ("-", "--", ":", "-.")


def new_figure(width: float, height: float) -> Figure:
    """Make a figure that nobody else knows of; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="compressed")  # axes of fixed aspect stay close
    FigureCanvasAgg(figure)
    return figure


def style_of(place: int) -> dict[str, Any]:
    """Colour and dashes of the curve number ``place``; all differ up to 28."""
    again, colour = divmod(place, len(_COLOURS))
    return {"color": _COLOURS[colour], "linestyle": _DASHES[again % len(_DASHES)]}


def unit_square(axes: Axes, x: str, y: str, title: str) -> None:
    """Label axes on which both numbers go from 0 to 1, in the same scale."""
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal", xlabel=x, ylabel=y)
    literal(axes.set_title(short(title, 60)))
    axes.grid(visible=True, alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def legend_text(name: str, what: str, value: float) -> str:
    """What a legend says of a curve: its name, if it has one, and its number."""
    return f"{short(name, 30)} ({what} {value:.3f})" if name else f"{what} {value:.3f}"


def add_legend(axes: Axes, place: LegendPlace) -> None:
    """Add a legend that shows names as they are."""
    legend = axes.legend(loc=place, fontsize=9, framealpha=0.9)
    for text in legend.get_texts():
        literal(text)


def literal(text: Text) -> None:
    """Show a text as it is, also with dollar signs."""
    text.set_parse_math(False)


def short(text: object, length: int) -> str:
    """A text of one line and at most that length."""
    line = one_line(str(text))
    return line if len(line) <= length else f"{line[: length - 3]}..."


def named(curves: Any) -> dict[str, Any]:
    """Several sources by name; a single one has the name ''."""
    if not isinstance(curves, Mapping):
        return {"": curves}
    if not curves:
        msg = "A picture needs something to show; the dict of metrics is empty."
        raise MetricInputError(msg)
    return {str(name): source for name, source in curves.items()}


def state_of(source: Any, kind: type[S], needed: str) -> S:
    """Find the state of a metric, or the first that fits of a result package."""
    for state in getattr(source, "_states", (source,)):
        if isinstance(state, kind):
            if not state.count:
                msg = f"A picture needs data; none came. Fill {source!r} with `update` first."
                raise NoDataError(msg)
            return state
    msg = f"This picture is of {needed}; {source!r} came."
    raise MetricTypeError(msg)
