"""What an object has beside its content, in a hidden file named after the object's own identity."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from tt_cloud._attributes import callers, guessed_type
from tt_cloud._folder._directory import Directory
from tt_cloud._keys import TEMPORARY_PREFIX
from tt_cloud._stored import Attributes, Stored

_ENDING = ".meta"


class Beside(NamedTuple):
    """Metadata and content type, as far as the name of the file does not tell it."""

    metadata: Mapping[str, str]
    content_type: str | None

    @classmethod
    def of(cls, key: str, attributes: Attributes) -> Beside:
        """What must be kept of an object's attributes."""
        usual = attributes.content_type == guessed_type(key)
        return cls(callers(attributes.metadata), None if usual else attributes.content_type)


NOTHING = Beside({}, None)


def identity(info: os.stat_result) -> str:
    """Another after each write: of a new file, or at another time."""
    return f"{info.st_ino:x}-{info.st_size:x}-{info.st_mtime_ns:x}"


def keep(directory: Directory, info: os.stat_result, beside: Beside) -> None:
    """Write what belongs to a file, before the file gets its name."""
    if beside == NOTHING:
        return
    descriptor = directory.open(name_of(info), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        json.dump({"metadata": beside.metadata, "content_type": beside.content_type}, file)
        file.flush()
        os.fsync(file.fileno())


def forget(directory: Directory, info: os.stat_result | None) -> None:
    """Remove what belonged to a file that is gone."""
    if info is not None:
        directory.unlink(name_of(info))


def find(directory: Directory, info: os.stat_result) -> Beside | None:
    """What belongs to a file; `None` where nothing is kept for it."""
    try:
        with directory.file(name_of(info)) as file:
            entries = json.load(file)
        return Beside(dict(entries["metadata"]), entries["content_type"])
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        msg = f"what is kept beside an object is JSON: {name_of(info)} is not; remove it"
        raise OSError(errno.EIO, msg) from error


def known(key: str, info: os.stat_result, beside: Beside | None = None) -> Stored:
    """All of it; without what is beside, as a listing has it."""
    return Stored(
        info.st_size,
        etag=identity(info),
        modified=datetime.fromtimestamp(info.st_mtime, UTC),
        content_type=None if beside is None else beside.content_type or guessed_type(key),
        metadata={} if beside is None else beside.metadata,
    )


def is_beside(name: str) -> bool:
    """Whether a file is one of these."""
    return name.startswith(TEMPORARY_PREFIX) and name.endswith(_ENDING)


def name_of(info: os.stat_result) -> str:
    """The hidden file for a file."""
    return f"{TEMPORARY_PREFIX}{identity(info)}{_ENDING}"
