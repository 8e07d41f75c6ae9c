"""AIToolbox's ``.pth`` files, read without running what is in them.

``torch.load`` is always told ``weights_only=True``. NumPy's numbers and arrays and paths, which
hyperparameters are full of, are rebuilt here from their bytes; NumPy's own unpickling is not used.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from tt_experiment._durable import digest_file
from tt_experiment.errors import ImportFormatError

__all__ = ["finished", "read_old_checkpoint", "rebuilt", "without_parallel_prefix"]

_PREFIX = "module."
_DTYPE = re.compile(r"[biufc](1|2|4|8|16)|[SU]\d{1,9}")


def read_old_checkpoint(path: Path | str) -> dict[str, Any]:
    """Read a dict of states that AIToolbox, or ``torch.save``, wrote; tensors are on the CPU.

    Where all weights were saved under the prefix ``module.`` of a parallel model, it is left out.

    Raises:
        FileNotFoundError: There is no such file.
        ImportFormatError: It is damaged, is no dict, or would have to run code; the message tells
            what was refused and the file's sha256. Nothing is then read in another way.
    """
    path = Path(path).expanduser()
    size = path.stat().st_size
    try:
        _check_members(path, size)
        with torch.serialization.safe_globals([*rebuilt()]):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
        state = finished(loaded)
    except Exception as error:  # a damaged file raises what it likes
        raise ImportFormatError(_refusal(path, error)) from error
    if not isinstance(state, dict):
        msg = f"{path} must hold a dict of states. Got {type(state).__name__}"
        raise ImportFormatError(msg)
    weights = state.get("model_state_dict")
    if isinstance(weights, Mapping):
        state["model_state_dict"] = without_parallel_prefix(weights)
    return state


def _check_members(path: Path, size: int) -> None:
    """Refuse an archive that unpacks to more than it is: PyTorch compresses nothing."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > size:
                msg = f"{path} unpacks to more than its {size} bytes"
                raise ValueError(msg)


def without_parallel_prefix(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """A state dict without the prefix ``module.``, if all of its names have it."""
    if state_dict and all(name.startswith(_PREFIX) for name in state_dict):
        return {name.removeprefix(_PREFIX): value for name, value in state_dict.items()}
    return dict(state_dict)


def _refusal(path: Path, error: Exception) -> str:
    refused = _refused(path)
    why = (
        f"it holds {', '.join(refused)}, and to read these would run code of theirs"
        if refused
        else f"it is damaged or of another format ({type(error).__name__})"
    )
    return (
        f"{path} (sha256 {digest_file(path).sha256}) cannot be read safely: {why}. If you trust "
        "the file, load it where its classes are installed, keep tensors, numbers and texts only, "
        "and torch.save that"
    )


def _refused(path: Path) -> list[str]:
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    except Exception:  # it is no zip archive, or a damaged one
        return []
    return sorted({str(name) for name in names} - {name for _, name in rebuilt()})


def rebuilt() -> list[tuple[Any, str]]:
    """What stands in for what a file names."""
    pairs: list[tuple[Any, str]] = [
        (_Array, "numpy.ndarray"),
        (_DType, "numpy.dtype"),
        (_no_bytes, "builtins.bytes"),
    ]
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        pairs += [(_scalar, f"{module}.scalar"), (_reconstruct, f"{module}._reconstruct")]
    for module in ("pathlib", "pathlib._local"):
        pairs += [
            (_path, f"{module}.{name}")
            for name in ("Path", "PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath")
        ]
    return pairs


class _DType:
    """A type of numbers or texts, by its name and byte order."""

    def __init__(self, name: str, *_: Any) -> None:
        if not isinstance(name, str) or not _DTYPE.fullmatch(name):
            msg = f"NumPy's type {name!r}"
            raise ValueError(msg)
        self.name, self.order = name, "="

    def __setstate__(self, state: Any) -> None:
        order = state[1]
        if order not in ("<", ">", "|", "="):
            msg = f"NumPy's byte order {order!r}"
            raise ValueError(msg)
        self.order = order

    def array(self, shape: Any, data: Any, order: str = "C") -> np.ndarray[Any, Any]:
        """An array of its own out of bytes."""
        if not isinstance(data, bytes | bytearray):  # of a number, `bytes` makes as many zeros
            msg = f"NumPy's data as {type(data).__name__}"
            raise ValueError(msg)
        flat = np.frombuffer(data, np.dtype(self.order + self.name))
        sizes = [int(n) for n in shape]
        if order == "F":
            return flat.reshape(sizes[::-1]).T.copy()
        return flat.reshape(sizes).copy()


class _Array:
    """An array until its state has come."""

    def __init__(self) -> None:
        self.value: np.ndarray[Any, Any] = np.empty(0)

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, is_fortran, data = state
        self.value = dtype.array(shape, data, "F" if is_fortran else "C")


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _scalar(dtype: _DType, data: Any) -> Any:
    return dtype.array((), data)[()]


def _no_bytes() -> bytes:
    """As pickle of old writes none."""
    return b""


def _path(*parts: str) -> PurePosixPath:
    return PurePosixPath(*parts)


def finished(value: Any) -> Any:
    """The same with arrays in the place of `_Array`."""
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, dict):
        return {key: finished(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(finished(item) for item in value)
    return value
