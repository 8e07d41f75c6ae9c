"""One process, all CUDA devices."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from tt_parallel.collective import OneProcess
from tt_parallel.precision.protocol import Precision
from tt_parallel.strategies.base import Wrapped
from tt_parallel.strategies.wrappers import TTDataParallel

__all__ = ["DataParallelStrategy"]


class DataParallelStrategy(Wrapped):
    """One process, all CUDA devices: each computes a part of every batch. Without CUDA, the CPU.

    Args:
        device: The device that holds the parameters.
        precision: Mixed precision; by default none.
        **options: Options of `torch.nn.DataParallel`.
    """

    def __init__(
        self, device: torch.device, precision: Precision | None = None, **options: Any
    ) -> None:
        super().__init__(device, precision)
        self.options = options
        self.comm = OneProcess()

    def prepare(self, model: nn.Module, optimizers: Sequence[Optimizer], /) -> nn.Module:
        """Move the model to the device and wrap it."""
        self._make_ready(model, optimizers)
        return TTDataParallel(model, context=self.precision.forward, **self.options)

    def micro(self, model: nn.Module, /, *, sync: bool) -> AbstractContextManager[None]:  # noqa: ARG002  # replicas are made anew for each batch
        """A context without effect."""
        return nullcontext()
