"""Pictures of what metrics have seen; needs matplotlib, the extra ``plot``.

Each function returns a matplotlib `Figure` that belongs to nobody: no pyplot, no global state, any
thread. Save it with ``figure.savefig("roc.png")``; a notebook shows it.

    >>> from tt_metrics.plot import roc_curve
    >>> figure = roc_curve(ROCAUCMetric([0, 1, 0, 1], [0.1, 0.8, 0.4, 0.3]))
    >>> figure.axes[0].get_xlabel()
    'False positive rate'
"""

from __future__ import annotations

try:
    import matplotlib as mpl  # noqa: F401  (only to say what is missing)
except ImportError as error:
    _msg = "tt_metrics.plot needs matplotlib: pip install 'tt-metrics[plot]'"
    raise ImportError(_msg) from error

from tt_metrics._plot.confusion import confusion_matrix as confusion_matrix
from tt_metrics._plot.curves import precision_recall_curve as precision_recall_curve
from tt_metrics._plot.curves import roc_curve as roc_curve
from tt_metrics._plot.reliability import reliability_diagram as reliability_diagram

__all__ = [
    "confusion_matrix",
    "precision_recall_curve",
    "reliability_diagram",
    "roc_curve",
]
