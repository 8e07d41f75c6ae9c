"""One fit under one strategy: the training loop itself.

`Fit` reads from top to bottom as the loop that everybody writes. What surrounds a step costs next
to nothing: hook lists hold only overridden hooks, what happens every n batches is a hook as well,
losses are kept as detached tensors and read once per epoch, and nothing in a step waits for an
accelerator.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from tt_loop.data.batches import tensors_in
from tt_loop.data.training import TrainingData
from tt_loop.display.progress import make_progress
from tt_loop.evaluation.evaluator import kept_modes, split_loss
from tt_loop.model import bound_loss
from tt_loop.protocols import RunInfo, Strategy, Tree
from tt_loop.rng import preserved_host_rng
from tt_loop.training.flags import LateFlags
from tt_loop.training.interrupts import PAUSE, Interrupts, signal_in
from tt_loop.training.length import FitLength
from tt_loop.training.losses import EpochLosses
from tt_loop.training.nonfinite import NonFiniteGuard
from tt_loop.training.state import parameter_names
from tt_loop.training.update import Updates

if TYPE_CHECKING:
    from tt_loop.loop import TrainLoop

__all__ = ["Fit"]


class Fit:
    """Trains a loop's model in this process, as its settings for this fit say.

    Args:
        loop: The loop; its public counters always tell where training is.
        strategy: Where and how a step is executed.
        model: The model that the strategy prepared.
        position: Where inside an epoch to go on, from a saved state; ``None`` begins an epoch.

    Attributes:
        has_begun: A batch has been asked for.
        is_between_steps: The loader failed, so that the state is that after the last step.
        interrupted_by: The signal that all processes stopped for, at the same step.
    """

    def __init__(
        self, loop: TrainLoop, strategy: Strategy, model: nn.Module, position: Tree | None
    ) -> None:
        self.loop, self.strategy, self.position = loop, strategy, position
        self.model: Any = model
        inside = position is not None
        self.data = TrainingData(loop, strategy.comm, strategy.device, inside=inside)
        loop.shared = self.data.shared()
        self.length = FitLength(loop, self.data)
        heard = strategy.comm.world_size > 1 or loop.callbacks_handler.hooks("on_interrupt")
        self.interrupts = Interrupts(active=bool(heard))
        self._pause = 0.0  # a wish that is still to be sent
        self.updates = Updates(loop, strategy, self.data.batches.nominal_weight, self._wish)
        guarded = loop.nan_policy is not None
        self.losses = EpochLosses(loop, strategy.device, skip_bad=guarded)
        self.guard = NonFiniteGuard(loop, loop.model, loop.nan_policy) if loop.nan_policy else None
        self._stops = LateFlags()
        self.has_begun = self.is_between_steps = False
        self.interrupted_by: int | None = None

    def run(self) -> None:
        """Train until the number of epochs or iterations is reached or the loop is stopped."""
        loop, main = self.loop, self.strategy.comm.rank == 0
        with preserved_host_rng():  # a display's library may draw when it is imported
            progress = make_progress(loop.progress, self.length.batches_left(), shown=main)
        criterion = loop.criterion if isinstance(loop.criterion, nn.Module) else nn.Module()
        kept = kept_modes(self.model), kept_modes(criterion)
        with kept[0], kept[1], progress as self.progress, self.interrupts:
            criterion.train()
            loop.measured.open(self._run_info(), main=main)
            status = "completed"
            try:
                self._train()
            except BaseException as error:
                _explain(error, loop.batch, self.strategy.device)
                status = (
                    "interrupted" if isinstance(error, KeyboardInterrupt | SystemExit) else "failed"
                )
                loop.measured.event("exception", {"type": type(error).__name__, "text": str(error)})
                loop.callbacks_handler.execute_on_exception(error)
                raise
            finally:
                loop.lending.end()
                loop.measured.close(status)

    def _run_info(self) -> RunInfo:
        step = self.loop.total_iteration_idx + 1
        return RunInfo(
            step=step,
            records=self.loop.measured.records_of(step),
            epoch=self.loop.epochs_done,
            world_size=self.strategy.comm.world_size,
            strategy=type(self.strategy).__name__,
        )

    def _train(self) -> None:
        loop, callbacks = self.loop, self.loop.callbacks_handler
        loop.inside_epoch = loop.inside_step = False
        for optimizer in loop.optimizers:
            optimizer.zero_grad()  # a fit that failed may have left some
        self.model.train()
        callbacks.execute("on_train_begin")
        self._agree_to_stop()
        self._resolve_hooks()
        while self.position is not None or not (loop.early_stop or self.length.is_complete()):
            began = time.monotonic()
            self._epoch()
            loop.epochs_done += 1
            self.losses.report(self.strategy.comm)
            self._validate()
            callbacks.execute("on_epoch_end")
            loop.message_service.end_of_epoch_trigger()
            self._close_epoch(time.monotonic() - began)
            self._agree_to_stop()
        if loop.test_loader is not None and loop.end_auto_eval:
            self._insert("train_end_test_loss", loop.evaluate_loss_on_test_set())
        callbacks.execute("on_train_end")
        loop.message_service.end_of_epoch_trigger()
        self._record()
        self._agree_to_stop()  # a signal may have come since the last epoch

    def _epoch(self) -> None:
        loop, strategy, model, updates = self.loop, self.strategy, self.model, self.updates
        start = self._begin_epoch()  # callbacks may replace the loader or the criterion there
        batches, last = self.data.batches, self.length.last_iteration()
        every, keep = loop.grad_accumulation, self.losses.keep
        loss_of = bound_loss(model, loop.criterion, strategy.device)
        bare = strategy.comm.world_size == 1 and _is_bare(strategy, model)
        updates.nominal_weight = batches.nominal_weight
        with closing(self._read(start)) as read:
            for batch in read:
                loop.iteration += 1
                loop.total_iteration_idx += 1
                loop.batch, loop.inside_step = batch, True
                for hook in self.batch_begin:
                    hook()

                updates.window += 1
                final = loop.total_iteration_idx == last
                update = updates.window == every or batches.is_last or final
                if bare:  # the same without contexts that do nothing
                    loss, weight = split_loss(loss_of(batch), batch)
                    keep(loss, weight)
                    updates.backward(loss, weight)
                else:
                    with strategy.micro(model, sync=update and not updates.defers):
                        idle = strategy.idle(model) if batches.is_filler else nullcontext()
                        with idle, strategy.forward():
                            loss, weight = split_loss(loss_of(batch), batch)
                        if batches.is_filler:
                            weight = 0  # a sample was repeated so that this process takes part
                        keep(loss, weight)
                        updates.backward(loss, weight)
                if update:
                    self._step()

                loop.inside_step = False
                for hook in self.batch_end:
                    hook()
                if update and (final or self._stopping()):
                    break
            else:
                self.data.check_end(loop.iteration + 1 - start)
        self._end_epoch()

    def _begin_epoch(self) -> int:
        """Make ready for an epoch, or for the rest of one; returns its first batch's number."""
        loop = self.loop
        loop.epoch, loop.iteration = loop.epochs_done, -1
        self.losses.begin_epoch()
        position, self.position = self.position, None
        if position is not None:
            self._go_on(position)
        else:
            loop.measured.begin_epoch()
            loop.callbacks_handler.execute("on_epoch_begin")
            self.data.begin_epoch()
        loop.inside_epoch = self.has_begun = True
        return loop.iteration + 1

    def _read(self, start: int) -> Generator[Any]:
        """The epoch's batches from one on; none, if the state was saved after the last of all."""
        if start and (self.loop.early_stop or self.length.has_all_iterations()):
            return
        try:
            yield from self.data.epoch(start)
        except Exception:
            self.is_between_steps = True
            self._heed_alone()  # a signal may have ended the loader's workers, too
            raise

    def _end_epoch(self) -> None:
        if self.updates.window:  # a loader without a length ended inside a window
            self._step()
        if self.guard is not None:
            self.guard.finish()
        self.loop.inside_epoch, self.loop.batch = False, None

    def _step(self) -> None:
        reports = self.updates.step()
        if self.guard is not None:
            self.guard.after_update(reports)

    def _stopping(self) -> bool:
        """Whether to end the epoch here; several processes do it at the same step or not at all."""
        wishes = self.updates.agreed_wishes
        if wishes is None:
            if self.interrupts.wish:
                self._heed_alone()
            return self.loop.early_stop
        if wishes.device.type == "cpu":
            return self._heed(float(wishes))
        self._stops.add(wishes > 0, wishes)  # read some steps later, without waiting
        return any(stop and self._heed(float(wishes)) for stop, wishes in self._stops.read())

    def _agree_to_stop(self) -> None:
        """Whether to go on, in all processes alike, where no message of a step tells."""
        if self.strategy.comm.world_size > 1:
            wishes = torch.tensor(self._wish(), dtype=torch.float64, device=self.strategy.device)
            self.loop.early_stop = self._heed(float(self.strategy.comm.all_reduce(wishes)))
        self._heed_alone()

    def ask_for_pause(self) -> None:
        """Have all processes call ``on_pause`` at the same step; only the first one's wish counts.

        On accelerators that is two steps later.
        """
        if self.strategy.comm.rank == 0:
            self._pause = PAUSE

    def _wish(self) -> float:
        """What this process adds to the sum that tells whether to stop; a pause is sent once."""
        pause, self._pause = self._pause, 0.0
        return self.interrupts.wish + self.loop.early_stop + pause

    def _heed_alone(self) -> None:
        """End one process's fit, if a signal has asked for it."""
        if self.interrupts.wish and self.strategy.comm.world_size == 1:
            self._heed(self.interrupts.wish)

    def _heed(self, wishes: float) -> bool:
        """Do what all processes have agreed on, between two steps; tells whether to stop.

        Raises:
            KeyboardInterrupt: When a process was interrupted.
            SystemExit: When a process was asked to end.
        """
        number = signal_in(wishes)
        if number is not None:
            self.loop.callbacks_handler.execute("on_interrupt", number)
            self.interrupted_by = number
            raise self.loop.exception_for_signal(number)
        if wishes % 1:
            self.loop.callbacks_handler.execute("on_pause")
        return wishes >= 1

    def _resolve_hooks(self) -> None:
        """Look up the hooks of the step once: bound methods of those that override them.

        What happens every n batches comes before the callbacks' hooks, so that they, and a state
        that one of them saves, have it.
        """
        loop = self.loop
        find = loop.callbacks_handler.hooks
        self.updates.resolve_hooks()
        self.batch_begin: list[Callable[[], object]] = [*find("on_batch_begin")]
        self.batch_end: list[Callable[[], object]] = [*find("on_batch_end")]
        if self.guard is not None:
            self.batch_begin.insert(0, self._before_window)
        if loop.settings.max_time is not None:
            self.batch_end.insert(0, self._look_at_the_clock)
        if loop.settings.eval_every:
            self.batch_end.insert(0, self._validate_inside)
        if self.progress.advance is not None:
            self.batch_end.append(self.progress.advance)

    def _before_window(self) -> None:
        assert self.guard is not None  # noqa: S101  # else this is no hook
        if self.updates.window == 0:
            self.guard.before_window()

    def _look_at_the_clock(self) -> None:
        if self.loop.settings.is_over():
            self.loop.early_stop = True

    # What is measured

    def _validate(self) -> None:
        loop = self.loop
        every = int(loop.end_auto_eval)
        if loop.validation_loader is not None and every and loop.epochs_done % every == 0:
            self._insert("val_loss", loop.evaluate_loss_on_validation_set())

    def _validate_inside(self) -> None:
        loop = self.loop
        if (loop.total_iteration_idx + 1) % loop.settings.eval_every == 0:
            self._insert("val_loss", loop.evaluate_loss_on_validation_set())
            loop.callbacks_handler.execute("on_validation_inside_epoch")
            self._record()

    def _insert(self, name: str, loss: float | dict[str, float]) -> None:
        """Put a loss, or each of several, into the history."""
        if isinstance(loss, dict):
            for part, value in loss.items():
                self.loop.measured.insert(f"{name}_{part}", value)
        else:
            self.loop.measured.insert(name, loss)

    def _record(self) -> None:
        self.loop.measured.record(self.loop.total_iteration_idx + 1, self.loop.epoch)

    def _close_epoch(self, seconds: float) -> None:
        """Record the epoch and write its line."""
        loop, final = self.loop, self.length.final_epoch()
        self._record()
        title = f"epoch {loop.epochs_done}{f'/{final}' if final else ''}  {seconds:.1f} s"
        self.progress.epoch_done(title, loop.measured.shown(loop.reported_metrics))

    # Inside an epoch: what an exact resume needs

    def position_of_all(self, ranks: Sequence[Tree]) -> Tree:
        """Where all processes are inside the epoch, from what `state_dict` gave in each."""
        return {
            "iteration": self.loop.iteration,
            "window": self.updates.window,
            "measured": self.loop.measured.epoch_state(),
            "ranks": list(ranks),
        }

    def state_dict(self) -> Tree:
        """Where this process is inside the epoch."""
        names = parameter_names(self.loop.model, self.loop.optimizers)
        in_window = self.updates.window > 0
        return {
            "losses": self.losses.state_dict(),
            "window": self.updates.state_dict(names),
            "guard": self.guard.state_dict(in_window=in_window) if self.guard else None,
            **self.data.state_dict(),
        }

    def _go_on(self, position: Tree) -> None:
        """Be where a saved fit was inside its epoch."""
        loop, own = self.loop, position["ranks"][self.strategy.comm.rank]
        loop.iteration = position["iteration"]
        loop.measured.load_epoch(position["measured"])
        self.losses.load_state_dict(own["losses"])
        self.updates.window = position["window"]
        names = parameter_names(loop.model, loop.optimizers)
        self.updates.load_state_dict(own["window"], names)
        self.data.load_state_dict(own)
        if self.guard is not None and own["guard"] is not None:
            self.guard.load_state_dict(own["guard"])


def _explain(error: BaseException, batch: Any, device: torch.device) -> None:
    """Add to torch's error about devices where the batch is."""
    devices = {str(tensor.device) for tensor in tensors_in(batch)}
    if isinstance(error, RuntimeError) and "device" in str(error) and devices - {str(device)}:
        error.add_note(
            f"The model is on {device}, the batch on {', '.join(sorted(devices))}: have get_loss "
            "move it, with tt_loop.to_device(batch_data, device)."
        )


def _is_bare(strategy: Strategy, model: nn.Module) -> bool:
    """Whether the strategy's contexts around a batch do nothing."""
    syncs = (strategy.micro(model, sync=sync) for sync in (True, False))
    return all(type(context) is nullcontext for context in (strategy.forward(), *syncs))
