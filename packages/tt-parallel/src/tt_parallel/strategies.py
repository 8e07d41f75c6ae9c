"""How one optimizer step is executed on several devices; they fit tt-loop's ``Strategy``.

They serve a hand-written loop as well::

    strategy = DistributedStrategy(torch.device("cpu"))
    model = strategy.prepare(model, [optimizer])
    for batch in batches:
        with strategy.micro(model, sync=True):
            with strategy.forward():
                loss = model.get_loss(batch, criterion, strategy.device)
            strategy.backward(loss)
        strategy.apply(optimizer, max_norm=1.0)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tt_parallel.collective import ProcessGroup
from tt_parallel.errors import ParallelValueError
from tt_parallel.optimizer_state import named_state, numbered_state
from tt_parallel.precision import FullPrecision
from tt_parallel.wrappers import TTDataParallel, TTDistributedDataParallel

__all__ = ["DataParallelStrategy", "DistributedStrategy", "OneProcess", "Step", "apply_step"]

T = TypeVar("T")


class _Precision(Protocol):
    """What a strategy needs of a precision; `FullPrecision` and `TorchAmp` fit."""

    def forward(self) -> AbstractContextManager[Any]: ...
    def scale(self, loss: Tensor, /) -> Tensor: ...
    def unscale(self, optimizer: Optimizer, /) -> None: ...
    def step(self, optimizer: Optimizer, /) -> Tensor | bool: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any], /) -> None: ...


class Step(NamedTuple):
    """What a step did."""

    skipped: Tensor | bool
    grad_norm: Tensor | None


class OneProcess:
    """The collective of a single process."""

    rank = 0
    world_size = 1

    def all_reduce(self, tensor: Tensor, op: Literal["sum", "max", "min"] = "sum", /) -> Tensor:  # noqa: ARG002  # one value is its own sum and maximum
        """Return the tensor."""
        return tensor

    def gather_objects(self, obj: T, /) -> list[T] | None:
        """Return the object as the only one."""
        return [obj]

    def broadcast_object(self, obj: T, /) -> T:
        """Return the object."""
        return obj

    def barrier(self) -> None:
        """Return at once."""


def apply_step(
    optimizer: Optimizer,
    precision: _Precision,
    *,
    grad_scale: Tensor | float | None = None,
    on_gradients: Callable[[], None] | None = None,
    max_norm: float | None = None,
    before_step: Callable[[], None] | None = None,
    require_finite: bool = False,
) -> Step:
    """Unscale, normalise, show, clip, show, step or skip, and zero: in this order.

    Args:
        optimizer: Its parameters hold the gradients of the whole window.
        precision: Scales losses and decides whether the step can be made.
        grad_scale: Factor for the gradients.
        on_gradients: Called with true-size gradients, before they are clipped.
        max_norm: Largest total 2-norm of the gradients.
        before_step: Called with the gradients that the step will use.
        require_finite: Leave the step out when the gradients' total norm is not finite; the
            gradients are the same in all processes, and so is the decision.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    gradients = [p.grad for p in parameters if p.grad is not None]
    precision.unscale(optimizer)
    if grad_scale is not None and gradients:
        torch._foreach_mul_(gradients, grad_scale)
    if on_gradients is not None:
        on_gradients()
    norm = None
    if max_norm:
        norm = nn.utils.clip_grad_norm_(parameters, max_norm)
    elif require_finite:
        norm = nn.utils.get_total_norm(gradients)
    if before_step is not None:
        before_step()
    if norm is not None and require_finite:
        skipped = _step_if(norm.isfinite(), optimizer, precision)
    else:
        skipped = precision.step(optimizer)
    optimizer.zero_grad()
    return Step(skipped, norm)


def _step_if(finite: Tensor, optimizer: Optimizer, precision: _Precision) -> Tensor | bool:
    """Step if the gradients are finite; tells whether the step was left out.

    A fused optimizer leaves its step out on the device, as it does for a ``GradScaler``. For any
    other the flag is read, for which an accelerator makes the program wait.
    """
    if type(precision) is FullPrecision and _leaves_steps_out(optimizer):
        fused: Any = optimizer
        fused.grad_scale, fused.found_inf = None, (~finite).to(torch.float32)
        try:
            optimizer.step()
        finally:
            del fused.grad_scale, fused.found_inf
        return ~finite
    is_finite = bool(finite)
    if not is_finite:
        if type(precision) is FullPrecision:
            return True
        optimizer.zero_grad()  # without gradients a step does nothing, and loss scaling adapts
    skipped = precision.step(optimizer)
    return skipped if is_finite else True


def _is_elsewhere(optimizer: Optimizer) -> bool:
    """Whether some of an optimizer's state is not where its parameter is."""
    return any(
        isinstance(value, Tensor) and value.ndim and value.device != parameter.device
        for parameter, state in optimizer.state.items()
        for value in state.values()
    )


def _leaves_steps_out(optimizer: Optimizer) -> bool:
    """Whether an optimizer can leave a step out on the device."""
    if not getattr(optimizer, "_step_supports_amp_scaling", False):
        return False
    # torch's fused SGD keeps, of a first step that is left out, momentum that it has not computed.
    return bool(optimizer.state) or not any(g.get("momentum") for g in optimizer.param_groups)


class _Wrapped:
    """What the strategies have in common: everything but how the model is wrapped."""

    def __init__(self, device: torch.device, precision: _Precision | None) -> None:
        self.device = device
        self.precision: _Precision = FullPrecision() if precision is None else precision

    def _to_device(self, model: nn.Module, optimizers: Sequence[Optimizer]) -> None:
        model.to(self.device)
        for optimizer in optimizers:
            if _is_elsewhere(optimizer):  # loading puts each tensor where its parameter is
                optimizer.load_state_dict(optimizer.state_dict())

    def forward(self) -> AbstractContextManager[Any]:
        """The precision's context."""
        return self.precision.forward()

    def backward(self, loss: Tensor, /, **options: Any) -> None:
        """Add the loss's gradients; options are those of `torch.Tensor.backward`."""
        self.precision.scale(loss).backward(**options)  # type: ignore[no-untyped-call]  # torch's own

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
        """See `apply_step`."""
        return apply_step(
            optimizer,
            self.precision,
            grad_scale=grad_scale,
            on_gradients=on_gradients,
            max_norm=max_norm,
            before_step=before_step,
            require_finite=require_finite,
        )

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


class DataParallelStrategy(_Wrapped):
    """One process, all CUDA devices: each computes a part of every batch. Without CUDA, the CPU.

    Args:
        device: The device that holds the parameters.
        precision: Mixed precision; by default none.
        **options: Options of `torch.nn.DataParallel`.
    """

    def __init__(
        self, device: torch.device, precision: _Precision | None = None, **options: Any
    ) -> None:
        super().__init__(device, precision)
        self.options = options
        self.comm = OneProcess()

    def prepare(self, model: nn.Module, optimizers: Sequence[Optimizer], /) -> nn.Module:
        """Move the model to the device and wrap it."""
        self._to_device(model, optimizers)
        return TTDataParallel(model, context=self.precision.forward, **self.options)

    def micro(self, model: nn.Module, /, *, sync: bool) -> AbstractContextManager[None]:  # noqa: ARG002  # replicas are made anew for each batch
        """A context without effect."""
        return nullcontext()


class DistributedStrategy(_Wrapped):
    """One process per device, gradients averaged over the processes of the default group.

    Args:
        device: This process's device.
        precision: Mixed precision; by default none.
        **options: Options of `torch.nn.parallel.DistributedDataParallel`.
    """

    def __init__(
        self, device: torch.device, precision: _Precision | None = None, **options: Any
    ) -> None:
        super().__init__(device, precision)
        self.options = options
        self.comm = ProcessGroup()

    def prepare(self, model: nn.Module, optimizers: Sequence[Optimizer], /) -> nn.Module:
        """Move the model to the device, wrap it, and give every process the weights of rank 0.

        Raises:
            ParallelValueError: When an optimizer has parameters that are not the model's: nobody
                would average their gradients.
        """
        own = {id(parameter) for parameter in model.parameters()}
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        if any(id(parameter) not in own for group in groups for parameter in group["params"]):
            msg = (
                "Several processes average the gradients of the model's parameters only, and the "
                "optimizer has others: make them the model's, as submodule or parameter."
            )
            raise ParallelValueError(msg)
        self._to_device(model, optimizers)
        device_ids = None if self.device.type == "cpu" else [self.device]
        return TTDistributedDataParallel(model, device_ids=device_ids, **self.options)

    def micro(self, model: nn.Module, /, *, sync: bool) -> AbstractContextManager[None]:
        """Without ``sync`` the gradients stay in this process until a later backward pass."""
        if sync:
            return nullcontext()
        context: AbstractContextManager[None] = model.no_sync()  # type: ignore[operator]  # what `prepare` gave
        return context
