"""Save the loop's state after epochs, inside them, and when a fit ends before its time."""

from __future__ import annotations

import logging
import time
from contextlib import suppress

from torch import nn

from tt_loop.callbacks.base import Callback, overrides
from tt_loop.errors import LoopValueError
from tt_loop.protocols import CheckpointStore, Ticket
from tt_loop.training.lending import to_lend

__all__ = ["Checkpoint"]

_log = logging.getLogger(__name__)

_MOST_FAILURES = 3


class Checkpoint(Callback):
    """Save the loop's state in a `CheckpointStore` every n epochs, batches or minutes.

    It runs after everything that measures, so a checkpoint is kept together with the metric values
    of its own epoch. A fit goes on from any of them, also inside an epoch, to the same bits.

    After Ctrl-C or SIGTERM the fit finishes its step, saves, waits until the state is safe, and
    ends; a second signal ends it at once.

    While the store copies a state, training goes on; only the next optimizer step waits for it. A
    model that changes its own trained weights in a forward pass through ``weight.data`` needs
    ``overlap=False``.

    Args:
        store: Where states are kept.
        every_epochs: Save after every so many epochs; ``None`` does not.
        every_batches: Save after every so many batches.
        every_minutes: Save after the first batch that ends so many minutes after the last save.
        at_end: Save after the last batch of a fit, too.
        on_exception: Save the state after the last step when reading the next batch fails; of
            several processes none can.
        overlap: Let training go on while the state is copied.
    """

    may_change_weights = False

    def __init__(
        self,
        store: CheckpointStore,
        every_epochs: int | None = 1,
        *,
        every_batches: int | None = None,
        every_minutes: float | None = None,
        at_end: bool = True,
        on_exception: bool = True,
        overlap: bool = True,
    ) -> None:
        super().__init__("Checkpoint", execution_order=100)
        for name, every in (("every_epochs", every_epochs), ("every_batches", every_batches)):
            if every is not None and every < 1:
                msg = f"{name} must be at least 1, got {every}."
                raise LoopValueError(msg)
        if every_minutes is not None and not every_minutes > 0:
            msg = f"every_minutes must be positive, got {every_minutes}."
            raise LoopValueError(msg)
        self.store = store
        self.every_epochs, self.every_batches = every_epochs, every_batches
        self.every_minutes = every_minutes
        self.at_end, self.saves_on_exception, self.overlap = at_end, on_exception, overlap
        self._ticket: Ticket | None = None
        self._failures = 0
        self._saved_at: tuple[int, bool] | None = None
        self._newest_save = 0.0

    def on_train_begin(self) -> None:
        """Start the clock."""
        self._newest_save, self._saved_at = time.monotonic(), None

    def on_batch_end(self) -> None:
        """Save, if it is this batch's turn or the time has come."""
        every = self.every_batches
        if every is not None and (self.train_loop_obj.total_iteration_idx + 1) % every == 0:
            self.save()
        elif self.every_minutes is not None:
            self._look_at_the_clock(60 * self.every_minutes)

    def _look_at_the_clock(self, seconds: float) -> None:
        loop = self.train_loop_obj
        if time.monotonic() - self._newest_save < seconds:
            return
        if loop.num_processes == 1:
            self.save()
        elif loop.fit_under_way is not None:  # clocks differ: all are told by one
            loop.fit_under_way.ask_for_pause()

    def on_pause(self) -> None:
        """Save: all processes have agreed on this step."""
        if self.every_minutes is not None:
            self.save()

    def on_epoch_end(self) -> None:
        """Save, if it is this epoch's turn or it was the last."""
        loop, every = self.train_loop_obj, self.every_epochs
        if (every is not None and loop.epochs_done % every == 0) or self._is_last():
            self.save()

    def _is_last(self) -> bool:
        """Whether training is known to be over: before anything that is measured at the end."""
        loop = self.train_loop_obj
        if not self.at_end or loop.fit_under_way is None:
            return False
        stopped = loop.early_stop and loop.num_processes == 1  # of several, one may not know
        return stopped or loop.fit_under_way.length.is_complete()

    def on_train_end(self) -> None:
        """Save what is not saved yet and wait; raises what the last save raised."""
        if self.at_end and self._has_news():
            self.save()
        self._wait_committed()

    def on_interrupt(self, number: int) -> None:  # noqa: ARG002  # whichever it was
        """Save, and return when it is safe; raises what the save raised."""
        if self._has_news():
            self.save()
        self._wait_committed()

    def on_exception(self, exception: BaseException) -> None:  # noqa: ARG002  # whatever it was
        """Save, where the state is that between two steps, and wait, unless there is no time."""
        loop, fit = self.train_loop_obj, self.train_loop_obj.fit_under_way
        if fit is None or fit.interrupts.at_once:
            return
        consistent = fit.is_between_steps and loop.num_processes == 1
        if self.saves_on_exception and consistent and self._has_news():
            self.save()
        self._settle()

    def save(self) -> None:
        """Save now; training goes on while the state is copied.

        Raises:
            Exception: What `CheckpointStore.save` raised, when three saves in a row have failed. A
                single failure is logged and made up for by the next save.
        """
        loop = self.train_loop_obj
        state = loop.state_dict()
        self._saved_at, self._newest_save = self._position(), time.monotonic()
        if not loop.is_main_process():
            return
        self._settle()
        overlap = self._can_overlap()
        self._ticket = self.store.save(
            to_lend(loop, state) if overlap else state,
            step=loop.total_iteration_idx + 1,
            scores=dict(loop.measured.epoch_values),
        )
        if overlap:
            loop.lending.begin(self._wait_staged)
        else:
            self._ticket.wait_staged()

    def _position(self) -> tuple[int, bool]:
        return self.train_loop_obj.total_iteration_idx, self.train_loop_obj.inside_epoch

    def _has_news(self) -> bool:
        """Whether this fit has made a step since the last save; an epoch's begin is none."""
        loop, fit = self.train_loop_obj, self.train_loop_obj.fit_under_way
        began = fit is not None and fit.has_begun and not (loop.inside_epoch and loop.iteration < 0)
        return began and self._saved_at != self._position()

    def _can_overlap(self) -> bool:
        """Whether nothing changes what is lent before the next step, or a hook that tells."""
        loop, fit = self.train_loop_obj, self.train_loop_obj.fit_under_way
        if not self.overlap or fit is None or not fit.has_begun:
            return False
        between = loop.callbacks_handler.callbacks
        later = between if loop.grad_accumulation > 1 else between[between.index(self) + 1 :]
        hooks = [(each, "on_batch_begin") for each in between]
        hooks += [(each, "on_batch_end") for each in later]
        if any(each.may_change_weights and overrides(each, name) for each, name in hooks):
            return False
        return not any(_renormalises(module) for module in loop.model.modules())

    def _wait_staged(self) -> None:
        """Wait for the copy; what it raises is what the whole save raises later."""
        if self._ticket is not None:
            with suppress(Exception):
                self._ticket.wait_staged()

    def _settle(self) -> None:
        """Wait for the last save."""
        try:
            self._wait_committed()
        except Exception as error:
            self._failures += 1
            self.overlap = False  # something may have changed what was lent
            if self._failures >= _MOST_FAILURES:
                raise
            _log.error("a checkpoint failed, the next one is tried: %s", error)

    def _wait_committed(self) -> None:
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            ticket.wait_committed()
            self._failures = 0


def _renormalises(module: nn.Module) -> bool:
    """An embedding with ``max_norm`` changes its weights in the forward pass."""
    return getattr(module, "max_norm", None) is not None
