"""The interface of tt-parallel. Nothing else is promised."""

from tt_parallel.collective import OneProcess, ProcessGroup
from tt_parallel.errors import (
    LauncherError,
    NotTransferable,
    OutOfSync,
    ParallelError,
    ParallelStateError,
    ParallelValueError,
    RendezvousError,
    UnusedParameters,
    WorkerError,
)
from tt_parallel.launch.environment import Place, find_place
from tt_parallel.launch.joining import Joined, joined
from tt_parallel.launch.rendezvous import Rendezvous
from tt_parallel.launch.spawn import Spawn
from tt_parallel.modes import Here, ddp, dp, fsdp
from tt_parallel.precision.apex import ApexAmp
from tt_parallel.precision.factory import amp
from tt_parallel.precision.full import FullPrecision
from tt_parallel.precision.native import OptLevel
from tt_parallel.precision.protocol import Precision
from tt_parallel.precision.torch_amp import TorchAmp
from tt_parallel.strategies.batch_norm import SyncBatchNorm
from tt_parallel.strategies.data_parallel import DataParallelStrategy
from tt_parallel.strategies.distributed import DistributedStrategy
from tt_parallel.strategies.sharded import ShardedStrategy
from tt_parallel.strategies.single import SingleStrategy
from tt_parallel.strategies.step import Step, apply_step
from tt_parallel.strategies.wrappers import TTDataParallel, TTDistributedDataParallel

__all__ = [
    "ApexAmp",
    "DataParallelStrategy",
    "DistributedStrategy",
    "FullPrecision",
    "Here",
    "Joined",
    "LauncherError",
    "NotTransferable",
    "OneProcess",
    "OptLevel",
    "OutOfSync",
    "ParallelError",
    "ParallelStateError",
    "ParallelValueError",
    "Place",
    "Precision",
    "ProcessGroup",
    "Rendezvous",
    "RendezvousError",
    "ShardedStrategy",
    "SingleStrategy",
    "Spawn",
    "Step",
    "SyncBatchNorm",
    "TTDataParallel",
    "TTDistributedDataParallel",
    "TorchAmp",
    "UnusedParameters",
    "WorkerError",
    "amp",
    "apply_step",
    "ddp",
    "dp",
    "find_place",
    "fsdp",
    "joined",
]
