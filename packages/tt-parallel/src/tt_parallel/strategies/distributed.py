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

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from tt_parallel.collective import ProcessGroup
from tt_parallel.errors import ParallelValueError
from tt_parallel.precision.protocol import Precision
from tt_parallel.strategies.base import Wrapped
from tt_parallel.strategies.gradients import average_gradients
from tt_parallel.strategies.wrappers import TTDistributedDataParallel

__all__ = ["DistributedStrategy"]


class DistributedStrategy(Wrapped):
    """One process per device, gradients averaged over the processes of the default group.

    Args:
        device: This process's device.
        precision: Mixed precision; by default none.
        **options: Options of `torch.nn.parallel.DistributedDataParallel`.
    """

    def __init__(
        self, device: torch.device, precision: Precision | None = None, **options: Any
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
        self._make_ready(model, optimizers)
        device_ids = None if self.device.type == "cpu" else [self.device]
        return TTDistributedDataParallel(model, device_ids=device_ids, **self.options)

    def micro(self, model: nn.Module, /, *, sync: bool) -> AbstractContextManager[None]:
        """Without ``sync`` the gradients stay in this process until a later backward pass."""
        if sync:
            return nullcontext()
        context: AbstractContextManager[None] = model.no_sync()  # type: ignore[operator]  # what `prepare` gave
        return context

    def reduce_gradients(self, optimizer: Optimizer, /) -> None:
        """Average over the processes the gradients that `micro` kept in each of them.

        A gradient that no process has stays missing. All processes must call it.

        Raises:
            ParallelValueError: For a sparse gradient.
        """
        groups = optimizer.param_groups
        average_gradients([p for group in groups for p in group["params"]], self.comm)
