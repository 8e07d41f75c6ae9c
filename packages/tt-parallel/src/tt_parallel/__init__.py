"""DataParallel, DistributedDataParallel and mixed precision behind one small interface.

The public names are those of `tt_parallel.api`.
"""

from tt_parallel.api import *  # noqa: F403  # the package's face is its interface module
from tt_parallel.api import __all__ as __all__
