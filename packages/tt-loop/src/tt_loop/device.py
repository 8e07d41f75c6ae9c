"""One process, one device: the strategy that tt-loop brings itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tt_loop.errors import LoopStateError, LoopValueError
from tt_loop.protocols import Launcher, Precision, Strategy, Tree
from tt_loop.training.gradients import forget_gradients, parameters_of
from tt_loop.training.skipping import can_leave_steps_out, left_out_if

__all__ = [
    "FullPrecision",
    "InProcess",
    "LocalCollective",
    "SingleDevice",
    "default_device",
    "single",
]

T = TypeVar("T")

_NOTHING: AbstractContextManager[None] = nullcontext()  # holds no state, so one serves every step


class Step(NamedTuple):
    """What a step did."""

    skipped: Tensor | bool
    grad_norm: Tensor | None


_STEPPED = Step(skipped=False, grad_norm=None)


def default_device(cuda_device_idx: int | None = None) -> torch.device:
    """The CUDA device asked for, else the first accelerator there is, else the CPU."""
    if cuda_device_idx is not None:
        count = torch.cuda.device_count()
        if not 0 <= cuda_device_idx < count:
            msg = (
                f"cuda_device_idx must name one of the {count} CUDA devices, got {cuda_device_idx}."
            )
            raise LoopValueError(msg)
        return torch.device("cuda", cuda_device_idx)
    found = torch.accelerator.current_accelerator(check_available=True)
    return torch.device("cpu") if found is None else torch.device(found.type, 0)


class LocalCollective:
    """The `Collective` of one process: nobody to talk to."""

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


class FullPrecision:
    """The `Precision` that changes nothing."""

    def prepare(self, model: nn.Module, optimizers: Sequence[Optimizer], /) -> None:
        """Nothing to do."""

    def forward(self) -> AbstractContextManager[None]:
        """A context without effect."""
        return _NOTHING

    def backward(self, loss: Tensor, /, **options: Any) -> None:
        """Add the loss's gradients."""
        loss.backward(**options)  # type: ignore[no-untyped-call]  # torch's own

    def unscale(self, optimizer: Optimizer, /) -> None:
        """Gradients have their true size already."""

    def step(self, optimizer: Optimizer, /) -> bool:
        """Step; never skipped."""
        optimizer.step()
        return False

    def state_dict(self) -> Tree:
        """No state."""
        return {}

    def load_state_dict(self, state: Tree, /) -> None:
        """Accept the empty state only."""
        if state:
            msg = (
                f"The saved run used mixed precision (state: {', '.join(state)}), this one does "
                "not: pass the same use_amp to the TrainLoop."
            )
            raise LoopStateError(msg)


class SingleDevice:
    """The `Strategy` for one process and one device.

    Args:
        device: Where to train; by default an accelerator if there is one.
        precision: Mixed precision; by default none.
    """

    def __init__(
        self, device: torch.device | str | None = None, precision: Precision | None = None
    ) -> None:
        chosen = default_device() if device is None else device
        self.device = torch.empty(0, device=chosen).device  # "cuda" becomes "cuda:0"
        if self.device.type == "meta":
            msg = "Training needs a device that holds numbers; the device 'meta' holds none."
            raise LoopValueError(msg)
        self.comm = LocalCollective()
        self.precision: Precision = FullPrecision() if precision is None else precision
        self.forward = self.precision.forward
        self.backward = self.precision.backward

    def prepare(self, model: nn.Module, optimizers: Sequence[Optimizer], /) -> nn.Module:
        """Move the model and the optimizers' state to the device."""
        model.to(self.device)
        for optimizer in optimizers:
            _move_state(optimizer)
        self.precision.prepare(model, optimizers)
        return model

    def micro(self, model: nn.Module, /, *, sync: bool) -> AbstractContextManager[None]:  # noqa: ARG002  # nothing to synchronise
        """A context without effect."""
        return _NOTHING

    def idle(self, model: nn.Module, /) -> AbstractContextManager[None]:  # noqa: ARG002  # nobody waits
        """A context without effect."""
        return _NOTHING

    def reduce_gradients(self, optimizer: Optimizer, /) -> None:
        """Nothing to do: there is one process."""

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
        """Unscale, normalise, show, clip, show, step or skip, and zero."""
        self.precision.unscale(optimizer)
        if grad_scale is not None:
            _scale_gradients(optimizer, grad_scale)
        if on_gradients is not None:
            on_gradients()
        norm = _norm_and_clip(optimizer, max_norm) if max_norm or require_finite else None
        if before_step is not None:
            before_step()
        if norm is not None and require_finite:
            skipped = _step_if(norm.isfinite(), optimizer, self.precision)
        else:
            skipped = self.precision.step(optimizer)
        forget_gradients(optimizer)
        return _STEPPED if norm is None and skipped is False else Step(skipped, norm)

    def evaluable(self, model: nn.Module, /) -> nn.Module:
        """The model itself."""
        return model

    def eval_rounds(self, batches: int, /) -> int:
        """One forward pass per batch."""
        return batches

    def state_dict(self, model: nn.Module, optimizers: Sequence[Optimizer], /) -> Tree:
        """The model's, the optimizers' and the precision's state."""
        return {
            "model": dict(model.state_dict()),
            "optimizers": [_named_state(model, optimizer) for optimizer in optimizers],
            "precision": self.precision.state_dict(),
        }

    def load_state_dict(
        self, model: nn.Module, optimizers: Sequence[Optimizer], state: Tree, /
    ) -> None:
        """Load the parts that the state has."""
        if "model" in state:
            model.load_state_dict(state["model"])
        if "optimizers" in state:
            for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(_numbered_state(model, optimizer, saved))
        if "precision" in state:
            self.precision.load_state_dict(state["precision"])


def _scale_gradients(optimizer: Optimizer, factor: Tensor | float) -> None:
    gradients = [p.grad for p in parameters_of(optimizer) if p.grad is not None]
    if gradients:
        torch._foreach_mul_(gradients, factor)


def _norm_and_clip(optimizer: Optimizer, max_norm: float | None) -> Tensor:
    """Total norm of the gradients, as it was before they are clipped to ``max_norm``."""
    parameters = parameters_of(optimizer)
    if max_norm:
        return nn.utils.clip_grad_norm_(parameters, max_norm)
    return nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])


def _move_state(optimizer: Optimizer) -> None:
    """Put the optimizer's tensors where its parameters are now, as torch's own loading does."""
    elsewhere = any(
        isinstance(value, Tensor) and value.ndim and value.device != parameter.device
        for parameter, state in optimizer.state.items()
        for value in state.values()
    )
    if elsewhere:  # loading also makes new groups and casts, so not without need
        optimizer.load_state_dict(optimizer.state_dict())


def _names(model: nn.Module, optimizer: Optimizer) -> list[str]:
    """Names of the optimizer's parameters in its own order; those of a criterion get numbers."""
    by_identity = {id(parameter): name for name, parameter in model.named_parameters()}
    return [
        by_identity.get(id(parameter), f"outside_the_model.{number}")
        for number, parameter in enumerate(parameters_of(optimizer))
    ]


def _named_state(model: nn.Module, optimizer: Optimizer) -> Tree:
    """The optimizer's state with parameter names in place of numbers."""
    names = _names(model, optimizer)
    state = optimizer.state_dict()
    groups: list[dict[str, Any]] = [
        {**group, "params": [names[number] for number in group["params"]]}
        for group in state["param_groups"]
    ]
    by_name = {names[number]: value for number, value in state["state"].items()}
    return {"state": by_name, "param_groups": groups}


def _numbered_state(model: nn.Module, optimizer: Optimizer, saved: Tree) -> Tree:
    """The reverse of `_named_state`; the optimizer may hold its parameters in another order."""
    names = _names(model, optimizer)
    numbers = {name: number for number, name in enumerate(names)}
    groups: list[dict[str, Any]] = []
    for own, group in zip(
        optimizer.state_dict()["param_groups"], saved["param_groups"], strict=True
    ):
        if {names[number] for number in own["params"]} != set(group["params"]):
            msg = (
                "An optimizer's state must be of the same parameters; the saved group has "
                f"{sorted(group['params'])}, this optimizer's {[names[n] for n in own['params']]}."
            )
            raise LoopStateError(msg)
        groups.append({**group, "params": own["params"]})
    by_number = {numbers[name]: value for name, value in saved["state"].items()}
    return {"state": by_number, "param_groups": groups}


def _step_if(finite: Tensor, optimizer: Optimizer, precision: Precision) -> Tensor | bool:
    """Step if the gradients are finite; tells whether the step was left out.

    A fused optimizer leaves its step out on the device, whatever the precision. For any other the
    flag is read, for which an accelerator makes the program wait.
    """
    if can_leave_steps_out(optimizer):
        with left_out_if(~finite, optimizer):
            return ~finite | precision.step(optimizer)
    if finite:
        return precision.step(optimizer)
    if type(precision) is not FullPrecision:
        for parameter in parameters_of(optimizer):
            parameter.grad = None  # so that the step does nothing, and loss scaling adapts
        precision.step(optimizer)
    return True


class InProcess:
    """The `Launcher` that calls the function here."""

    in_process = True

    def __init__(self, strategy: Strategy) -> None:
        self.strategy = strategy

    def run(self, fn: Callable[[Strategy], T], /) -> list[T]:
        """Call ``fn`` with the strategy."""
        return [fn(self.strategy)]


def single(*, device: torch.device | None = None, precision: Precision | None = None) -> Launcher:
    """The entry point ``single``: one process, one device."""
    return InProcess(SingleDevice(device, precision))
