"""Metrics on many processes with `torch.distributed`; needs torch, which nothing else here does.

Each process fills its own metric, and `reduce` gives the result over all of them::

    metric = AccuracyMetric()
    for y_true, scores in share_of_this_process:
        metric.update(y_true, scores)
    print(reduce(metric).compute())  # the same on every process
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tt_metrics._core.merging import Mergeable, emptied
from tt_metrics._core.shares import Header, Share, merge_share
from tt_metrics._errors import MetricInputError, MetricStateError

try:
    import torch
    import torch.distributed as dist
except ImportError as error:
    msg = "tt_metrics.distributed needs torch: pip install 'tt-metrics[torch]'"
    raise ImportError(msg) from error

__all__ = ["padding_mask", "reduce"]


def reduce(metric: Mergeable, group: dist.ProcessGroup | None = None) -> Mergeable:
    """Merge a metric or a package of metrics over all processes; each must call it.

    The result is that of one process that saw everything, and the same bits on every process,
    whatever each has seen: also nothing. `metric` itself stays as it is, so calling this again, or
    after more data, counts nothing twice. Without a process group it gives a copy.

    Three messages at most: sizes; the counts, added up; and everything else, gathered and merged in
    the order of the ranks, so states that keep data (rankings, segments, `keep_items`) need memory
    for that of all processes.

        >>> metric = AccuracyMetric([0, 1, 1, 0], [0, 1, 0, 0])
        >>> total = reduce(metric)  # one process, so nothing to add
        >>> total.compute(), total is metric
        ({'Accuracy': 0.75}, False)

    Args:
        metric: Of the same class and settings on every process.
        group: Which processes; left out, all of them. With NCCL each must have set its device.

    Raises:
        MetricStateError: The processes have different metrics, or one of them failed. Every process
            raises, so that none waits for ever.
    """
    share = Share(metric)
    channel = _Channel(group) if _together() else _Alone()
    headers = _headers(share, channel)
    bodies = _bodies(share, headers, channel)
    if share.failure is not None:
        raise share.failure
    total = emptied(metric)
    if headers[:, Header.KEEPS].any():
        total.keep_items()  # everywhere or nowhere: else the ranks would differ
    for rank, (message, numbers) in enumerate(bodies):
        merge_share(total, rank, message, numbers)
    return total


def padding_mask(
    count: int,
    dataset_size: int,
    *,
    offset: int = 0,
    rank: int | None = None,
    world_size: int | None = None,
) -> NDArray[np.bool_]:
    """Tell which items of a batch are no padding of a `DistributedSampler`: for ``valid=``.

    So that all processes get equally many samples, the sampler repeats some at the end. Of the
    samples in its order, rank r gets every world_size-th, beginning with the r-th; those beyond the
    end of the dataset are the repeated ones. Ten samples on three processes are four for each, two
    of them twice:

        >>> padding_mask(2, 10, offset=2, rank=0, world_size=3)
        array([ True,  True])
        >>> padding_mask(2, 10, offset=2, rank=1, world_size=3)
        array([ True, False])

    In a loop::

        seen = 0
        for x, y_true in loader:
            valid = padding_mask(len(y_true), len(dataset), offset=seen)
            metric.update(y_true, model(x), valid=valid)
            seen += len(y_true)

    Args:
        count: Items in the batch.
        dataset_size: Samples in the dataset.
        offset: How many items this process had before the batch.
        rank: Of this process; left out, that of the default process group.
        world_size: Number of processes; left out, that of the default process group.

    Returns:
        Shape (count,): false for padding.
    """
    if rank is None:
        rank = dist.get_rank() if _together() else 0
    if world_size is None:
        world_size = dist.get_world_size() if _together() else 1
    if min(count, dataset_size, offset) < 0 or not 0 <= rank < world_size:
        msg = (
            "count, dataset_size and offset must be at least 0, and rank in [0, world_size); "
            f"they are {count}, {dataset_size}, {offset}, {rank}, and world_size is {world_size}."
        )
        raise MetricInputError(msg)
    positions = (offset + np.arange(count)) * world_size + rank
    return np.asarray(positions < dataset_size)


class _Channel:
    """The processes of a group, with NumPy arrays in and out."""

    def __init__(self, group: dist.ProcessGroup | None) -> None:
        if dist.get_rank(group) < 0:
            msg = "Only members of the group may call reduce; this process is none."
            raise MetricInputError(msg)
        self._group = group
        self._size = dist.get_world_size(group)
        on_cpu = "cpu:" in dist.get_backend_config(group)
        self._device = torch.device("cpu") if on_cpu else _cuda_device()

    def gathered(self, array: NDArray[Any]) -> list[NDArray[Any]]:
        """The arrays of all ranks, which have one shape."""
        own = torch.from_numpy(array).to(self._device)
        arrays = [torch.empty_like(own) for _ in range(self._size)]
        dist.all_gather(arrays, own, group=self._group)
        return [one.cpu().numpy() for one in arrays]

    def added(self, array: NDArray[np.int64]) -> NDArray[np.int64]:
        """The sum over all ranks, entry by entry."""
        total = torch.from_numpy(array.copy()).to(self._device)
        dist.all_reduce(total, group=self._group)
        numbers: NDArray[np.int64] = total.cpu().numpy()
        return numbers


class _Alone:
    """One process without a group."""

    def gathered(self, array: NDArray[Any]) -> list[NDArray[Any]]:
        return [array]

    def added(self, array: NDArray[np.int64]) -> NDArray[np.int64]:
        return array


def _headers(share: Share, channel: _Channel | _Alone) -> NDArray[np.int64]:
    """The headers of all ranks, one per row."""
    headers = np.stack(channel.gathered(share.header))
    formats = headers[:, Header.FORMAT].tolist()
    if len(set(formats)) > 1:
        msg = (
            "All processes must run one version of tt-metrics; by rank, they write states of "
            f"format {formats}."
        )
        raise MetricStateError(msg)
    return headers


def _bodies(
    share: Share, headers: NDArray[np.int64], channel: _Channel | _Alone
) -> list[tuple[bytes, NDArray[np.int64]]]:
    """Message and numbers of each rank; where the numbers were added up, the first has them all."""
    same = headers[:, [Header.LAYOUT, Header.NUMBERS]]
    if (same == same[0]).all() and len(share.numbers):
        messages = _gathered(share.message, headers[:, Header.BYTES], channel)
        total = channel.added(share.numbers)
        nothing = np.zeros_like(total)
        return [(one, nothing if rank else total) for rank, one in enumerate(messages)]
    ends = headers[:, Header.BYTES]
    sizes = ends + share.numbers.itemsize * headers[:, Header.NUMBERS]
    wholes = _gathered(share.message + share.numbers.tobytes(), sizes, channel)
    return [
        (whole[:end], np.frombuffer(whole[end:], np.int64))
        for whole, end in zip(wholes, ends, strict=True)
    ]


def _gathered(content: bytes, sizes: NDArray[np.int64], channel: _Channel | _Alone) -> list[bytes]:
    """Gather bytes of several sizes: padded, and cut again."""
    padded = np.zeros(sizes.max(), np.uint8)
    padded[: len(content)] = np.frombuffer(content, np.uint8)
    arrays = channel.gathered(padded)
    return [array[:size].tobytes() for array, size in zip(arrays, sizes, strict=True)]


def _together() -> bool:
    return dist.is_available() and dist.is_initialized()


def _cuda_device() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device())
