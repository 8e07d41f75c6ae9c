"""What a run shows on the terminal: one bar, and one line per epoch."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

from tqdm.auto import tqdm

__all__ = ["Progress"]


class Progress:
    """A tqdm bar over the batches of a whole fit, and a line for each finished epoch.

    The bar redraws at most ten times a second and goes away when the fit ends; the lines stay.

    Args:
        total: Number of batches of the whole fit, where it is known.
        shown: Whether anything is shown: only one process of a run shows its progress.
    """

    def __init__(self, total: int | None, *, shown: bool) -> None:
        self._bar = tqdm(
            total=total, unit="batch", leave=False, dynamic_ncols=True, disable=not shown
        )
        self.advance = self._bar.update
        """Count one batch."""

    def epoch_done(self, title: str, values: Mapping[str, float]) -> None:
        """Write an epoch's line."""
        if not self._bar.disable:
            words = [title, *(f"{name} {value:.4g}" for name, value in values.items())]
            self._bar.write("  ".join(words))

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.close()
