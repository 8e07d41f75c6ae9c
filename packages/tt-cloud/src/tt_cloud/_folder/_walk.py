"""The objects of a folder in the order of their keys."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from tt_cloud._folder._directory import entered
from tt_cloud._keys import TEMPORARY_PREFIX


def walk(
    root: Path, parts: Sequence[str], prefix: str, start_after: str
) -> Iterator[tuple[str, os.stat_result]]:
    """The files whose keys begin with the prefix and come behind another, ordered by key."""
    base = prefix[: prefix.rfind("/") + 1]
    return _walk(root, (*parts, *base.split("/")[:-1]), base, prefix, start_after)


def _walk(
    root: Path, parts: Sequence[str], base: str, prefix: str, start_after: str
) -> Iterator[tuple[str, os.stat_result]]:
    """A directory sorts as what its keys begin with."""
    for name, info in _entries(root, parts, base, prefix):
        key = base + name
        if not name.endswith("/"):
            if key > start_after:
                yield key, info
        elif key > start_after or start_after.startswith(key):
            yield from _walk(root, (*parts, name[:-1]), key, prefix, start_after)


def _entries(
    root: Path, parts: Sequence[str], base: str, prefix: str
) -> list[tuple[str, os.stat_result]]:
    """What may hold or be an object, in order; directories end with ``/``."""
    found = []
    with suppress(FileNotFoundError, NotADirectoryError), entered(root, parts) as directory:
        for entry in directory.entries():
            name = entry.name + "/" * entry.is_dir(follow_symlinks=False)
            if not name.startswith(TEMPORARY_PREFIX) and (base + name).startswith(prefix):
                with suppress(FileNotFoundError):  # deleted since the directory was read
                    found.append((name, entry.stat(follow_symlinks=False)))
    return sorted((each for each in found if _is_object(*each)), key=lambda each: each[0])


def _is_object(name: str, info: os.stat_result) -> bool:
    return name.endswith("/") or stat.S_ISREG(info.st_mode)
