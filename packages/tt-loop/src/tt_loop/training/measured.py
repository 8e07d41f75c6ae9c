"""What a run measures, on its way to the history, the recorder and the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from tt_loop.protocols import Recorder, RunInfo, Tree
from tt_loop.training.history import TrainingHistory

__all__ = ["Measured"]


class Measured:
    """Puts values into the history and remembers which of them the recorder has not had yet.

    Args:
        recorder: Takes numbers as they come; ``None`` records nothing.

    Attributes:
        history: All values by name.
        epoch_values: The newest numbers of the present epoch.
    """

    def __init__(self, recorder: Recorder | None) -> None:
        self.history = TrainingHistory()
        self.recorder = recorder
        self.epoch_values: dict[str, float] = {}
        self._new: dict[str, float] = {}
        self._newest_record = (0, 0)  # a step, and how many records there are of it
        self._recording: Recorder | None = None  # between `open` and `close`, in one process

    def begin_epoch(self) -> None:
        """Forget the last epoch's newest numbers."""
        self.epoch_values = {}

    def epoch_state(self) -> Tree:
        """The present epoch's numbers and what the recorder has not had yet, for a saved state."""
        return {"values": dict(self.epoch_values), "new": dict(self._new)}

    def load_epoch(self, state: Tree) -> None:
        """Go on inside an epoch."""
        self.epoch_values, self._new = dict(state["values"]), dict(state["new"])

    def insert(self, name: str, result: Any) -> None:
        """Append a value to the history; numbers also go further."""
        self.history.insert_single_result_into_history(name, result)
        if isinstance(result, np.generic) or _is_scalar(result):
            result = result.item()
        if isinstance(result, int | float):
            self.epoch_values[name] = self._new[name] = float(result)

    def open(self, run: RunInfo, *, main: bool) -> None:
        """Tell the recorder that a fit begins; only one process records."""
        self._recording = self.recorder if main else None
        if self._recording is not None:
            self._recording.open(run)

    def record(self, step: int, epoch: int) -> None:
        """Give the recorder what it has not had yet."""
        new, self._new = self._new, {}
        if new:
            newest, count = self._newest_record
            self._newest_record = step, 1 + count * (step == newest)
            if self._recording is not None:
                self._recording.scalars(step, new, epoch=epoch)

    def position(self) -> list[int]:
        """The newest record's step and how many there are of that step, for a saved state."""
        return list(self._newest_record)

    def go_to(self, position: Sequence[int]) -> None:
        """Have recorded so much."""
        step, count = position
        self._newest_record = step, count

    def records_of(self, step: int) -> int:
        """How many records of a step there are, if it is the newest."""
        newest, count = self._newest_record
        return count if newest == step else 0

    def event(self, kind: str, data: Mapping[str, Any]) -> None:
        """Tell the recorder that something happened."""
        if self._recording is not None:
            self._recording.event(kind, data)

    def close(self, status: Any) -> None:
        """Tell the recorder how the fit ended."""
        if self._recording is not None:
            self._recording.close(status)
        self._recording = None

    def shown(self, chosen: Sequence[str] | None) -> Mapping[str, float]:
        """The epoch's numbers that its line shows: the chosen ones, by default the losses."""
        names = ("loss", "val_loss") if chosen is None else chosen
        return {name: self.epoch_values[name] for name in names if name in self.epoch_values}


def _is_scalar(result: Any) -> bool:
    return isinstance(result, Tensor) and result.numel() == 1
