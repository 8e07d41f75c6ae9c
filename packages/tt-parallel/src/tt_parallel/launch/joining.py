"""Join the group of a process that a launcher, or the user, has already started."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed import Store, rendezvous  # type: ignore[attr-defined]  # public, by a detour
from torch.distributed.constants import default_pg_timeout

from tt_parallel.errors import LauncherError, ParallelValueError, RendezvousError
from tt_parallel.launch.attempt import own_part
from tt_parallel.launch.environment import Place, find_place
from tt_parallel.launch.numbers import checked_seconds
from tt_parallel.launch.rendezvous import resolved_backend

__all__ = ["Joined", "joined"]

T = TypeVar("T")


class Joined:
    """Runs a function in this process, one of those of a group; fits tt-loop's ``Launcher``.

    The group is made if nobody has made it, stays for further calls, and ends with the process.

    Args:
        device: This process's device.
        make_strategy: Called with the device and the precision, once the group is there.
        place: What the launcher says; ``None`` where the user has made the group.
        backend: As for `Rendezvous`.
        init_method: Where the processes meet; by default where the launcher says.
        timeout: Seconds that a process waits for the others; by default what torch has.
        precision: Mixed precision.

    Raises:
        ParallelValueError: For a backend that cannot be.
    """

    in_process = True

    def __init__(
        self,
        device: torch.device,
        make_strategy: Callable[[torch.device, Any], Any],
        *,
        place: Place | None,
        backend: str | None = None,
        init_method: str | None = None,
        timeout: float | None = None,
        precision: Any = None,
    ) -> None:
        if timeout is not None:
            checked_seconds("timeout", timeout)
        self.device = device
        self.make_strategy = make_strategy
        self.place = place
        self.backend = resolved_backend(backend, device.type)
        self.init_method = None if init_method == "env://" else init_method
        self.timeout = None if timeout is None else timedelta(seconds=timeout)
        self.precision = precision

    def run(self, fn: Callable[[Any], T], /) -> list[T]:
        """Call ``fn(strategy)`` and return what this process has got.

        Raises:
            RendezvousError: When the processes do not meet.
        """
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
        if self.place is not None and not dist.is_initialized():
            self._meet(self.place)
        return [fn(self.make_strategy(self.device, self.precision))]

    def _meet(self, place: Place) -> None:
        os.environ["LOCAL_RANK"] = str(place.local_rank)  # as torchrun does it
        os.environ["LOCAL_WORLD_SIZE"] = str(place.local_world_size)
        _share_cores(place.local_world_size)
        where = self.init_method or place.init_method
        try:
            store = self._store(where, place)
            dist.init_process_group(
                self.backend,
                timeout=self.timeout,
                rank=place.rank,
                world_size=place.world_size,
                store=store,
            )
        except dist.DistError as error:
            msg = (
                f"The {place.world_size} processes that {place.launcher} started do not meet at "
                f"{where} ({str(error).splitlines()[0]}). Set MASTER_ADDR and MASTER_PORT to "
                "rank 0's host and to a free port that all of them can reach."
            )
            raise RendezvousError(msg) from error
        atexit.register(_leave)

    def _store(self, where: str, place: Place) -> Store:
        timeout = self.timeout or default_pg_timeout
        store, _, _ = next(rendezvous(where, place.rank, place.world_size, timeout=timeout))
        return own_part(store, place.rank, place.world_size, timeout)


def joined(
    *,
    device_type: str,
    make_strategy: Callable[[torch.device, Any], Any],
    backend: str | None = None,
    init_method: str | None = None,
    timeout: float | None = None,
    precision: Any = None,
    num_gpus: int | None = None,
    num_nodes: int = 1,
    node_rank: int = 0,  # noqa: ARG001  # the launcher knows it
    environ: Mapping[str, str] = os.environ,
) -> Joined | None:
    """The group that this process belongs to; ``None`` where it was started alone.

    It is `torch.distributed`'s default group where there is one, else that of the launcher whose
    variables are set; see `tt_parallel.launch.environment`.

    Args:
        device_type: ``'cuda'`` or ``'cpu'``.
        make_strategy: As for `Joined`, and so are the next four.
        backend: Of `torch.distributed`.
        init_method: Where the processes meet.
        timeout: Seconds that a process waits for the others.
        precision: Mixed precision.
        num_gpus: Processes on a node, as the user sees it; has to be right.
        num_nodes: Nodes, as the user sees it; 1 is taken for not said.
        node_rank: Not used.
        environ: Environment variables.

    Raises:
        LauncherError: When the variables make no group, or there is no device for this process.
        ParallelValueError: When the user says something else than the launcher, or has made a
            group that cannot serve.
    """
    place = _place(environ)
    if place is None and not dist.is_initialized():
        return None
    _check_said(place, num_gpus, num_nodes)
    _check_backend(backend)
    return Joined(
        torch.device("cpu") if device_type == "cpu" else _cuda_device(place, environ),
        make_strategy,
        place=place,
        backend=backend,
        init_method=init_method,
        timeout=timeout,
        precision=precision,
    )


def _place(environ: Mapping[str, str]) -> Place | None:
    if not dist.is_initialized():
        return find_place(environ)
    with suppress(LauncherError):  # whoever made the group knew more than the variables tell
        place = find_place(environ)
        if place and (place.rank, place.world_size) == (dist.get_rank(), dist.get_world_size()):
            return place
    return None


def _check_said(place: Place | None, num_gpus: int | None, num_nodes: int) -> None:
    """Refuse numbers that are not those of the group."""
    who = "the script" if place is None else place.launcher
    size = dist.get_world_size() if place is None else place.world_size
    here = size // num_nodes if place is None else place.local_world_size
    if num_gpus not in (None, here):
        msg = (
            f"num_gpus={num_gpus} asks for {num_gpus} processes on this node, and {who} has "
            f"started {here}: start {num_gpus}, or leave num_gpus out."
        )
        raise ParallelValueError(msg)
    if num_nodes > 1 and (size % num_nodes or size // num_nodes != here):
        msg = (
            f"num_nodes={num_nodes} asks for {num_nodes} nodes, and {who} has started {size} "
            f"processes in all, {here} of them on this node: leave num_nodes out."
        )
        raise ParallelValueError(msg)


def _check_backend(backend: str | None) -> None:
    """Refuse a group that is there and has not the backends that are needed."""
    if not dist.is_initialized():
        return
    present = str(dist.get_backend_config())
    if "cpu:" not in present:
        msg = (
            f"The process group that the script has made ({present}) carries nothing that is on "
            "the CPU, such as objects and flags: make it with init_process_group's default "
            "backend, or with 'cpu:gloo,cuda:nccl'."
        )
        raise ParallelValueError(msg)
    if backend is not None and not _names(backend) <= _names(present):
        msg = f"backend={backend!r} is asked for, and the group that is there has {present!r}."
        raise ParallelValueError(msg)


def _names(backends: str) -> set[str]:
    return {part.rpartition(":")[2] for part in backends.split(",")}


def _cuda_device(place: Place | None, environ: Mapping[str, str]) -> torch.device:
    """The device of this process: the one with its number on the node."""
    if place is None:
        said = environ.get("LOCAL_RANK", "")
        return torch.device("cuda", int(said) if said else torch.cuda.current_device())
    count = torch.cuda.device_count()
    if place.local_rank < count:
        return torch.device("cuda", place.local_rank)
    visible = environ.get("CUDA_VISIBLE_DEVICES", "")
    if count == 1 and visible and "," not in visible:  # the launcher has given each its own
        return torch.device("cuda", 0)
    msg = (
        f"Each process needs a CUDA device of its own: {place.launcher} has started "
        f"{place.local_world_size} processes on this node, and {count} devices are there. Start "
        "fewer, or pass on_gpu=False for the CPU."
    )
    raise LauncherError(msg)


def _share_cores(processes: int) -> None:
    """Give each process its part of the cores, unless somebody has said how many threads.

    A launcher may have bound each process to cores of its own.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        cores = os.cpu_count() or 1
        bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
        torch.set_num_threads(max(1, min(bound, cores // processes)))


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
