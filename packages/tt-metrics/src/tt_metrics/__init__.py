"""Metrics with mergeable state, and result packages; numpy only.

The public names are those of `tt_metrics.api`.
"""

from tt_metrics.api import *  # noqa: F403  # the package's face is its interface module
from tt_metrics.api import __all__ as __all__
