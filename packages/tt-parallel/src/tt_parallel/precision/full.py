"""The precision that changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from tt_parallel.precision.identity import check_same_precision

__all__ = ["FullPrecision"]


class FullPrecision:
    """Computes in the parameters' own precision."""

    def prepare(self, model: nn.Module, optimizers: Sequence[Optimizer], /) -> None:
        """Nothing to do."""

    def forward(self) -> AbstractContextManager[None]:
        """A context without effect."""
        return nullcontext()

    def backward(self, loss: Tensor, /, **options: Any) -> None:
        """Add the loss's gradients; options are those of `torch.Tensor.backward`."""
        loss.backward(**options)  # type: ignore[no-untyped-call]  # torch's own

    def unscale(self, optimizer: Optimizer, /) -> None:
        """Gradients have their true size already."""

    def step(self, optimizer: Optimizer, /) -> bool:
        """Step; never skipped."""
        optimizer.step()
        return False

    def state_dict(self) -> dict[str, Any]:
        """No state."""
        return {}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Accept the empty state only.

        Raises:
            ParallelValueError: When the saved run computed in another precision.
        """
        check_same_precision({}, state)
