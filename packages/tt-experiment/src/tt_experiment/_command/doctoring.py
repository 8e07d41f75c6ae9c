"""``tt-experiment doctor``."""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, entry_points, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from tt_experiment._command.chosen import root_of
from tt_experiment._command.console import Colour, visible
from tt_experiment._command.status import FAILED, OK
from tt_experiment._command.tables import Cell, cell, size, write_table

if TYPE_CHECKING:
    from tt_experiment._command.arguments import Arguments
    from tt_experiment._command.console import Console

_PACKAGES = ("tt-experiment", "tt-loop", "tt-cloud", "torch", "numpy", "safetensors")
_LIBRARIES = {  # of extras: what is imported, and what for
    "matplotlib": "plots",
    "tensorboard": "TensorBoard's files",
    "wandb": "W&B",
    "mlflow": "MLflow",
    "pyarrow": "Parquet",
    "psutil": "system metrics",
    "pynvml": "metrics of NVIDIA's GPUs",
    "keras": "Keras models",
}
_LITTLE = 5_000_000_000  # bytes
_SLOW = 0.5  # seconds for making a small file durable
_COLOURS: dict[str, Colour] = {"ok": "green", "warning": "yellow", "problem": "red"}


class Check(NamedTuple):
    """What was looked at, how it is, and what that means."""

    name: str
    state: Literal["ok", "warning", "problem", "missing"]
    message: str


def doctor(arguments: Arguments, console: Console) -> int:
    """Run ``doctor``."""
    root = root_of(arguments).absolute()
    checks = [*_root(root), *_versions(), *_libraries(), *_stores()]
    console.document({"root": str(root), "checks": [check._asdict() for check in checks]})
    rows = [
        [cell(name), Cell(state, colour=_COLOURS.get(state)), cell(visible(message))]
        for name, state, message in checks
    ]
    write_table(console, ["check", "state", ""], rows)
    return FAILED if any(check.state == "problem" for check in checks) else OK


def _root(root: Path) -> Iterator[Check]:
    free = shutil.disk_usage(root).free
    yield Check("disk", "ok" if free > _LITTLE else "warning", f"{size(free)} free in {root}")
    if not os.access(root, os.W_OK):
        yield Check("root", "warning", f"{root} cannot be written to")
        return
    with tempfile.TemporaryDirectory(prefix=".tt-doctor-", dir=root) as name:
        for check in (_durability, _locks, _clock):
            yield _tried(check, Path(name))


def _tried(check: Callable[[Path], Check], folder: Path) -> Check:
    try:
        return check(folder)
    except Exception as error:  # a finding, like any other
        return Check(check.__name__.strip("_"), "problem", f"{type(error).__name__}: {error}")


def _durability(folder: Path) -> Check:
    from tt_experiment._durable import replace_file

    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        replace_file(folder / "file", b"x" * 4096)
        seconds.append(time.perf_counter() - began)
    middle = statistics.median(seconds)
    state: Literal["ok", "warning"] = "ok" if middle < _SLOW else "warning"
    return Check("durability", state, f"{middle * 1e3:.1f} ms to make 4 kB safe from a power cut")


def _locks(folder: Path) -> Check:
    from tt_experiment._lock import RunLock

    lock = RunLock(folder)
    lock.acquire()
    lock.release()
    return Check("locks", "ok", "a run can be locked")


def _clock(folder: Path) -> Check:
    path = folder / "clock"
    before = time.time()
    path.write_bytes(b"")
    off = path.stat().st_mtime - before
    if abs(off) < 2:
        return Check("clock", "ok", "that of the disk agrees with this machine's")
    return Check("clock", "warning", f"that of the disk is {off:.0f} s ahead of this machine's")


def _versions() -> Iterator[Check]:
    for name in _PACKAGES:
        try:
            yield Check(name, "ok", version(name))
        except PackageNotFoundError:
            needed = name in ("tt-experiment", "tt-loop")
            yield Check(name, "problem" if needed else "missing", "not installed")


def _libraries() -> Iterator[Check]:
    for name, purpose in _LIBRARIES.items():
        is_there = find_spec(name) is not None
        yield Check(name, "ok" if is_there else "missing", f"for {purpose}")


def _stores() -> Iterator[Check]:
    schemes = sorted(entry.name for entry in entry_points(group="tt_experiment.stores"))
    state: Literal["ok", "missing"] = "ok" if schemes else "missing"
    yield Check("stores", state, ", ".join(schemes) or "pip install 'tt-cloud[s3,gcs]'")
