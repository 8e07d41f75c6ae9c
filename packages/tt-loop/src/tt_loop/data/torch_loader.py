"""What a `torch.utils.data.DataLoader` will do: questions that its attributes answer."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    Subset,
    default_collate,
)
from torch.utils.data._utils.collate import collate_tensor_fn, default_collate_fn_map

from tt_loop.data.prefetch import Prefetched

__all__ = [
    "apart",
    "collates_by_default",
    "draws_each_once",
    "empty_message",
    "end_workers",
    "generator_of",
    "generator_states",
    "generators_of",
    "kept_generators",
    "length_of",
    "like",
    "rows_of",
    "samplers_of",
    "set_epoch",
    "set_generator_states",
    "unwrapped",
]


def apart(loader: Any) -> Any:
    """A loader like this one that can be iterated while this one is.

    The workers of a `DataLoader` that are to persist serve one iteration at a time, and one that
    tells its position (torchdata's) tells that of its newest iteration.
    """
    alone = isinstance(loader, DataLoader) and (
        loader.persistent_workers or hasattr(loader, "state_dict")
    )
    if not alone:
        return loader
    twin = copy.copy(loader)
    twin._iterator = None
    return twin


def like(loader: DataLoader[Any], dataset: Any, **changes: Any) -> DataLoader[Any]:
    """A loader over a data set with the options of another, but for the order and the changes."""
    options = {
        "num_workers": loader.num_workers,
        "collate_fn": loader.collate_fn,
        "pin_memory": loader.pin_memory,
        "timeout": loader.timeout,
        "worker_init_fn": loader.worker_init_fn,
        "multiprocessing_context": loader.multiprocessing_context,
        "generator": loader.generator,
        "prefetch_factor": loader.prefetch_factor,
        "persistent_workers": loader.persistent_workers,
        "in_order": loader.in_order,
    }
    return DataLoader(dataset, **{**options, **changes})


def length_of(loader: object) -> int | None:
    """Number of batches of a loader; ``None`` where nobody knows."""
    try:
        return len(loader)  # type: ignore[arg-type]  # that it may have no length is the question
    except TypeError:
        return None


def empty_message(name: str, loader: object = None) -> str:
    """The message about a loader without batches."""
    text = f"A loader must yield at least one batch, but the {name} loader yields none: "
    if isinstance(loader, Iterator):
        return (
            f"{text}it is an iterator, which can be read only once. Pass a list, a DataLoader, or "
            "an object whose __iter__ begins anew."
        )
    return f"{text}check the length of its dataset, and drop_last with a batch size above it."


def unwrapped(loader: Any) -> Any:
    """The loader that a `Prefetched` one reads, else itself."""
    return loader.loader if type(loader) is Prefetched else loader


def samplers_of(loader: Any) -> list[Any]:
    """What makes a loader's order: its samplers, each once."""
    loader = unwrapped(loader)
    batch_sampler = getattr(loader, "batch_sampler", None)
    inner = getattr(batch_sampler, "sampler", None)
    parts = (getattr(loader, "sampler", None), batch_sampler, inner)
    return list({id(part): part for part in parts if part is not None}.values())


def set_epoch(loader: Any, epoch: int) -> None:
    """Tell the epoch to a loader, its samplers and its data set, where they ask for it."""
    loader = unwrapped(loader)
    for part in (loader, *samplers_of(loader), getattr(loader, "dataset", None)):
        tell = getattr(part, "set_epoch", None)
        if callable(tell):
            tell(epoch)


def generator_of(loader: Any) -> torch.Generator | None:
    """The user's own generator of the order."""
    loader = unwrapped(loader)
    own = getattr(getattr(loader, "sampler", None), "generator", None)
    generator: torch.Generator | None = own or getattr(loader, "generator", None)
    return generator


def generators_of(loader: Any) -> list[torch.Generator]:
    """A loader's own generators."""
    owners = (unwrapped(loader), *samplers_of(loader))
    found = {id(each): each for each in (getattr(owner, "generator", None) for owner in owners)}
    return [each for each in found.values() if isinstance(each, torch.Generator)]


def generator_states(loader: Any) -> list[Tensor]:
    """The states of a loader's own generators."""
    return [generator.get_state() for generator in generators_of(loader)]


def set_generator_states(loader: Any, states: Sequence[Tensor]) -> None:
    """Give a loader's own generators these states."""
    for generator, state in zip(generators_of(loader), states, strict=True):
        generator.set_state(state)


@contextmanager
def kept_generators(loader: Any) -> Iterator[None]:
    """Put back afterwards the states of a loader's own generators."""
    kept = generator_states(loader)
    try:
        yield
    finally:
        set_generator_states(loader, kept)


def end_workers(iterator: Any, *, persistent: bool = False) -> None:
    """End the workers of a `DataLoader`'s iterator, unless they are to persist.

    They end with the iterator otherwise, which lives on in the traceback of an error.
    """
    end = getattr(iterator, "_shutdown_workers", None)
    if end is not None and (persistent or not iterator._persistent_workers):
        end()


def draws_each_once(loader: DataLoader[Any]) -> bool:
    """Whether an epoch is each sample once, in batches, in order or shuffled."""
    sampler = loader.sampler
    if loader.batch_size is None or type(loader.batch_sampler) is not BatchSampler:
        return False
    if type(sampler) not in (SequentialSampler, RandomSampler):  # as for data without a length
        return False
    samples = len(loader.dataset)  # type: ignore[arg-type]  # a sampled dataset is sized
    if isinstance(sampler, RandomSampler):
        drawn = not sampler.replacement and sampler.num_samples == samples
        return drawn and len(sampler.data_source) == samples
    return len(sampler) == samples  # type: ignore[arg-type]  # a SequentialSampler is sized


def collates_by_default(loader: DataLoader[Any]) -> bool:
    """Whether tuples of tensors become batches by torch's own collating and nothing else."""
    by_type = default_collate_fn_map  # its documentation invites changes
    own = by_type.get(Tensor) is collate_tensor_fn
    tuples = any(issubclass(tuple, kind) for kind in by_type)
    # A worker's start may change its copy of the data.
    plain_workers = loader.worker_init_fn is None and loader.in_order
    return (
        loader.collate_fn is default_collate
        and own
        and not tuples
        and (loader.num_workers == 0 or plain_workers)
    )


def rows_of(dataset: Any) -> tuple[Any, Tensor | None]:
    """The data set that a `Subset`, also one of a `Subset`, is of, and its samples' numbers there.

    Of anything else itself and ``None``; of a `Subset` with strange indices ``(None, None)``.
    """
    rows: Tensor | None = None
    try:
        while type(dataset) is Subset:
            own = _whole_numbers(dataset.indices)
            rows = own if rows is None else own[rows]
            dataset = dataset.dataset
        if rows is not None:
            rows = torch.arange(len(dataset), device="cpu")[rows]  # counts from the end, too
    except (IndexError, TypeError):
        return None, None
    return dataset, rows


def _whole_numbers(indices: Any) -> Tensor:
    """The indices of a `Subset` as a tensor of its own.

    Raises:
        TypeError: When they are not simply whole numbers.
    """
    if isinstance(indices, list | tuple | range) and set(map(type, indices)) <= {int, np.int64}:
        return torch.tensor(list(indices), dtype=torch.int64, device="cpu")
    if isinstance(indices, Tensor | np.ndarray):
        rows = torch.as_tensor(indices)
        if rows.dtype is torch.int64 and rows.ndim == 1:
            return rows.to("cpu", copy=True)
    raise TypeError
