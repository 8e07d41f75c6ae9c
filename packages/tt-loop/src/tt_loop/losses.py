"""The losses of an epoch: kept on the device, summed now and then, read once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tt_loop.protocols import Collective, Tree

__all__ = ["LossRecord"]

_FOLD = 256  # kept losses hold their memory; a sum over fewer would cost more per step


class LossRecord:
    """A weighted mean of losses, and where the first one that is not finite stood.

    Nothing here waits for an accelerator but `mean` and `first_bad`.

    Args:
        device: Where the losses are.
        skip_bad: Leave losses that are not finite out of the mean.
    """

    def __init__(self, device: torch.device, *, skip_bad: bool = False) -> None:
        where = torch.device("cpu") if device.type == "mps" else device  # it has no float64
        self._device, self._skip_bad = device, skip_bad
        self._sums = torch.zeros(2, dtype=torch.float64, device=where)
        # Number of the first bad loss (-1: none) and the finite loss before it.
        self._first_bad = torch.tensor([-1.0, float("nan")], dtype=torch.float64, device=where)
        self._last_good = torch.full((1,), float("nan"), dtype=torch.float64, device=where)
        self._losses: list[Tensor] = []
        self._weights: list[Any] = []
        self._numbers: list[int] = []
        self._folded = 0

    def __len__(self) -> int:
        return self._folded + len(self._losses)

    def add(self, loss: Tensor, weight: Any, number: int | None = None) -> None:
        """Keep a detached 0-dimensional loss and its weight.

        Args:
            loss: The loss.
            weight: A number, or a 0-dimensional tensor.
            number: Number of the loss's batch, where some batches do not have this loss. Give it
                always or never.
        """
        self._losses.append(loss)
        self._weights.append(weight)
        if number is not None:
            self._numbers.append(number)
        if len(self._losses) == _FOLD:
            self._fold()

    def _fold(self) -> None:
        if not self._losses:
            return
        values = torch.stack(self._losses).to(self._sums)
        weights = _stacked(self._weights, self._sums)
        finite = values.isfinite()
        if self._skip_bad:
            weights = torch.where(finite, weights, 0.0)
        products = torch.where(weights == 0, 0.0, values * weights)  # NaN of no weight is nothing
        self._sums += torch.stack([products.sum(), weights.sum()])
        self._note_bad(values, finite)
        self._folded += len(self._losses)
        self._losses, self._weights, self._numbers = [], [], []

    def _note_bad(self, values: Tensor, finite: Tensor) -> None:
        """Remember the first bad loss of all and the newest finite one before it."""
        places = torch.arange(len(values), device=values.device)
        first = torch.where(finite, len(values), places).min()
        before = torch.where(finite & (places < first), places, -1).max()
        good = _at(values, before, self._last_good)
        given = self._numbers
        numbers = _stacked(given, values) if given else (places + self._folded).to(values)
        number = _at(numbers, first.clamp(max=len(values) - 1), self._last_good)
        is_new = (first < len(values)) & (self._first_bad[0] < 0)
        self._first_bad = torch.where(is_new, torch.cat([number, good]), self._first_bad)
        newest = torch.where(finite, places, -1).max()
        self._last_good = _at(values, newest, self._last_good)

    def mean(self, comm: Collective) -> float:
        """Mean over the samples of all processes, in double precision; NaN without any."""
        self._fold()
        total, weight = comm.all_reduce(self._sums.clone()).tolist()
        return float(total / weight) if weight else float("nan")

    def first_bad(self) -> tuple[int, float] | None:
        """Number of the first loss that is not finite, and the last finite loss before it."""
        self._fold()
        number, good = self._first_bad.tolist()
        return None if number < 0 else (int(number), good)

    def last_finite(self) -> float:
        """The newest finite loss; NaN without any."""
        self._fold()
        return float(self._last_good)

    def state_dict(self) -> Tree:
        """What has been kept, so that going on adds up to the same bits."""
        return {
            "sums": self._sums,
            "first_bad": self._first_bad,
            "last_good": self._last_good,
            "folded": self._folded,
            "losses": torch.stack(self._losses) if self._losses else None,
            "weights": list(self._weights),
            "numbers": list(self._numbers),
        }

    def load_state_dict(self, state: Tree) -> None:
        """Go on from what `state_dict` gave."""
        self._sums = state["sums"].to(self._sums, copy=True)
        self._first_bad = state["first_bad"].to(self._sums, copy=True)
        self._last_good = state["last_good"].to(self._sums, copy=True)
        self._folded = state["folded"]
        losses = state["losses"]
        self._losses = [] if losses is None else [*losses.to(self._device).unbind()]
        self._weights = list(state["weights"])
        self._numbers = list(state["numbers"])


def _at(values: Tensor, place: Tensor, otherwise: Tensor) -> Tensor:
    """The value at a place that only the device knows, as 1 element; below 0, the other one."""
    found = values.gather(0, place.clamp(min=0).reshape(1))  # an index would be read here
    return torch.where(place >= 0, found, otherwise)


def _stacked(weights: Sequence[Any], like: Tensor) -> Tensor:
    if Tensor not in set(map(type, weights)):
        return torch.tensor(weights, dtype=like.dtype).to(like.device, non_blocking=True)
    return torch.stack([torch.as_tensor(weight).to(like) for weight in weights])
