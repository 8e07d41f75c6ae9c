"""One process, one device."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn
from torch.optim import Optimizer

from tt_parallel.collective import OneProcess
from tt_parallel.precision.protocol import Precision
from tt_parallel.strategies.base import Wrapped

__all__ = ["SingleStrategy"]


class SingleStrategy(Wrapped):
    """One process, one device: the model as it is.

    A loop that is written for it runs under any other strategy.

    Args:
        device: The device.
        precision: Mixed precision; by default none.
    """

    def __init__(self, device: torch.device, precision: Precision | None = None) -> None:
        super().__init__(device, precision)
        self.comm = OneProcess()

    def prepare(self, model: nn.Module, optimizers: Sequence[Optimizer], /) -> nn.Module:
        """Move the model to the device."""
        self._make_ready(model, optimizers)
        return model

    def micro(self, model: nn.Module, /, *, sync: bool) -> AbstractContextManager[None]:  # noqa: ARG002  # nobody else has gradients
        """A context without effect."""
        return nullcontext()
