"""Pickles of plain values, read without running what is in them.

Only lists, dicts, numbers, texts, NumPy's arrays and numbers, paths and AIToolbox's training
history are known. Whatever else a file names is refused before it is looked up, so the file as a
whole is: nothing of it is imported, called or made.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from tt_experiment._durable import digest_file
from tt_experiment.errors import ImportFormatError
from tt_experiment.savers.old_files import finished, rebuilt

__all__ = ["read_pickle"]

_MAX_BYTES = 1 << 30
_MAX_VALUES = 10_000_000
_HISTORY = "aitoolbox.experiment.training_history.TrainingHistory"


def read_pickle(path: Path) -> Any:
    """Read a pickle of plain values.

    Raises:
        ImportFormatError: It is damaged, too large, or names anything that is not known; the
            message has the file's sha256.
    """
    if (size := path.stat().st_size) > _MAX_BYTES:
        msg = f"{path} has {size} bytes, and results of at most {_MAX_BYTES} are read"
        raise ImportFormatError(msg)
    try:
        content = path.read_bytes()
        _check_places(content)
        return _Plain().of(_Unpickler(io.BytesIO(content)).load())
    except Exception as error:  # a hostile file raises what it likes
        why = str(error) if isinstance(error, pickle.UnpicklingError) else type(error).__name__
        msg = f"{path} (sha256 {digest_file(path).sha256}) cannot be read safely: {why}"
        raise ImportFormatError(msg) from error


def _check_places(content: bytes) -> None:
    """Refuse a place for a value beyond any that the file can need: all below are made, too."""
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name.endswith("PUT") and argument is not None and argument > len(content):
            msg = f"it puts a value at place {argument}"
            raise pickle.UnpicklingError(msg)


class _Unpickler(pickle.Unpickler):
    """Knows a handful of names, each of which stands for something of ours."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        known = {name: _Maker(maker) for maker, name in rebuilt()}
        self._known: dict[str, Any] = {
            **known,
            "collections.OrderedDict": _Maker(OrderedDict),
            "_codecs.encode": _Maker(_bytes),
            _HISTORY: _History,
        }

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module.replace('__builtin__', 'builtins')}.{name}"  # its name in Python 2
        if full not in self._known:
            msg = f"it names {full}, and to make that would run code"
            raise pickle.UnpicklingError(msg)
        return self._known[full]

    def persistent_load(self, pid: Any) -> NoReturn:
        msg = f"it refers to something outside of it: {str(pid)[:80]!r}"
        raise pickle.UnpicklingError(msg)


class _Maker:
    """What a file may call, and not change."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make

    def __call__(self, *arguments: Any) -> Any:
        return self._make(*arguments)

    def __setstate__(self, state: Any) -> NoReturn:
        msg = "it changes what it is read with"
        raise pickle.UnpicklingError(msg)


def _bytes(text: str, encoding: str) -> bytes:
    """Bytes as the older protocols have them."""
    if encoding != "latin1":
        msg = f"it encodes by {encoding!r}"
        raise pickle.UnpicklingError(msg)
    return text.encode("latin1")


class _History:
    """A training history: of its state, the curves."""

    curves: Any = None

    def __setstate__(self, state: Any) -> None:
        values = state.values() if isinstance(state, dict) else []
        self.curves = next((value for value in values if isinstance(value, dict)), {})


class _Plain:
    """Makes plain containers of what was read, which may hold the same list a million times."""

    def __init__(self) -> None:
        self._left = _MAX_VALUES

    def of(self, value: Any) -> Any:
        """The value, and what is in it."""
        self._left -= 1
        if self._left < 0:
            msg = f"it has more than {_MAX_VALUES} values"
            raise pickle.UnpicklingError(msg)
        if isinstance(value, _History):
            return self.of(value.curves)
        if isinstance(value, Mapping):
            return {key: self.of(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.of(item) for item in value]
        if isinstance(value, tuple):
            return tuple(self.of(item) for item in value)
        return finished(value)
