"""One checkpoint directory: how it is written, found and read.

``step-0000001200/`` holds ``model.safetensors`` (``tree["model"]``), ``optimizer.safetensors``
(``tree["optimizers"]``), ``extra.safetensors`` (the rest; each only if it has tensors),
``state.json`` (the structure and every value that is not a tensor) and ``MANIFEST.json``. A step
that is saved again gets ``step-0000001200_2``: the old one goes only after the new one is there.

Checkpoints are ordered by ``serial``, which counts the saves of a folder. Neither clocks nor steps
would do: a run that went back to step 50 and on to step 60 is newer than its abandoned step 100.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tt_experiment import _json, _manifest
from tt_experiment._durable import (
    commit_directory,
    make_directory,
    remove_directory,
    scratch_path,
    write_file,
)
from tt_experiment._manifest import Manifest
from tt_experiment._tensors import read_tensors, tensor_chunks
from tt_experiment._tree import decode, encode
from tt_experiment.errors import CorruptCheckpoint, StateTreeError
from tt_loop.api import CheckpointRef, Tree

__all__ = ["FORMAT", "Entry", "Staged", "read_tree", "scan", "stage", "write"]

FORMAT = "tt-checkpoint/1"
_NAME = re.compile(r"step-(\d{10,})(?:_(\d+))?")
_FILES = {
    "model": "model.safetensors",
    "optimizers": "optimizer.safetensors",
    "extra": "extra.safetensors",
}


@dataclass(frozen=True)
class Staged:
    """A state tree copied to host memory."""

    tensors: Mapping[str, Mapping[str, Tensor]]
    structure: Mapping[str, Any]

    @property
    def bytes(self) -> int:
        """Size of the tensors."""
        parts = self.tensors.values()
        return sum(t.numel() * t.element_size() for part in parts for t in part.values())


@dataclass(frozen=True)
class Entry:
    """A committed checkpoint whose manifest is whole; its files may still be damaged."""

    path: Path
    manifest: Manifest

    @property
    def step(self) -> int:
        """Step that it was saved under."""
        return int(self.manifest.facts["step"])

    @property
    def serial(self) -> int:
        """How many saves this folder had seen, this one included."""
        return int(self.manifest.facts["serial"])

    @property
    def scores(self) -> dict[str, float]:
        """Metric values that were saved with it."""
        return _json.restore(self.manifest.facts["scores"], self.manifest.facts["nonfinite"])

    @property
    def ref(self) -> CheckpointRef:
        """The entry as tt-loop knows it."""
        return CheckpointRef(self.step, str(self.path), self.scores)


def stage(tree: Tree) -> Staged:
    """Copy a state tree into host memory.

    Raises:
        StateTreeError: It holds what cannot be written exactly.
    """
    if not isinstance(tree, dict):
        msg = f"a state tree is a dict. Got {type(tree).__name__}"
        raise StateTreeError(msg)
    parts: dict[str, Any] = {key: tree[key] for key in ("model", "optimizers") if key in tree}
    parts["extra"] = {key: value for key, value in tree.items() if key not in parts}
    encoded = {part: encode(value) for part, value in parts.items()}
    return Staged(
        {part: tensors for part, (tensors, _) in encoded.items()},
        {part: structure for part, (_, structure) in encoded.items()},
    )


def write(
    parent: Path, staged: Staged, step: int, scores: Mapping[str, float], serial: int
) -> Entry:
    """Write a checkpoint beside its final name and make it appear with one rename."""
    staging = scratch_path(parent, f"step-{step}")
    make_directory(staging)
    try:
        manifest = _write_files(staging, staged, step, scores, serial)
        target = _free_name(parent, step)
        commit_directory(staging, target)
    except BaseException:
        with contextlib.suppress(OSError):
            remove_directory(staging)
        raise
    return Entry(target, manifest)


def _write_files(
    staging: Path, staged: Staged, step: int, scores: Mapping[str, float], serial: int
) -> Manifest:
    files = {
        _FILES[part]: write_file(staging / _FILES[part], tensor_chunks(tensors))
        for part, tensors in staged.tensors.items()
        if tensors
    }
    state = _json.dumps({"format": FORMAT, "step": step, "tree": staged.structure})
    files["state.json"] = write_file(staging / "state.json", [state])
    values, nonfinite = _json.finite({name: float(value) for name, value in scores.items()})
    facts = {
        "step": step,
        "serial": serial,
        "scores": values,
        "nonfinite": nonfinite,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "torch": str(torch.__version__),
    }
    manifest = Manifest(FORMAT, facts, files)
    write_file(staging / _manifest.NAME, [manifest.dumps()])
    return manifest


def _free_name(parent: Path, step: int) -> Path:
    path, number = parent / f"step-{step:010d}", 1
    while path.exists():
        number += 1
        path = parent / f"step-{step:010d}_{number}"
    return path


def scan(parent: Path) -> tuple[list[Entry], list[CorruptCheckpoint]]:
    """The checkpoints of a folder, newest first, and what is wrong with those that cannot be one.

    Raises:
        FormatVersionError: One was written in a newer format.
    """
    entries: list[Entry] = []
    damaged: list[CorruptCheckpoint] = []
    for path in _committed(parent):
        try:
            entries.append(Entry(path, Manifest.read(path, FORMAT)))
        except CorruptCheckpoint as error:
            damaged.append(error)
    return sorted(entries, key=lambda entry: entry.serial, reverse=True), damaged


def _committed(parent: Path) -> Iterator[Path]:
    if parent.is_dir():
        yield from sorted(path for path in parent.iterdir() if _NAME.fullmatch(path.name))


def read_tree(path: Path) -> Tree:
    """Read a checkpoint back, after every size and digest was checked.

    Raises:
        CorruptCheckpoint: It is not what was written.
        FormatVersionError: It was written in a newer format.
    """
    manifest = Manifest.read(path, FORMAT)
    manifest.verify(path)
    structure = _json.load_object((path / "state.json").read_bytes())["tree"]
    parts = {part: _read_part(path, manifest, part, node) for part, node in structure.items()}
    extra: Tree = parts.pop("extra")
    return {**parts, **extra}


def _read_part(path: Path, manifest: Manifest, part: str, structure: Any) -> Any:
    name = _FILES[part]
    tensors = read_tensors(path / name) if name in manifest.files else {}
    return decode(tensors, structure)
