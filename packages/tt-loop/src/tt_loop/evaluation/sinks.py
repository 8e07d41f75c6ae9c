"""Where `TrainLoop.predict_to` writes predictions: one ``.npz`` file, or a folder of mapped arrays.

Both take any nesting of tuples and mappings of tensors, arrays and lists, samples of different
shapes, and texts, in constant memory and without pickle. `tt_loop.evaluation.reader` reads them.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import sys
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tt_loop.errors import LoopStateError, LoopValueError
from tt_loop.evaluation.files import MANIFEST, PredictionFiles

__all__ = ["MemmapSink", "NpzSink"]

_log = logging.getLogger(__name__)


class _Sink(ABC):
    """What sinks have in common: predictions are kept whole, or not at all."""

    def __init__(self, expected: int | None = None) -> None:
        self._expected = expected
        self._files: PredictionFiles | None = None
        self._is_open = True
        self._around = sys.exception()

    def write(self, ids: Sequence[int], outputs: Mapping[str, Any], /) -> None:
        """Take one batch: the samples' numbers in their data set, and their values by name.

        A batch that is refused ends the sink: nothing is kept.

        Raises:
            LoopTypeError: For values of a kind that cannot be kept.
            LoopValueError: For a batch of another structure than the first, or one that does not
                have an entry for each sample.
            LoopStateError: When the sink is closed.
        """
        if not self._is_open:
            msg = f"A {type(self).__name__} takes batches until it is closed: make a new one."
            raise LoopStateError(msg)
        self._around = sys.exception()
        try:
            self._opened().write(ids, outputs)
        except BaseException:
            self.discard()
            raise

    def close(self) -> None:
        """Keep what has been written; after a failure, as in a ``finally``, nothing is kept.

        Raises:
            LoopStateError: When there are not as many samples as were said to come.
        """
        if not self._is_open:
            return
        failure = sys.exception()
        if failure is not self._around and not isinstance(failure, StopIteration | None):
            _log.warning("Predictions are not kept, because predicting failed: %r", failure)
            self.discard()
            return
        try:
            files = self._opened()
            self._check_expected(files.samples)
            self._commit(files)
        except BaseException:
            self.discard()
            raise
        self._is_open = False

    def discard(self) -> None:
        """Close without keeping anything."""
        if self._is_open:
            self._is_open = False
            if self._files is not None:
                self._files.remove()
                self._clear(self._files)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def _opened(self) -> PredictionFiles:
        if self._files is None:
            self._files = PredictionFiles(self._new_folder(), self._expected)
        return self._files

    def _check_expected(self, samples: int) -> None:
        if self._expected not in (None, samples):
            msg = (
                f"A sink must get as many samples as it was told of, but of {self._expected} came "
                f"{samples}: nothing is kept. Give the right number, or none."
            )
            raise LoopStateError(msg)

    @abstractmethod
    def _new_folder(self) -> Path:
        """Make the folder that the files go to."""

    @abstractmethod
    def _commit(self, files: PredictionFiles) -> None:
        """Make the files what a reader takes for complete."""

    @abstractmethod
    def _clear(self, files: PredictionFiles) -> None:
        """Delete what is left beside the files."""


class NpzSink(_Sink):
    """Writes predictions into one ``.npz`` file, which appears whole when the sink is closed.

    Until then they are in a folder beside it, whose name begins with a dot; an older file of the
    name stays as it is. `numpy.load` reads the file as well: ``ids`` are the samples' numbers, and
    nested values have names like ``y_pred.0`` and ``y_pred.logits``.

    Of several processes each needs a file of its own: `join_predictions` joins them.

    Args:
        path: The file; its folder is made if need be.

    Example:
        >>> import tempfile
        >>> from tt_loop.evaluation.reader import read_predictions
        >>> folder = tempfile.TemporaryDirectory()
        >>> with NpzSink(f"{folder.name}/predictions.npz") as sink:
        ...     sink.write([0, 1], {"y_pred": [0.5, 0.25], "name": ["a", "bc"]})
        >>> read_predictions(sink.path).outputs
        {'y_pred': array([0.5 , 0.25]), 'name': ['a', 'bc']}
        >>> folder.cleanup()
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__()
        self.path = Path(path)
        if self.path.is_dir():
            msg = f"An NpzSink needs the path of a file, but {path} is a folder."
            raise LoopValueError(msg)

    def _new_folder(self) -> Path:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        scratch = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}.part")
        scratch.mkdir()
        return scratch

    def _commit(self, files: PredictionFiles) -> None:
        manifest = files.finish()
        staged = files.folder / "archive"
        with staged.open("xb") as file:
            with zipfile.ZipFile(file, "w") as archive:
                for path in files.paths:
                    _add(archive, path)
                archive.writestr(zipfile.ZipInfo(MANIFEST), manifest)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(self.path)
        _flush_folder(self.path.parent)
        files.remove()
        self._clear(files)

    def _clear(self, files: PredictionFiles) -> None:
        shutil.rmtree(files.folder)


class MemmapSink(_Sink):
    """Writes predictions into a folder of ``.npy`` files, which are read as mapped memory.

    A ``manifest.json`` is written last: without it the folder holds no predictions.

    Of several processes each needs a folder of its own: `join_predictions` joins them.

    Args:
        folder: A new or empty folder; it is made if need be.
        samples: How many samples will come: the disk's space is reserved with the first batch.

    Raises:
        LoopValueError: When there is something in the folder.
    """

    def __init__(self, folder: str | os.PathLike[str], samples: int | None = None) -> None:
        super().__init__(samples)
        self.folder = Path(folder)
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            msg = f"A MemmapSink needs a new or empty folder, but there is something at {folder}."
            raise LoopValueError(msg)

    def _new_folder(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder

    def _commit(self, files: PredictionFiles) -> None:
        manifest = files.finish()
        _flush_folder(self.folder)
        with self._staged.open("x", encoding="utf-8") as file:
            file.write(manifest)
            file.flush()
            os.fsync(file.fileno())
        self._staged.replace(self.folder / MANIFEST)
        _flush_folder(self.folder)

    @property
    def _staged(self) -> Path:
        return self.folder / f"{MANIFEST}.part"

    def _clear(self, files: PredictionFiles) -> None:
        for path in (self.folder / MANIFEST, self._staged):
            path.unlink(missing_ok=True)
        if not any(files.folder.iterdir()):
            files.folder.rmdir()


def _add(archive: zipfile.ZipFile, path: Path) -> None:
    """Copy a file into an archive; equal files make equal archives."""
    info = zipfile.ZipInfo(path.name)
    with path.open("rb") as source, archive.open(info, "w", force_zip64=True) as target:
        shutil.copyfileobj(source, target, 1 << 18)


def _flush_folder(folder: Path) -> None:
    """Have the new name survive a power cut."""
    if os.name != "nt":  # there a folder cannot be opened
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
