"""The picture of a calibration: how often probabilities come true."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

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
from tt_metrics._probability.calibration import Calibration, CalibrationErrorMetric

__all__ = ["reliability_diagram"]


def reliability_diagram(metrics: Any, *, title: str = "Reliability") -> Figure:
    """Draw how often predictions of each confidence come true, and below how many there are.

    The legend gives the expected calibration error: the mean distance from the dotted line.

    Args:
        metrics: A `CalibrationErrorMetric`, a result package with one, or a dict of several by
            name.
        title: What stands above.

    Raises:
        MetricTypeError: A metric keeps no calibration.
        NoDataError: A metric has seen no data.
    """
    figure = new_figure(5.2, 6.6)
    above, below = figure.subplots(2, 1, height_ratios=(4, 1))
    above.plot([0, 1], [0, 1], color=FAINT, linestyle=":", label="perfectly calibrated")
    for place, (name, metric) in enumerate(named(metrics).items()):
        state = state_of(metric, Calibration, "a calibration, as CalibrationErrorMetric has one")
        confidence, right, items = state.reliability()
        there = items > 0
        error = CalibrationErrorMetric(num_bins=len(items)).of(state)
        label, style = legend_text(name, "ECE", float(error)), style_of(place)
        above.plot(confidence[there], right[there], marker="o", markersize=4, label=label, **style)
        below.stairs(items, np.linspace(0, 1, len(items) + 1), **style)
    unit_square(above, "", "Share that came true", title)
    above.tick_params(labelbottom=False)
    add_legend(above, "upper left")
    below.set(xlim=above.get_xlim(), ylim=(0, None), xlabel="Confidence", ylabel="Items")
    below.set_box_aspect(0.25)
    below.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    below.spines[["top", "right"]].set_visible(False)
    figure.align_ylabels()
    return figure
