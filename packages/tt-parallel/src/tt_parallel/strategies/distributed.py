"""One process per device, gradients averaged by `DistributedDataParallel`.

It serves a hand-written loop as well::

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

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from tt_parallel.collective import ProcessGroup
from tt_parallel.errors import ParallelStateError, ParallelValueError
from tt_parallel.precision.protocol import Precision
from tt_parallel.strategies.base import Wrapped, check_owned
from tt_parallel.strategies.batch_norm import synchronise
from tt_parallel.strategies.buffers import send_buffers
from tt_parallel.strategies.gradients import average_gradients
from tt_parallel.strategies.sync_check import SyncCheck
from tt_parallel.strategies.wrappers import TTDistributedDataParallel

__all__ = ["DistributedStrategy"]


class DistributedStrategy(Wrapped):
    """One process per device, gradients averaged over the processes of the default group.

    The buffers of a model are those of rank 0 at every forward pass, as PyTorch has it, unless all
    are statistics of batch norms: no training depends on these, and evaluation begins with those of
    rank 0. With ``broadcast_buffers`` or ``forward_sync_buffers`` they are treated as these say.

    Args:
        device: This process's device.
        precision: Mixed precision; by default none.
        sync_batchnorm: Let batch norms take the statistics of all processes' samples.
        check_sync_every: Compare the parameters of all processes after so many optimizer steps;
            0 never does.
        **options: Options of `torch.nn.parallel.DistributedDataParallel`.

    Raises:
        ParallelValueError: For a number of steps that cannot be.
    """

    def __init__(
        self,
        device: torch.device,
        precision: Precision | None = None,
        *,
        sync_batchnorm: bool = False,
        check_sync_every: int = 0,
        **options: Any,
    ) -> None:
        if check_sync_every < 0:
            msg = f"check_sync_every is a number of steps, at least 0; got {check_sync_every}."
            raise ParallelValueError(msg)
        super().__init__(device, precision)
        self.sync_batchnorm, self.check_sync_every = sync_batchnorm, check_sync_every
        self.options = options
        self.comm = ProcessGroup()
        self._checks: dict[nn.Module, SyncCheck] = {}
        self._went_back = False  # a backward pass was made in the present `micro`
        self._kept: set[nn.Module] = set()  # models with gradients of this process only
        self._averaged: set[Optimizer] = set()  # whose gradients are averaged all the same

    def prepare(self, model: nn.Module, optimizers: Sequence[Optimizer], /) -> nn.Module:
        """Move the model to the device, wrap it, and give every process the weights of rank 0.

        Raises:
            ParallelValueError: When an optimizer has parameters that are not the model's: nobody
                would average their gradients. When a batch norm cannot be synchronised.
        """
        check_owned(model, optimizers)
        if self.sync_batchnorm:
            synchronise(model, self.device)
        self._make_ready(model, optimizers)
        device_ids = None if self.device.type == "cpu" else [self.device]
        wrapped = TTDistributedDataParallel(model, device_ids=device_ids, **self.options)
        if not {"broadcast_buffers", "forward_sync_buffers"} & set(self.options):
            wrapped.broadcast_buffers = not _has_only_statistics(model)
        self._kept.clear()
        if self.check_sync_every:
            self._checks[model] = SyncCheck(model, self.check_sync_every, self.comm)
        return wrapped

    def micro(self, model: nn.Module, /, *, sync: bool) -> AbstractContextManager[None]:
        """A context for a forward and a backward pass.

        Without ``sync`` the gradients stay in this process until a later backward pass, or until
        `reduce_gradients`.

        Raises:
            UnusedParameters: At the end of a context with ``sync``, when parameters took no part.
            ParallelStateError: The same, when the loss was not computed by ``model``.
            ParallelValueError: In one without, when the options have ``static_graph``.
        """
        return _Averaged(self, model) if sync else _keeping(self, model)

    def backward(self, loss: Tensor, /, **options: Any) -> None:
        """Add the loss's gradients; options are those of `torch.Tensor.backward`."""
        self._went_back = True
        self.precision.backward(loss, **options)

    def reduce_gradients(self, optimizer: Optimizer, /) -> None:
        """Average over the processes the gradients that `micro` kept in each of them.

        A gradient that no process has stays missing. All processes must call it.

        Raises:
            ParallelValueError: For a sparse gradient.
        """
        groups = optimizer.param_groups
        average_gradients([p for group in groups for p in group["params"]], self.comm)
        self._averaged.add(optimizer)

    def _check_averaged(self, optimizer: Optimizer) -> None:
        if self._kept and optimizer not in self._averaged:
            kept = {id(p) for m in self._kept for p in m.parameters() if p.grad is not None}
            if any(id(p) in kept for group in optimizer.param_groups for p in group["params"]):
                msg = (
                    "A step needs the gradients of all processes, and micro(model, sync=False) "
                    "kept these in each: make the last backward pass of a step inside "
                    "micro(model, sync=True), or call reduce_gradients(optimizer) before apply."
                )
                raise ParallelStateError(msg)
        self._averaged.discard(optimizer)

    def _stepped(self) -> None:
        for check in self._checks.values():
            check.stepped()

    def evaluable(self, model: nn.Module, /) -> nn.Module:
        """The bare model, with the buffers of rank 0; its forward needs no other process.

        All processes must call it.
        """
        bare = super().evaluable(model)
        if isinstance(model, TTDistributedDataParallel):
            send_buffers(bare.buffers())
        return bare


class _Averaged(AbstractContextManager[None]):
    """Where a backward pass averages the gradients; at its end all of them must be averaged."""

    def __init__(self, strategy: DistributedStrategy, model: Any) -> None:
        self.strategy, self.model = strategy, model

    def __enter__(self) -> None:
        self.strategy._went_back = False

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None and self.strategy._went_back:
            self.model.check_reduced()
            self.strategy._kept.discard(self.model)


@contextmanager
def _keeping(strategy: DistributedStrategy, model: Any) -> Iterator[None]:
    """Where a backward pass leaves its gradients in this process."""
    if model.static_graph:
        msg = (
            "static_graph=True averages gradients in every backward pass, and gradient "
            "accumulation and several losses do not: leave static_graph out of ddp_model_args."
        )
        raise ParallelValueError(msg)
    strategy._went_back = False
    with model.no_sync():
        yield
    if strategy._went_back:
        strategy._kept.add(model)


def _has_only_statistics(model: nn.Module) -> bool:
    """Whether all buffers are a batch norm's: what one computes in training needs none of them."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    known = {id(buffer) for norm in norms for buffer in norm.buffers(recurse=False)}
    return all(id(buffer) in known for buffer in model.buffers())
