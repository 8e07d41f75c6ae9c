"""How processes become one group: the backend, the place where they meet, the timeout.

On one node the launching process holds the place itself, on a port that the system picked, so two
runs never collide. A place that the user named (``MASTER_ADDR`` and ``MASTER_PORT``, or
``init_method``) is held by the first node's launching process.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

import torch.distributed as dist
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # public, by a detour

from tt_parallel.errors import ParallelValueError, RendezvousError
from tt_parallel.launch.numbers import checked_seconds, checked_whole

__all__ = ["Meeting", "Rendezvous", "meet", "open_meeting", "resolved_backend"]

_PATIENCE = 30.0  # seconds in which a port that another program holds may become free
_ARRIVAL = 300.0  # seconds in which all processes must have come, or the timeout if it is more


@dataclass(frozen=True)
class Rendezvous:
    """How the processes of a run meet; plain values.

    Args:
        backend: Of `torch.distributed`. By default, and for ``'nccl'``, CUDA tensors travel by NCCL
            and all others by Gloo.
        init_method: Where the processes meet, as in `torch.distributed.init_process_group`. By
            default, and for ``'env://'`` without ``MASTER_ADDR`` on one node, a place of the run's
            own; on several nodes ``MASTER_ADDR`` and ``MASTER_PORT``.
        num_nodes: Nodes that train together, each with the same number of processes.
        node_rank: Number of this node.
        timeout: Seconds after which a collective that some process does not join fails, and which
            may lie between the first process's return and the last's; by default what torch has.

    Raises:
        ParallelValueError: For numbers that cannot be, or several nodes without a place to meet.
    """

    backend: str | None = None
    init_method: str | None = None
    num_nodes: int = 1
    node_rank: int = 0
    timeout: float | None = None

    def __post_init__(self) -> None:
        checked_whole("num_nodes", "the number of nodes that train together", self.num_nodes)
        checked_whole("node_rank", "the number of this node", self.node_rank, at_least=0)
        if self.node_rank >= self.num_nodes:
            msg = f"node_rank must be from 0 to {self.num_nodes - 1}, got {self.node_rank}."
            raise ParallelValueError(msg)
        if self.timeout is not None:
            checked_seconds("timeout", self.timeout)
        self.address()

    def address(self) -> tuple[str, int] | None:
        """Host and port that the user named."""
        url = urlsplit(self.init_method or "env://")
        if url.scheme == "tcp" and url.hostname and url.port and not url.query:
            return url.hostname, url.port
        if url.scheme != "env":
            return None
        named = self.num_nodes > 1 or self.init_method is not None
        host, port = os.environ.get("MASTER_ADDR"), os.environ.get("MASTER_PORT", "")
        if named and host and port.isdecimal():
            return host, int(port)
        if self.num_nodes > 1 or (named and host):
            msg = (
                "Processes that meet by init_method='env://' need MASTER_ADDR and MASTER_PORT (a "
                f"number) in the environment; got {host!r} and {port or None!r}. Set both, the "
                "same on every node, or on one node neither."
            )
            raise ParallelValueError(msg)
        return None


@dataclass(frozen=True)
class Meeting:
    """Where to go: a store's host and port, or an ``init_method`` that torch understands."""

    host: str = ""
    port: int = 0
    init_method: str | None = None


def open_meeting(plan: Rendezvous) -> tuple[Meeting, TCPStore | None]:
    """The place, and the store to hold on to while the processes live.

    Raises:
        RendezvousError: When the named port is taken and does not become free.
    """
    address = plan.address()
    if address is None and plan.init_method not in {None, "env://"}:
        return Meeting(init_method=plan.init_method), None
    if address is None:
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        return Meeting("127.0.0.1", port), _serve("127.0.0.1", port, listener.detach())
    if plan.node_rank:
        return Meeting(*address), None
    return Meeting(*address), _serve_when_free(*address, min(_PATIENCE, plan.timeout or _PATIENCE))


def _serve(host: str, port: int, listener: int | None = None) -> TCPStore:
    arrival = timedelta(seconds=_ARRIVAL)
    return TCPStore(
        host, port, None, True, arrival, wait_for_workers=False, master_listen_fd=listener
    )


def _serve_when_free(host: str, port: int, patience: float) -> TCPStore:
    deadline = time.monotonic() + patience
    while True:
        try:
            return _serve(host, port)
        except dist.DistNetworkError as error:
            if time.monotonic() > deadline:
                msg = (
                    f"The processes of the run are to meet at {host}, port {port}, and that port "
                    f"could not be had within {patience:g} s ({error}). End what holds it, or "
                    "name another port; on one node none is needed."
                )
                raise RendezvousError(msg) from error
        time.sleep(min(0.5, patience / 4))


def meet(
    meeting: Meeting, *, rank: int, world_size: int, backend: str, timeout: float | None
) -> None:
    """Join the default group as process ``rank``."""
    store = None if meeting.init_method else _arrive(meeting, rank, world_size, timeout)
    dist.init_process_group(
        backend,
        meeting.init_method,
        None if timeout is None else timedelta(seconds=timeout),
        rank=rank,
        world_size=world_size,
        store=store,
    )


def _arrive(meeting: Meeting, rank: int, world_size: int, timeout: float | None) -> TCPStore:
    """Wait for all, so that none uses up the time of its first collective with waiting."""
    arrival = timedelta(seconds=max(_ARRIVAL, timeout or 0.0))
    store = TCPStore(meeting.host, meeting.port, None, False, arrival)
    store.set(f"here-{rank}", "")
    store.wait([f"here-{other}" for other in range(world_size)], arrival)
    return store


def resolved_backend(backend: str | None, device_type: str) -> str:
    """The backend in torch's words.

    Raises:
        ParallelValueError: For one that this PyTorch or this kind of device does not have.
    """
    if device_type == "cuda" and (backend or "nccl") == "nccl" and dist.is_nccl_available():
        return "cpu:gloo,cuda:nccl"  # objects and flags need not wait for the GPU
    kinds = {part.rpartition(":")[2] for part in (backend or "gloo").split(",")}
    unknown = [kind for kind in sorted(kinds) if not dist.is_backend_available(kind)]
    if unknown:
        msg = f"This PyTorch has no torch.distributed backend {unknown[0]!r}: use 'gloo'."
        raise ParallelValueError(msg)
    if device_type == "cpu" and backend == "nccl":
        msg = "The backend 'nccl' is for CUDA devices, and this run is on the CPU: use 'gloo'."
        raise ParallelValueError(msg)
    return backend or "gloo"
