"""A file system that loses power: from the changes that were made, what a disk may hold then.

Only what was flushed is sure. Data of a file that was written since its last ``fsync`` is there,
is missing, is there in part, or has become zeros; a name that was made, moved or removed since the
last ``fsync`` of its folder is or is not as it was made. Nothing is ordered by anything else.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from .disk import Change

__all__ = ["Machine", "images"]


class _File:
    def __init__(self) -> None:
        self.now = self.flushed = b""

    def flush(self) -> None:
        self.flushed = self.now


class _Folder:
    """Names; those changed since the last flush wait in the order of their change."""

    def __init__(self) -> None:
        self.now: dict[str, Any] = {}
        self.flushed: dict[str, Any] = {}
        self.waiting: list[dict[str, Any]] = []

    def change(self, names: dict[str, Any]) -> None:
        self.waiting.append(names)
        _renamed(self.now, names)

    def flush(self) -> None:
        self.flushed, self.waiting = dict(self.now), []


def _renamed(names: dict[str, Any], change: dict[str, Any]) -> None:
    for name, node in change.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


class Machine:
    """What a machine has in memory and on its disk, below one folder that is empty at first."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.top = _Folder()
        self.open: dict[int, Any] = {}

    def do(self, change: Change) -> None:
        """Do a change; one that is not known is a gap in this model, and an error."""
        getattr(self, f"_{change.name}")(change.result, *change.args)

    def node(self, path: Any) -> Any:
        node = self.top
        for part in Path(path).relative_to(self.root).parts:
            node = node.now[part]
        return node

    def _folder(self, path: Any) -> tuple[_Folder, str]:
        return self.node(Path(path).parent), Path(path).name

    def _open(self, fd: int, path: Any, flags: int, mode: int = 0) -> None:
        if flags & os.O_CREAT:
            folder, name = self._folder(path)
            if name not in folder.now:
                folder.change({name: _File()})
        self.open[fd] = self.node(path)
        if flags & os.O_TRUNC:
            self.open[fd].now = b""

    def _write(self, written: int, fd: int, data: bytes) -> None:
        self.open[fd].now += data[:written]  # as all files here, it is written from its end on

    def _fsync(self, _: None, fd: int) -> None:
        self.open[fd].flush()

    def _mkdir(self, _: None, path: Any, mode: int = 0) -> None:
        folder, name = self._folder(path)
        folder.change({name: _Folder()})

    def _rename(self, _: None, source: Any, target: Any) -> None:
        (folder, old), (same, new) = self._folder(source), self._folder(target)
        assert folder is same  # between folders, it might be in both or in none
        folder.change({old: None, new: folder.now[old]})

    _replace = _rename

    def _unlink(self, _: None, path: Any) -> None:
        folder, name = self._folder(path)
        folder.change({name: None})

    _rmdir = _unlink

    def image(self, to: Path, luck: Luck) -> None:
        """Write what the disk may hold after a power loss now."""
        _write(self.top, to, luck)


class Luck:
    """What becomes of changes that were not flushed."""

    def keeps(self, _: Any) -> bool:
        """Whether a change of names has reached the disk."""
        raise NotImplementedError

    def data(self, file: _File) -> bytes:
        """What the disk has of a file."""
        raise NotImplementedError


class _Bad(Luck):
    def keeps(self, _: Any) -> bool:
        return False

    def data(self, file: _File) -> bytes:
        return file.flushed


class _NamesOnly(_Bad):
    def keeps(self, _: Any) -> bool:
        return True


class _Mixed(Luck):
    def __init__(self, seed: int) -> None:
        self._draw = Random(seed)

    def keeps(self, _: Any) -> bool:
        return self._draw.random() < 0.5

    def data(self, file: _File) -> bytes:
        rest = file.now[len(file.flushed) :]
        kept = rest[: self._draw.randint(0, len(rest))]
        return file.flushed + self._draw.choice([b"", rest, kept, bytes(len(rest))])


def _write(node: Any, to: Path, luck: Luck) -> None:
    if isinstance(node, _File):
        to.write_bytes(luck.data(node) if node.now != node.flushed else node.now)
        return
    names = dict(node.flushed)
    for change in node.waiting:
        if luck.keeps(change):
            _renamed(names, change)
    to.mkdir()
    for name, below in names.items():
        _write(below, to / name, luck)


def images(
    root: Path, changes: Iterable[Change], to: Path
) -> Iterator[tuple[dict[str, Any], Path]]:
    """For each moment, what the program had said by then, and some disks that may be left."""
    machine, said = Machine(root), dict[str, Any]()
    for number, change in enumerate(changes):
        if change.name == "say":
            said |= {change.args[0]: change.args[1]}
        else:
            machine.do(change)
        if change.name == "open" and not change.args[1] & os.O_CREAT:
            continue  # of a folder, to flush it: the disk is as it was
        for luck in (_Bad(), _NamesOnly(), _Mixed(2 * number), _Mixed(2 * number + 1)):
            machine.image(to, luck)
            yield said, to
