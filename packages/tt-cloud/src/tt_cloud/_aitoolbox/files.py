"""Files on this machine, compared with objects."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tt_cloud.api import ObjectInfo

_ALGORITHMS = ("sha256", "md5")


def expanded(path: str | Path) -> Path:
    """The path, with ``~`` replaced by the user's home."""
    return Path(path).expanduser()


def is_equal(file: Path, info: ObjectInfo) -> bool:
    """Whether a file is known to hold what an object does."""
    if not file.is_file() or file.stat().st_size != info.size:
        return False
    known = {**info.checksums, **({"sha256": info.sha256} if info.sha256 else {})}
    for algorithm in _ALGORITHMS:
        if algorithm in known:
            return _digest(file, algorithm) == known[algorithm]
    return False


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
