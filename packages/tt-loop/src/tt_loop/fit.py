"""One fit under one strategy: the training loop itself.

`Fit` reads from top to bottom as the loop that everybody writes. What surrounds a step costs next
to nothing: hook lists hold only overridden hooks, losses are kept as detached tensors and read
once per epoch, and nothing in a step waits for an accelerator.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tt_loop.data import Batches, empty_message
from tt_loop.errors import EmptyLoaderError, LoopTypeError
from tt_loop.evaluation import kept_modes, split_loss, weighted_mean
from tt_loop.progress import Progress
from tt_loop.protocols import RunInfo, Strategy

if TYPE_CHECKING:
    from tt_loop.loop import TrainLoop

__all__ = ["Fit"]


class Fit:
    """Trains a loop's model in this process, as its settings for this fit say.

    Args:
        loop: The loop; its public counters always tell where training is.
        strategy: Where and how a step is executed.
        model: The model that the strategy prepared.
    """

    def __init__(self, loop: TrainLoop, strategy: Strategy, model: nn.Module) -> None:
        self.loop = loop
        self.strategy = strategy
        self.model: Any = model
        self.rank, self.world_size = strategy.comm.rank, strategy.comm.world_size
        self.batches = Batches(
            loop.train_loader,
            "training",
            rank=self.rank,
            world_size=self.world_size,
            seed=loop.seed,
        )
        self.together = self.world_size > 1
        self.weighted = self.together or loop.grad_accumulation > 1
        self.losses: list[Tensor] = []
        self.weights: list[Any] = []
        self.stop_flag: Tensor | None = None

    def run(self) -> None:
        """Train until the number of epochs or iterations is reached or the loop is stopped."""
        loop, main = self.loop, self.rank == 0
        shown = loop.progress and main
        with kept_modes(self.model), Progress(self._batches_left(), shown=shown) as self.progress:
            loop.measured.open(self._run_info(), main=main)
            status = "completed"
            try:
                self._train()
            except BaseException as error:
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
        loop.early_stop = loop.inside_epoch = False
        loop.optimizer.zero_grad()  # a fit that failed may have left some
        self.model.train()
        callbacks.execute("on_train_begin")
        loop.early_stop = self._anybody(loop.early_stop)
        self._resolve_hooks()
        while not (loop.early_stop or self._is_complete()):
            began = time.monotonic()
            loop.epoch = loop.epochs_done
            loop.measured.begin_epoch()
            callbacks.execute("on_epoch_begin")
            loop.inside_epoch = True
            self._epoch()
            loop.inside_epoch = False
            loop.epochs_done += 1
            self._evaluate()
            callbacks.execute("on_epoch_end")
            loop.early_stop = self._anybody(loop.early_stop)
            self._close_epoch(time.monotonic() - began)
        if loop.test_loader is not None and loop.end_auto_eval:
            loop.measured.insert("train_end_test_loss", loop.evaluate_loss_on_test_set())
        callbacks.execute("on_train_end")
        self._record()

    def _final_iteration(self) -> int | None:
        """The ``total_iteration_idx`` with which this fit ends; ``None`` when epochs count."""
        loop = self.loop
        if not loop.num_iterations:
            return None
        return loop.fit_began["total_iteration_idx"] + loop.num_iterations

    def _epochs_left(self) -> int:
        return self.loop.num_epochs + self.loop.fit_began["epochs_done"] - self.loop.epochs_done

    def _is_complete(self) -> bool:
        final = self._final_iteration()
        return self._epochs_left() <= 0 if final is None else self.loop.total_iteration_idx >= final

    def _batches_left(self) -> int | None:
        final = self._final_iteration()
        if final is not None:
            return final - self.loop.total_iteration_idx
        batches = self.batches.sized
        return None if batches is None else self._epochs_left() * batches

    def _evaluate(self) -> None:
        """Put the epoch's losses into the history.

        ``loss`` is the mean over the epoch's samples as they were while training: no second pass
        over the training data is made. The history has it as ``accumulated_loss`` too.
        """
        loop = self.loop
        train_loss = weighted_mean(self.losses, self.weights, self.strategy)
        loop.train_history["accumulated_loss"] = train_loss
        loop.measured.insert("loss", train_loss)
        every = int(loop.end_auto_eval)
        if loop.validation_loader is not None and every and loop.epochs_done % every == 0:
            loop.measured.insert("val_loss", loop.evaluate_loss_on_validation_set())

    def _record(self) -> None:
        self.loop.measured.record(self.loop.total_iteration_idx + 1, self.loop.epoch)

    def _close_epoch(self, seconds: float) -> None:
        """Record the epoch and write its line."""
        loop = self.loop
        self._record()
        of = f"/{loop.epochs_done + self._epochs_left()}" if loop.num_epochs else ""
        title = f"epoch {loop.epochs_done}{of}  {seconds:.1f} s"
        self.progress.epoch_done(title, loop.measured.shown(loop.reported_metrics))

    def _resolve_hooks(self) -> None:
        """Look up the hooks of the step once: bound methods of those that override them."""
        names = ("batch_begin", "after_gradient_update", "after_optimizer_step", "batch_end")
        hooks = [self.loop.callbacks_handler.hooks(f"on_{name}", self.rank) for name in names]
        self.batch_begin, self.gradient_hooks, self.after_step, self.batch_end = hooks

    def _epoch(self) -> None:
        loop, strategy, model = self.loop, self.strategy, self.model
        criterion, device, every = loop.criterion, strategy.device, loop.grad_accumulation
        batches, final_iteration = self.batches.sized, self._final_iteration()
        self.losses, self.weights = [], []
        window = 0
        loop.iteration = -1
        for batch in self.batches.epoch(loop.epoch):
            loop.iteration += 1
            loop.total_iteration_idx += 1
            for hook in self.batch_begin:
                hook()

            window += 1
            final = loop.total_iteration_idx == final_iteration
            update = window == every or loop.iteration + 1 == batches or final
            with strategy.micro(model, sync=update):
                with strategy.forward():
                    loss, weight = split_loss(model.get_loss(batch, criterion, device), batch)
                self._backward(loss, weight)
            if update:
                self._update(window)
                window = 0

            for hook in self.batch_end:
                hook()
            self.progress.advance()
            if update and (final or self._stopping()):
                break
        if loop.iteration < 0:
            raise EmptyLoaderError(empty_message("training"))
        if window:  # a loader without a length ended inside a window
            self._update(window)

    def _backward(self, loss: Tensor, weight: Any) -> None:
        """Backward of one micro-batch; its loss is kept for the epoch's mean."""
        if not loss.requires_grad:
            msg = (
                "The loss must depend on parameters that require gradients, but it does not: "
                "check that get_loss neither detaches it nor computes it without gradients."
            )
            raise LoopTypeError(msg)
        if self.batches.filler and self.loop.iteration + 1 == self.batches.sized:
            weight = 0  # the sample was repeated so that this process takes part
        self.losses.append(loss.detach())
        self.weights.append(weight)
        if self.weighted:  # a sum over the window; `_grad_scale` divides by its whole weight
            loss = loss * (weight / self.batches.nominal_weight)
        self.strategy.backward(loss)

    def _update(self, window: int) -> None:
        self.strategy.apply(
            self.loop.optimizer,
            grad_scale=self._grad_scale(window) if self.weighted else None,
            max_norm=self.loop.max_grad_norm,
            before_step=self._show_gradients if self.gradient_hooks else None,
        )
        for hook in self.after_step:
            hook()

    def _show_gradients(self) -> None:
        for hook in self.gradient_hooks:
            hook(0)

    def _grad_scale(self, window: int) -> Tensor | float:
        """One over the weight of the window's samples, in all processes.

        The one message of a step carries the weight and whether a process wants to stop.
        """
        weight = sum(self.weights[-window:]) / self.batches.nominal_weight
        if not self.together:
            return _inverse(weight)
        wants_stop = float(self.loop.early_stop)
        device = self.strategy.device
        message = torch.stack(
            [
                torch.as_tensor(value, dtype=torch.float64, device=device)
                for value in (weight, wants_stop)
            ]
        )
        total, self.stop_flag = self.strategy.comm.all_reduce(message).unbind()
        return _inverse(total) * self.world_size  # gradients are means over the processes

    def _stopping(self) -> bool:
        """Whether to end the epoch here; several processes do it at the same step or not at all."""
        if self.stop_flag is None:
            return self.loop.early_stop
        # Reading the flag would make an accelerator wait: there the epoch's end decides.
        return self.stop_flag.device.type == "cpu" and bool(self.stop_flag)

    def _anybody(self, flag: bool) -> bool:
        wanted = torch.tensor(float(flag), device=self.strategy.device)
        return bool(self.strategy.comm.all_reduce(wanted, "max")) if self.together else flag


def _inverse(weight: Tensor | float) -> Tensor | float:
    """One over a weight; a window of nothing has no gradient."""
    if isinstance(weight, Tensor):
        return torch.where(weight > 0, 1 / weight, 0.0)
    return 1 / weight if weight else 0.0
