"""Text metrics and text processing for language tasks; numpy and tt-metrics only.

The public names are those of `tt_nlp.api`.
"""

from tt_nlp.api import *  # noqa: F403  # the package's face is its interface module
from tt_nlp.api import __all__ as __all__
