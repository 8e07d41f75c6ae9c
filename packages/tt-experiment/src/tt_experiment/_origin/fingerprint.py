"""What tells data again: its kind, its size and a digest of its content or of samples of it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tt_experiment import _json
from tt_experiment._durable import digest_file
from tt_experiment.redact import redact

__all__ = ["fingerprint"]

_SAMPLES = 16
_WHOLE = 64 << 20  # bytes up to which a tensor is hashed whole


def fingerprint(data: Any) -> dict[str, Any]:
    """Facts that change when the data do.

    Files are hashed whole, folders by the names and sizes in them, tensors and arrays whole or, if
    they are large, in evenly spread rows; of a data set, evenly spread samples are read, from the
    same random state each time and without moving the program's own. A mapping is taken as the
    facts themselves.
    """
    if isinstance(data, Mapping):
        return dict(redact(data))
    if isinstance(data, str | os.PathLike):
        return _of_path(Path(data))
    if isinstance(data, torch.Tensor | np.ndarray):
        return {"kind": type(data).__name__, "shape": list(data.shape), "sha256": _digest(data)}
    kind = f"{type(data).__module__}.{type(data).__qualname__}"
    try:
        length = len(data)
        with _fixed_randomness():
            samples = [data[index] for index in _spread(length)]
    except (TypeError, NotImplementedError, KeyError):  # a stream, or no positions
        return {"kind": kind}
    return {"kind": kind, "length": length, "samples": len(samples), "sha256": _digest(samples)}


def _of_path(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        size, sha256 = digest_file(path)
        return {"kind": "file", "name": path.name, "bytes": size, "sha256": sha256}
    files = sorted(p for p in path.rglob("*") if p.is_file())
    listing = [[p.relative_to(path).as_posix(), p.stat().st_size] for p in files]
    size = sum(entry[1] for entry in listing)  # type: ignore[misc]  # the second is the size
    digest = hashlib.sha256(_json.line(listing).encode("utf-8", "surrogatepass")).hexdigest()
    return {"kind": "folder", "name": path.name, "files": len(files), "bytes": size} | {
        "sha256_of_listing": digest
    }


def _spread(length: int) -> list[int]:
    """Positions from the first to the last, evenly."""
    count = min(length, _SAMPLES)
    return [round(i * (length - 1) / max(count - 1, 1)) for i in range(count)]


@contextlib.contextmanager
def _fixed_randomness() -> Iterator[None]:
    """Global generators in a fixed state, and afterwards in the one they had."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        np.random.seed(0)
        random.seed(0)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def _digest(value: Any) -> str:
    digest = hashlib.sha256()
    _feed(digest, value)
    return digest.hexdigest()


def _feed(digest: hashlib._Hash, value: Any) -> None:
    """Add a sample's content, whatever it is made of."""
    if isinstance(value, torch.Tensor):
        _feed_tensor(digest, value.detach().cpu())
    elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
        digest.update(f"{value.dtype.str}{value.shape}".encode())
        digest.update(np.ascontiguousarray(_rows(value)).tobytes())
    elif isinstance(value, bytes):
        digest.update(value)
    elif isinstance(value, Mapping):
        _feed(digest, [part for item in value.items() for part in item])
    elif isinstance(value, list | tuple):
        digest.update(f"[{len(value)}".encode())
        for item in value:
            _feed(digest, item)
    else:
        digest.update(_json.line(redact(value)).encode("utf-8", "surrogatepass"))


def _feed_tensor(digest: hashlib._Hash, tensor: torch.Tensor) -> None:
    digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
    rows = _rows(tensor.to_dense() if tensor.is_sparse else tensor).contiguous()
    digest.update(rows.reshape(-1).view(torch.uint8).numpy().tobytes() if rows.numel() else b"")


def _rows(array: Any) -> Any:
    """The array, or evenly spread rows of one that is too large to read whole."""
    if array.nbytes <= _WHOLE:
        return array
    return array[_spread_many(len(array), _WHOLE * len(array) // array.nbytes)]


def _spread_many(length: int, count: int) -> list[int]:
    step = max(length // max(count, 1), 1)
    return list(range(0, length, step))
