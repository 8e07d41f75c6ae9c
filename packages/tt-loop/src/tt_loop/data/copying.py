"""Copies of nested batches to a device that do not hold up the work there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["Copier", "map_tensors"]


def map_tensors(batch: Any, change: Callable[[Tensor], Any]) -> Any:
    """A nested batch with each tensor changed; what is no tensor stays.

    Example:
        >>> map_tensors({"x": [torch.ones(2), "name"]}, torch.Tensor.sum)
        {'x': [tensor(2.), 'name']}
    """
    if isinstance(batch, Tensor):
        return change(batch)
    kind = type(batch)
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return kind(*(map_tensors(value, change) for value in batch))
    if kind is list or kind is tuple:
        return kind([map_tensors(value, change) for value in batch])
    if isinstance(batch, Mapping):
        return {key: map_tensors(value, change) for key, value in batch.items()}
    return batch


class Copier:
    """Copies batches to a device: on CUDA in a stream of its own, through page-locked memory.

    One thread sends, and the thread that will work with the batch receives it.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._module: Any = None
        self._stream: Any = None
        if device.type in {"cuda", "xpu"}:
            self._module = torch.get_device_module(device)
            self._stream = self._module.Stream(device)

    def send(self, batch: Any) -> tuple[Any, Any]:
        """Begin to copy; the second value tells of the arrival, ``None`` if it is there."""
        if self._stream is None:
            return map_tensors(batch, lambda tensor: tensor.to(self.device)), None
        with self._module.stream(self._stream):
            return map_tensors(batch, self._copied), self._stream.record_event()

    def receive(self, batch: Any, arrival: Any) -> None:
        """Have the present stream wait for the batch, and its memory wait for the stream."""
        stream = self._module.current_stream(self.device)
        stream.wait_event(arrival)

        def keep(tensor: Tensor) -> None:
            if tensor.device == self.device:
                tensor.record_stream(stream)

        map_tensors(batch, keep)

    def _copied(self, tensor: Tensor) -> Tensor:
        if tensor.device.type == "cpu" and tensor.layout is torch.strided:
            tensor = tensor.pin_memory()
        return tensor.to(self.device, non_blocking=True)
