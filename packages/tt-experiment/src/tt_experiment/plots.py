"""Learning curves as image files, drawn without pyplot: no display, no global state, any thread.

matplotlib is imported by the first drawing, for it takes half a second.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tt_experiment._durable import make_directories, replace_file
from tt_experiment.errors import ResultsError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_history"]

_UNSAFE = re.compile(r"[^\w.-]+|^\.+")
_MAX_NAME = 100


def plot_history(
    history: Mapping[str, Sequence[float]],
    directory: Path | str,
    *,
    file_format: Literal["png", "pdf"] = "png",
) -> list[Path]:
    """Draw each metric that has more than one value over its number.

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
    curves = {name: list(values) for name, values in history.items() if len(values) > 1}
    if not curves:
        return []
    directory = Path(directory)
    make_directories(directory)
    with warnings.catch_warnings():  # names in scripts that the font lacks are drawn as boxes
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        return _pngs(curves, directory) if file_format == "png" else _pdf(curves, directory)


def _pngs(curves: Mapping[str, Sequence[float]], directory: Path) -> list[Path]:
    paths: list[Path] = []
    for name, values in curves.items():
        buffer = io.BytesIO()
        _figure(name, values).savefig(buffer, format="png", dpi=150)
        path = _free_path(directory, name, paths)
        replace_file(path, buffer.getvalue())
        paths.append(path)
    return paths


def _pdf(curves: Mapping[str, Sequence[float]], directory: Path) -> list[Path]:
    from matplotlib.backends.backend_pdf import PdfPages

    buffer = io.BytesIO()
    with PdfPages(buffer) as pages:
        for name, values in curves.items():
            pages.savefig(_figure(name, values))
    path = directory / "history.pdf"
    replace_file(path, buffer.getvalue())
    return [path]


def _free_path(directory: Path, name: str, taken: Sequence[Path]) -> Path:
    stem = _UNSAFE.sub("_", name)[:_MAX_NAME] or "metric"
    path, number = directory / f"{stem}.png", 1
    while any(path.name.lower() == other.name.lower() for other in taken):
        number += 1
        path = directory / f"{stem}_{number}.png"
    return path


def _figure(name: str, values: Sequence[float]) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    numbers = [value if math.isfinite(value) else math.nan for value in map(float, values)]
    axes.plot(range(1, len(numbers) + 1), numbers, marker="o", markersize=3, color="#2563eb")
    axes.set_title(_shorten(name), parse_math=False)  # a name is text, also with dollar signs
    axes.set_xlabel("record")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=True, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _shorten(name: str) -> str:
    text = "".join(c if c.isprintable() else " " for c in name)
    return text if len(text) <= 60 else f"{text[:57]}..."
