"""Call a function at chosen moments of training."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tt_loop.callbacks.base import Callback
from tt_loop.errors import LoopTypeError, LoopValueError

if TYPE_CHECKING:
    from tt_loop.loop import TrainLoop

__all__ = ["FunctionOnTrainLoop"]


class FunctionOnTrainLoop(Callback):
    """Call a function with the loop at the hooks of these names; the others cost nothing.

    Args:
        fn_to_execute: Called with the `TrainLoop`; what it returns is dropped.
        tl_registration: Call it when the callback joins the loop.
        epoch_begin: Call it before each epoch.
        epoch_end: Call it after each epoch.
        train_begin: Call it before training.
        train_end: Call it after training.
        batch_begin: Call it before each batch.
        batch_end: Call it after each batch.
        after_gradient_update: Call it when an optimizer's gradients are complete.
        after_optimizer_step: Call it after each step.
        execution_order: As of each `Callback`.
        device_idx_execution: As of each `Callback`.

    Raises:
        LoopTypeError: For what cannot be called.
        LoopValueError: When no moment is chosen.

    Example:
        >>> shout = FunctionOnTrainLoop(lambda loop: print(loop.epoch), epoch_end=True)
    """

    def __init__(
        self,
        fn_to_execute: Callable[[TrainLoop], object],
        tl_registration: bool = False,
        epoch_begin: bool = False,
        epoch_end: bool = False,
        train_begin: bool = False,
        train_end: bool = False,
        batch_begin: bool = False,
        batch_end: bool = False,
        after_gradient_update: bool = False,
        after_optimizer_step: bool = False,
        execution_order: int = 0,
        device_idx_execution: int | None = None,
    ) -> None:
        super().__init__("Function on the train loop", execution_order, device_idx_execution)
        if not callable(fn_to_execute):
            msg = f"fn_to_execute must be callable, got {type(fn_to_execute).__name__}."
            raise LoopTypeError(msg)
        self.fn_to_execute = fn_to_execute
        moments = {
            "on_train_loop_registration": tl_registration,
            "on_epoch_begin": epoch_begin,
            "on_epoch_end": epoch_end,
            "on_train_begin": train_begin,
            "on_train_end": train_end,
            "on_batch_begin": batch_begin,
            "on_batch_end": batch_end,
            "on_after_gradient_update": after_gradient_update,
            "on_after_optimizer_step": after_optimizer_step,
        }
        if not any(moments.values()):
            msg = "FunctionOnTrainLoop needs a moment, such as epoch_end=True, got none."
            raise LoopValueError(msg)
        for hook, chosen in moments.items():
            if chosen:  # on the object: a hook of the class would be called at each step
                setattr(self, hook, self.execute_callback)

    def execute_callback(self, *_: Any) -> None:
        """Call the function."""
        self.fn_to_execute(self.train_loop_obj)
