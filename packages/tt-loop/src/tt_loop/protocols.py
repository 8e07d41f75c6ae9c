"""The services that a train loop uses, as shapes: any object that has the methods fits.

The loop publishes what it needs; whoever provides it imports nothing from here. Only values of the
standard library, NumPy and torch cross these interfaces, never a loop. Parameters are
positional-only where their names do not matter, so that a provider may call them what it likes.

==================  ==============================================================================
`Strategy`          where and how one optimizer step is executed (device, wrapping, precision)
`Launcher`          runs the training function, in this process or in many
`Collective`        the only thing that talks to other processes
`Precision`         autocast and loss scaling
`Metric`            a mergeable state, and the numbers computed from it
`ResultPackage`     AIToolbox's evaluation from whole predictions
`PredictionSink`    takes predictions batch by batch
`Recorder`          takes metrics and events; never raises, never blocks
`CheckpointStore`   keeps the state of a run; `Ticket` tells when it is copied and when it is safe
==================  ==============================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

__all__ = [
    "CheckpointRef",
    "CheckpointStore",
    "Collective",
    "Launcher",
    "Metric",
    "Precision",
    "PredictionSink",
    "Recorder",
    "ResultPackage",
    "RunInfo",
    "StepReport",
    "Strategy",
    "Ticket",
    "Tree",
]

T = TypeVar("T")

Tree = dict[str, Any]
"""Nested dicts, lists and tuples whose leaves are tensors, numbers, strings, booleans and None."""


@runtime_checkable
class Collective(Protocol):
    """Talks to the other processes of a run; every process must make the same calls in order."""

    @property
    def rank(self) -> int:
        """Number of this process, from 0 to ``world_size - 1``."""
        ...

    @property
    def world_size(self) -> int:
        """How many processes take part."""
        ...

    def all_reduce(self, tensor: Tensor, op: Literal["sum", "max", "min"] = "sum", /) -> Tensor:
        """Combine a tensor of the same shape from every process; the argument may be reused."""
        ...

    def gather_objects(self, obj: T, /) -> list[T] | None:
        """Bring one object of each process to rank 0, in rank order; ``None`` elsewhere."""
        ...

    def broadcast_object(self, obj: T, /) -> T:
        """Give every process the object of rank 0."""
        ...

    def barrier(self) -> None:
        """Return when every process has come here."""
        ...


class StepReport(Protocol):
    """What `Strategy.apply` did. Values stay on the device: reading them is the caller's choice."""

    @property
    def skipped(self) -> Tensor | bool:
        """The step was left out, because a gradient was not finite."""
        ...

    @property
    def grad_norm(self) -> Tensor | None:
        """Total norm of the gradients before clipping, where clipping or a check needed it."""
        ...


@runtime_checkable
class Precision(Protocol):
    """Autocast and loss scaling; composes with any strategy."""

    def prepare(self, model: nn.Module, optimizers: Sequence[Optimizer], /) -> None:
        """Make a model that is on its device, and its optimizers, ready; called before each fit."""
        ...

    def forward(self) -> AbstractContextManager[object]:
        """Context in which the loss is computed."""
        ...

    def backward(self, loss: Tensor, /, **options: Any) -> None:
        """Add the gradients of a loss, scaled if need be; options of `torch.Tensor.backward`."""
        ...

    def unscale(self, optimizer: Optimizer, /) -> None:
        """Bring the gradients back to their true size, once per step, before they are used."""
        ...

    def step(self, optimizer: Optimizer, /) -> Tensor | bool:
        """Step unless a gradient is not finite; tells whether the step was left out."""
        ...

    def state_dict(self) -> Tree:
        """What an exact resume needs."""
        ...

    def load_state_dict(self, state: Tree, /) -> None:
        """Go on from a saved state; raises when it is another precision's."""
        ...


@runtime_checkable
class Strategy(Protocol):
    """How one optimizer step is executed: device, wrapping, communication and precision.

    The model that a strategy is given has the methods of `TTModel` (`get_loss` above all); what it
    gives back has them too, and computing the loss through it is what makes gradients communicate.
    """

    @property
    def device(self) -> torch.device:
        """Where batches go."""
        ...

    @property
    def comm(self) -> Collective:
        """The processes that train together."""
        ...

    def prepare(self, model: nn.Module, optimizers: Sequence[Optimizer], /) -> nn.Module:
        """Move the model and the optimizers' state to the device and wrap the model if need be."""
        ...

    def forward(self) -> AbstractContextManager[object]:
        """Context in which a loss or predictions are computed."""
        ...

    def micro(self, model: nn.Module, /, *, sync: bool) -> AbstractContextManager[object]:
        """Context around forward and backward of one micro-batch.

        ``sync=False`` keeps the gradients of this micro-batch local.
        """
        ...

    def idle(self, model: nn.Module, /) -> AbstractContextManager[object]:
        """Context around the forward of samples that count for nothing, made for the others."""
        ...

    def backward(self, loss: Tensor, /, **options: Any) -> None:
        """Add the loss's gradients to the parameters' ``grad``, scaled as the precision asks.

        Options are those of `torch.Tensor.backward`: ``inputs`` and ``retain_graph``.
        """
        ...

    def reduce_gradients(self, optimizer: Optimizer, /) -> None:
        """Average over the processes an optimizer's gradients that ``sync=False`` kept local."""
        ...

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
    ) -> StepReport:
        """Unscale, normalise, show, clip, show, step or skip, and zero: in this order.

        Args:
            optimizer: The optimizer whose parameters hold the accumulated gradients.
            grad_scale: Factor for the gradients; ``None`` leaves them as they are, bit for bit.
            on_gradients: Called with true-size gradients in place, before they are clipped.
            max_norm: Largest total norm of this optimizer's gradients (2-norm).
            before_step: Called with the gradients that the step will use.
            require_finite: Leave the step out when the gradients' total norm is not finite. All
                processes have the same gradients here, and so agree.
        """
        ...

    def evaluable(self, model: nn.Module, /) -> nn.Module:
        """The module to evaluate with: if possible one whose forward needs no other process."""
        ...

    def eval_rounds(self, batches: int, /) -> int:
        """How many forward passes this process must make to evaluate its ``batches`` batches."""
        ...

    def state_dict(self, model: nn.Module, optimizers: Sequence[Optimizer], /) -> Tree:
        """Whole state: ``model``, ``optimizers`` (by parameter name) and ``precision``.

        Takes the bare model, not the prepared one. Every process must call it.
        """
        ...

    def load_state_dict(
        self, model: nn.Module, optimizers: Sequence[Optimizer], state: Tree, /
    ) -> None:
        """Load the parts of a state that are there; it may be another strategy's."""
        ...


@runtime_checkable
class Launcher(Protocol):
    """Runs a training function under a strategy, in this process or in several new ones."""

    @property
    def in_process(self) -> bool:
        """The function runs in the caller's process: what it changes is seen there."""
        ...

    def run(self, fn: Callable[[Strategy], T], /) -> list[T]:
        """Call ``fn(strategy)`` in every process and return this node's results in rank order."""
        ...


@runtime_checkable
class Metric(Protocol):
    """A mergeable state and the numbers computed from it; knows nothing of processes.

    The law: merging ``state(A)`` and ``state(B)`` gives the state of A followed by B.
    """

    @property
    def state(self) -> Mapping[str, Any]:
        """The state as a plain dict that can be pickled."""
        ...

    def reset(self) -> None:
        """Forget all data."""
        ...

    def update(self, y_true: Any, y_predicted: Any, /) -> object:
        """Take in one batch."""
        ...

    def merge(self, state: Mapping[str, Any], /) -> object:
        """Take in the state of another metric of the same kind."""
        ...

    def compute(self) -> Mapping[str, Any]:
        """The numbers by name."""
        ...


@runtime_checkable
class ResultPackage(Protocol):
    """AIToolbox's evaluation of a whole set of predictions."""

    pkg_name: str | None

    def prepare_result_package(
        self, y_true: Any, y_predicted: Any, hyperparameters: Any = None, **kwargs: Any
    ) -> object:
        """Take targets and predictions and compute the results."""
        ...

    def get_results(self) -> Mapping[str, Any]:
        """The results by name."""
        ...


@runtime_checkable
class PredictionSink(Protocol):
    """Takes predictions batch by batch and keeps them somewhere."""

    def write(self, ids: Sequence[int], outputs: Mapping[str, Any], /) -> None:
        """Take one batch: the samples' numbers in their data set, and their values by name.

        Values are tensors, arrays or lists with a sample in each place, on the CPU.
        """
        ...

    def close(self) -> None:
        """The last batch has been written."""
        ...

    def discard(self) -> None:
        """Predicting failed: what has been written is not complete and must not look so."""
        ...


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What a recorder is told when a fit begins."""

    step: int
    """Optimizer steps and batches seen before it: the step it goes on from (0 for a new run)."""
    epoch: int
    world_size: int
    strategy: str
    records: int | None = None
    """How many of the records of that very step belong to it; ``None``: all."""


@runtime_checkable
class Recorder(Protocol):
    """Takes the metrics and events of a run. Must not raise and must not block training."""

    def open(self, run: RunInfo, /) -> None:
        """A fit begins."""
        ...

    def scalars(self, step: int, values: Mapping[str, float], /, *, epoch: int) -> None:
        """Metric values that are known after ``step`` batches."""
        ...

    def event(self, kind: str, data: Mapping[str, Any], /) -> None:
        """Something that happened; ``data`` is JSON."""
        ...

    def close(self, status: Literal["completed", "failed", "interrupted"], /) -> None:
        """The fit has ended."""
        ...


@dataclass(frozen=True, slots=True)
class CheckpointRef:
    """One committed checkpoint."""

    step: int
    location: str
    scores: Mapping[str, float]


@runtime_checkable
class Ticket(Protocol):
    """A save under way: two moments that must never be confused."""

    def wait_staged(self) -> None:
        """Return when the state is copied: from now on training may change it."""
        ...

    def wait_committed(self, timeout: float | None = None, /) -> CheckpointRef:
        """Return when the checkpoint is safe on disk; raises what the save raised."""
        ...


@runtime_checkable
class CheckpointStore(Protocol):
    """Keeps states of a run; what it returns is complete and verified."""

    def save(self, tree: Tree, /, *, step: int, scores: Mapping[str, float]) -> Ticket:
        """Save a state tree under its step, with the metric values that belong to it."""
        ...

    def latest(self) -> CheckpointRef | None:
        """The newest valid checkpoint."""
        ...

    def best(self, metric: str, mode: Literal["min", "max"], /) -> CheckpointRef | None:
        """The valid checkpoint with the best value of a metric."""
        ...

    def load(self, ref: CheckpointRef, /) -> Tree:
        """Read a checkpoint's state tree back, verified."""
        ...
