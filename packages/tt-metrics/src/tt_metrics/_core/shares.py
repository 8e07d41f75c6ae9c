"""What the processes of a reduction tell each other, as whole numbers and bytes."""

from __future__ import annotations

import hashlib
import io
import math
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tt_metrics._core.intake import STATE_FORMAT, Intake
from tt_metrics._core.merging import Mergeable, emptied
from tt_metrics._core.packing import pack, unpack
from tt_metrics._errors import MetricError, MetricStateError

__all__ = ["Header", "Share", "merge_share"]

Hole = tuple[int, str, tuple[int, ...] | None]
"""Where a number was (None) or an array of some shape: state, entry."""


class Header(IntEnum):
    """The places of a header's whole numbers."""

    FORMAT = 0  # of states
    KEEPS = 1  # whether items are kept
    LAYOUT = 2  # where it is equal, numbers may be added up
    NUMBERS = 3  # how many
    BYTES = 4  # of the message


class Share:
    """What this process brings.

    Attributes:
        failure: Why it can bring nothing; the others are told, so that they do not wait.
        numbers: Whole numbers that may be added up over the ranks.
        message: The rest of the state, as bytes.
        header: Five whole numbers about it, the same five on every rank.
    """

    def __init__(self, metric: Any) -> None:
        self.failure: Exception | None = None
        self.numbers = np.zeros(0, np.int64)
        keeps, layout = False, 0
        try:
            emptied(metric)  # raises for what is no metric
            state = metric.state
            keeps = state["items"] is not None
            self.numbers, holes = _taken_out(metric, state)
            layout = _digest([holes, [state["data"][index] for index, *_ in holes]])
            self.message = _packed({"state": state, "holes": holes})
        except Exception as error:  # whatever it is, the others must hear of it
            self.failure, self.numbers = error, np.zeros(0, np.int64)
            self.message = _packed({"failure": f"{type(error).__name__}: {error}"})
        sizes = len(self.numbers), len(self.message)
        self.header = np.array([STATE_FORMAT, keeps, layout, *sizes], np.int64)


def merge_share(total: Mergeable, rank: int, content: bytes, numbers: NDArray[np.int64]) -> None:
    """Merge what a rank brought, with the numbers put back where they were."""
    message = unpack(io.BytesIO(content), f"What came from rank {rank}")
    if "failure" in message:
        msg = f"All processes must bring a state; rank {rank} failed with {message['failure']}"
        raise MetricStateError(msg)
    state, at = message["state"], 0
    for index, name, shape in message["holes"]:
        size = math.prod(shape or ())
        values = numbers[at : at + size]
        state["data"][index][name] = values.item() if shape is None else values.reshape(shape)
        at += size
    if numbers.any():  # those of all ranks are put where this rank may have had nothing
        state["count"] = max(1, state["count"])
    try:
        total.merge(state)
    except MetricError as error:
        msg = f"The states of all processes must fit each other; for that of rank {rank}: {error}"
        raise MetricStateError(msg) from error


def _taken_out(metric: Intake, state: dict[str, Any]) -> tuple[NDArray[np.int64], list[Hole]]:
    """Take out of a state dict the whole numbers that may be added up.

    Kept items may have to be looked through for samples that came twice: they stay whole.
    """
    taken: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    holes: list[Hole] = []
    for index, (own, data) in enumerate(zip(metric._states, state["data"], strict=True)):
        names = own.additive
        if state["items"] is None and all(_is_whole(data[name]) for name in names):
            for name in names:
                value = data.pop(name)
                holes.append((index, name, None if type(value) is int else value.shape))
                taken.append(np.ravel(value))
    return np.concatenate(taken), holes


def _is_whole(value: Any) -> bool:
    return type(value) is int or (isinstance(value, np.ndarray) and value.dtype == np.int64)


def _digest(value: Any) -> int:
    """64 bits that are equal for equal values."""
    return int.from_bytes(hashlib.sha256(_packed(value)).digest()[:8], "big", signed=True)


def _packed(value: Any) -> bytes:
    stream = io.BytesIO()
    pack(value, stream)
    return stream.getvalue()
