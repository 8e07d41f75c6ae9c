"""One turn of one way of saving, in a process of its own.

python -m experiments.cell FILE FUNCTION JOB
"""

import gc
import json
import os
import resource
import shutil
import subprocess
import sys
import time
import warnings
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import torch

from experiments.job import Training

LIMIT = 900.0  # seconds
HERE = Path(__file__).parents[1]


class Job(NamedTuple):
    """What a turn does: so many pairs of blocks of steps, one without and one with a save."""

    folder: Path
    parameters: int
    every: int
    pairs: int
    threads: int


class Times(NamedTuple):
    """Of one pair: seconds of the block without and with a save, what it waited, CPU seconds."""

    bare: float
    saving: float
    waited: float
    bare_cpu: float
    saving_cpu: float


class Turn(NamedTuple):
    """What a process measured; memory in MB, beyond what training takes."""

    pairs: list[Times]
    memory: float
    load: float
    state: float


def run(file: str, function: str, job: Job) -> Turn:
    """Start the process, and read what it says."""
    text = json.dumps(job, default=str)
    done = subprocess.run(
        [sys.executable, "-m", "experiments.cell", file, function, text],
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=True,
    )
    pairs, *rest = json.loads(done.stdout.splitlines()[-1])
    return Turn([Times(*pair) for pair in pairs], *rest)


def turn(training: Training, job: Job) -> Turn:
    place = job.folder / "saved"
    place.mkdir()
    training.steps(2, None)
    bare = peak_memory()
    training.steps(1, place / "0")  # buffers are made, threads started
    saved = training.fingerprint()
    training.steps(1, None)
    load = seconds_to_load(training, place / "0")
    if training.fingerprint() != saved:
        msg = "what is loaded must be what was saved"
        raise ValueError(msg)
    memory = 0.0
    pairs = []
    for number in range(1, job.pairs + 1):
        without = block(training, job.every, None)
        reset_peak()
        having = block(training, job.every, place / str(number))
        memory = max(memory, peak_memory() - bare)
        pairs.append(Times(without[0], having[0], having[1], without[2], having[2]))
        remove(place / str(number - 1))
    return Turn(pairs, memory, load, size(place))


def block(training: Training, steps: int, save_to: Path | None) -> tuple[float, float, float]:
    """Seconds, seconds waited and CPU seconds of some steps; what was written before is written."""
    os.sync()
    gc.collect()
    waited, used, began = training.waited, cpu(), time.monotonic()
    training.steps(steps, save_to)
    return time.monotonic() - began, training.waited - waited, cpu() - used


def seconds_to_load(training: Training, path: Path) -> float:
    began = time.monotonic()
    training.load(path)
    return time.monotonic() - began


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    kilobytes = next(line.split()[1] for line in lines if line.startswith("VmHWM"))
    return int(kilobytes) / 1e3


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def size(path: Path) -> float:
    """MB of the newest that is left."""
    if path.is_file():
        return path.stat().st_size / 1e6
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 1e6


def main() -> None:
    file, function, text = sys.argv[1:]
    folder, *numbers = json.loads(text)
    job = Job(Path(folder), *numbers)
    with redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.set_num_threads(job.threads)
        training = getattr(import_module(f"experiments.{file}"), function)(job.parameters)
        result = turn(training, job)
    print(json.dumps(result))
    sys.stdout.flush()
    os._exit(0)  # threads of peers need not end


if __name__ == "__main__":
    main()
