"""What writers left behind that ended too early, and where."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tt_cloud._folder import _beside
from tt_cloud._folder._directory import entered
from tt_cloud._folder._draft import prune
from tt_cloud._folder._lock import LOCK
from tt_cloud._keys import TEMPORARY_PREFIX


class Leftover(NamedTuple):
    """A hidden file that belongs to no object."""

    parts: tuple[str, ...]
    name: str


def leftovers(root: Path, parts: Sequence[str], before: float) -> Iterator[Leftover]:
    """All below a directory that did not change since then."""
    files: dict[str, os.stat_result] = {}
    below = []
    with suppress(FileNotFoundError, NotADirectoryError), entered(root, parts) as directory:
        for entry in directory.entries():
            if entry.is_dir(follow_symlinks=False):
                below.append(entry.name)
            else:
                with suppress(FileNotFoundError):
                    files[entry.name] = entry.stat(follow_symlinks=False)
    needed = {_beside.name_of(info) for info in files.values()} | {LOCK}
    for name, info in files.items():
        if name.startswith(TEMPORARY_PREFIX) and name not in needed and info.st_mtime < before:
            yield Leftover(tuple(parts), name)
    for name in below:
        yield from leftovers(root, (*parts, name), before)


def remove(root: Path, leftover: Leftover) -> None:
    """Remove it, and directories that become empty."""
    with suppress(FileNotFoundError, NotADirectoryError):
        with entered(root, leftover.parts) as directory:
            directory.unlink(leftover.name)
        prune(root, leftover.parts)
