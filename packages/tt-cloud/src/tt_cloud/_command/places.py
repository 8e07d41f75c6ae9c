"""What the command works on: a path, an address, or a standard stream."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from tt_cloud._files import folder_of

STREAM = "-"


@dataclass(frozen=True, slots=True)
class Place:
    """One place.

    Attributes:
        text: As it was given, without slashes at the end.
        scheme: Of its address; ``file`` for a path.
        root: Of the store that has it as an object: a bucket, or the folder it lies in.
        key: Of that object; empty for a bucket itself.
        path: On this machine.
        slash: Whether it was given with a slash at the end.
    """

    text: str
    scheme: str
    root: str
    key: str
    path: Path | None
    slash: bool

    def __truediv__(self, name: str) -> Place:
        return place(f"{self.text}/{name}")

    @property
    def name(self) -> str:
        """Of the file, folder or object."""
        return self.key.rpartition("/")[2]

    @property
    def is_folder(self) -> bool:
        """Whether it must be a folder, or is one."""
        return self.slash or not self.key or (self.path is not None and self.path.is_dir())


def place(text: str) -> Place:
    """Understand one word of the command line; the store looks at it more closely."""
    scheme, found, rest = text.partition("://")
    if not found or not re.fullmatch("[A-Za-z][A-Za-z0-9+.-]+", scheme):  # C:// is a drive
        return _of_path(text)
    if scheme == "file":
        return _of_path(f"{folder_of(text)}{'/' * text.endswith('/')}")
    bucket, _, key = rest.rstrip("/").partition("/")
    address = f"{scheme}://{bucket}"
    full = f"{address}/{key}" if key else address
    return Place(full, scheme, address, key, None, text.endswith("/"))


def _of_path(name: str) -> Place:
    path = Path(os.path.abspath(name))  # noqa: PTH100 - resolve() follows links
    slash = name.endswith(("/", os.sep)) or Path(name).name in ("", ".", "..")
    return Place(str(path), "file", str(path.parent), path.name, path, slash)
