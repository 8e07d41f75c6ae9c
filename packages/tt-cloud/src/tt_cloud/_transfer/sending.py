"""The parts of one unfinished upload: which the service has, and the others on their way."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from tt_cloud._content import Content
from tt_cloud._remote import Part, Upload
from tt_cloud._stored import Condition, Stored
from tt_cloud._transfer import crc
from tt_cloud._transfer.clock import Halt
from tt_cloud._transfer.crew import Crew
from tt_cloud._transfer.line import Line
from tt_cloud._transfer.notes import Notes, UploadNotes
from tt_cloud._transfer.prepass import changed
from tt_cloud._transfer.tally import Tally
from tt_cloud.api import Cancel
from tt_cloud.errors import AlreadyExists, Changed, ChecksumMismatch, NotFound


@dataclass(frozen=True, slots=True)
class Task:
    """What one call of `put` is to do."""

    key: str
    content: Content
    condition: Condition
    cancel: Cancel | None
    tally: Tally


class Sending:
    """An upload in parts.

    Args:
        line: Where to.
        task: What.
        noted: The upload, and what was noted of it.
        notes: Where more is noted.
        crcs: CRC32 of each part.
    """

    def __init__(
        self, line: Line, task: Task, noted: Notes, notes: UploadNotes, crcs: Sequence[int]
    ) -> None:
        self.upload: Upload = noted.upload
        self._line = line
        self._task = task
        self._noted = noted
        self._notes = notes
        self._crcs = crcs
        self._halt = Halt(task.key, task.cancel)
        self._done: dict[int, Part] = {}
        self._unproven: dict[int, Part] = {}

    def adopt(self, have: Mapping[int, Part]) -> None:
        """Take over what the service has, as far as that is proven to be the content."""
        for number, part in have.items():
            if not 1 <= number <= len(self._crcs) or part.size != self._length(number):
                continue
            noted = self._noted.parts.get(number)
            if part.crc32 is not None and part.etag:
                if part.crc32 == self._crcs[number - 1]:
                    self._done[number] = part
            elif noted is not None and part.etag in ("", noted.etag):
                self._done[number] = noted
            elif part.etag:
                self._unproven[number] = part
        for number in self._done:
            self._task.tally.add(self._length(number))

    def run(self) -> Stored:
        """Send what is missing, and make the object appear."""
        task, remote = self._task, self._line.remote
        missing = [number for number in self._numbers if number not in self._done]
        most = self._line.options.concurrency if remote.parallel else 1
        endpoint = self._line.retrying.endpoint
        with Crew(missing, self._worker, most, endpoint, self._halt) as crew:
            crew.finish()
        task.content.check_unchanged()
        return self._finish()

    @property
    def _numbers(self) -> range:
        return range(1, len(self._crcs) + 1)

    @contextmanager
    def _worker(self) -> Iterator[Callable[[int], None]]:
        """For each thread, with a buffer of its own where the content is not in memory."""
        size = 0 if self._task.content.data is not None else self.upload.part_size
        yield partial(self._send, memoryview(bytearray(min(size, self.upload.size))))

    def _send(self, buffer: memoryview, number: int) -> None:
        halt = self._halt
        halt.check()
        data = self._data(number, buffer)
        part = self._unproven.get(number)
        if part is None or not _is_md5(part.etag, data):
            send = partial(
                self._line.remote.send, self.upload, number, data, self._crcs[number - 1]
            )
            part = self._line.retrying.run(send, self._halt, here=True)
        self._notes.add(part)
        self._done[number] = part
        self._task.tally.add(self._length(number))

    def _data(self, number: int, buffer: memoryview) -> memoryview:
        """The bytes of a part, which must be those that were digested."""
        content = self._task.content
        start, length = (number - 1) * self.upload.part_size, self._length(number)
        if content.data is not None:
            return content.data[start : start + length]
        data = buffer[:length]
        content.read_into(data, start)
        if zlib.crc32(data) != self._crcs[number - 1]:
            raise changed()
        return data

    def _finish(self) -> Stored:
        task = self._task
        parts = [self._done[number] for number in self._numbers]
        size = self.upload.part_size
        whole = crc.joined_parts(crc.CRC32, self._crcs, size, self.upload.size)

        def finish() -> Stored | ChecksumMismatch:
            try:
                return self._line.remote.finish(self.upload, parts, whole, task.condition)
            except ChecksumMismatch as error:  # of the same parts again, another try makes no other
                return error

        try:
            stored = self._line.retrying.run(finish, self._halt)
        except (AlreadyExists, Changed, NotFound):
            token, size = self._noted.token, task.content.size
            own = self._line.written(task.key, token, size, self._halt)
            if own is None:
                raise
            return own
        if isinstance(stored, ChecksumMismatch):
            raise stored
        return stored

    def _length(self, number: int) -> int:
        start = (number - 1) * self.upload.part_size
        return min(self.upload.part_size, self.upload.size - start)


def _is_md5(etag: str, data: memoryview) -> bool:
    """Whether a part's etag proves its content, as that of many services does."""
    return etag.strip('"') == hashlib.md5(data, usedforsecurity=False).hexdigest()
