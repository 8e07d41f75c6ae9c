"""From losses to updated weights: one optimizer step of a fit, or several."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tt_loop.errors import LoopTypeError, LoopValueError
from tt_loop.multi_loss_optim import MultiLoss, MultiOptimizer, parameters_of
from tt_loop.protocols import StepReport, Strategy, Tree

if TYPE_CHECKING:
    from tt_loop.callbacks.handler import Hook
    from tt_loop.loop import TrainLoop

__all__ = ["Updates"]


class Updates:
    """Adds up gradients over a window of batches and steps.

    Args:
        loop: The loop; its ``max_grad_norm`` counts.
        strategy: Where and how a step is executed.
        nominal_weight: Weight of a full batch.

    Attributes:
        window: Number of batches whose gradients wait for the next step.
        weight: Their total weight over the nominal one.
        agreed_stop: Whether any process wants to stop, as of the newest update, on many processes.
    """

    def __init__(self, loop: TrainLoop, strategy: Strategy, nominal_weight: float) -> None:
        self.loop, self.strategy, self.nominal_weight = loop, strategy, nominal_weight
        self.optimizers = loop.optimizers
        self.together = strategy.comm.world_size > 1
        self.weighted = self.together or loop.grad_accumulation > 1
        self.window = 0
        self.weight: Any = 0
        self.agreed_stop: Tensor | None = None
        self.require_finite = loop.nan_policy is not None
        self._several = isinstance(loop.optimizer, MultiOptimizer)
        self._parameters = [parameters_of(optimizer) for optimizer in self.optimizers]
        self._with_loss: set[int] | None = None  # the optimizers that a MultiLoss had losses for
        self.resolve_hooks()

    def resolve_hooks(self) -> None:
        """Look up the hooks of a step once."""
        find = self.loop.callbacks_handler.hooks
        self._gradient_hooks = find("on_after_gradient_update")
        self._step_hooks = find("on_before_optimizer_step")
        self._after_hooks = find("on_after_optimizer_step")
        self._on_gradients = [_bound(self._gradient_hooks, i) for i in range(len(self.optimizers))]
        self._before_step = [_bound(self._step_hooks, i) for i in range(len(self.optimizers))]

    def backward(self, loss: Any, weight: Any) -> None:
        """Add one batch's gradients; weighted sums are divided by their whole weight in `step`."""
        if self.weighted:
            share = weight / self.nominal_weight
            self.weight = self.weight + share
            loss = loss * share
        if isinstance(loss, MultiLoss):
            self._backward_several(loss)
        elif loss.requires_grad:
            self.strategy.backward(loss)
        else:
            raise LoopTypeError(_no_gradient("The loss"))

    def _backward_several(self, losses: MultiLoss) -> None:
        """Give each optimizer's parameters the gradients of its own losses and of no other."""
        if self.together:
            msg = (
                "Several losses with optimizers of their own train on one process only; on many, "
                "return their sum from get_loss."
            )
            raise LoopValueError(msg)
        by_optimizer = {
            number: loss
            for number, loss in losses.by_optimizer(len(self.optimizers)).items()
            if not self._several or self.loop.optimizer.is_due(number, self.loop.updates_done)
        }
        for number, loss in by_optimizer.items():
            if not loss.requires_grad:
                raise LoopTypeError(_no_gradient(f"The loss of optimizer {number}"))
        self._with_loss = (self._with_loss or set()) | set(by_optimizer)
        last = max(by_optimizer, default=None)
        for number, loss in by_optimizer.items():
            self.strategy.backward(
                loss,
                inputs=[p for p in self._parameters[number] if p.requires_grad],
                retain_graph=losses.retain_graph_until_last and number != last,
            )

    def step(self) -> list[StepReport | None]:
        """Step with every optimizer that has gradients; tells what each did."""
        scale = self._grad_scale() if self.weighted else None
        if self._several:
            reports = [
                self._apply(number, scale) if self._is_stepping(number) else None
                for number in range(len(self.optimizers))
            ]
        else:
            reports = [self._apply(0, scale)]
        self._with_loss, self.window, self.weight = None, 0, 0
        self.loop.updates_done += 1
        self.loop.reports = reports
        for hook in self._after_hooks:
            hook()
        return reports

    def _apply(self, number: int, scale: Tensor | float | None) -> StepReport:
        return self.strategy.apply(
            self.optimizers[number],
            grad_scale=scale,
            on_gradients=self._on_gradients[number],
            max_norm=self.loop.max_grad_norm,
            before_step=self._before_step[number],
            require_finite=self.require_finite,
        )

    def _is_stepping(self, number: int) -> bool:
        """Whether one of several optimizers takes part; the gradients of one that does not go."""
        if self._with_loss is not None:
            return number in self._with_loss
        if self.loop.optimizer.is_due(number, self.loop.updates_done):
            return True
        self.optimizers[number].zero_grad()
        return False

    def _grad_scale(self) -> Tensor | float:
        """One over the weight of the window's samples, in all processes.

        The one message of a step carries the weight and whether a process wants to stop.
        """
        if not self.together:
            return _inverse(self.weight)
        device = self.strategy.device
        values = (self.weight, float(self.loop.early_stop))
        message = torch.stack(
            [torch.as_tensor(value, dtype=torch.float64, device=device) for value in values]
        )
        total, self.agreed_stop = self.strategy.comm.all_reduce(message).unbind()
        return _inverse(total / self.strategy.comm.world_size)  # gradients are means over them

    # The window's part of an exact resume

    def state_dict(self, names: Mapping[int, str]) -> Tree:
        """The open window: its gradients by parameter name, its weight."""
        gradients = {
            names[id(parameter)]: parameter.grad
            for parameters in self._parameters
            for parameter in parameters
            if parameter.grad is not None
        }
        with_loss = None if self._with_loss is None else sorted(self._with_loss)
        return {"gradients": gradients, "weight": self.weight, "with_loss": with_loss}

    def load_state_dict(self, state: Tree, names: Mapping[int, str]) -> None:
        """Go on inside a window."""
        for parameters in self._parameters:
            for parameter in parameters:
                gradient = state["gradients"].get(names[id(parameter)])
                if gradient is not None:
                    parameter.grad = gradient.to(parameter.device, copy=True)
        self.weight = state["weight"]
        with_loss = state["with_loss"]
        self._with_loss = None if with_loss is None else set(with_loss)


def _bound(hooks: list[Hook], optimizer_idx: int) -> Callable[[], None] | None:
    """One function that calls the hooks of a step with the optimizer's number."""
    if not hooks:
        return None

    def call() -> None:
        for hook in hooks:
            hook(optimizer_idx)

    return call


def _inverse(weight: Tensor | float) -> Tensor | float:
    """One over a weight; a window of nothing has no gradient."""
    if isinstance(weight, Tensor):
        return torch.where(weight > 0, 1 / weight, 0.0)
    return 1 / weight if weight else 0.0


def _no_gradient(what: str) -> str:
    return (
        f"{what} must depend on parameters that require gradients, but it does not: check that "
        "get_loss neither detaches it nor computes it without gradients."
    )
