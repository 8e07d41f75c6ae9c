"""What the names ``dp`` and ``ddp`` mean as a loop's ``gpu_mode``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch

from tt_parallel.errors import ParallelValueError
from tt_parallel.launch.spawn import Spawn
from tt_parallel.strategies.data_parallel import DataParallelStrategy

__all__ = ["Here", "ddp", "dp"]

T = TypeVar("T")


class Here:
    """Runs a function under a strategy in this process; fits tt-loop's ``Launcher``."""

    in_process = True

    def __init__(self, strategy: DataParallelStrategy) -> None:
        self.strategy = strategy

    def run(self, fn: Callable[[Any], T], /) -> list[T]:
        """Call ``fn`` with the strategy."""
        return [fn(self.strategy)]


def dp(
    *,
    device: torch.device,
    precision: Any = None,
    dp_model_args: Mapping[str, Any] | None = None,
) -> Here:
    """``gpu_mode='dp'``: one process, every batch shared out among all CUDA devices.

    Args:
        device: The device that holds the parameters.
        precision: Mixed precision.
        dp_model_args: Options of `torch.nn.DataParallel`.
    """
    return Here(DataParallelStrategy(device, precision, **(dp_model_args or {})))


def ddp(
    *,
    device: torch.device,  # noqa: ARG001  # each process has its own
    precision: Any = None,
    ddp_model_args: Mapping[str, Any] | None = None,
    num_gpus: int | None = None,
    num_nodes: int = 1,
    node_rank: int = 0,
    backend: str | None = None,
    init_method: str | None = None,
    on_gpu: bool | None = None,
) -> Spawn:
    """``gpu_mode='ddp'``: one process per device, gradients averaged.

    Args:
        device: Not used: each process has its own.
        precision: Mixed precision.
        ddp_model_args: Options of `torch.nn.parallel.DistributedDataParallel`.
        num_gpus: Processes on this node; by default one for each CUDA device. On a machine
            without CUDA it must be said.
        num_nodes: Nodes that train together.
        node_rank: Number of this node.
        backend: Of `torch.distributed`; by default NCCL for CUDA and Gloo for the CPU.
        init_method: Where the processes meet.
        on_gpu: Train on CUDA devices; by default if there are any.

    Raises:
        ParallelValueError: For numbers or a backend that cannot be.
    """
    cuda = torch.cuda.is_available() if on_gpu is None else on_gpu
    if precision is not None and not cuda and torch.cuda.is_available():
        msg = (
            "Mixed precision was made for CUDA, and on_gpu=False trains on the CPU: hide the GPUs "
            "(CUDA_VISIBLE_DEVICES=) instead."
        )
        raise ParallelValueError(msg)
    if num_gpus is None and not cuda:
        msg = (
            "gpu_mode='ddp' starts one process per CUDA device, and there is none: say how many "
            "processes to start on the CPU, as in fit(num_gpus=2)."
        )
        raise ParallelValueError(msg)
    return Spawn(
        processes=torch.cuda.device_count() if num_gpus is None else num_gpus,
        device_type="cuda" if cuda else "cpu",
        backend=backend,
        init_method=init_method,
        num_nodes=num_nodes,
        node_rank=node_rank,
        precision=precision,
        options=dict(ddp_model_args or {}),
    )
