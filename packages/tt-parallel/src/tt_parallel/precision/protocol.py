"""What every precision does."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from torch import Tensor, nn
from torch.optim import Optimizer

__all__ = ["Precision"]


class Precision(Protocol):
    """What a strategy needs of a precision; all of this package fit, and tt-loop's do."""

    def prepare(self, model: nn.Module, optimizers: Sequence[Optimizer], /) -> None:
        """Make a model that is on its device, and its optimizers, ready; called before each fit."""
        ...

    def forward(self) -> AbstractContextManager[Any]:
        """Context in which the loss is computed."""
        ...

    def backward(self, loss: Tensor, /, **options: Any) -> None:
        """Add the gradients of a loss, scaled if need be; options of `torch.Tensor.backward`."""
        ...

    def unscale(self, optimizer: Optimizer, /) -> None:
        """Bring the gradients to their true size, once per step."""
        ...

    def step(self, optimizer: Optimizer, /) -> Tensor | bool:
        """Step unless a gradient is not finite; tells whether the step was left out."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What an exact resume needs."""
        ...

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Go on from a saved state."""
        ...
