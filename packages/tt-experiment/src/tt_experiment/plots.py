"""Learning curves as image files, drawn without pyplot: no display, no global state, any thread.

matplotlib is imported by the first drawing, for it takes half a second.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tt_experiment._durable import make_directories, replace_file
from tt_experiment._report.metric_names import groups, is_validation
from tt_experiment._text import one_line
from tt_experiment.errors import ResultsError
from tt_loop.api import known_direction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_history"]

_UNSAFE = re.compile(r"[^\w.-]+|^\.+")
_MAX_NAME = 100
_TRAINING, _VALIDATION, _OTHER = "#2563d9", "#d4570a", "#9aa3b0"  # apart in grey print, too
_INK, _SOFT, _LINE = "#171c26", "#596273", "#e3e6eb"
_MANY = 40  # points that still get a mark each
_LOG_FROM = 100.0  # highest over lowest value of a loss from which a logarithmic scale shows more


def plot_history(
    history: Mapping[str, Sequence[float]],
    directory: Path | str,
    *,
    file_format: Literal["png", "pdf"] = "png",
) -> list[Path]:
    """Draw each metric that has more than one value over its number.

    Beside it, in grey, is what belongs to it: training beside validation, and the other way round.
    A loss that falls over more than two powers of ten is drawn on a logarithmic scale.

    Args:
        history: Values by metric name; NaN and infinities leave a gap.
        directory: Where the files go; it is made if need be.
        file_format: ``"png"`` for a file per metric, ``"pdf"`` for one file with a page each.

    Returns:
        The files, in order of the metrics; none if no metric has two values.

    Raises:
        ResultsError: There is no such format.
    """
    if file_format not in ("png", "pdf"):
        msg = f"plots are 'png' or 'pdf'. Got file_format={file_format!r}"
        raise ResultsError(msg)
    curves = {name: _numbers(values) for name, values in history.items() if len(values) > 1}
    if not curves:
        return []
    directory = Path(directory)
    make_directories(directory)
    with warnings.catch_warnings():  # names in scripts that the font lacks are drawn as boxes
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        return _pngs(curves, directory) if file_format == "png" else _pdf(curves, directory)


def _numbers(values: Sequence[float]) -> list[float]:
    return [value if math.isfinite(value) else math.nan for value in map(float, values)]


def _pngs(curves: Mapping[str, Sequence[float]], directory: Path) -> list[Path]:
    paths: list[Path] = []
    for name, beside in _with_others(curves):
        buffer = io.BytesIO()
        with _figure(name, curves, beside) as figure:
            figure.savefig(buffer, format="png", dpi=150)
        path = _free_path(directory, name, paths)
        replace_file(path, buffer.getvalue())
        paths.append(path)
    return paths


def _pdf(curves: Mapping[str, Sequence[float]], directory: Path) -> list[Path]:
    from matplotlib.backends.backend_pdf import PdfPages

    buffer = io.BytesIO()
    with PdfPages(buffer) as pages:
        for name, beside in _with_others(curves):
            with _figure(name, curves, beside) as figure:
                pages.savefig(figure)
    path = directory / "history.pdf"
    replace_file(path, buffer.getvalue())
    return [path]


def _with_others(curves: Mapping[str, Sequence[float]]) -> list[tuple[str, list[str]]]:
    """Each metric, and what is drawn beside it: the same metric of other data, as long as it."""
    together = {name: group for group in groups(list(curves)) for name in group}
    return [
        (name, [n for n in together[name] if n != name and len(curves[n]) == len(values)])
        for name, values in curves.items()
    ]


def _free_path(directory: Path, name: str, taken: Sequence[Path]) -> Path:
    stem = _UNSAFE.sub("_", name)[:_MAX_NAME] or "metric"
    path, number = directory / f"{stem}.png", 1
    while any(path.name.lower() == other.name.lower() for other in taken):
        number += 1
        path = directory / f"{stem}_{number}.png"
    return path


@contextmanager
def _figure(
    name: str, curves: Mapping[str, Sequence[float]], beside: Sequence[str]
) -> Iterator[Figure]:
    """A drawing, whose memory is given back at the end."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2))
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.12)
    FigureCanvasAgg(figure)
    try:
        axes = figure.add_subplot()
        for other in beside:
            _draw(axes, other, curves[other], _OTHER)
        _draw(axes, name, curves[name], _VALIDATION if is_validation(name) else _TRAINING)
        if _wants_log(name, [curves[n] for n in (name, *beside)]):
            axes.set_yscale("log")
        _dress(axes, one_line(name, 60), legend=bool(beside))
        yield figure
    finally:
        figure.clear()


def _draw(axes: Axes, name: str, values: Sequence[float], colour: str) -> None:
    marker = "o" if len(values) <= _MANY else None
    label = f" {one_line(name, 60)}"  # matplotlib leaves out labels that begin with "_"
    axes.plot(
        range(1, len(values) + 1),
        values,
        marker=marker,
        markersize=3.5,
        linewidth=1.1 if colour == _OTHER else 1.8,
        color=colour,
        label=label.replace("$", r"\$"),
    )


def _wants_log(name: str, curves: Sequence[Sequence[float]]) -> bool:
    finite = [value for values in curves for value in values if math.isfinite(value)]
    if known_direction(name) != "min" or not finite or min(finite) <= 0:
        return False
    return max(finite) > _LOG_FROM * min(finite)


def _dress(axes: Axes, title: str, *, legend: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title, parse_math=False, loc="left", fontsize=12, color=_INK)  # a "$" is text
    axes.set_xlabel("record", color=_SOFT)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=True, axis="y", color=_LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_SOFT, length=3)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_SOFT)
    if legend:
        axes.legend(frameon=False, fontsize=9, labelcolor=_SOFT)
