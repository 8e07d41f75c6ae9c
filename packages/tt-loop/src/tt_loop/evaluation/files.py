"""Predictions in a folder of ``.npy`` files that grow batch by batch.

A column is one file with a sample in each row, where all samples have the same shape. Where they
have not, ``name.npy`` holds their values end to end, ``name.offsets.npy`` where each of them begins
and ends there, and ``name.shapes.npy`` their shapes, if they have more than one dimension. Which it
is may turn out with the last batch: values are laid out alike, so that only the header has to tell.

A file's header is written last. Until then NumPy does not take it for an array.
"""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tt_loop.errors import LoopTypeError, LoopValueError
from tt_loop.evaluation.samples import Samples, samples_of
from tt_loop.evaluation.structure import Structure, columns_of, describe

__all__ = ["FORMAT", "MANIFEST", "PredictionFiles"]

Array = np.ndarray[Any, Any]

FORMAT = "tt-loop predictions 1"
MANIFEST = "manifest.json"

_AT_ONCE = 1 << 16


class PredictionFiles:
    """Writes batches of predictions into files of a folder.

    Args:
        folder: Where; it must exist.
        expected: Reserve disk for so many samples.

    Attributes:
        samples: How many have been written.
        paths: The files that there are.
    """

    def __init__(self, folder: Path, expected: int | None = None) -> None:
        self.folder, self.expected = folder, expected
        self.samples = 0
        self.paths: list[Path] = []
        self._files: list[_GrowingArray] = []
        self._structure: Structure = None
        self._columns: dict[str, _Column] = {}
        self._ids = self.new("ids", np.dtype(np.int64), 1)

    def write(self, ids: Sequence[int], outputs: Mapping[str, Any]) -> None:
        """Append a batch.

        Raises:
            LoopTypeError: For ids or values of a kind that cannot be kept.
            LoopValueError: For a batch of another structure than the first, or one that does not
                have an entry for each id.
        """
        numbers = np.asarray(ids)
        if not len(numbers):
            return
        if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
            msg = f"ids must be the numbers of the samples, a sequence of integers, got {ids!r}."
            raise LoopTypeError(msg)
        if not self.samples:
            self._structure = describe(outputs, len(numbers))
        for name, value in columns_of(self._structure, outputs):
            batch = samples_of(name, value, len(numbers))
            if name not in self._columns:
                self._columns[name] = _Column(name, batch, self)
            self._columns[name].append(batch)
        self._ids.append(numbers.astype(np.int64))
        self.samples += len(numbers)

    def new(self, name: str, dtype: np.dtype[Any], ndim: int) -> _GrowingArray:
        """A new file for values of a type."""
        path = self.folder / f"{name}.npy"
        file = _GrowingArray(path, dtype, ndim)
        self.paths.append(path)
        self._files.append(file)
        return file

    def finish(self) -> str:
        """Make the files valid and flush them to the disk; returns the manifest, as JSON."""
        self._ids.finish((self.samples,))
        columns = {name: column.finish() for name, column in self._columns.items()}
        manifest = {
            "format": FORMAT,
            "samples": self.samples,
            "outputs": self._structure,
            "columns": columns,
        }
        return json.dumps(manifest, indent=1)

    def remove(self) -> None:
        """Close and delete the files."""
        for file in self._files:
            file.close()
        for path in self.paths:
            path.unlink(missing_ok=True)


class _Column:
    """One column's files."""

    def __init__(self, name: str, first: Samples, files: PredictionFiles) -> None:
        self.name, self.kind, self.dtype = name, first.kind, first.dtype
        self._shape = first.shapes[0].tolist()
        self._files, self._count = files, 0
        self._values = files.new(name, first.values.dtype, len(self._shape) + 1)
        self._offsets: _GrowingArray | None = None
        self._shapes: _GrowingArray | None = None
        if files.expected is not None:
            self._values.reserve(files.expected * math.prod(self._shape))

    def append(self, batch: Samples) -> None:
        self._check(batch)
        if self._offsets is None and (batch.shapes != self._shape).any():
            self._begin_ragged()
        if self._offsets is not None:
            ends = self._values.size + batch.shapes.prod(axis=1).cumsum()
            self._offsets.append(ends)
        if self._shapes is not None:
            self._shapes.append(batch.shapes.reshape(-1))
        self._values.append(batch.values)
        self._count += len(batch.shapes)

    def _check(self, batch: Samples) -> None:
        first = f"{self.kind} of {self.dtype} with {len(self._shape)} dimensions"
        found = f"{batch.kind} of {batch.dtype} with {batch.shapes.shape[1]} dimensions"
        if first != found:
            msg = (
                "All batches must have samples of one kind, type and number of dimensions; in "
                f"{self.name} those of the first batch were {first}, and here they are {found}."
            )
            raise LoopValueError(msg)

    def _begin_ragged(self) -> None:
        """Write down what the first, equal shapes said without a word."""
        new, size = self._files.new, math.prod(self._shape)
        offsets = self._offsets = new(f"{self.name}.offsets", np.dtype(np.int64), 1)
        offsets.append(np.zeros(1, np.int64))
        if len(self._shape) > 1:
            self._shapes = new(f"{self.name}.shapes", np.dtype(np.int64), 2)
        for start in range(0, self._count, _AT_ONCE):
            numbers = np.arange(start, min(start + _AT_ONCE, self._count)) + 1
            offsets.append(numbers * size)
            if self._shapes is not None:
                self._shapes.append(np.tile(np.array(self._shape, np.int64), len(numbers)))

    def finish(self) -> dict[str, Any]:
        if self._offsets is None:
            self._values.finish((self._count, *self._shape))
        else:
            self._values.finish((self._values.size,))
            self._offsets.finish((self._count + 1,))
        if self._shapes is not None:
            self._shapes.finish((self._count, len(self._shape)))
        return {
            "kind": self.kind,
            "dtype": self.dtype,
            "dimensions": len(self._shape),
            "ragged": self._offsets is not None,
        }


class _GrowingArray:
    """A ``.npy`` file that values are appended to; its shape is told at the end.

    Values are written, not assigned to mapped memory: a full disk is an error then, and not the end
    of the process.
    """

    def __init__(self, path: Path, dtype: np.dtype[Any], ndim: int) -> None:
        self.size = 0
        self._descr: Any = np.lib.format.dtype_to_descr(dtype)
        self._itemsize = dtype.itemsize
        self._room = -(-(len(_header(self._descr, (10**19,) * ndim)) + 11) // 64) * 64
        self._file = path.open("xb")
        self._file.write(bytes(self._room))

    def reserve(self, size: int) -> None:
        """Have the disk keep free what so many values will need."""
        if hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(self._file.fileno(), 0, self._room + size * self._itemsize)
            except OSError as error:
                if error.errno not in {errno.EINVAL, errno.EOPNOTSUPP}:
                    raise  # it does not fit, and not only: this disk cannot reserve

    def append(self, values: Array) -> None:
        self._file.write(np.ascontiguousarray(values).view(np.uint8).data)
        self.size += len(values)

    def finish(self, shape: tuple[int, ...]) -> None:
        self._file.truncate(self._room + self.size * self._itemsize)
        self._file.seek(0)
        text = _header(self._descr, shape).ljust(self._room - 11) + b"\n"
        self._file.write(np.lib.format.magic(1, 0) + len(text).to_bytes(2, "little") + text)
        self._file.flush()
        os.fsync(self._file.fileno())
        self.close()

    def close(self) -> None:
        self._file.close()


def _header(descr: Any, shape: tuple[int, ...]) -> bytes:
    return repr({"descr": descr, "fortran_order": False, "shape": shape}).encode("latin1")
