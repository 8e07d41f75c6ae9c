"""Answers of an accelerator that are read some steps later, without holding up the next ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

__all__ = ["LateFlags"]

_LAG = 2  # steps that Python may be ahead of what it knows


class LateFlags:
    """Boolean tensors on their way from a device, and what each is about.

    Reading one waits for its own computation only, not for that of the newer ones behind it.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[Tensor, Any, Any]] = deque()

    def add(self, flag: Tensor, about: Any) -> None:
        """Send for a 0-dimensional flag."""
        here, event = flag, None
        if flag.device.type in {"cuda", "xpu"}:
            here = flag.to("cpu", non_blocking=True)  # into page-locked memory
            stream = torch.get_device_module(flag.device).current_stream(flag.device)
            event = stream.record_event()
        elif flag.device.type != "cpu":
            here = flag.to("cpu")
        self._waiting.append((here, event, about))

    def read(self, *, behind: int = _LAG) -> Iterator[tuple[bool, Any]]:
        """Take the oldest flags, but for so many of the newest."""
        while len(self._waiting) > behind:
            flag, event, about = self._waiting.popleft()
            if event is not None:
                event.synchronize()
            yield bool(flag.numpy()), about

    def values(self) -> list[tuple[bool, Any]]:
        """All that are on their way; they stay."""
        found = list(self.read(behind=0))
        self.restore(found)
        return found

    def restore(self, values: list[tuple[bool, Any]]) -> None:
        """Have these on their way."""
        self._waiting = deque((torch.tensor(flag), None, about) for flag, about in values)

    def clear(self) -> None:
        """Forget those that are on their way."""
        self._waiting.clear()
