"""What tt-metrics raises.

::

    MetricError
    ├── MetricInputError (ValueError)      data or a setting that a metric cannot take
    ├── MetricStateError (ValueError)      a state of another kind, or made with other settings
    ├── MetricTypeError (TypeError)        an object that is no metric, or no result
    ├── NoDataError (RuntimeError)         a result was asked for before any data came
    └── UnknownResultError (KeyError)      a result was asked for by a name that is not there
"""

from __future__ import annotations

__all__ = [
    "MetricError",
    "MetricInputError",
    "MetricStateError",
    "MetricTypeError",
    "NoDataError",
    "UnknownResultError",
]


class MetricError(Exception):
    """Base of everything that this package raises on purpose."""


class MetricInputError(MetricError, ValueError):
    """Data or a setting that a metric cannot take."""


class MetricStateError(MetricError, ValueError):
    """A state of another kind, or made with other settings."""


class MetricTypeError(MetricError, TypeError):
    """An object that is no metric, or no result."""


class NoDataError(MetricError, RuntimeError):
    """A result was asked for before any data came."""


class UnknownResultError(MetricError, KeyError):
    """A result was asked for by a name that is not there."""

    __str__ = Exception.__str__  # KeyError would show the message in quotes
