"""Which loaders several processes share, and how: each is shared out rightly or refused.

==================================================  ==========================================
the loader                                          what a process reads of it
==================================================  ==========================================
`TensorLoader`, sequential or shuffled `DataLoader`  a part of each global batch
`DataLoader` with another sampler                   the same, of what the sampler draws
`DataLoader` with a batch sampler                   every so many-th batch
`DataLoader` whose sampler shards by process        all, if the shard is that of the process
`PerProcess`                                        all
any other iterable of batches                       every so many-th batch; it reads all
==================================================  ==========================================
"""

from __future__ import annotations

import logging
from typing import Any

from torch.utils.data import BatchSampler, DataLoader, IterableDataset

from tt_loop.data.agreement import Agreement
from tt_loop.data.drawn import BatchedOrder, DrawnOrder, SampledOrder
from tt_loop.data.order import EvaluationOrder
from tt_loop.data.readers import Driven, Reader
from tt_loop.data.streams import SharedStream
from tt_loop.data.tensor_loader import TensorLoader
from tt_loop.data.torch_loader import (
    draws_each_once,
    empty_message,
    length_of,
    samplers_of,
    unwrapped,
)
from tt_loop.errors import EmptyLoaderError, LoopStateError, LoopValueError
from tt_loop.protocols import Tree

__all__ = [
    "check_shard",
    "check_shareable",
    "is_driven",
    "kept_global_batch",
    "sharding_sampler",
    "shared_reader",
]

_log = logging.getLogger(__name__)


def is_driven(loader: Any) -> bool:
    """Whether a loop makes the order of a loader's batches itself, on any number of processes."""
    loader = unwrapped(loader)
    return type(loader) is TensorLoader or (type(loader) is DataLoader and draws_each_once(loader))


def kept_global_batch(
    saved: Tree | None, batch_size: int, world_size: int, *, inside: bool
) -> int | None:
    """The global batch of a saved run that another number of processes goes on with.

    Args:
        saved: Number of ``processes`` and ``global_batch`` of the saved run, if there was one.
        batch_size: Of the present loader, for each process.
        world_size: Present number of processes.
        inside: The state is from inside an epoch.

    Returns:
        Samples of all processes in a batch; ``None`` for what batch size and processes make.

    Raises:
        LoopStateError: When the batch size was changed too, inside an epoch.
    """
    kept = None if saved is None else saved["global_batch"]
    if saved is None or kept in (None, batch_size * world_size):
        return None
    if saved["processes"] != world_size and kept == batch_size * saved["processes"]:
        _log.info(
            "the global batch of the saved run is kept: %d samples in %d processes",
            kept,
            world_size,
        )
        return kept  # type: ignore[no-any-return]  # a whole number
    if not inside:
        return None
    msg = (
        f"Inside an epoch the global batch must stay: the saved run had {kept} samples in "
        f"{saved['processes']} processes, this one has {batch_size * world_size} in {world_size}. "
        f"Build the loader with batch_size={kept // saved['processes']} as then, or "
        f"{-(-kept // world_size)}."
    )
    raise LoopStateError(msg)


def sharding_sampler(loader: Any) -> Any:
    """The sampler that gives each process a part of its own, as torch's `DistributedSampler`."""
    samplers = samplers_of(loader)
    return next((each for each in samplers if _shard(each) is not None), None)


def check_shard(loader: Any, name: str, *, rank: int, world_size: int) -> str | None:
    """What is wrong with the shard that a loader's sampler was made for; ``None`` when it fits."""
    sampler = sharding_sampler(loader)
    if _shard(sampler) == (rank, world_size):
        return None
    number, of = _shard(sampler) or (0, 0)
    return (
        f"The {type(sampler).__name__} of the {name} loader was made for process {number} of {of}, "
        f"but this is process {rank} of {world_size}. Leave it out, and pass shuffle=True instead: "
        "several processes share a loader out by themselves, each sample once."
    )


def check_shareable(loader: object, name: str) -> None:
    """Look whether processes that are still to be started can share a loader.

    Raises:
        LoopValueError: When its sampler shards by process: it would be the same in all of them.
    """
    sampler = sharding_sampler(loader)
    if sampler is not None:
        msg = (
            f"The {type(sampler).__name__} of the {name} loader was made for one process, and "
            "would be the same in each of those that fit starts. Leave it out, and pass "
            "shuffle=True instead: several processes share a loader out by themselves, each sample "
            "once."
        )
        raise LoopValueError(msg)


def shared_reader(
    loader: Any,
    name: str,
    *,
    rank: int,
    world_size: int,
    seed: int | None,
    agreement: Agreement | None,
) -> Reader:
    """One process's reader of a loader whose order is not plain, and that no process has alone.

    Raises:
        EmptyLoaderError: When there is no batch for all processes.
        LoopValueError: When it cannot be shared.
    """
    plain = unwrapped(loader)
    share: Any = {"rank": rank, "world_size": world_size}
    if sharding_sampler(loader) is not None:  # in evaluation each sample counts once
        size = plain.batch_size or getattr(plain.batch_sampler, "batch_size", 1)
        return Driven(loader, name, EvaluationOrder(len(plain.dataset), size, **share), seed=seed)
    if not _has_indices(plain):
        return SharedStream(loader, name, seed=seed, agreement=agreement, **share)
    order = _order(plain, seed or 0, evaluates=seed is None, **share)
    if length_of(order) == 0 and seed is not None:
        raise EmptyLoaderError(empty_message(name))
    if loader is not plain and length_of(order) is None:
        raise LoopValueError(_endless(name))
    return Driven(loader, name, order, seed=seed, agreement=agreement)


def _order(
    loader: DataLoader[Any], seed: int, *, evaluates: bool, rank: int, world_size: int
) -> DrawnOrder:
    share: Any = {"rank": rank, "world_size": world_size, "seed": seed}
    share["loader_generator"] = loader.generator
    batches = loader.batch_sampler
    if loader.batch_size is None or type(batches) is not BatchSampler or evaluates:
        return BatchedOrder(batches, fills=not evaluates, **share)  # type: ignore[arg-type]  # it has been asked for
    return SampledOrder(loader.sampler, loader.batch_size, drop_last=loader.drop_last, **share)


def _has_indices(loader: Any) -> bool:
    """Whether batches are made of a map-style data set's samples by their indices."""
    return (
        type(loader) is DataLoader
        and not isinstance(loader.dataset, IterableDataset)
        and loader.batch_sampler is not None
    )


def _shard(sampler: Any) -> tuple[int, int] | None:
    """The process that a sampler was made for, and of how many."""
    found = getattr(sampler, "rank", None), getattr(sampler, "num_replicas", None)
    rank, replicas = found
    return (rank, replicas) if isinstance(rank, int) and isinstance(replicas, int) else None


def _endless(name: str) -> str:
    return (
        f"The {name} loader is read ahead by a thread, for which all indices of an epoch are drawn "
        "at its beginning, but its sampler has no length: give the sampler a __len__, or pass the "
        "DataLoader itself, with num_workers=1 or more."
    )
