"""Batches of tensors in memory, gathered whole.

A `torch.utils.data.DataLoader` takes the samples of a `TensorDataset` one by one and stacks them,
some 70 microseconds for a batch of 32. Here a batch is one ``index_select`` per tensor, about 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from tt_loop.data.torch_loader import collates_by_default, draws_each_once, rows_of
from tt_loop.errors import LoopTypeError, LoopValueError

__all__ = ["TensorLoader", "tensors_of"]


class TensorLoader:
    """Batches of tensors that are in memory, or on the device, as a whole.

    Yields the batches of ``DataLoader(TensorDataset(*tensors), ...)`` with the same options, bit
    for bit, and draws from the generator what that draws. A batch is a copy: changing it in place
    changes no data.

    Args:
        tensors: Tensors of equal length, for batches that are lists; or one `TensorDataset`; or one
            mapping of names to tensors, for batches that are dicts.
        batch_size: Samples in a batch.
        shuffle: Draw a new order for each epoch; otherwise the tensors' order.
        drop_last: Leave out a last batch that is not full.
        generator: Where the order is drawn from; by default seeds come from torch's global one.
        seed: Seed of a new generator, in place of ``generator``.
        pin_memory: Gather batches of CPU tensors into page-locked memory, where there is an
            accelerator, so that they can be copied to it asynchronously.
        device: Move the tensors there now; by default they stay where they are.

    Attributes:
        tensors: The tensors; not all their rows are samples where `rows` is set.
        rows: Numbers of the rows that are the samples, of a `Subset`; ``None``: all.
        samples: Number of samples.
        device: Where the tensors are; indices that are there already make `take` quickest.

    Raises:
        LoopValueError: For no tensors, unequal lengths, several devices, a batch size below 1, or
            both a generator and a seed.
        LoopTypeError: For anything but tensors whose rows torch can gather.

    Example:
        >>> loader = TensorLoader(torch.arange(5.0), torch.arange(5), batch_size=2)
        >>> [y.tolist() for _, y in loader]
        [[0, 1], [2, 3], [4]]
        >>> loader.take(torch.tensor([4, 0]))
        [tensor([4., 0.]), tensor([4, 0])]
    """

    def __init__(
        self,
        *tensors: Tensor | TensorDataset | Mapping[str, Tensor],
        batch_size: int = 1,
        shuffle: bool = False,
        drop_last: bool = False,
        generator: torch.Generator | None = None,
        seed: int | None = None,
        pin_memory: bool = False,
        device: torch.device | str | None = None,
    ) -> None:
        if generator is not None and seed is not None:
            msg = "generator and seed exclude each other, got both: pass one of them."
            raise LoopValueError(msg)
        if batch_size < 1:
            msg = f"batch_size must be at least 1, got {batch_size}."
            raise LoopValueError(msg)
        self._names, found = _named(tensors)
        self.tensors = found if device is None else [tensor.to(device) for tensor in found]
        self.device = self.tensors[0].device
        _check(self.tensors, self._names)
        self.rows: Tensor | None = None
        self.samples = len(self.tensors[0])
        self.batch_size, self.shuffle, self.drop_last = batch_size, shuffle, drop_last
        self.generator = generator if seed is None else torch.Generator().manual_seed(seed)
        self.pin_memory = pin_memory and self.device.type == "cpu" and _can_pin()
        self._persistent, self._draws_base_seed = False, True

    def __len__(self) -> int:
        full, rest = divmod(self.samples, self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def take(self, indices: Tensor) -> Any:
        """One batch: the samples of these numbers (a 1-d integer tensor), in this order."""
        if self.device.type != "cpu":
            indices = indices.to(self.device, non_blocking=True)
        if self.rows is not None:
            indices = self.rows.index_select(0, indices)
        if self.pin_memory:
            return self._batch([_gathered_pinned(tensor, indices) for tensor in self.tensors])
        # Half the time of tensor[indices], and as contiguous as what torch.stack makes of samples.
        return self._batch([tensor.index_select(0, indices) for tensor in self.tensors])

    def __iter__(self) -> Iterator[Any]:
        if self._draws_base_seed:  # a DataLoader's iterator draws it before anything else
            _drawn_seed(self.generator)
        self._draws_base_seed = not self._persistent
        if self.shuffle:
            return self._shuffled()
        return self._in_order()

    def _batch(self, tensors: list[Tensor]) -> Any:
        return tensors if self._names is None else dict(zip(self._names, tensors, strict=True))

    def _shuffled(self) -> Iterator[Any]:
        generator = self.generator
        if generator is None:
            generator = torch.Generator().manual_seed(_drawn_seed(None))
        order = torch.randperm(self.samples, generator=generator, device="cpu").to(self.device)
        full = self.samples - self.samples % self.batch_size
        for start in range(0, full, self.batch_size):
            yield self.take(order[start : start + self.batch_size])
        if self.generator is not None:  # RandomSampler draws one more order and uses none of it
            torch.randperm(self.samples, generator=generator, device="cpu")
        if full < self.samples and not self.drop_last:
            yield self.take(order[full:])

    def span(self, start: int, stop: int) -> Any:
        """One batch: the samples of these numbers, in order, quicker than by `take`."""
        if self.rows is not None or self.pin_memory:
            return self.take(torch.arange(start, stop, device=self.device))
        # As quick as a view, and safe to change.
        return self._batch([t.narrow_copy(0, start, stop - start) for t in self.tensors])

    def _in_order(self) -> Iterator[Any]:
        for start, stop in self._bounds():
            yield self.span(start, stop)

    def _bounds(self) -> Iterator[tuple[int, int]]:
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            yield start, min(start + self.batch_size, self.samples)


def tensors_of(loader: DataLoader[Any]) -> TensorLoader | None:
    """The `TensorLoader` that yields the batches of a `DataLoader`, or ``None`` if none does.

    There is one for a `TensorDataset`, or a `Subset` of one, with torch's collating, and each
    sample once an epoch, in order or shuffled. The data is not copied; the indices of a `Subset`
    are, so that later changes to their list are not seen.

    Where the loader has workers, an epoch that is broken off may leave its generator elsewhere:
    they read ahead.

    Example:
        >>> data = TensorDataset(torch.arange(5))
        >>> tensors = tensors_of(DataLoader(data, batch_size=2))
        >>> list(tensors)
        [[tensor([0, 1])], [tensor([2, 3])], [tensor([4])]]
        >>> tensors_of(DataLoader(data, batch_size=2, collate_fn=list)) is None
        True
    """
    if not (type(loader) is DataLoader and draws_each_once(loader) and collates_by_default(loader)):
        return None
    if (
        isinstance(loader.sampler, RandomSampler)
        and loader.sampler.generator is not loader.generator
    ):
        return None
    dataset, rows = rows_of(loader.dataset)
    if type(dataset) is not TensorDataset or not all(map(_is_ordinary, dataset.tensors)):
        return None
    devices = {tensor.device for tensor in dataset.tensors}
    if len(devices) > 1 or (loader.pin_memory and devices != {torch.device("cpu")}):
        return None
    try:
        return _like(loader, dataset, rows)
    except LoopTypeError:  # of a dtype that cannot be gathered
        return None


def _like(loader: DataLoader[Any], dataset: TensorDataset, rows: Tensor | None) -> TensorLoader:
    """A `TensorLoader` with a loader's options."""
    found = TensorLoader(
        dataset,
        batch_size=loader.batch_size or 1,
        shuffle=type(loader.sampler) is RandomSampler,
        drop_last=loader.drop_last,
        generator=loader.generator,
        pin_memory=loader.pin_memory,
    )
    if rows is not None:
        found.rows, found.samples = rows.to(found.device), len(rows)
    found._persistent = loader.persistent_workers
    found._draws_base_seed = not loader.persistent_workers or loader._iterator is None
    return found


def _is_ordinary(tensor: Tensor) -> bool:
    """Whether gathering rows gives what stacking them gives."""
    return (
        type(tensor) is Tensor
        and tensor.layout is torch.strided
        and not (tensor.requires_grad or tensor.is_nested or tensor.is_quantized)
    )


def _named(tensors: tuple[Any, ...]) -> tuple[tuple[str, ...] | None, list[Tensor]]:
    """The names, if there are any, and the tensors in whichever way they were given."""
    if len(tensors) == 1 and type(tensors[0]) is TensorDataset:
        return None, list(tensors[0].tensors)
    if len(tensors) == 1 and isinstance(tensors[0], Mapping):
        return tuple(tensors[0]), _all_tensors(tensors[0].values())
    return None, _all_tensors(tensors)


def _all_tensors(values: Any) -> list[Tensor]:
    found = list(values)
    if not found:
        msg = "A TensorLoader needs at least one tensor, got none."
        raise LoopValueError(msg)
    for value in found:
        if not isinstance(value, Tensor):
            msg = (
                "A TensorLoader takes tensors, or only one TensorDataset or mapping of names to "
                f"tensors, got {type(value).__name__}: convert data with torch.as_tensor, and give "
                "other data sets to a DataLoader."
            )
            raise LoopTypeError(msg)
    return found


def _check(tensors: list[Tensor], names: tuple[str, ...] | None) -> None:
    labels = names or range(len(tensors))
    shapes = {label: tuple(tensor.shape) for label, tensor in zip(labels, tensors, strict=True)}
    if () in shapes.values() or len({shape[0] for shape in shapes.values()}) > 1:
        msg = f"The tensors must have first dimensions of equal length, got shapes {shapes}."
        raise LoopValueError(msg)
    devices = sorted({str(tensor.device) for tensor in tensors})
    if len(devices) > 1:
        msg = f"The tensors must be on one device, got {devices}: pass device=."
        raise LoopValueError(msg)
    for tensor in tensors:
        _check_gathers(tensor)


def _check_gathers(tensor: Tensor) -> None:
    first_twice = torch.zeros(2 if len(tensor) else 0, dtype=torch.int64, device=tensor.device)
    try:
        tensor.index_select(0, first_twice)
    except RuntimeError as error:
        msg = (
            f"torch must be able to gather rows of the tensors, but not of {tensor.dtype}, "
            f"{tensor.layout}: convert the tensor, or use a DataLoader."
        )
        raise LoopTypeError(msg) from error


def _can_pin() -> bool:
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return accelerator is not None and accelerator.type != "mps"


def _gathered_pinned(tensor: Tensor, indices: Tensor) -> Tensor:
    shape = (len(indices), *tensor.shape[1:])
    pinned = torch.empty(shape, dtype=tensor.dtype, pin_memory=True)
    return torch.index_select(tensor, 0, indices, out=pinned)


def _drawn_seed(generator: torch.Generator | None) -> int:
    return int(torch.empty((), dtype=torch.int64, device="cpu").random_(generator=generator).item())
