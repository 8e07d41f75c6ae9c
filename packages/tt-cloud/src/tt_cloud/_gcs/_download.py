"""The content of objects on its way here."""

from __future__ import annotations

from typing import NamedTuple

from tt_cloud._gcs._answers import Reply, nonsense
from tt_cloud._gcs._objects import announced
from tt_cloud._http import Answer
from tt_cloud._local import expect
from tt_cloud._stored import Stored
from tt_cloud.errors import Unavailable

NOT_TRANSCODED = {"Accept-Encoding": "gzip"}
"""Else what was stored compressed is sent unpacked, and fits neither size nor checksum."""


class Span(NamedTuple):
    """The bytes that are wanted; up to the object's end where there is no other."""

    start: int
    end: int | None

    @property
    def empty(self) -> bool:
        """Whether HTTP cannot express it."""
        return self.end is not None and self.end <= self.start

    def headers(self) -> dict[str, str]:
        """How to ask for it."""
        if self.start == 0 and self.end is None:
            return NOT_TRANSCODED
        last = "" if self.end is None else self.end - 1
        return {**NOT_TRANSCODED, "Range": f"bytes={self.start}-{last}"}

    def within(self, size: int) -> int:
        """Its bytes that an object of that size has."""
        end = size if self.end is None else min(self.end, size)
        return max(0, end - self.start)


class Nothing:
    """No bytes of an object."""

    def __init__(self, stored: Stored) -> None:
        self.stored = stored

    def readinto(self, buffer: memoryview, /) -> int:  # noqa: ARG002 - `Incoming` has it
        """The end."""
        return 0


class Arriving:
    """Bytes of an object, counted."""

    def __init__(self, stored: Stored, answer: Answer, size: int, where: str) -> None:
        self.stored = stored
        self._answer = answer
        self._left = size
        self._where = where

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the beginning of a buffer with what came."""
        count = self._answer.readinto(buffer)
        self._left -= count
        if count == 0 and self._left:
            msg = f"{self._where} came with another length than its own; try again"
            raise Unavailable(msg)
        return count


def arriving(answer: Answer, span: Span, etag: str | None, where: str) -> Arriving:
    """What comes with an answer of success, if that is what was asked for.

    Raises:
        Changed: When it is another object: not every server compares.
        ProtocolError: When it is something else.
    """
    try:
        stored = announced(answer.headers)
    except (LookupError, ValueError) as error:
        raise nonsense(Reply(answer.status, answer.headers, b""), where) from error
    expect(etag, stored.etag, where)
    size = span.within(stored.size)
    if not _is_that(answer, span, whole=size == stored.size):
        raise nonsense(Reply(answer.status, answer.headers, b""), where)
    return Arriving(stored, answer, size, where)


def _is_that(answer: Answer, span: Span, *, whole: bool) -> bool:
    """Whether it says that the bytes are those that were asked for."""
    if answer.status == 200:
        return whole
    return answer.headers.get("content-range", "").startswith(f"bytes {span.start}-")
