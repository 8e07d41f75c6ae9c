"""The losses of an epoch: kept on the device, summed now and then, read once."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tt_loop.protocols import Collective, Tree

if TYPE_CHECKING:
    from tt_loop.loop import TrainLoop

__all__ = ["EpochLosses", "LossRecord", "agreed_names", "merged_losses"]

_log = logging.getLogger(__name__)

_BAD = (
    "the loss%s of batch %d of epoch %d is not finite; the newest finite one before it was %g "
    "(TrainLoop(nan_policy=...) can stop, skip or roll back)"
)

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

    def merge(self, other: LossRecord) -> None:
        """Take in what another process kept of the same epoch."""
        self._fold()
        other._fold()
        self._sums += other._sums.to(self._sums)
        own, theirs = self.first_bad(), other.first_bad()
        if theirs is not None and (own is None or theirs[0] < own[0]):
            self._first_bad = other._first_bad.to(self._sums)
        self._folded = max(self._folded, other._folded)  # they had the same batches

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


class EpochLosses:
    """The training losses of the present epoch: one, or several by name.

    Args:
        loop: The loop, whose ``last_loss`` is kept up to date and whose history gets the means.
        device: Where the losses are.
        skip_bad: Leave losses that are not finite out of the means.
    """

    def __init__(self, loop: TrainLoop, device: torch.device, *, skip_bad: bool) -> None:
        self.loop, self._device, self._skip_bad = loop, device, skip_bad
        self._records: dict[str, LossRecord] = {}

    def begin_epoch(self) -> None:
        """Forget the last epoch's."""
        self._records = {}

    def keep(self, loss: Any, weight: Any) -> None:
        """Keep what one batch gave: a loss, or a mapping of several."""
        if isinstance(loss, Tensor):
            self.loop.last_loss = kept = loss.detach()
            self._record("").add(kept, weight)
            return
        self.loop.last_loss = {name: value.detach() for name, value in loss.items()}
        for name, value in self.loop.last_loss.items():
            self._record(name).add(value, weight, self.loop.iteration)

    def _record(self, name: str) -> LossRecord:
        record = self._records.get(name)
        if record is None:
            record = self._records[name] = LossRecord(self._device, skip_bad=self._skip_bad)
        return record

    def report(self, comm: Collective) -> None:
        """Put the epoch's means into the history, and tell of losses that are not finite.

        ``loss`` is the mean over the epoch's samples as they were while training: no second pass
        over the training data is made. The history has it as ``accumulated_loss`` too.
        """
        for name in agreed_names(comm, self._records):
            record, suffix = self._record(name), f"_{name}" if name else ""
            mean = record.mean(comm)
            self.loop.train_history[f"accumulated_loss{suffix}"] = mean
            self.loop.measured.insert(f"loss{suffix}", mean)
            bad = record.first_bad()
            if bad is not None:
                which = f" {name!r}" if name else ""
                _log.warning(_BAD, which, bad[0], self.loop.epoch, bad[1])

    def newest_finite(self) -> float:
        """The newest finite loss before the epoch's first one that is not; NaN without one."""
        records = self._records.values()
        bad = [found for found in map(LossRecord.first_bad, records) if found is not None]
        if bad:
            return min(bad)[1]
        return next((record.last_finite() for record in records), float("nan"))

    def state_dict(self) -> Tree:
        """What has been kept."""
        return {name: record.state_dict() for name, record in self._records.items()}

    def load_state_dict(self, state: Tree) -> None:
        """Go on inside an epoch."""
        for name, record in state.items():
            self._record(name).load_state_dict(record)


def agreed_names(comm: Collective, names: Iterable[str]) -> list[str]:
    """The names that any process has, in one order in all; some may have had no batch with one."""
    if comm.world_size == 1:
        return list(names)
    found = comm.gather_objects(list(names)) or []
    return comm.broadcast_object(list(dict.fromkeys(itertools.chain.from_iterable(found))))


def merged_losses(states: Sequence[Tree]) -> Tree:
    """One state of the losses that several processes kept, from what `EpochLosses` gave in each."""
    records: dict[str, LossRecord] = {}
    for state in states:
        for name, saved in state.items():
            record = LossRecord(torch.device("cpu"))
            record.load_state_dict(saved)
            if name in records:
                records[name].merge(record)
            else:
                records[name] = record
    return {name: record.state_dict() for name, record in records.items()}


def _stacked(weights: Sequence[Any], like: Tensor) -> Tensor:
    if Tensor not in set(map(type, weights)):
        return torch.tensor(weights, dtype=like.dtype).to(like.device, non_blocking=True)
    return torch.stack([torch.as_tensor(weight).to(like) for weight in weights])
