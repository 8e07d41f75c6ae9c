"""Save the loop's state after epochs and inside them."""

from __future__ import annotations

import logging

from tt_loop.callbacks.base import Callback
from tt_loop.errors import LoopValueError
from tt_loop.protocols import CheckpointStore, Ticket

__all__ = ["Checkpoint"]

_log = logging.getLogger(__name__)

_MOST_FAILURES = 3


class Checkpoint(Callback):
    """Save the loop's state in a `CheckpointStore` after every n epochs, and every n batches.

    It runs after everything that measures, so a checkpoint is kept together with the metric values
    of its own epoch.

    Args:
        store: Where states are kept.
        every_epochs: Save after every so many epochs.
        every_batches: Save after every so many batches, too; ``None`` does not. A fit goes on from
            inside an epoch to the same bits.
    """

    def __init__(
        self, store: CheckpointStore, every_epochs: int = 1, *, every_batches: int | None = None
    ) -> None:
        super().__init__("Checkpoint", execution_order=100)
        for name, every in (("every_epochs", every_epochs), ("every_batches", every_batches)):
            if every is not None and every < 1:
                msg = f"{name} must be at least 1, got {every}."
                raise LoopValueError(msg)
        self.store = store
        self.every_epochs, self.every_batches = every_epochs, every_batches
        self._ticket: Ticket | None = None
        self._failures = 0

    def on_batch_end(self) -> None:
        """Save, if it is this batch's turn."""
        every = self.every_batches
        if every is not None and (self.train_loop_obj.total_iteration_idx + 1) % every == 0:
            self.save()

    def on_epoch_end(self) -> None:
        """Save, if it is this epoch's turn."""
        if self.train_loop_obj.epochs_done % self.every_epochs == 0:
            self.save()

    def save(self) -> None:
        """Save now; training goes on when the state is copied.

        Raises:
            Exception: What `CheckpointStore.save` raised, when three saves in a row have failed. A
                single failure is logged and made up for by the next save.
        """
        loop = self.train_loop_obj
        state = loop.state_dict()
        if loop.is_main_process():
            self._settle()
            step = loop.total_iteration_idx + 1
            self._ticket = self.store.save(state, step=step, scores=loop.measured.epoch_values)
            self._ticket.wait_staged()

    def _settle(self) -> None:
        """Wait for the last save."""
        ticket, self._ticket = self._ticket, None
        if ticket is None:
            return
        try:
            ticket.wait_committed()
            self._failures = 0
        except Exception as error:
            self._failures += 1
            if self._failures >= _MOST_FAILURES:
                raise
            _log.error("a checkpoint failed, the next one is tried: %s", error)

    def on_exception(self, exception: BaseException) -> None:  # noqa: ARG002  # whatever it was
        """Wait for the last save; a failure is noted beside the exception."""
        self._settle()

    def on_train_end(self) -> None:
        """Wait for the last save; raises what it raised."""
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            ticket.wait_committed()
