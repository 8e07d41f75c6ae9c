"""Experiment folders, crash-safe checkpoints and reports for PyTorch training.

The public names are those of `tt_experiment.api`.
"""

from tt_experiment.api import *  # noqa: F403  # the package's face is its interface module
from tt_experiment.api import __all__ as __all__
