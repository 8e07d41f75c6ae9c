"""One checkpoint directory: how it is written, found and read.

``step-0000001200/`` holds ``model.safetensors`` (``tree["model"]``), ``optimizer.safetensors``
(``tree["optimizers"]``), ``extra.safetensors`` (the rest; each only if it has tensors),
``state.json`` (the structure and every value that is not a tensor) and ``MANIFEST.json``. A step
that is saved again gets ``step-0000001200_2``: the old one goes only after the new one is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tt_experiment import _json, _manifest
from tt_experiment._checkpoint.entries import FORMAT, Entry
from tt_experiment._checkpoint.finite import all_finite
from tt_experiment._checkpoint.staging import Staging
from tt_experiment._durable import (
    commit_directory,
    discard,
    make_directory,
    scratch_path,
    write_file,
)
from tt_experiment._manifest import Manifest
from tt_experiment._tensors import read_tensors, tensor_chunks
from tt_experiment._tree import decode
from tt_experiment.errors import CorruptCheckpoint
from tt_loop.api import Tree

__all__ = ["FORMAT", "Label", "read_tree", "write"]

_FILES = {
    "model": "model.safetensors",
    "optimizers": "optimizer.safetensors",
    "extra": "extra.safetensors",
}


@dataclass(frozen=True)
class Label:
    """What is noted of a checkpoint beside its state."""

    step: int
    scores: Mapping[str, float]
    facts: Mapping[str, Any]


def write(parent: Path, state: Staging, label: Label, serial: int) -> Entry:
    """Write a checkpoint beside its final name and make it appear with one rename.

    Raises:
        CheckpointError: The state changed while it was copied.
    """
    staging = scratch_path(parent, f"step-{label.step}")
    try:
        make_directory(staging)
        manifest = _write_files(staging, state, label, serial)
        target = _free_name(parent, label.step)
        state.check()
        commit_directory(staging, target)
    except BaseException:
        discard(staging)
        raise
    return Entry.of(target, manifest)


def _write_files(staging: Path, state: Staging, label: Label, serial: int) -> Manifest:
    files = {
        _FILES[part]: write_file(staging / _FILES[part], tensor_chunks(tensors))
        for part, tensors in state.tensors.items()
        if tensors
    }
    document = _json.dumps({"format": FORMAT, "step": label.step, "tree": state.structure})
    files["state.json"] = write_file(staging / "state.json", [document])
    values, nonfinite = _json.finite(dict(label.scores))
    facts = {
        "step": label.step,
        "serial": serial,
        "scores": values,
        "nonfinite": nonfinite,
        "created": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "finite": all_finite(state.tensors.get("model", {}).values()),
        "torch": str(torch.__version__),
        "facts": dict(label.facts),
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


def read_tree(path: Path) -> Tree:
    """Read a checkpoint back; every size and digest is checked on the way.

    Raises:
        CorruptCheckpoint: It is not what was written.
        FormatVersionError: It was written in a newer format.
    """
    manifest = Manifest.read(path, FORMAT)
    structure = _structure(path, manifest.read_file(path, "state.json"))
    with ThreadPoolExecutor(len(_FILES)) as threads:  # reading and hashing leave Python's lock
        trees = threads.map(partial(_read_part, path, manifest), structure, structure.values())
        parts: Tree = dict(zip(structure, trees, strict=True))
    extra: Tree = parts.pop("extra")
    return {**parts, **extra}


def _structure(path: Path, content: bytes) -> dict[str, Any]:
    try:
        structure = _json.load_object(content)["tree"]
        if not {"extra"} <= set(structure) <= set(_FILES):
            msg = f"unknown parts {sorted(structure)}"
            raise ValueError(msg)
    except (KeyError, TypeError, ValueError) as error:
        msg = f"{path / 'state.json'} must tell how a state is put together. Got {error!r}"
        raise CorruptCheckpoint(msg) from error
    return dict(structure)


def _read_part(path: Path, manifest: Manifest, part: str, structure: Any) -> Any:
    expected = manifest.files.get(_FILES[part])
    tensors = {} if expected is None else read_tensors(path / _FILES[part], expected)
    return decode(tensors, structure)
