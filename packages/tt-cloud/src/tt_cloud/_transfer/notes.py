"""What is noted of an upload in parts, in a file that only this user can read.

Only this user: the names of Google's uploads are credentials.
"""

from __future__ import annotations

import hashlib
import logging
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple, Self

from tt_cloud._remote import Part, Upload
from tt_cloud._transfer.journal import Journal, clear_stale, open_journal, uploads_folder
from tt_cloud._transfer.line import Line

logger = logging.getLogger(__name__)


class Notes(NamedTuple):
    """An unfinished upload.

    Attributes:
        identity: What is uploaded, in one digest.
        upload: The service's part of it.
        token: What the object's metadata will tell of who wrote it.
        parts: Those that the service has confirmed.
    """

    identity: str
    upload: Upload
    token: str
    parts: dict[int, Part]


class UploadNotes:
    """The notes on uploads to one key; nobody else's while the block lasts."""

    def __init__(self, line: Line, key: str) -> None:
        self._key = key
        self._name = f"{line.retrying.name}\n{line.where(key)}"
        self._folder = line.options.journal
        self._journal: Journal | None = None

    def __enter__(self) -> Self:
        name = hashlib.sha256(self._name.encode()).hexdigest()[:32]
        try:
            folder = uploads_folder(self._folder)
            clear_stale(folder)
        except (OSError, RuntimeError) as error:  # the second: there is no home
            logger.info("an interruption will cost what was sent: no notes can be kept: %s", error)
        else:
            self._journal = open_journal(folder / f"{name}.journal")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._journal is not None:
            if not self._journal.entries():
                self._journal.remove()
            self._journal.close()

    @property
    def kept(self) -> bool:
        """Whether another process will find these."""
        return self._journal is not None

    def read(self) -> Notes | None:
        """What was noted; ``None`` where that is nothing that can be used."""
        if self._journal is None:
            return None
        with suppress(LookupError, TypeError, ValueError):
            head, *parts = self._journal.entries()
            return Notes(
                str(head["identity"]),
                Upload(self._key, str(head["upload"]), int(head["size"]), int(head["part_size"])),
                str(head["token"]),
                {part.number: part for part in map(_part, parts)},
            )
        return None

    def begin(self, notes: Notes) -> None:
        """Note a new upload."""
        if self._journal is not None:
            _, name, size, part_size = notes.upload
            head = {"identity": notes.identity, "token": notes.token}
            self._journal.begin({**head, "upload": name, "size": size, "part_size": part_size})

    def add(self, part: Part) -> None:
        """Note that the service has a part."""
        if self._journal is not None:
            self._journal.note(part._asdict())

    def clear(self) -> None:
        """There is nothing to go on with."""
        if self._journal is not None:
            self._journal.clear()


def _part(entry: dict[str, Any]) -> Part:
    crc32 = entry["crc32"]
    whole = None if crc32 is None else int(crc32)
    return Part(int(entry["number"]), int(entry["size"]), str(entry["etag"]), whole)
