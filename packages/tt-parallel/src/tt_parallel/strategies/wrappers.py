"""Wrapped models whose loss is computed inside the wrapper, so that its gradient hooks fire.

PyTorch's wrappers prepare a backward pass in their ``forward``. A model here computes its loss in
``get_loss``, which calls its own ``forward``; so what the wrappers wrap is a module whose forward
calls any method of the model by name. Attributes and methods of the model are reached through the
wrapper as they are, none is copied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from tt_parallel.errors import ParallelValueError

__all__ = ["TTDataParallel", "TTDistributedDataParallel"]


Context = Callable[[], AbstractContextManager[Any]]


class _ByMethod(nn.Module):
    """A module whose forward calls a method of the model."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return getattr(self.model, method)(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("model"), name)


class _PerReplica(_ByMethod):
    """As `_ByMethod`, for a replica that finds out its own device and how much data it has.

    Attributes:
        context: Makes the context that every replica, in its own thread, computes in.
    """

    def __init__(self, model: nn.Module, context: Context) -> None:
        super().__init__(model)
        self.context = context

    def forward(self, method: str, *args: Any, **kwargs: Any) -> Any:
        with self.context():
            if method != "get_loss":
                return super().forward(method, *args, **kwargs)
            return self._weighted_loss(*args)

    def _weighted_loss(self, batch: Any, criterion: Any, _: torch.device) -> Tensor:
        data = _first_tensor(batch)
        if data is None:
            msg = "DataParallel shares out tensors along their first dimension; the batch has none."
            raise ParallelValueError(msg)
        loss = self.model.get_loss(batch, criterion, data.device)  # type: ignore[operator]  # a module's method
        loss, weight = loss if isinstance(loss, tuple) else (loss, data.shape[0])
        return torch.stack([loss * weight, torch.as_tensor(weight).to(loss)]).unsqueeze(0)


class TTDataParallel(DataParallel[_ByMethod]):
    """`torch.nn.DataParallel` for models with ``get_loss``: each device computes its part's loss.

    Args:
        module: The model.
        context: Makes the context in which each device, in a thread of its own, computes.
        **kwargs: Options of `torch.nn.DataParallel`, such as ``device_ids``.
    """

    def __init__(self, module: nn.Module, *, context: Context = nullcontext, **kwargs: Any) -> None:
        super().__init__(_PerReplica(module, context), **kwargs)

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """Call the model, on all devices."""
        return super().forward("__call__", *inputs, **kwargs)

    def get_loss(self, batch_data: Any, criterion: Any, device: torch.device) -> Any:
        """The mean loss over the batch's samples and its weight, computed on all devices."""
        if len(self.device_ids) < 2:
            return self.module.model.get_loss(batch_data, criterion, device)  # type: ignore[operator]  # a module's method
        total, weight = super().forward("get_loss", batch_data, criterion, device).sum(0).unbind()
        return total / weight, weight.detach()

    def get_loss_eval(self, batch_data: Any, criterion: Any, device: torch.device) -> Any:
        """The model's own."""
        return self.module.model.get_loss_eval(batch_data, criterion, device)  # type: ignore[operator]  # a module's method

    def get_predictions(self, batch_data: Any, device: torch.device) -> Any:
        """The model's own."""
        return self.module.model.get_predictions(batch_data, device)  # type: ignore[operator]  # a module's method

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("module"), name)


class TTDistributedDataParallel(DistributedDataParallel):
    """`DistributedDataParallel` for models with ``get_loss``.

    Args:
        module: The model, on its device.
        **kwargs: Options of `torch.nn.parallel.DistributedDataParallel`.
    """

    def __init__(self, module: nn.Module, **kwargs: Any) -> None:
        super().__init__(_ByMethod(module), **kwargs)

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """Call the model and prepare the gradients' reduction."""
        return super().forward("__call__", *inputs, **kwargs)  # type: ignore[no-untyped-call]  # torch's own

    def get_loss(self, batch_data: Any, criterion: Any, device: torch.device) -> Any:
        """The model's loss; its backward pass averages the gradients over the processes."""
        return super().forward("get_loss", batch_data, criterion, device)  # type: ignore[no-untyped-call]  # torch's own

    def get_loss_eval(self, batch_data: Any, criterion: Any, device: torch.device) -> Any:
        """The model's own, without communication."""
        return self.module.model.get_loss_eval(batch_data, criterion, device)

    def get_predictions(self, batch_data: Any, device: torch.device) -> Any:
        """The model's own, without communication."""
        return self.module.model.get_predictions(batch_data, device)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("module"), name)


def _first_tensor(batch: Any) -> Tensor | None:
    """The first tensor of a nested batch."""
    if isinstance(batch, Tensor):
        return batch
    if isinstance(batch, Mapping):
        batch = batch.values()
    elif not isinstance(batch, list | tuple):
        return None
    return next((found for item in batch if (found := _first_tensor(item)) is not None), None)
