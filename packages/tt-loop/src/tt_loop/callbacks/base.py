"""The base class of callbacks: each hook says when it is called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from tt_loop.protocols import Tree

if TYPE_CHECKING:
    from tt_loop.loop import TrainLoop

__all__ = ["AbstractCallback", "Callback", "overrides"]


class Callback:
    """Something that happens beside training. Override the hooks you need; only those are called.

    Args:
        callback_name: What the callback is called in lists and errors.
        execution_order: Callbacks run in ascending order; equal ones in the order given.
        device_idx_execution: Run only in the process of this rank; ``None`` runs in all. Such a
            callback must not call what communicates (evaluation, `TrainLoop.state_dict`).

    Attributes:
        train_loop_obj: The loop, from registration on.
        may_change_weights: Its hooks may change parameters or optimizer states, so that a
            checkpoint is waited for before they are called. A class that only looks says
            ``False``: training then goes on while its state is still being copied.
    """

    may_change_weights = True

    def __init__(
        self,
        callback_name: str,
        execution_order: int = 0,
        device_idx_execution: int | None = None,
    ) -> None:
        self.callback_name = callback_name
        self.execution_order = execution_order
        self.device_idx_execution = device_idx_execution
        self.train_loop_obj: TrainLoop = None  # type: ignore[assignment]  # set at registration, before any hook

    def register_train_loop_object(self, train_loop_obj: TrainLoop) -> Self:
        """Take the loop and call `on_train_loop_registration`."""
        self.train_loop_obj = train_loop_obj
        self.on_train_loop_registration()
        return self

    def on_train_loop_registration(self) -> None:
        """Once, when the callback joins a loop: in the process that called ``fit``."""

    def on_multiprocess_start(self) -> None:
        """In each process that a fit started, before the model is prepared."""

    def on_train_begin(self) -> None:
        """When everything is ready and no batch has been read."""

    def on_epoch_begin(self) -> None:
        """Before an epoch's first batch; not when a fit goes on inside a saved epoch."""

    def on_batch_begin(self) -> None:
        """Before a batch's loss."""

    def on_after_gradient_update(self, optimizer_idx: int) -> None:
        """When an optimizer's gradients are complete and of true size, before they are clipped."""

    def on_before_optimizer_step(self, optimizer_idx: int) -> None:
        """Right before an optimizer's step: its gradients are as the step will use them."""

    def on_after_optimizer_step(self) -> None:
        """After the optimizer's step."""

    def on_batch_end(self) -> None:
        """After a batch."""

    def on_after_batch_prediction(
        self, y_pred_batch: Any, y_test_batch: Any, metadata_batch: Any, dataset_info: Any
    ) -> None:
        """After each batch that is predicted with ``execute_callbacks=True``."""

    def on_evaluate_begin(self, dataset_info: Any) -> None:
        """Before each pass over data that computes losses, predictions or metrics."""

    def on_evaluate_end(self, dataset_info: Any) -> None:
        """After such a pass, also after one that failed."""

    def on_validation_inside_epoch(self) -> None:
        """After a validation that ``fit(eval_every=n)`` asked for; the history has its loss."""

    def on_epoch_end(self) -> None:
        """After an epoch and its automatic evaluation."""

    def on_train_end(self) -> None:
        """After the last epoch, when the model is trained."""

    def on_pause(self) -> None:
        """Between two steps, in all processes alike, after a fit of several was asked for it."""

    def on_interrupt(self, number: int) -> None:
        """Between two steps, in all processes alike: a signal asked to end, and the fit ends now.

        The state can be taken here. Where a callback has this hook, a fit on one process finishes
        its step after a signal, too, instead of breaking off inside it.
        """

    def on_exception(self, exception: BaseException) -> None:
        """When training ends by an exception or Ctrl-C, which goes on afterwards."""

    def state_dict(self) -> Tree:
        """What has to be saved for an exact resume; nothing by default.

        Of a fit in other processes, it is also all that comes back to the caller's callback.
        """
        return {}

    def load_state_dict(self, state: Tree) -> None:
        """Restore what `state_dict` gave."""


def overrides(callback: Callback, name: str) -> bool:
    """Whether a callback has a hook of its own."""
    method = getattr(callback, name)
    return getattr(method, "__func__", method) is not getattr(Callback, name)


AbstractCallback = Callback
"""AIToolbox's name for `Callback`."""
