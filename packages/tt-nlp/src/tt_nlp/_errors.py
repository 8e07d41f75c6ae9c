"""What tt-nlp raises.

::

    NlpError
    └── NlpInputError (MetricInputError, so ValueError)      data or a setting that does not fit

A metric's state, missing data and unknown names raise what tt-metrics raises for them.
"""

from __future__ import annotations

from tt_metrics.api import MetricInputError

__all__ = ["NlpError", "NlpInputError"]


class NlpError(Exception):
    """Base of everything that this package raises on purpose."""


class NlpInputError(NlpError, MetricInputError):
    """Data or a setting that does not fit."""
