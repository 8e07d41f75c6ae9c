"""The interface of tt-parallel. Nothing else is promised."""

from tt_parallel.collective import ProcessGroup
from tt_parallel.errors import NotTransferable, ParallelError, ParallelValueError, WorkerError
from tt_parallel.launch import Spawn
from tt_parallel.modes import Here, ddp, dp
from tt_parallel.precision import FullPrecision, TorchAmp, amp
from tt_parallel.strategies import (
    DataParallelStrategy,
    DistributedStrategy,
    OneProcess,
    Step,
    apply_step,
)
from tt_parallel.wrappers import TTDataParallel, TTDistributedDataParallel

__all__ = [
    "DataParallelStrategy",
    "DistributedStrategy",
    "FullPrecision",
    "Here",
    "NotTransferable",
    "OneProcess",
    "ParallelError",
    "ParallelValueError",
    "ProcessGroup",
    "Spawn",
    "Step",
    "TTDataParallel",
    "TTDistributedDataParallel",
    "TorchAmp",
    "WorkerError",
    "amp",
    "apply_step",
    "ddp",
    "dp",
]
