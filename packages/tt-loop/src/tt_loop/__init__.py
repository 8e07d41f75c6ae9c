"""A Keras-style train loop for PyTorch at the cost of the bare loop.

The public names are those of `tt_loop.api`.
"""

from tt_loop.api import *  # noqa: F403  # the package's face is its interface module
from tt_loop.api import __all__ as __all__
