"""How long a fit is and how much of it is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tt_loop.training.settings import ENDLESS

if TYPE_CHECKING:
    from tt_loop.data.training import TrainingData
    from tt_loop.loop import TrainLoop

__all__ = ["FitLength"]


class FitLength:
    """The length of a fit in epochs, iterations and updates, as its loop's counters stand.

    Args:
        loop: The loop.
        data: What it trains with.
    """

    def __init__(self, loop: TrainLoop, data: TrainingData) -> None:
        self.loop, self.data = loop, data

    def last_iteration(self) -> int | None:
        """The ``total_iteration_idx`` with which the fit ends; ``None`` when epochs count."""
        loop = self.loop
        if not loop.num_iterations:
            return None
        return loop.fit_began["total_iteration_idx"] + loop.num_iterations

    def has_all_iterations(self) -> bool:
        """The number of iterations that the fit is to make has been made."""
        last = self.last_iteration()
        return last is not None and self.loop.total_iteration_idx >= last

    def is_complete(self) -> bool:
        """Nothing is left to do."""
        return self.has_all_iterations() if self.loop.num_iterations else self.epochs_left() <= 0

    def epochs_left(self) -> int:
        """How many epochs are still to come, when epochs count."""
        return self.loop.num_epochs + self.loop.fit_began["epochs_done"] - self.loop.epochs_done

    def final_epoch(self) -> int | None:
        """Number of epochs when the fit ends; ``None`` when they do not end it."""
        counted = 0 < self.loop.num_epochs < ENDLESS
        return self.loop.epochs_done + self.epochs_left() if counted else None

    def batches_left(self) -> int | None:
        """How many batches are still to come; ``None`` where nobody knows."""
        last, batches = self.last_iteration(), self.data.batches.sized
        if last is not None:
            return last - self.loop.total_iteration_idx
        if batches is None or self.loop.num_epochs == ENDLESS:
            return None
        return self.epochs_left() * batches

    def updates(self) -> int | None:
        """Optimizer updates of the whole fit; ``None`` where nobody knows."""
        loop, batches, every = self.loop, self.data.batches.sized, self.loop.grad_accumulation
        if loop.num_iterations:
            whole = loop.num_iterations if batches is None else batches
            epochs, rest = divmod(loop.num_iterations, whole)
        elif batches is None or loop.num_epochs == ENDLESS:
            return None
        else:
            whole, epochs, rest = batches, loop.num_epochs, 0
        return epochs * -(-whole // every) + -(-rest // every)
