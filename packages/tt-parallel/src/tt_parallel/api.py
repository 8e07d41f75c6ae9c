"""The interface of tt-parallel. Nothing else is promised."""

from tt_parallel.collective import OneProcess, ProcessGroup
from tt_parallel.errors import NotTransferable, ParallelError, ParallelValueError, WorkerError
from tt_parallel.launch.spawn import Spawn
from tt_parallel.modes import Here, ddp, dp
from tt_parallel.precision.factory import amp
from tt_parallel.precision.full import FullPrecision
from tt_parallel.precision.protocol import Precision
from tt_parallel.precision.torch_amp import TorchAmp
from tt_parallel.strategies.data_parallel import DataParallelStrategy
from tt_parallel.strategies.distributed import DistributedStrategy
from tt_parallel.strategies.step import Step, apply_step
from tt_parallel.strategies.wrappers import TTDataParallel, TTDistributedDataParallel

__all__ = [
    "DataParallelStrategy",
    "DistributedStrategy",
    "FullPrecision",
    "Here",
    "NotTransferable",
    "OneProcess",
    "ParallelError",
    "ParallelValueError",
    "Precision",
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
