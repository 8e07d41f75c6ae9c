"""The files of a folder that are to be stored; everything else in it is refused."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from tt_cloud._files import is_link
from tt_cloud._keys import TEMPORARY_PREFIX, check_key
from tt_cloud._trees._work import heeding
from tt_cloud.api import Cancel
from tt_cloud.errors import UnsafeKey

Symlinks: TypeAlias = Literal["error", "skip", "inside"]

_SHOWN = 5  # names in a message


class Local(NamedTuple):
    """A file: its path below the folder as a key, where it really is, and what it was then."""

    path: str
    file: Path
    info: os.stat_result


class _Level(NamedTuple):
    """A directory that is still to be read, and the real ones from which links led here."""

    path: str
    place: Path
    trail: tuple[Path, ...]


def walk(folder: Path, symlinks: Symlinks = "error", cancel: Cancel | None = None) -> list[Local]:
    """All files, ordered by path.

    Raises:
        UnsafeKey: When there is a link that is not allowed, something else that is neither file
            nor directory, or a name that no key can have.
    """
    check_folder(folder)
    found = _Walk(folder, symlinks)
    for _ in heeding(found.levels(), cancel):
        pass
    found.refuse()
    return sorted(found.files, key=lambda local: local.path)


def check_folder(folder: Path) -> None:
    """Let only an existing directory pass."""
    if not folder.exists():
        msg = f"a folder must exist: {folder} does not; name another"
        raise FileNotFoundError(errno.ENOENT, msg)
    if not folder.is_dir():
        msg = f"a folder is meant: {folder} is a file; put() and get() are for one object"
        raise NotADirectoryError(errno.ENOTDIR, msg)


class _Walk:
    def __init__(self, folder: Path, symlinks: Symlinks) -> None:
        if symlinks not in ("error", "skip", "inside"):
            msg = f"symlinks is 'error', 'skip' or 'inside': got {symlinks!r}; correct it"
            raise ValueError(msg)
        self._root = folder.resolve()
        self._symlinks = symlinks
        self._levels = [_Level("", self._root, ())]
        self.files: list[Local] = []
        self._links: list[str] = []
        self._odd: list[str] = []

    def levels(self) -> Iterator[None]:
        """Read directory after directory."""
        while self._levels:
            level = self._levels.pop()
            with suppress(FileNotFoundError):  # it went away meanwhile
                for place in level.place.iterdir():
                    if not place.name.startswith(TEMPORARY_PREFIX):
                        self._entry(level, place)
            yield

    def refuse(self) -> None:
        """Fail when something was found that may not be stored."""
        if self._symlinks == "inside":
            rule = "links are stored that lead to something inside the folder, and not back"
        else:
            rule = "links are stored only where symlinks= allows it"
        _refuse(self._links, f"{rule}: found {{}}; remove what is not meant")
        _refuse(self._odd, "files are stored, and nothing else: found {}; move that away")

    def _entry(self, level: _Level, place: Path) -> None:
        path = level.path + place.name
        with suppress(FileNotFoundError):
            if is_link(place):
                self._link(level, path, place)
            else:
                self._add(path, place, level.trail)

    def _add(self, path: str, place: Path, trail: tuple[Path, ...]) -> None:
        info = place.lstat()
        if stat.S_ISDIR(info.st_mode):
            self._levels.append(_Level(f"{path}/", place, trail))
        elif stat.S_ISREG(info.st_mode):
            check_key(path)
            self.files.append(Local(path, place, info))
        else:
            self._odd.append(path)

    def _link(self, level: _Level, path: str, place: Path) -> None:
        if self._symlinks == "skip":
            return
        target = _target(place)
        trail = (*level.trail, level.place)
        if self._symlinks == "error" or target is None or not self._may(target, trail):
            self._links.append(path)
        else:
            self._add(path, target, trail)

    def _may(self, target: Path, trail: Sequence[Path]) -> bool:
        """Whether a link leads to something inside, and not to where it was come from."""
        back = any(place.is_relative_to(target) for place in trail)
        return target.is_relative_to(self._root) and not back


def _target(link: Path) -> Path | None:
    """What a link stands for in the end, if there is something."""
    try:
        return link.resolve(strict=True)
    except (OSError, RuntimeError):  # nothing, or links in a circle
        return None


def _refuse(names: Sequence[str], rule: str) -> None:
    if names:
        shown = ", ".join(repr(name) for name in sorted(names)[:_SHOWN])
        more = f" and {len(names) - _SHOWN} more" * (len(names) > _SHOWN)
        raise UnsafeKey(rule.format(shown + more))
