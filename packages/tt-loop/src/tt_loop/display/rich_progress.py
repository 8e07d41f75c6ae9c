"""The bar of Rich; importing this module needs the extra ``rich``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping

from rich.console import Console, RenderableType
from rich.progress import MofNCompleteColumn, Progress

from tt_loop.display.progress import epoch_line

__all__ = ["RichBar"]

_DRAWN_PER_SECOND = 4  # each time takes 1.5 milliseconds


class RichBar:
    """A bar on the standard error stream; epochs' lines go to the standard output above it.

    A step only adds one: Rich's own thread looks at the count when it draws.

    Args:
        total: Number of batches of the whole fit, where it is known.
    """

    def __init__(self, total: int | None) -> None:
        self._done = 0
        self._bar = _Counted(self, total)
        self._bar.start()

    @property
    def done(self) -> int:
        """Number of batches counted."""
        return self._done

    def advance(self, n: int = 1) -> None:
        """Count a batch."""
        self._done += n

    def epoch_done(self, title: str, values: Mapping[str, float], /) -> None:
        """Write an epoch's line."""
        sys.stdout.write(epoch_line(title, values) + "\n")  # on a terminal Rich takes care of it

    def close(self) -> None:
        """Take the bar away."""
        self._bar.stop()


class _Counted(Progress):
    """Asks for the count whenever it is drawn."""

    def __init__(self, source: RichBar, total: int | None) -> None:
        self._source = source
        super().__init__(
            *Progress.get_default_columns(),
            MofNCompleteColumn(),
            console=Console(stderr=True),
            transient=True,
            refresh_per_second=_DRAWN_PER_SECOND,
            redirect_stdout=sys.stdout.isatty(),  # what is piped into a file shall get there
        )
        self._batches = self.add_task("training", total=total)

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bar of the present count."""
        if self.tasks:
            self.update(self._batches, completed=self._source.done)
        yield from super().get_renderables()
