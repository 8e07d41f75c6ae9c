"""Distributions of gradients as image files."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tt_experiment._durable import make_directories, replace_file
from tt_experiment._text import one_line
from tt_experiment.errors import ResultsError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tt_loop.api import GradientHistogram

__all__ = ["check_format", "draw_gradients"]


def check_format(file_format: str) -> None:
    """Look whether plots can be files of a format.

    Raises:
        ResultsError: They cannot.
    """
    if file_format not in ("png", "pdf"):
        msg = f"plots are 'png' or 'pdf'. Got file_format={file_format!r}"
        raise ResultsError(msg)


def draw_gradients(
    gradients: Mapping[str, GradientHistogram], path: Path, file_format: str
) -> list[Path]:
    """Draw one figure per layer: into the folder ``path``, or as the pages of ``path.pdf``.

    Raises:
        ResultsError: There is no such format.
    """
    check_format(file_format)
    if file_format == "pdf":
        make_directories(path.parent)
        pdf = path.with_name(f"{path.name}.pdf")
        replace_file(pdf, _pdf(gradients))
        return [pdf]
    make_directories(path)
    paths = [path / f"layer_{number}.png" for number in range(len(gradients))]
    for file, (name, histogram) in zip(paths, gradients.items(), strict=True):
        buffer = io.BytesIO()
        _figure(name, histogram).savefig(buffer, format="png", dpi=150)
        replace_file(file, buffer.getvalue())
    return paths


def _pdf(gradients: Mapping[str, GradientHistogram]) -> bytes:
    from matplotlib.backends.backend_pdf import PdfPages

    buffer = io.BytesIO()
    with PdfPages(buffer) as pages:
        for name, histogram in gradients.items():
            pages.savefig(_figure(name, histogram))
    return buffer.getvalue()


def _figure(name: str, histogram: GradientHistogram) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.stairs(histogram.counts, histogram.edges, fill=True, color="#2563eb")
    axes.set_title(one_line(name, 60), parse_math=False)  # a name is text, also with dollar signs
    axes.set_xlabel("gradient")
    axes.set_ylabel("elements")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
