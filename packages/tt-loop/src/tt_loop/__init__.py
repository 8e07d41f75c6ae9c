"""A Keras-style train loop for PyTorch close to the bare loop in cost.

The public names are those of `tt_loop.api`.
"""

from tt_loop.api import *  # noqa: F403  # the package's face is its interface module
from tt_loop.api import __all__ as __all__
