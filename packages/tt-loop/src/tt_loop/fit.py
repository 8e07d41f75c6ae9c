"""One fit under one strategy: the training loop itself.

`Fit` reads from top to bottom as the loop that everybody writes. What surrounds a step costs next
to nothing: hook lists hold only overridden hooks, what happens every n batches is a hook as well,
losses are kept as detached tensors and read once per epoch, and nothing in a step waits for an
accelerator.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from contextlib import closing, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tt_loop.data import Batches, empty_message, tensors_in
from tt_loop.errors import EmptyLoaderError
from tt_loop.evaluation import kept_modes, split_loss
from tt_loop.losses import LossRecord
from tt_loop.model import bound_loss
from tt_loop.nonfinite import NonFiniteGuard
from tt_loop.progress import make_progress
from tt_loop.protocols import RunInfo, Strategy, Tree
from tt_loop.rng import preserved_host_rng, rng_state, set_rng_state
from tt_loop.settings import ENDLESS
from tt_loop.state import parameter_names
from tt_loop.update import Updates

if TYPE_CHECKING:
    from tt_loop.loop import TrainLoop

__all__ = ["Fit"]

_log = logging.getLogger(__name__)


class Fit:
    """Trains a loop's model in this process, as its settings for this fit say.

    Args:
        loop: The loop; its public counters always tell where training is.
        strategy: Where and how a step is executed.
        model: The model that the strategy prepared.
        position: Where inside an epoch to go on, from a saved state; ``None`` begins an epoch.
    """

    def __init__(
        self, loop: TrainLoop, strategy: Strategy, model: nn.Module, position: Tree | None
    ) -> None:
        self.loop = loop
        self.strategy = strategy
        self.model: Any = model
        self.position = position
        self.rank, self.world_size = strategy.comm.rank, strategy.comm.world_size
        self._batches = self._made_batches()
        self.updates = Updates(loop, strategy, self.batches.nominal_weight)
        self.names = parameter_names(loop.model, loop.optimizers)
        self.losses: dict[str, LossRecord] = {}
        self.began_epoch: Tree | None = None
        self.loader_position: Tree | None = None
        self.guard: NonFiniteGuard | None = None
        if loop.nan_policy is not None:
            self.guard = NonFiniteGuard(loop, loop.model, loop.nan_policy)

    def _made_batches(self) -> Batches:
        loop, settings = self.loop, self.loop.settings
        return Batches(
            loop.train_loader,
            "training",
            rank=self.rank,
            world_size=self.world_size,
            seed=loop.seed,
            limit=settings.dry_run or settings.overfit or None,
            repeat=bool(settings.overfit),
        )

    @property
    def batches(self) -> Batches:
        """The batches of the loop's training loader, which a callback may have replaced."""
        if self._batches.loader is not self.loop.train_loader:
            self._batches = self._made_batches()
        return self._batches

    def run(self) -> None:
        """Train until the number of epochs or iterations is reached or the loop is stopped."""
        loop, main = self.loop, self.rank == 0
        with preserved_host_rng():  # a display's library may draw when it is imported
            progress = make_progress(loop.progress, self._batches_left(), shown=main)
        with kept_modes(self.model), progress as self.progress:
            loop.measured.open(self._run_info(), main=main)
            status = "completed"
            try:
                self._train()
            except BaseException as error:
                _explain(error, loop.batch, self.strategy.device)
                status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
                loop.measured.event("exception", {"type": type(error).__name__, "text": str(error)})
                loop.callbacks_handler.execute_on_exception(error)
                raise
            finally:
                loop.measured.close(status)

    def _run_info(self) -> RunInfo:
        return RunInfo(
            step=self.loop.total_iteration_idx + 1,
            epoch=self.loop.epochs_done,
            world_size=self.world_size,
            strategy=type(self.strategy).__name__,
        )

    def _train(self) -> None:
        loop, callbacks = self.loop, self.loop.callbacks_handler
        loop.inside_epoch = loop.inside_step = False
        for optimizer in loop.optimizers:
            optimizer.zero_grad()  # a fit that failed may have left some
        self.model.train()
        callbacks.execute("on_train_begin")
        loop.early_stop = self._anybody(loop.early_stop)
        self._resolve_hooks()
        while self.position is not None or not (loop.early_stop or self._is_complete()):
            began = time.monotonic()
            self._epoch()
            loop.epochs_done += 1
            self._report_losses()
            self._validate()
            callbacks.execute("on_epoch_end")
            loop.message_service.end_of_epoch_trigger()
            loop.early_stop = self._anybody(loop.early_stop)
            self._close_epoch(time.monotonic() - began)
        if loop.test_loader is not None and loop.end_auto_eval:
            self._insert("train_end_test_loss", loop.evaluate_loss_on_test_set())
        callbacks.execute("on_train_end")
        loop.message_service.end_of_epoch_trigger()
        self._record()

    def _epoch(self) -> None:
        loop, strategy, model, updates = self.loop, self.strategy, self.model, self.updates
        every, batches, last = loop.grad_accumulation, self.batches.sized, self._last_iteration()
        loss_of = bound_loss(model, loop.criterion, strategy.device)
        filler = batches - 1 if batches and self.batches.filler else -1
        bare = filler < 0 and _is_bare(strategy, model)
        updates.nominal_weight = self.batches.nominal_weight
        start = self._begin_epoch()
        with closing(self._read(start)) as read:
            for batch in read:
                loop.iteration += 1
                loop.total_iteration_idx += 1
                loop.batch, loop.inside_step = batch, True
                for hook in self.batch_begin:
                    hook()

                updates.window += 1
                final = loop.total_iteration_idx == last
                update = updates.window == every or loop.iteration + 1 == batches or final
                if bare:  # the same without contexts that do nothing
                    loss, weight = split_loss(loss_of(batch), batch)
                    self._keep(loss, weight)
                    updates.backward(loss, weight)
                else:
                    with strategy.micro(model, sync=update):
                        with strategy.forward():
                            loss, weight = split_loss(loss_of(batch), batch)
                        if loop.iteration == filler:
                            weight = 0  # the sample was repeated so that this process takes part
                        self._keep(loss, weight)
                        updates.backward(loss, weight)
                if update:
                    self._step()

                loop.inside_step = False
                for hook in self.batch_end:
                    hook()
                if update and (final or self._stopping()):
                    break
            else:
                self._compare_length(loop.iteration + 1 - start)
        self._end_epoch()

    def _begin_epoch(self) -> int:
        """Make ready for an epoch, or for the rest of one; returns its first batch's number."""
        loop = self.loop
        loop.epoch, loop.iteration = loop.epochs_done, -1
        self.losses = {}
        position, self.position = self.position, None
        if position is not None:
            self._go_on(position)
        else:
            loop.measured.begin_epoch()
            loop.callbacks_handler.execute("on_epoch_begin")
            self.began_epoch = None if self.batches.driven else rng_state(self.strategy.device)
        loop.inside_epoch = True
        loop.fit_under_way = self
        return loop.iteration + 1

    def _end_epoch(self) -> None:
        if self.loop.iteration < 0:
            raise EmptyLoaderError(empty_message("training", self.loop.train_loader))
        if self.updates.window:  # a loader without a length ended inside a window
            self._step()
        if self.guard is not None:
            self.guard.finish()
        self.loop.inside_epoch, self.loop.batch = False, None

    def _compare_length(self, read: int) -> None:
        """Tell of a loader whose length is not the number of its batches."""
        promised, whole = self.batches.sized, self.loop.iteration + 1
        if read and promised is not None and whole != promised:
            _log.warning("the training loader has length %d and gave %d batches", promised, whole)

    def _read(self, start: int) -> Generator[Any]:
        """The epoch's batches from one on."""
        if start and (self.loop.early_stop or self._has_all_iterations()):
            return  # the state was saved after the last batch of all
        if not start or self.batches.driven:
            yield from self.batches.epoch(self.loop.epoch, start)
            return
        # A loader that we do not drive: it goes to its own position, or draws from the global
        # generators what it drew before and gives the batches that are behind us once more.
        device, position = self.strategy.device, self.loader_position
        now = rng_state(device)
        if self.began_epoch is not None:
            set_rng_state(self.began_epoch, device)
        if position is not None:
            self.batches.go_to(position)
        read = self.batches.epoch(self.loop.epoch)
        for _ in range(start if position is None else 0):
            next(read, None)
        set_rng_state(now, device)
        yield from read

    def _keep(self, loss: Any, weight: Any) -> None:
        """Keep the loss of one batch for the epoch's mean."""
        if isinstance(loss, Tensor):
            self.loop.last_loss = kept = loss.detach()
            self._record_of("").add(kept, weight)
            return
        self.loop.last_loss = {name: value.detach() for name, value in loss.items()}
        for name, value in self.loop.last_loss.items():
            self._record_of(name).add(value, weight)

    def _record_of(self, name: str) -> LossRecord:
        record = self.losses.get(name)
        if record is None:
            record = LossRecord(self.strategy.device, skip_bad=self.guard is not None)
            self.losses[name] = record
        return record

    def _step(self) -> None:
        if self.guard is None:
            self.updates.step()
            return
        self.guard.after_update(self.updates.step())

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

    def _validate_inside(self) -> None:
        loop = self.loop
        every = loop.settings.eval_every
        if every and (loop.total_iteration_idx + 1) % every == 0:
            self._insert("val_loss", loop.evaluate_loss_on_validation_set())
            loop.callbacks_handler.execute("on_validation_inside_epoch")
            self._record()

    # The length of the fit

    def _last_iteration(self) -> int | None:
        """The ``total_iteration_idx`` with which this fit ends; ``None`` when epochs count."""
        loop = self.loop
        if not loop.num_iterations:
            return None
        return loop.fit_began["total_iteration_idx"] + loop.num_iterations

    def _epochs_left(self) -> int:
        return self.loop.num_epochs + self.loop.fit_began["epochs_done"] - self.loop.epochs_done

    def _has_all_iterations(self) -> bool:
        last = self._last_iteration()
        return last is not None and self.loop.total_iteration_idx >= last

    def _is_complete(self) -> bool:
        return self._has_all_iterations() if self.loop.num_iterations else self._epochs_left() <= 0

    def _batches_left(self) -> int | None:
        last = self._last_iteration()
        if last is not None:
            return last - self.loop.total_iteration_idx
        batches = self.batches.sized
        if batches is None or self.loop.num_epochs == ENDLESS:
            return None
        return self._epochs_left() * batches

    def num_updates(self) -> int | None:
        """Optimizer updates of this whole fit; ``None`` where the loader has no length."""
        loop, batches, every = self.loop, self.batches.sized, self.loop.grad_accumulation
        if loop.num_iterations:
            whole = loop.num_iterations if batches is None else batches
            epochs, rest = divmod(loop.num_iterations, whole)
        elif batches is None or loop.num_epochs == ENDLESS:
            return None
        else:
            whole, epochs, rest = batches, loop.num_epochs, 0
        return epochs * -(-whole // every) + -(-rest // every)

    def _stopping(self) -> bool:
        """Whether to end the epoch here; several processes do it at the same step or not at all."""
        stop = self.updates.agreed_stop
        if stop is None:
            return self.loop.early_stop
        # Reading the flag would make an accelerator wait: there the epoch's end decides.
        return stop.device.type == "cpu" and bool(stop)

    def _anybody(self, flag: bool) -> bool:
        if self.world_size == 1:
            return flag
        wanted = torch.tensor(float(flag), device=self.strategy.device)
        return bool(self.strategy.comm.all_reduce(wanted, "max"))

    # What an epoch gave

    def _report_losses(self) -> None:
        """Put the epoch's losses into the history.

        ``loss`` is the mean over the epoch's samples as they were while training: no second pass
        over the training data is made. The history has it as ``accumulated_loss`` too.
        """
        loop = self.loop
        for name, record in self.losses.items():
            suffix = f"_{name}" if name else ""
            mean = record.mean(self.strategy.comm)
            loop.train_history[f"accumulated_loss{suffix}"] = mean
            loop.measured.insert(f"loss{suffix}", mean)
            self._tell_of_bad(record)

    def _tell_of_bad(self, record: LossRecord) -> None:
        bad = record.first_bad()
        if bad is not None:
            _log.warning(
                "the loss of batch %d of epoch %d is not finite; the newest finite one before it "
                "was %g (TrainLoop(nan_policy=...) can stop, skip or roll back)",
                bad[0],
                self.loop.epoch,
                bad[1],
            )

    def _validate(self) -> None:
        loop = self.loop
        every = int(loop.end_auto_eval)
        if loop.validation_loader is not None and every and loop.epochs_done % every == 0:
            self._insert("val_loss", loop.evaluate_loss_on_validation_set())

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
        loop = self.loop
        self._record()
        counted = 0 < loop.num_epochs < ENDLESS
        of = f"/{loop.epochs_done + self._epochs_left()}" if counted else ""
        title = f"epoch {loop.epochs_done}{of}  {seconds:.1f} s"
        self.progress.epoch_done(title, loop.measured.shown(loop.reported_metrics))

    def newest_finite_loss(self) -> float:
        """The newest finite loss before the first one of this epoch that is not; NaN without."""
        found = [record.first_bad() for record in self.losses.values()]
        return next((good for bad in found if bad is not None for good in bad[1:]), float("nan"))

    # Inside an epoch: what an exact resume needs of this process

    def state_dict(self) -> Tree:
        """Where this process is inside an epoch."""
        return {
            "losses": {name: record.state_dict() for name, record in self.losses.items()},
            "window": self.updates.state_dict(self.names),
            "began_epoch": self.began_epoch,
            "loader": self.batches.position(),
        }

    def _go_on(self, position: Tree) -> None:
        """Be where a saved fit was inside its epoch."""
        loop = self.loop
        own = position["ranks"][self.rank]
        loop.iteration = position["iteration"]
        loop.measured.load_epoch(position["measured"])
        for name, state in own["losses"].items():
            self._record_of(name).load_state_dict(state)
        self.updates.window = position["window"]
        self.updates.load_state_dict(own["window"], self.names)
        self.began_epoch, self.loader_position = own["began_epoch"], own["loader"]


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
