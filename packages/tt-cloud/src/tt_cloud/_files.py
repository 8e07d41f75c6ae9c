"""Keys as files below one folder: which may be, and whether the way there is free of links."""

from __future__ import annotations

import os
import re
import secrets
import stat
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tt_cloud._keys import TEMPORARY_PREFIX, check_key
from tt_cloud.errors import InvalidURL, UnsafeKey

MAX_NAME_BYTES = 255  # of one file name, on every file system in use

_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])", re.IGNORECASE)
_SPECIAL = re.compile(r'[<>:"|?*]')
_JUNCTION = 0xA0000003  # a folder of Windows that stands for another one


class Folding(NamedTuple):
    """Which different names a file system takes for the same."""

    case: bool = False
    form: bool = False  # one character in different Unicode spellings

    def one(self, name: str) -> str:
        """One text for all such names."""
        spelt = unicodedata.normalize("NFD", name) if self.form else name
        folded = spelt.casefold() if self.case else spelt
        return unicodedata.normalize("NFC", folded) if self.form else folded


def folder_of(url: str) -> Path | None:
    """The folder or file that a ``file://`` address names; ``None`` for other kinds of addresses.

    Raises:
        InvalidURL: When it names another machine.
    """
    if not url.startswith("file://"):
        return None
    path = url.removeprefix("file://").removeprefix("localhost")
    if not path.startswith("/"):
        msg = f"a file address names no other host: got {url!r}; write file:///folder"
        raise InvalidURL(msg)
    from urllib.request import url2pathname  # loads ssl: 20 ms

    return Path(url2pathname(path))


def places(keys: Sequence[str], folder: Path) -> dict[str, Path]:
    """The file for each key; nothing is written there.

    Raises:
        UnsafeKey: When a key would leave the folder, has a name that files cannot have, meets
            another on a file system that takes them for the same, or lies below another.
    """
    for key in keys:
        check_key(key)
        check_names(key)
    _check_meetings(keys, folder)
    return {key: folder.joinpath(*key.split("/")) for key in keys}


def safe_target(folder: Path, path: Path) -> None:
    """Refuse a file below a folder when there is a link at its place or on the way there."""
    way = folder
    for part in path.relative_to(folder).parts:
        way = way / part
        if is_link(way):
            msg = f"nothing is written through links: {way} is one, on the way to {path}; remove it"
            raise UnsafeKey(msg)


def is_link(path: Path) -> bool:
    """Whether the path itself is a link of any kind."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return stat.S_ISLNK(found.st_mode) or getattr(found, "st_reparse_tag", 0) == _JUNCTION


def check_names(key: str, *, windows: bool = os.name == "nt") -> None:
    """Refuse a key with a part that no file can be named, or that means something else."""
    for part in key.split("/"):
        if fault := _fault(part, windows=windows):
            msg = (
                f"a key's parts must be names of files here: {part!r} of {key!r} {fault}; rename it"
            )
            raise UnsafeKey(msg)


def _fault(part: str, *, windows: bool) -> str | None:
    if len(part.encode()) > MAX_NAME_BYTES:
        return f"is longer than {MAX_NAME_BYTES} bytes"
    if not windows:
        return None
    if _SPECIAL.search(part) or part.endswith((" ", ".")):
        return "has what Windows does not allow in names"
    if _DEVICE.fullmatch(part.partition(".")[0].rstrip(" ")):
        return "is a device of Windows"
    return None


def _check_meetings(keys: Sequence[str], folder: Path) -> None:
    """Refuse keys that cannot be files side by side."""
    _check_apart(keys, Folding())
    try:
        _check_apart(keys, Folding(case=True, form=True))
    except UnsafeKey:  # which matters only where the file system does the same
        _check_apart(keys, folding_of(folder))


def _check_apart(keys: Sequence[str], folding: Folding) -> None:
    files: dict[str, str] = {}
    for key in keys:
        if (other := files.setdefault(folding.one(key), key)) != key:
            msg = f"keys must be different files: {key!r} and {other!r} are one here; rename one"
            raise UnsafeKey(msg)
    for key in keys:
        if (above := _above(folding.one(key), files)) is not None:
            msg = f"as files no key lies below another: {key!r} does below {above!r}; rename one"
            raise UnsafeKey(msg)


def _above(name: str, files: Mapping[str, str]) -> str | None:
    """A file that would be a folder on the way to another."""
    while "/" in name:
        name = name.rpartition("/")[0]
        if name in files:
            return files[name]
    return None


def folding_of(folder: Path) -> Folding:
    """Find out, with a file that is gone again, what the file system below a folder does."""
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    name = f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}-aé"
    probe = folder / unicodedata.normalize("NFC", name)
    try:
        probe.touch(exist_ok=False)
    except OSError:
        return Folding(case=True, form=True)  # nobody knows: to report too much loses nothing
    try:
        case = (folder / probe.name.upper()).exists()
        form = (folder / unicodedata.normalize("NFD", name)).exists()
    finally:
        probe.unlink()
    return Folding(case, form)
