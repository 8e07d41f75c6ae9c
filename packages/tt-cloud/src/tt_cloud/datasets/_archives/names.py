"""Which names the members of an archive may have."""

from __future__ import annotations

import re

from tt_cloud._files import Folding, check_names
from tt_cloud._keys import TEMPORARY_PREFIX
from tt_cloud.errors import UnsafeArchive, UnsafeKey

_DRIVE = re.compile(r"[A-Za-z]:")
_fold = Folding(case=True, form=True)  # an archive that unpacks here unpacks everywhere


class Names:
    """The names that an archive has used so far."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}  # by what file systems may take them for
        self._folders: set[str] = set()

    def add(self, name: str, *, is_folder: bool) -> tuple[str, ...]:
        """The parts of a member's name, all of them plain names.

        Raises:
            UnsafeArchive: When it leads elsewhere, or meets another member.
        """
        parts = _parts(name)
        if parts:
            self._take(parts, is_folder=is_folder)
        elif not is_folder:
            raise _unsafe(name, "is empty")
        return parts

    def _take(self, parts: tuple[str, ...], *, is_folder: bool) -> None:
        path = "/".join(parts)
        if is_folder and path in self._folders:
            return
        if parts[1:]:
            self._take(parts[:-1], is_folder=True)
        folded = _fold.one(path)
        if folded in self._seen:
            raise _unsafe(path, f"meets {self._seen[folded]!r}")
        self._seen[folded] = path
        if is_folder:
            self._folders.add(path)


def _parts(name: str) -> tuple[str, ...]:
    """Take a name apart; a leading ``./`` and a trailing ``/`` mean nothing."""
    if "\\" in name or any(ord(char) < 32 or ord(char) == 127 for char in name):
        raise _unsafe(name, "has a backslash or a control character")
    if name.startswith("/") or _DRIVE.match(name):
        raise _unsafe(name, "is absolute")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if ".." in parts:
        raise _unsafe(name, "has the part '..'")
    if any(part.startswith(TEMPORARY_PREFIX) for part in parts):
        raise _unsafe(name, f"begins with {TEMPORARY_PREFIX!r} (kept for unfinished files)")
    try:
        check_names("/".join(parts))
    except UnicodeEncodeError as error:
        raise _unsafe(name, "cannot be written as UTF-8") from error
    except UnsafeKey as error:
        raise _unsafe(name, f"is no name here ({error})") from error
    return parts


def _unsafe(name: str, fault: str) -> UnsafeArchive:
    return UnsafeArchive(
        f"members of an archive are plain files and folders of different names: {name!r} {fault}; "
        "pack it anew without that"
    )
