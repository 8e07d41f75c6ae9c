"""Reads what `NpzSink` and `MemmapSink` wrote, and joins what several processes wrote."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tt_loop.errors import LoopValueError
from tt_loop.evaluation.files import FORMAT, MANIFEST
from tt_loop.evaluation.samples import from_bytes, from_torch_bits
from tt_loop.evaluation.structure import build

__all__ = ["StoredPredictions", "join_predictions", "read_predictions"]

Array = np.ndarray[Any, Any]


class StoredPredictions(NamedTuple):
    """Predictions as a sink kept them.

    Attributes:
        ids: Numbers of the samples in their data set.
        outputs: What was written, batch after batch: ``y_pred``, ``y_true`` and metadata.
    """

    ids: Array
    outputs: dict[str, Any]


def read_predictions(path: str | os.PathLike[str]) -> StoredPredictions:
    """Read a `NpzSink`'s file or a `MemmapSink`'s folder.

    Tensors and arrays come back as NumPy arrays, or as lists of them where samples had different
    shapes. What has a type that NumPy does not have, such as bfloat16, comes back as a tensor.
    Texts and plain Python values come back in lists.

    From a folder, arrays are mapped memory that cannot be written to, and in place of lists there
    are sequences that read a sample when it is asked for.

    Raises:
        LoopValueError: When there are no complete predictions.
    """
    stored = _Stored(Path(path))
    keep = _as_it_is if stored.mapped else _in_memory
    outputs = stored.built(lambda name: keep(stored.column(name)), stored.samples, keep)
    return StoredPredictions(stored.array("ids"), outputs)


def join_predictions(paths: Iterable[str | os.PathLike[str]]) -> StoredPredictions:
    """Read the predictions of several processes into memory, in the order of the data set.

    Raises:
        LoopValueError: When some are not complete or have another structure than others, or a
            sample is there twice.
    """
    parts = [stored for stored in map(_Stored, map(Path, paths)) if stored.samples]
    if not parts:
        return StoredPredictions(np.zeros(0, np.int64), {})
    for part in parts:
        _check_alike(parts[0], part)
    ids = np.concatenate([part.array("ids") for part in parts])
    order = np.argsort(ids, kind="stable")
    _check_once(ids[order])
    places = np.empty_like(order)
    places[order] = np.arange(len(order))

    def column(name: str) -> Any:
        return _joined([part.column(name) for part in parts], places)

    return StoredPredictions(ids[order], parts[0].built(column, len(ids), _in_memory))


def _check_alike(first: _Stored, other: _Stored) -> None:
    if first.layout() != other.layout():
        msg = (
            "Predictions that are joined must have one structure and the same types, but "
            f"{first.path} has {first.layout()} and {other.path} has {other.layout()}."
        )
        raise LoopValueError(msg)


def _check_once(ids: Array) -> None:
    twice = ids[1:][ids[1:] == ids[:-1]]
    if len(twice):
        msg = (
            "Each sample must be in one of the predictions that are joined, but there is more than "
            f"one of {twice[:5].tolist()}: give each process's predictions once."
        )
        raise LoopValueError(msg)


def _joined(parts: Sequence[Any], places: Array) -> Any:
    """One column of all parts, each sample in its place."""
    joined = _room(parts, len(places))
    start = 0
    for part in parts:
        own = places[start : start + len(part)]
        start += len(part)
        if isinstance(joined, list):
            for place, sample in zip(own.tolist(), part, strict=True):
                joined[place] = sample
        else:
            joined[own] = part
    return joined


def _room(parts: Sequence[Any], samples: int) -> Any:
    """A whole array or tensor, where all parts are such and of one shape, else a list."""
    for kind, empty in ((np.ndarray, np.empty), (Tensor, torch.empty)):
        if all(isinstance(part, kind) and part.shape[1:] == parts[0].shape[1:] for part in parts):
            return empty((samples, *parts[0].shape[1:]), dtype=parts[0].dtype)
    return [None] * samples


class _Stored:
    """One file or folder of predictions."""

    def __init__(self, path: Path) -> None:
        self.path, self.mapped = path, path.is_dir()
        manifest = self._manifest()
        if manifest.get("format") != FORMAT:
            raise LoopValueError(self._refused(f"its format is {manifest.get('format')!r}"))
        self.samples: int = manifest["samples"]
        self._outputs, self._columns = manifest["outputs"], manifest["columns"]

    def _manifest(self) -> dict[str, Any]:
        try:
            if self.mapped:
                return dict(json.loads((self.path / MANIFEST).read_bytes()))
            with zipfile.ZipFile(self.path) as archive:
                return dict(json.loads(archive.read(MANIFEST)))
        except (KeyError, ValueError, zipfile.BadZipFile, FileNotFoundError) as error:
            if not self.path.exists():
                raise
            raise LoopValueError(self._refused(f"it has no valid {MANIFEST}")) from error

    def _refused(self, reason: str) -> str:
        return (
            f"Predictions must be what a sink wrote to its end ({FORMAT}); {self.path} is not, "
            f"{reason}: if writing was interrupted, predict again."
        )

    def layout(self) -> tuple[Any, ...]:
        """Structure and types, not the shapes."""
        kinds = {
            name: (c["kind"], c["dtype"], c["dimensions"]) for name, c in self._columns.items()
        }
        return self._outputs, kinds

    def array(self, name: str, mode: Literal["r", "c"] = "r") -> Array:
        """One of the arrays; if it is mapped, to be read (``r``) or changed in memory (``c``)."""
        try:
            if self.mapped:
                return _mapped(self.path / f"{name}.npy", mode)
            with zipfile.ZipFile(self.path) as archive, archive.open(f"{name}.npy") as file:
                return np.lib.format.read_array(file, allow_pickle=False)
        except (EOFError, KeyError, ValueError, zipfile.BadZipFile, FileNotFoundError) as error:
            raise LoopValueError(self._refused(f"its array {name} is damaged")) from error

    def column(self, name: str) -> Any:
        """The samples of one column: an array or tensor, where they are of one shape."""
        entry = self._columns[name]
        kind, dtype = entry["kind"], entry["dtype"]
        values: Any = self.array(name)
        if dtype.startswith("torch."):
            values = from_torch_bits(self.array(name, "c"), dtype)  # a tensor can be written to
        if entry["ragged"]:
            shapes = self.array(f"{name}.shapes") if entry["dimensions"] > 1 else None
            values = _ragged(values, self.array(f"{name}.offsets"), shapes)
        if kind == "array":
            return values
        return _Sequence(self.samples, lambda number: from_bytes(values[number], kind))

    def built(
        self, column: Callable[[str], Any], samples: int, keep: Callable[[Any], Any]
    ) -> dict[str, Any]:
        """Columns of so many samples, nested as they were when they were written."""

        def rows(found: dict[Any, Any]) -> Any:
            return keep(_Sequence(samples, lambda n: {key: part[n] for key, part in found.items()}))

        return build(self._outputs, column, rows) or {}


class _Sequence(Sequence[Any]):
    """Samples that are made when they are asked for."""

    def __init__(self, length: int, sample: Callable[[int], Any]) -> None:
        self._numbers, self._sample = range(length), sample

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: Any) -> Any:
        found = self._numbers[index]
        return [self._sample(n) for n in found] if isinstance(found, range) else self._sample(found)


def _in_memory(column: Any) -> Any:
    return list(column) if isinstance(column, _Sequence) else column


def _as_it_is(column: Any) -> Any:
    return column


def _ragged(values: Any, offsets: Array, shapes: Array | None) -> _Sequence:
    """Samples of different shapes that lie end to end."""

    def sample(number: int) -> Any:
        shape = (-1,) if shapes is None else shapes[number].tolist()
        return values[int(offsets[number]) : int(offsets[number + 1])].reshape(shape)

    return _Sequence(len(offsets) - 1, sample)


def _mapped(path: Path, mode: Literal["r", "c"]) -> Array:
    array: Array = np.load(path, mmap_mode=mode, allow_pickle=False)
    return array
