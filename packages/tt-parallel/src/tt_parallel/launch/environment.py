"""Who started this process, and where it stands among the others: what a launcher's variables say.

========== ===================================================================================
torchrun   ``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK``, ``LOCAL_WORLD_SIZE``, ``MASTER_ADDR`` and
           ``MASTER_PORT``; anybody may set them, also without the two of the node
Open MPI   ``OMPI_COMM_WORLD_{RANK,SIZE,LOCAL_RANK,LOCAL_SIZE}``
MVAPICH    ``MV2_COMM_WORLD_{RANK,SIZE,LOCAL_RANK,LOCAL_SIZE}``
MPICH,     ``PMI_RANK``, ``PMI_SIZE``, ``MPI_LOCALRANKID`` and ``MPI_LOCALNRANKS``
Intel MPI
Slurm      those of a step with several tasks (``srun``)
========== ===================================================================================

The first in this order counts: torchrun and ``mpirun`` are themselves started by Slurm at times.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from tt_parallel.errors import LauncherError

__all__ = ["Place", "find_place"]

Environ = Mapping[str, str]

_TORCH = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_MPI = {
    "Open MPI": tuple(f"OMPI_COMM_WORLD_{n}" for n in ("RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE")),
    "MVAPICH": tuple(f"MV2_COMM_WORLD_{n}" for n in ("RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE")),
    "MPICH or Intel MPI": ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
}
_RUN_IDS = ("SLURM_JOB_ID", "PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid", "LSB_JOBID", "PBS_JOBID")
_NO_STEP = 0xFFFFFFF0  # Slurm's names for what runs outside srun: the batch script, a shell
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_PORTS = range(10_000, 30_000)  # below those that systems hand out by themselves


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a launcher has put this process.

    Args:
        launcher: Who it was.
        rank: Number of the process among all.
        world_size: Number of all processes.
        local_rank: Number of the process on its node.
        local_world_size: Number of processes on its node.
        address: Host of rank 0.
        port: Port there.
    """

    launcher: str
    rank: int
    world_size: int
    local_rank: int
    local_world_size: int
    address: str
    port: int

    @property
    def init_method(self) -> str:
        """Where the processes meet, as `torch.distributed.init_process_group` wants to be told."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"tcp://{host}:{self.port}"


def find_place(environ: Environ) -> Place | None:
    """What the variables say; ``None`` when no launcher has set any.

    Raises:
        LauncherError: When some are missing, are no numbers, or contradict each other.
    """
    place = _from_torch(environ) or _from_mpi(environ) or _from_slurm(environ)
    if place is not None:
        _check(place, environ)
    elif said := [name for name in ("RANK", "WORLD_SIZE") if name in environ]:
        raise _missing("A launcher", _TORCH, environ, seen=said)
    return place


def _from_torch(environ: Environ) -> Place | None:
    """What torchrun sets, or somebody in its way."""
    if any(name not in environ for name in _TORCH):
        if "TORCHELASTIC_RUN_ID" in environ:
            raise _missing("torchrun", _TORCH, environ, seen=["TORCHELASTIC_RUN_ID"])
        return None
    rank, world_size = _number(environ, "RANK"), _number(environ, "WORLD_SIZE")
    here = environ["MASTER_ADDR"] in _LOOPBACK or "LOCAL_RANK" in environ
    local_world_size = world_size if here else 1  # where nobody says it: one in each pod
    if "LOCAL_WORLD_SIZE" in environ:
        local_world_size = _number(environ, "LOCAL_WORLD_SIZE")
    said = "LOCAL_RANK" in environ
    return Place(
        launcher="torchrun" if "TORCHELASTIC_RUN_ID" in environ else "the environment",
        rank=rank,
        world_size=world_size,
        local_rank=_number(environ, "LOCAL_RANK") if said else rank % max(1, local_world_size),
        local_world_size=local_world_size,
        address=environ["MASTER_ADDR"],
        port=_number(environ, "MASTER_PORT"),
    )


def _from_mpi(environ: Environ) -> Place | None:
    """What the ``mpirun`` of an MPI sets."""
    for launcher, names in _MPI.items():
        if not any(name in environ for name in names[:2]):
            continue
        missing = any(name not in environ for name in names)
        if missing and _step(environ) is not None:
            continue  # srun speaks PMI too, and says more in its own words
        if missing:
            raise _missing(launcher, names, environ, seen=[n for n in names if n in environ])
        rank, world_size, local_rank, local_world_size = (_number(environ, n) for n in names)
        address, port = _meeting(environ, launcher, one_node=local_world_size == world_size)
        return Place(
            launcher=launcher,
            rank=rank,
            world_size=world_size,
            local_rank=local_rank,
            local_world_size=local_world_size,
            address=address,
            port=port,
        )
    return None


def _step(environ: Environ) -> int | None:
    """The number of the Slurm step that this process is a task of."""
    for name in ("SLURM_STEP_ID", "SLURM_STEPID"):
        if name in environ:
            step = _number(environ, name)
            return step if step < _NO_STEP else None
    return None


def _from_slurm(environ: Environ) -> Place | None:
    """What ``srun`` sets; a step of one task is no group."""
    step = _step(environ)
    size = next((n for n in ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS") if n in environ), None)
    if step is None or size is None or (world_size := _number(environ, size)) < 2:
        return None
    needed = ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_JOB_ID")
    if any(name not in environ for name in needed):
        raise _missing("Slurm", needed, environ, seen=[size])
    tasks = _tasks_per_node(_either(environ, "SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE"))
    node = _number(environ, "SLURM_NODEID")
    if sum(tasks) != world_size or node >= len(tasks):
        msg = (
            f"Slurm's variables contradict each other: {size}={world_size} and "
            f"SLURM_NODEID={node}, but the tasks per node are {tasks}."
        )
        raise LauncherError(msg)
    hosts = _either(environ, "SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST")
    address, port = _meeting(
        environ, "Slurm", one_node=len(tasks) == 1, host=_first_host(hosts), run=f".{step}"
    )
    return Place(
        launcher="Slurm",
        rank=_number(environ, "SLURM_PROCID"),
        world_size=world_size,
        local_rank=_number(environ, "SLURM_LOCALID"),
        local_world_size=tasks[node],
        address=address,
        port=port,
    )


def _tasks_per_node(said: str) -> list[int]:
    """The number of tasks on each node: ``2(x3),1`` is 2, 2, 2, 1."""
    if re.fullmatch(r"\d+(\(x\d+\))?(,\d+(\(x\d+\))?)*", said) is None:
        msg = f"Slurm's tasks per node must be like 4 or 2(x3),1; got {said!r}."
        raise LauncherError(msg)
    pairs = re.findall(r"(\d+)(?:\(x(\d+)\))?", said)
    return [int(tasks) for tasks, times in pairs for _ in range(int(times or 1))]


def _first_host(hosts: str) -> str:
    """The first of a list of hosts: ``node[01-04,07],other3`` begins with ``node01``."""
    first = re.match(r"(?:[^,\[\]]|\[\w+[^\]]*\])+", hosts)
    if first is None:
        msg = f"Slurm's list of nodes must be like node[01-04,07],other3; got {hosts!r}."
        raise LauncherError(msg)
    return re.sub(r"\[(\w+)[^\]]*\]", r"\1", first[0])


def _meeting(
    environ: Environ, launcher: str, *, one_node: bool, host: str | None = None, run: str = ""
) -> tuple[str, int]:
    """Where the processes meet, for launchers that do not say it: the same for all of a run."""
    host = _LOOPBACK[0] if one_node else host
    if host is None and ("MASTER_ADDR" not in environ or "MASTER_PORT" not in environ):
        msg = (
            f"{launcher} started processes on several nodes and does not tell them where to meet: "
            "set MASTER_ADDR (the host of rank 0) and MASTER_PORT (a free port there) for all of "
            "them, as in `mpirun -x MASTER_ADDR=... -x MASTER_PORT=...`."
        )
        raise LauncherError(msg)
    if "MASTER_PORT" in environ:
        port = _number(environ, "MASTER_PORT")
    else:
        run = "/".join(environ.get(name, "") for name in _RUN_IDS) + run
        port = _PORTS[zlib.crc32(run.encode()) % len(_PORTS)]
    return environ.get("MASTER_ADDR", host or ""), port


def _check(place: Place, environ: Environ) -> None:
    """Refuse numbers that cannot be, and variables of torch that say something else."""
    own = {
        "RANK": place.rank,
        "WORLD_SIZE": place.world_size,
        "LOCAL_RANK": place.local_rank,
        "LOCAL_WORLD_SIZE": place.local_world_size,
    }
    inside = 0 <= place.rank < place.world_size and 0 <= place.local_rank < place.local_world_size
    if not inside or place.local_world_size > place.world_size:
        said = ", ".join(f"{name.lower().replace('_', ' ')} {value}" for name, value in own.items())
        msg = f"{place.launcher} has set variables that cannot be together: {said}."
        raise LauncherError(msg)
    for name, value in own.items():
        if name in environ and _number(environ, name) != value:
            msg = (
                f"{place.launcher} says {name.lower().replace('_', ' ')} {value}, and the variable "
                f"{name} says {environ[name]}: unset {name}."
            )
            raise LauncherError(msg)


def _either(environ: Environ, *names: str) -> str:
    for name in names:
        if name in environ:
            return environ[name]
    raise _missing("Slurm", names[-1:], environ, seen=["SLURM_PROCID"])


def _number(environ: Environ, name: str) -> int:
    try:
        return int(environ[name])
    except ValueError:
        msg = f"The environment variable {name} must be a number, got {environ[name]!r}."
        raise LauncherError(msg) from None


def _missing(
    launcher: str, names: tuple[str, ...], environ: Environ, *, seen: list[str]
) -> LauncherError:
    missing = [name for name in names if name not in environ]
    return LauncherError(
        f"{launcher} sets {', '.join(names)} for the processes it starts. Here "
        f"{' and '.join(seen)} {'is' if len(seen) == 1 else 'are'} set and {', '.join(missing)} "
        f"{'is' if len(missing) == 1 else 'are'} not: set all, or unset {' and '.join(seen)}."
    )
