"""What the names ``dp``, ``ddp`` and ``fsdp`` mean as a loop's ``gpu_mode``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import torch

from tt_parallel.errors import ParallelValueError
from tt_parallel.launch.joining import Joined, joined
from tt_parallel.launch.rendezvous import Rendezvous
from tt_parallel.launch.spawn import Spawn
from tt_parallel.strategies.data_parallel import DataParallelStrategy
from tt_parallel.strategies.distributed import DistributedStrategy
from tt_parallel.strategies.sharded import ShardedStrategy, check_sharding
from tt_parallel.strategies.single import SingleStrategy

__all__ = ["Here", "ddp", "dp", "fsdp"]

T = TypeVar("T")


class Here:
    """Runs a function under a strategy in this process; fits tt-loop's ``Launcher``."""

    in_process = True

    def __init__(self, strategy: SingleStrategy | DataParallelStrategy) -> None:
        self.strategy = strategy

    def run(self, fn: Callable[[Any], T], /) -> list[T]:
        """Call ``fn`` with the strategy."""
        return [fn(self.strategy)]


def dp(
    *,
    device: torch.device | None = None,
    precision: Any = None,
    dp_model_args: Mapping[str, Any] | None = None,
) -> Here:
    """``gpu_mode='dp'``: one process, every batch shared out among all CUDA devices.

    Args:
        device: The device that holds the parameters; by default the first CUDA device, or the CPU.
        precision: Mixed precision.
        dp_model_args: Options of `torch.nn.DataParallel`.
    """
    if device is None:
        device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    return Here(DataParallelStrategy(device, precision, **(dp_model_args or {})))


def ddp(
    *,
    device: torch.device | None = None,  # noqa: ARG001  # each process has its own
    precision: Any = None,
    ddp_model_args: Mapping[str, Any] | None = None,
    in_process_data_load: Any = None,  # noqa: ARG001  # of the loop: what runs in a process is its
    num_gpus: int | None = None,
    num_nodes: int = 1,
    node_rank: int = 0,
    backend: str | None = None,
    init_method: str | None = None,
    on_gpu: bool | None = None,
    timeout: float | None = None,
    sync_batchnorm: bool = False,
    check_sync_every: int = 0,
) -> Spawn | Joined:
    """``gpu_mode='ddp'``: one process per device, gradients averaged.

    A process that torchrun, Slurm or MPI has started, or that is in a group already, joins the
    others; otherwise the processes are started here.

    Args:
        device: Not used: each process has its own.
        precision: Mixed precision.
        ddp_model_args: Options of `torch.nn.parallel.DistributedDataParallel`.
        in_process_data_load: Callbacks that make loaders in each process; the loop runs them.
        num_gpus: Processes on this node; by default one for each CUDA device. On a machine
            without CUDA it must be said.
        num_nodes: Nodes that train together.
        node_rank: Number of this node.
        backend: As for `Rendezvous`, and so are the next one and ``timeout``.
        init_method: Where the processes meet.
        on_gpu: Train on CUDA devices; by default if there are any.
        timeout: Seconds after which a collective that some process does not join fails.
        sync_batchnorm: Let batch norms take the statistics of all processes' samples.
        check_sync_every: Compare the parameters of all processes after so many optimizer steps.

    Raises:
        ParallelValueError: For numbers or a backend that cannot be.
        LauncherError: When what a launcher has set makes no group.
    """
    extras: dict[str, Any] = {
        "sync_batchnorm": sync_batchnorm,
        "check_sync_every": check_sync_every,
    }
    return _launcher(
        partial(DistributedStrategy, **extras, **(ddp_model_args or {})),
        {
            "backend": backend,
            "init_method": init_method,
            "num_nodes": num_nodes,
            "node_rank": node_rank,
            "timeout": timeout,
        },
        mode="ddp",
        precision=precision,
        num_gpus=num_gpus,
        on_gpu=on_gpu,
    )


def fsdp(
    *,
    device: torch.device | None = None,  # noqa: ARG001  # each process has its own
    precision: Any = None,
    fsdp_model_args: Mapping[str, Any] | None = None,
    in_process_data_load: Any = None,  # noqa: ARG001  # of the loop: what runs in a process is its
    num_gpus: int | None = None,
    num_nodes: int = 1,
    node_rank: int = 0,
    backend: str | None = None,
    init_method: str | None = None,
    on_gpu: bool | None = None,
    timeout: float | None = None,
    sync_batchnorm: bool = False,
) -> Spawn | Joined:
    """``gpu_mode='fsdp'``: one process per device, each with its part of the parameters.

    The processes are joined or started as for `ddp`.

    Args:
        device: Not used: each process has its own.
        precision: Autocast.
        fsdp_model_args: Options of `ShardedStrategy`, and so of PyTorch's ``fully_shard``.
        in_process_data_load: As for `ddp`, and so are all the others.
        num_gpus: Processes on this node.
        num_nodes: Nodes that train together.
        node_rank: Number of this node.
        backend: Of `torch.distributed`.
        init_method: Where the processes meet.
        on_gpu: Train on CUDA devices.
        timeout: Seconds after which a collective fails.
        sync_batchnorm: Let batch norms take the statistics of all processes' samples.

    Raises:
        ParallelValueError: For numbers, a backend, options or a precision that cannot be.
    """
    options = {"sync_batchnorm": sync_batchnorm, **(fsdp_model_args or {})}
    check_sharding(precision, options)
    return _launcher(
        partial(ShardedStrategy, **options),
        {
            "backend": backend,
            "init_method": init_method,
            "num_nodes": num_nodes,
            "node_rank": node_rank,
            "timeout": timeout,
        },
        mode="fsdp",
        precision=precision,
        num_gpus=num_gpus,
        on_gpu=on_gpu,
    )


def _launcher(
    make_strategy: Callable[[torch.device, Any], Any],
    meeting: Mapping[str, Any],
    *,
    mode: str,
    precision: Any,
    num_gpus: int | None,
    on_gpu: bool | None,
) -> Spawn | Joined:
    """Who runs the processes of a mode: this one among others, or new ones."""
    cuda = torch.cuda.is_available() if on_gpu is None else on_gpu
    if precision is not None and not cuda and torch.cuda.is_available():
        msg = (
            "Mixed precision was made for CUDA, and on_gpu=False trains on the CPU: hide the GPUs "
            "(CUDA_VISIBLE_DEVICES=) instead."
        )
        raise ParallelValueError(msg)
    device_type = "cuda" if cuda else "cpu"
    group = joined(
        device_type=device_type,
        make_strategy=make_strategy,
        precision=precision,
        num_gpus=num_gpus,
        **meeting,
    )
    if group is not None:
        return group
    if num_gpus is None and not cuda:
        msg = (
            f"gpu_mode={mode!r} starts one process per CUDA device, and there is none: say how "
            "many processes to start on the CPU, as in fit(num_gpus=2)."
        )
        raise ParallelValueError(msg)
    return Spawn(
        torch.cuda.device_count() if num_gpus is None else num_gpus,
        device_type,
        precision=precision,
        make_strategy=make_strategy,
        rendezvous=Rendezvous(**meeting),
    )
