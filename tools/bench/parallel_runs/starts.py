"""From the command to the first batch: programs take turns, each a process of its own."""

import os
import resource
import socket
import statistics
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from loops.race import heading, row

FOLDER = Path(__file__).parent / "commands"
ROOT = Path(__file__).parents[1]  # what the commands import is below it
LIMIT = 120.0  # seconds


class Command(NamedTuple):
    """A row: the words after the interpreter's, and the package that they need."""

    name: str
    words: list[str]
    package: str = ""


TORCHRUN = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "PORT"]
COMMANDS = [
    Command("torch.multiprocessing.spawn", ["spawn.py", "PORT"]),
    Command("torchrun", [*TORCHRUN, "bare.py"]),
    Command("tt-loop, fit(num_gpus=2)", ["ours.py"], "tt_parallel"),
    Command("tt-loop, torchrun", [*TORCHRUN, "ours.py"], "tt_parallel"),
    Command("Fabric.launch", ["fabric.py"], "lightning"),
    Command("Lightning Trainer", ["trainer.py"], "lightning"),
    Command("Ignite, idist.Parallel", ["ignited.py", "PORT"], "ignite"),
    Command("Accelerate, torchrun", [*TORCHRUN, "accelerated.py"], "accelerate"),
    Command("Accelerate, notebook_launcher", ["accelerated_fork.py", "PORT"], "accelerate"),
]


class Times(NamedTuple):
    """Seconds: wall clock to the first batch and to the end, CPU time of all processes."""

    to_batch: float
    to_end: float
    cpu: float


def compare(only: list[str], rounds: int) -> None:
    chosen = [each for each in COMMANDS if any(part in each.name for part in only)]
    for each in [command for command in chosen if command.package and not _is_there(command)]:
        print(f"({each.name} is left out: no {each.package})")
        chosen.remove(each)
    taken: dict[str, list[Times]] = {each.name: [] for each in chosen}
    for number in range(rounds + 1):
        for each in list(chosen) if number % 2 else chosen[::-1]:
            try:
                taken[each.name].append(_times(each))
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                print(f"({each.name} is left out: {_last_line(error)})", flush=True)
                chosen.remove(each)
    columns = ["s to the first batch", "least", "s to the end", "least", "CPU s in all", "least"]
    heading("command", *columns)
    for each in chosen:
        turns = taken[each.name][1:]  # the first one may write bytecode
        kinds = zip(*turns, strict=True)
        row(each.name, *(f"{f(kind):.2f}" for kind in kinds for f in (statistics.median, min)))


def _is_there(command: Command) -> bool:
    return find_spec(command.package) is not None


def _times(command: Command) -> Times:
    with TemporaryDirectory() as folder:
        note = Path(folder, "arrived")
        words = [_free_port() if word == "PORT" else word for word in command.words]
        environment = {
            **os.environ,
            "BENCH_ARRIVED": str(note),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        }
        began, used = time.monotonic(), _cpu()
        subprocess.run(
            [sys.executable, *words],
            cwd=FOLDER,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=True,
        )
        ended = time.monotonic()
        return Times(float(note.read_text()) - began, ended - began, _cpu() - used)


def _cpu() -> float:
    """CPU seconds of all processes that have been waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def _last_line(error: Exception) -> str:
    """The last line that names an error, else the last one."""
    said = str(getattr(error, "stderr", None) or error).strip().splitlines()
    return next((line for line in reversed(said) if "Error" in line), said[-1])
