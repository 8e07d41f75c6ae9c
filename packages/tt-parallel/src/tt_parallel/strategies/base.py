"""What the strategies have in common: everything but how the model is wrapped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tt_parallel.errors import ParallelValueError
from tt_parallel.precision.full import FullPrecision
from tt_parallel.precision.protocol import Precision
from tt_parallel.strategies.batch_norm import idle, unsynchronise
from tt_parallel.strategies.optimizer_state import named_state, numbered_state
from tt_parallel.strategies.step import Step, apply_step
from tt_parallel.strategies.wrappers import TTDataParallel, TTDistributedDataParallel

__all__ = ["Wrapped", "check_owned"]


class Wrapped:
    """What the strategies have in common: everything but how the model is wrapped."""

    def __init__(self, device: torch.device, precision: Precision | None) -> None:
        self.device = device
        self.precision: Precision = FullPrecision() if precision is None else precision

    def _make_ready(self, model: nn.Module, optimizers: Sequence[Optimizer]) -> None:
        model.to(self.device)
        for optimizer in optimizers:
            if _is_elsewhere(optimizer):  # loading puts each tensor where its parameter is
                optimizer.load_state_dict(optimizer.state_dict())
        self.precision.prepare(model, optimizers)

    def release(self, model: nn.Module, /) -> None:
        """Let the bare model's batch norms be those of a single process again."""
        unsynchronise(model)

    def forward(self) -> AbstractContextManager[Any]:
        """The precision's context."""
        return self.precision.forward()

    def backward(self, loss: Tensor, /, **options: Any) -> None:
        """Add the loss's gradients; options are those of `torch.Tensor.backward`."""
        self.precision.backward(loss, **options)

    def idle(self, model: nn.Module, /) -> AbstractContextManager[None]:
        """A context in which a forward pass adds nothing to synchronised batch norms."""
        return idle(model)

    def reduce_gradients(self, optimizer: Optimizer, /) -> None:
        """Average the gradients that `micro` kept in this process; one process has them all."""

    def apply(
        self,
        optimizer: Optimizer,
        /,
        *,
        grad_scale: Tensor | float | None = None,
        on_gradients: Callable[[], None] | None = None,
        max_norm: float | None = None,
        before_step: Callable[[], None] | None = None,
        require_finite: bool = False,
    ) -> Step:
        """See `apply_step`.

        Raises:
            ParallelStateError: When the gradients are those of this process only.
        """
        self._check_averaged(optimizer)
        step = apply_step(
            optimizer,
            self.precision,
            grad_scale=grad_scale,
            on_gradients=on_gradients,
            max_norm=max_norm,
            before_step=before_step,
            require_finite=require_finite,
        )
        self._stepped()
        return step

    def _check_averaged(self, optimizer: Optimizer) -> None:
        """Look whether the gradients are those of all processes."""

    def _stepped(self) -> None:
        """An optimizer has made a step, or left it out."""

    def evaluable(self, model: nn.Module, /) -> nn.Module:
        """The bare model: its forward needs no other process."""
        bare = (
            model.module.model
            if isinstance(model, TTDataParallel | TTDistributedDataParallel)
            else model
        )
        assert isinstance(bare, nn.Module)  # noqa: S101  # `prepare` has wrapped one
        return bare

    def eval_rounds(self, batches: int, /) -> int:
        """One forward pass per batch."""
        return batches

    def state_dict(self, model: nn.Module, optimizers: Sequence[Optimizer], /) -> dict[str, Any]:
        """The bare model's, the optimizers' and the precision's state, by parameter name."""
        return {
            "model": dict(model.state_dict()),
            "optimizers": [named_state(model, optimizer) for optimizer in optimizers],
            "precision": self.precision.state_dict(),
        }

    def load_state_dict(
        self, model: nn.Module, optimizers: Sequence[Optimizer], state: Mapping[str, Any], /
    ) -> None:
        """Load the parts that the state has."""
        if "model" in state:
            model.load_state_dict(state["model"])
        if "optimizers" in state:
            for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(numbered_state(model, optimizer, saved))
        if "precision" in state:
            self.precision.load_state_dict(state["precision"])


def check_owned(model: nn.Module, optimizers: Sequence[Optimizer]) -> None:
    """Look whether all that optimizers train is the model's.

    Raises:
        ParallelValueError: When one has other parameters: nobody would average their gradients.
    """
    own = {id(parameter) for parameter in model.parameters()}
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    if any(id(parameter) not in own for group in groups for parameter in group["params"]):
        msg = (
            "Several processes average the gradients of the model's parameters only, and the "
            "optimizer has others: make them the model's, as submodule or parameter, and make the "
            "optimizer of model.parameters()."
        )
        raise ParallelValueError(msg)


def _is_elsewhere(optimizer: Optimizer) -> bool:
    """Whether some of an optimizer's state is not where its parameter is."""
    return any(
        isinstance(value, Tensor) and value.ndim and value.device != parameter.device
        for parameter, state in optimizer.state.items()
        for value in state.values()
    )
