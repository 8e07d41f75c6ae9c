"""Experiment folders, crash-safe checkpoints and reports for PyTorch training.

The public names are those of `tt_experiment.api`. They are imported when the first of them is used:
the command ``tt-experiment`` and readers of runs go without PyTorch.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tt_experiment.api import *  # noqa: F403  # the package's face is its interface module
    from tt_experiment.api import __all__ as __all__
else:
    from importlib import import_module

    def __getattr__(name: str) -> object:
        """A public name, or ``__all__``, on its first use."""
        if name == "__all__" or not name.startswith("_"):
            api = import_module("tt_experiment.api")
            if name in ("__all__", *getattr(api, "__all__", ())):
                return globals().setdefault(name, getattr(api, name))
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)

    def __dir__() -> list[str]:
        """The public names, for completion."""
        return sorted({*globals(), *import_module("tt_experiment.api").__all__})
