"""Resumable uploads: one session per upload, which takes bytes in order and remembers how many.

The last bytes of an object, 256 KiB at most, stay here until the upload is finished: when the
service has all, the object is there. They go with the checksum of the whole, so that the service
makes the object of nothing else. A session's address is a credential: it is never shown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from tt_cloud._gcs._answers import Reply, nonsense
from tt_cloud._gcs._calls import Calls
from tt_cloud._gcs._checksums import crc32c, to_wire
from tt_cloud._gcs._shared import Session
from tt_cloud._remote import Part, Upload
from tt_cloud._stored import Stored
from tt_cloud._transfer.crc import CRC32C, joined
from tt_cloud.errors import NotFound, Unavailable

GRAIN = 256 << 10
"""The service keeps multiples of this, but for the last bytes of all."""

_RANGE = re.compile(r"bytes=0-(\d+)")
_MORE = 308
_GONE = (404, 410)
_DROPPED = (404, 410, 499)  # the last is how the service says that it did


class Sessions:
    """The uploads of a store.

    Args:
        calls: The way to the service.
        withdraw: Removes an object that should not be there.
    """

    def __init__(self, calls: Calls, withdraw: Callable[[str, Stored], None]) -> None:
        self._calls = calls
        self._withdraw = withdraw

    def begin(
        self,
        query: Mapping[str, str | None],
        resource: Mapping[str, Any],
        key: str,
        size: int,
        part_size: int,
    ) -> Upload:
        """Open a session."""
        headers = {
            "Content-Type": "application/json; charset=UTF-8",
            "X-Upload-Content-Type": resource["contentType"],
            "X-Upload-Content-Length": str(size),
        }
        body = memoryview(json.dumps(resource).encode())
        target, where = self._calls.to.uploads(query), self._calls.where(key)
        reply = self._calls.line.call("POST", target, where, headers=headers, body=body)
        address = urlsplit(reply.headers.get("location", ""))
        if not address.query:
            raise nonsense(reply, where)
        # without its host: an answer does not decide to whom the object is sent
        session = f"{address.path}?{address.query}"
        upload = Upload(key, session, size, -(-part_size // GRAIN) * GRAIN)
        self._session(upload).kept = 0
        return upload

    def send(self, upload: Upload, number: int, data: memoryview) -> Part:
        """Send what the service does not have of a part, but for the last bytes of all."""
        session = self._session(upload)
        start = (number - 1) * upload.part_size
        stop = min(start + len(data), _tail(upload))
        while (kept := self._kept(session, upload)) < stop:
            if kept < start:
                raise self._lost(upload)
            self._add(session, upload, data[kept - start : stop - start])
        if start + len(data) == upload.size:
            session.tail = data[_tail(upload) - start :].tobytes()
        return Part(number, len(data), f"{crc32c(data):08x}")

    def sent(self, upload: Upload) -> Mapping[int, Part] | None:
        """The parts that the service has; ``None`` when there is no such session."""
        session = self._session(upload)
        session.kept = None
        try:
            kept = self._kept(session, upload)
        except NotFound:
            return None
        ends = range(upload.part_size, kept + 1, upload.part_size)
        found = {number: Part(number, upload.part_size, "") for number, _ in enumerate(ends, 1)}
        rest = upload.size - len(found) * upload.part_size
        if kept == upload.size and rest:
            found[len(found) + 1] = Part(len(found) + 1, rest, "")
        return found

    def finish(self, upload: Upload, parts: Sequence[Part]) -> tuple[Stored, int]:
        """Send the last bytes; gives the object, and the checksum that it must have."""
        whole = joined(CRC32C, ((int(part.etag, 16), part.size) for part in sorted(parts)))
        session = self._session(upload)
        if self._kept(session, upload) < upload.size:
            if session.tail is None or session.kept != _tail(upload):
                raise self._lost(upload)
            self._add(session, upload, memoryview(session.tail), whole)
        if session.stored is None:
            where = self._calls.where(upload.key)
            msg = f"{where}: the service has all bytes and makes no object of them; try again later"
            raise Unavailable(msg)
        return session.stored, whole

    def abandon(self, upload: Upload) -> None:
        """Close a session without an object."""
        self.forget(upload)
        self._calls.line.call("DELETE", upload.id, self._calls.where(upload.key), allowed=_DROPPED)

    def forget(self, upload: Upload) -> None:
        """Drop what is kept here."""
        self._calls.shared.sessions.pop(upload.id, None)

    def _session(self, upload: Upload) -> Session:
        return self._calls.shared.sessions.setdefault(upload.id, Session())

    def _kept(self, session: Session, upload: Upload) -> int:
        """How many bytes the service has; it is asked where an answer got lost."""
        if session.kept is None:
            self._ask(session, upload, {"Content-Range": f"bytes */{upload.size}"}, None)
        return session.kept or 0

    def _add(
        self, session: Session, upload: Upload, data: memoryview, whole: int | None = None
    ) -> None:
        """Send bytes behind those that the service has."""
        start = session.kept or 0
        session.kept = None  # until the service says
        headers = {"Content-Range": f"bytes {start}-{start + len(data) - 1}/{upload.size}"}
        if whole is not None:
            headers["X-Goog-Hash"] = f"crc32c={to_wire(whole)}"
        self._ask(session, upload, headers, data)
        if session.kept == start:
            where = self._calls.where(upload.key)
            msg = f"{where}: the service kept none of the bytes it was sent; try again later"
            raise Unavailable(msg)

    def _ask(
        self, session: Session, upload: Upload, headers: Mapping[str, str], data: memoryview | None
    ) -> None:
        where = self._calls.where(upload.key)
        reply = self._calls.line.call(
            "PUT",
            upload.id,
            where,
            headers=headers,
            body=data,
            slow="X-Goog-Hash" in headers,
            once=True,
            allowed=(_MORE, *_GONE),
        )
        if reply.status in _GONE:
            self.forget(upload)
            raise self._lost(upload)
        if reply.status == _MORE:
            kept = _RANGE.fullmatch(reply.headers.get("range", ""))
            session.kept = int(kept[1]) + 1 if kept else 0
        else:
            self._complete(session, upload, reply)

    def _complete(self, session: Session, upload: Upload, reply: Reply) -> None:
        """The object is there; from emulators that is also the answer to a mere question."""
        stored = self._calls.stored(reply, upload.key)
        if stored.size != upload.size:
            self.forget(upload)
            self._withdraw(upload.key, stored)
            raise self._lost(upload)
        session.kept = upload.size
        session.stored = stored

    def _lost(self, upload: Upload) -> NotFound:
        where = self._calls.where(upload.key)
        return NotFound(f"{where}: the service does not have what was sent of it; begin again")


def _tail(upload: Upload) -> int:
    """Where the bytes begin that are sent last."""
    return (upload.size - 1) // GRAIN * GRAIN
