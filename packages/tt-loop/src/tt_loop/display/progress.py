"""What a run shows on the terminal: one bar, and one line per epoch."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any, Literal, Protocol

from tqdm.auto import tqdm

from tt_loop.errors import LoopTypeError, LoopValueError, MissingPackageError

__all__ = ["ProgressDisplay", "ProgressKind", "check_progress", "epoch_line", "make_progress"]


class ProgressDisplay(Protocol):
    """Something that shows how training goes on.

    Example:
        >>> import sys
        >>> class Dots:
        ...     def advance(self, n=1):
        ...         sys.stderr.write("." * n)
        ...     def epoch_done(self, title, values):
        ...         sys.stderr.write(f"{title}: {values}")
        ...     def close(self):
        ...         sys.stderr.flush()
        >>> with make_progress(Dots(), total=10) as display:
        ...     display.advance()
    """

    @property
    def advance(self) -> Callable[[], object] | None:
        """Count one batch, in next to no time: it is called in every step. ``None``: nothing."""

    def epoch_done(self, title: str, values: Mapping[str, float], /) -> None:
        """Show the values of an epoch that is done."""

    def close(self) -> None:
        """Take away what shall not stay: the fit is done or has failed."""


ProgressKind = bool | Literal["tqdm", "rich", "notebook"] | ProgressDisplay | None
"""What a loop's ``progress`` may be."""

_NEEDS = {"tqdm": "tqdm", "rich": "rich", "notebook": "ipywidgets"}


def make_progress(
    kind: ProgressKind, total: int | None, *, shown: bool = True
) -> closing[ProgressDisplay]:
    """A display of a kind, as a context that closes it.

    Args:
        kind: ``True`` or ``'tqdm'``: a bar of tqdm, in a notebook as a widget where that is
            possible. ``'rich'``: one of Rich. ``'notebook'``: a widget. ``False`` or ``None``:
            nothing. Or a display of your own.
        total: Number of batches of the whole fit, where it is known.
        shown: Whether anything is shown: only one process of a run shows its progress.

    Raises:
        LoopValueError: For an unknown name.
        LoopTypeError: For an object that is no display.
        MissingPackageError: Where the package is missing that shows this kind.

    Example:
        >>> with make_progress(None, total=10) as display:
        ...     print(display.advance)
        None
    """
    check_progress(kind)
    if not shown or kind is None or kind is False:
        return closing(_Nothing())
    if kind is True or kind == "tqdm":
        return closing(_Bar(tqdm, total))
    if kind == "notebook":
        return closing(_Bar(importlib.import_module("tqdm.notebook").tqdm, total))
    if kind == "rich":
        return closing(importlib.import_module("tt_loop.display.rich_progress").RichBar(total))
    assert not isinstance(kind, bool | str)  # noqa: S101  # it has been checked
    return closing(kind)


def check_progress(kind: ProgressKind) -> None:
    """Look whether there can be a display of a kind; see `make_progress` for what it raises."""
    if kind is None or isinstance(kind, bool):
        return
    if isinstance(kind, str):
        _check_name(kind)
        return
    missing = [name for name in ("advance", "epoch_done", "close") if not hasattr(kind, name)]
    if missing:
        msg = (
            f"progress must be a bool, one of {sorted(_NEEDS)}, or an object with the methods of "
            f"ProgressDisplay; {type(kind).__name__} has no {', '.join(missing)}."
        )
        raise LoopTypeError(msg)


def _check_name(name: str) -> None:
    if name not in _NEEDS:
        msg = f"progress must be one of {sorted(_NEEDS)}, a bool or an object, got {name!r}."
        raise LoopValueError(msg)
    if importlib.util.find_spec(_NEEDS[name]) is None:
        msg = f"progress={name!r} needs {_NEEDS[name]}: pip install 'tt-loop[{name}]'"
        raise MissingPackageError(msg)


def epoch_line(title: str, values: Mapping[str, float]) -> str:
    """What is written of an epoch.

    Example:
        >>> epoch_line("epoch 1/2", {"loss": 0.51234})
        'epoch 1/2  loss 0.5123'
    """
    return "  ".join([title, *(f"{name} {value:.4g}" for name, value in values.items())])


class _Nothing:
    """Shows nothing and costs nothing."""

    advance = None

    def epoch_done(self, title: str, values: Mapping[str, float], /) -> None:
        pass

    def close(self) -> None:
        pass


class _Bar:
    """A bar of tqdm, which looks at the clock in few steps and draws ten times a second."""

    def __init__(self, bar: Callable[..., Any], total: int | None) -> None:
        self._bar = bar(total=total, unit="batch", leave=False, dynamic_ncols=True)
        self.advance: Callable[[], object] = self._bar.update
        self.close: Callable[[], None] = self._bar.close

    def epoch_done(self, title: str, values: Mapping[str, float], /) -> None:
        self._bar.write(epoch_line(title, values))
