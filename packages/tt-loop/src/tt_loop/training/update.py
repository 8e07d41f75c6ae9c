"""From losses to updated weights: one optimizer step of a fit, or several."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tt_loop.errors import LoopTypeError
from tt_loop.protocols import StepReport, Strategy, Tree
from tt_loop.training.gradients import forget_gradients, parameters_of
from tt_loop.training.multi_loss_optim import MultiLoss, MultiOptimizer

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
        wish: What this process adds to the sum that tells whether to stop.

    Attributes:
        window: Number of batches whose gradients wait for the next step.
        weight: Their total weight over the nominal one.
        weights: The same of those batches that had a loss for one of several optimizers, by its
            number; the optimizers that are missing do not step.
        agreed_wishes: The sum over the processes of what they wish, as of the newest update.
        defers: Gradients stay in their process until the step, since each optimizer has some of
            its own losses.
    """

    def __init__(
        self,
        loop: TrainLoop,
        strategy: Strategy,
        nominal_weight: float,
        wish: Callable[[], float],
    ) -> None:
        self.loop, self.strategy, self.nominal_weight = loop, strategy, nominal_weight
        self.optimizers = loop.optimizers
        self.together = strategy.comm.world_size > 1
        self.weighted = self.together or loop.grad_accumulation > 1
        self.window = 0
        self.weight: Any = 0
        self.weights: dict[int, Any] = {}
        self._wish = wish
        self.agreed_wishes: Tensor | None = None
        self.require_finite = loop.nan_policy is not None
        self._holds = loop.nan_policy == "stop"
        self._backward = strategy.backward
        self._several = isinstance(loop.optimizer, MultiOptimizer)
        self.defers = self._several and self.together
        self._parameters = [parameters_of(optimizer) for optimizer in self.optimizers]
        self._lending = loop.lending
        self._stopped: Tensor | None = None  # NaN once a step was left out for good, else 1
        self.resolve_hooks()

    def resolve_hooks(self) -> None:
        """Look up the hooks of a step once."""
        find = self.loop.callbacks_handler.hooks
        gradient_hooks = find("on_after_gradient_update")
        step_hooks = find("on_before_optimizer_step")
        self._after_hooks = find("on_after_optimizer_step")
        self._on_gradients = [_bound(gradient_hooks, i) for i in range(len(self.optimizers))]
        self._before_step = [_bound(step_hooks, i) for i in range(len(self.optimizers))]

    def backward(self, loss: Any, weight: Any) -> None:
        """Add one batch's gradients; weighted sums are divided by their whole weight in `step`."""
        share: Any = 0
        if self.weighted:
            share = weight / self.nominal_weight
            self.weight = self.weight + share
            if isinstance(share, Tensor) or share != 1:  # most batches are full
                loss = loss * share
        if not isinstance(loss, Tensor):
            if self._several:
                self._backward_several(loss, share)
                return
            (loss,) = loss.by_optimizer(1).values()  # all losses are the only optimizer's
        if loss.requires_grad:
            if self._several:
                self._note(filter(self._is_due, range(len(self.optimizers))), share)
            self._backward(loss)
        else:
            raise LoopTypeError(_no_gradient("The loss"))

    def _backward_several(self, losses: MultiLoss, share: Any) -> None:
        """Give each optimizer's parameters the gradients of its own losses and of no other."""
        by_optimizer = {
            number: loss
            for number, loss in losses.by_optimizer(len(self.optimizers)).items()
            if self._is_due(number)
        }
        self._note(by_optimizer, share)
        for left, (number, loss) in enumerate(by_optimizer.items(), 1 - len(by_optimizer)):
            trained = [p for p in self._parameters[number] if p.requires_grad]
            if not (loss.requires_grad and trained):
                raise LoopTypeError(_no_gradient(f"The loss of optimizer {number}"))
            keep = losses.retain_graph_until_last and left < 0
            self._backward(loss, inputs=trained, retain_graph=keep)

    def _is_due(self, number: int) -> bool:
        due: bool = self.loop.optimizer.is_due(number, self.loop.updates_done)
        return due

    def _note(self, numbers: Iterable[int], share: Any) -> None:
        for number in numbers:
            self.weights[number] = self.weights.get(number, 0) + share

    def step(self) -> list[StepReport | None]:
        """Step with every optimizer that has gradients; tells what each did."""
        if self._lending.waits:
            self._lending.end()
        if self._several:
            scales = self._scales()
            reports = [self._step_one(number, scales) for number in range(len(self.optimizers))]
        else:
            reports = [self._apply(0, self._grad_scale() if self.weighted else None)]
        if self._holds:
            self._hold(reports)
        self.weights, self.window, self.weight = {}, 0, 0
        self.loop.updates_done += 1
        self.loop.reports = reports
        for hook in self._after_hooks:
            hook()
        return reports

    def _scales(self) -> dict[int, Tensor | float | None]:
        """The factors of the gradients of those of several optimizers that take part."""
        if not self.weighted:
            return dict.fromkeys(self.weights)
        if not self.together:
            return {number: _inverse(weight) for number, weight in self.weights.items()}
        numbers = range(len(self.optimizers))
        *totals, self.agreed_wishes = self._sums(
            *(self.weights.get(number, 0) for number in numbers), self._wish()
        ).unbind()
        # An optimizer may have had its loss in another process only: all have to know.
        scale = self.strategy.comm.world_size
        known = zip(numbers, torch.stack(totals).tolist(), strict=True)
        return {number: scale / total for number, total in known if total}

    def _step_one(
        self, number: int, scales: Mapping[int, Tensor | float | None]
    ) -> StepReport | None:
        """Step with one of several optimizers, if it takes part."""
        optimizer = self.optimizers[number]
        if number not in scales:
            forget_gradients(optimizer)  # a plain loss gave some to all
            return None
        if self.defers:
            self.strategy.reduce_gradients(optimizer)
        return self._apply(number, scales[number])

    def _hold(self, reports: list[StepReport | None]) -> None:
        """Make no step any more after one whose flag stays on the device and is read later."""
        for report in reports:
            if report is not None and isinstance(report.skipped, Tensor):
                held = 1.0 if self._stopped is None else self._stopped
                self._stopped = torch.where(report.skipped, float("nan"), held)

    def _apply(self, number: int, scale: Tensor | float | None) -> StepReport:
        if self._stopped is not None:
            scale = self._stopped if scale is None else self._stopped * scale
        return self.strategy.apply(
            self.optimizers[number],
            grad_scale=scale,
            on_gradients=self._on_gradients[number],
            max_norm=self.loop.max_grad_norm,
            before_step=self._before_step[number],
            require_finite=self.require_finite,
        )

    def _grad_scale(self) -> Tensor | float | None:
        """One over the weight of the window's samples, in all processes.

        The one message of a step carries the weight and whether a process wants to stop.
        """
        if not self.together:
            return _inverse(self.weight)
        total, self.agreed_wishes = self._sums(self.weight, self._wish()).unbind()
        mean = total / self.strategy.comm.world_size  # as gradients are means over them
        if mean.device.type != "cpu":
            return _inverse(mean)
        return None if mean == 1 else _inverse(mean.item())  # reading it does not wait

    def _sums(self, *values: Any) -> Tensor:
        """The sums of some values over the processes: a step's one message."""
        device = self.strategy.device
        if any(isinstance(value, Tensor) for value in values):
            message = torch.stack(
                [torch.as_tensor(value).to(device, torch.float64) for value in values]
            )
        else:
            message = torch.tensor(values, dtype=torch.float64).to(device, non_blocking=True)
        return self.strategy.comm.all_reduce(message)

    # The window's part of an exact resume

    def state_dict(self, names: Mapping[int, str]) -> Tree:
        """The open window: its gradients by parameter name, its weight."""
        gradients = {
            names[id(parameter)]: parameter.grad
            for parameters in self._parameters
            for parameter in parameters
            if parameter.grad is not None
        }
        weights = [self.weights.get(number) for number in range(len(self.optimizers))]
        return {
            "gradients": gradients,
            "weight": self.weight,
            "weights": weights,
            "nominal": self.nominal_weight,
        }

    def load_state_dict(self, state: Tree, names: Mapping[int, str]) -> None:
        """Go on inside a window, perhaps with another nominal weight."""
        share = state["nominal"] / self.nominal_weight
        for parameters in self._parameters:
            for parameter in parameters:
                gradient = state["gradients"].get(names[id(parameter)])
                if gradient is not None:
                    parameter.grad = gradient.to(parameter.device, copy=True).mul_(share)
        self.weight = state["weight"] * share
        weights = enumerate(state["weights"])
        self.weights = {n: weight * share for n, weight in weights if weight is not None}


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
