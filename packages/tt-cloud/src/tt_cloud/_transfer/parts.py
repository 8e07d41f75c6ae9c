"""Sending one large object in parts; what was sent stays when the call is interrupted."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from queue import Empty, SimpleQueue

from tt_cloud._attributes import CRC32, TOKEN, callers
from tt_cloud._content import Content
from tt_cloud._local import hold
from tt_cloud._remote import Upload
from tt_cloud._stored import Attributes, Condition, Stored, Watch
from tt_cloud._transfer import crc, threads
from tt_cloud._transfer.clock import Halt
from tt_cloud._transfer.line import Line
from tt_cloud._transfer.notes import Notes, UploadNotes
from tt_cloud._transfer.prepass import CHUNK, PartCrcs, changed
from tt_cloud._transfer.sending import Sending, Task
from tt_cloud._transfer.tally import Tally
from tt_cloud.errors import (
    AccessDenied,
    AlreadyExists,
    BucketNotFound,
    Changed,
    ChecksumMismatch,
    CloudError,
    NotFound,
    SourceChanged,
)

logger = logging.getLogger(__name__)

_USELESS = (AlreadyExists, Changed, ChecksumMismatch, NotFound)
"""After these a later call cannot go on with an upload."""

PATIENCE = 1.0  # seconds that an interrupted call takes to clean up


class PartsUpload:
    """One call of `put`."""

    def __init__(
        self,
        line: Line,
        key: str,
        content: Content,
        attributes: Attributes,
        condition: Condition,
        watch: Watch,
    ) -> None:
        self._line = line
        tally = Tally(key, content.size, watch.progress)
        self._task = Task(key, content, condition, watch.cancel, tally)
        self._halt = Halt(key, watch.cancel)
        self._part_size = line.part_size(content.size)
        self._crcs = part_crcs(content, self._part_size)
        whole = crc.joined_parts(crc.CRC32, self._crcs, self._part_size, content.size)
        entries = {**attributes.metadata, CRC32: f"{whole:08x}"}
        self._attributes = Attributes(entries, attributes.content_type)
        self._whole = whole

    def run(self) -> Stored:
        """Go on or begin; once more when the service has lost what it had."""
        with UploadNotes(self._line, self._task.key) as notes:
            try:
                return self._round(notes)
            except (NotFound, ChecksumMismatch) as error:
                if isinstance(error, BucketNotFound | SourceChanged):
                    raise
            self._task.tally.undo()
            return self._round(notes)

    def _round(self, notes: UploadNotes) -> Stored:
        found = self._resumed(notes)
        if isinstance(found, Stored):
            notes.clear()
            return found
        sending = found or self._begun(notes)
        try:
            stored = sending.run()
        except BaseException as error:
            if isinstance(error, _USELESS) or not notes.kept:
                notes.clear()
                self._abandon(sending.upload, wait=isinstance(error, Exception))
            raise
        notes.clear()
        return self._described(stored)

    def _described(self, stored: Stored) -> Stored:
        """The object with what was said of it at the beginning: the last answer need not tell."""
        return replace(
            stored,
            sha256=self._task.content.sha256,
            content_type=self._attributes.content_type,
            metadata=callers(self._attributes.metadata),
            checksums={"crc32": f"{self._whole:08x}", **stored.checksums},
        )

    def _resumed(self, notes: UploadNotes) -> Sending | Stored | None:
        """What an earlier call left: an unfinished upload, or even the object."""
        noted = notes.read()
        if noted is None:
            return None
        if noted.identity != self._identity:
            self._abandon(noted.upload, wait=True)
            return None
        task = self._task
        have = self._line.retrying.run(partial(self._line.remote.sent, noted.upload), self._halt)
        if have is None:
            return self._line.written(task.key, noted.token, task.content.size, self._halt)
        sending = self._sending(noted, notes)
        sending.adopt(have)
        return sending

    def _begun(self, notes: UploadNotes) -> Sending:
        """A new upload, noted before its first part is sent."""
        task = self._task
        if task.condition != Condition():  # else it would be refused when all is sent
            self._check_condition()
        begin = partial(
            self._line.remote.begin,
            task.key,
            task.content.size,
            self._part_size,
            self._attributes,
            task.condition,
        )
        upload = self._line.retrying.run(begin, self._halt)
        noted = Notes(self._identity, upload, self._attributes.metadata[TOKEN], {})
        notes.begin(noted)
        return self._sending(noted, notes)

    def _check_condition(self) -> None:
        task = self._task
        try:
            found = self._line.retrying.run(partial(self._line.remote.head, task.key), self._halt)
        except AccessDenied:  # who may only write learns it at the end
            return
        hold(task.condition, None if found is None else found.etag, self._line.where(task.key))

    def _sending(self, noted: Notes, notes: UploadNotes) -> Sending:
        """With checksums that fit the size of parts on which the service insists."""
        crcs, part_size, content = self._crcs, noted.upload.part_size, self._task.content
        if part_size != self._part_size:
            crcs = part_crcs(content, part_size)
            if crc.joined_parts(crc.CRC32, crcs, part_size, content.size) != self._whole:
                raise changed()
        return Sending(self._line, self._task, noted, notes, crcs)

    @property
    def _identity(self) -> str:
        """What is uploaded and how: another upload does not go on with it."""
        content, condition = self._task.content, self._task.condition
        metadata = {k: v for k, v in self._attributes.metadata.items() if k != TOKEN}
        facts = [
            content.sha256,
            content.size,
            self._part_size,
            metadata,
            self._attributes.content_type,
            condition,
            repr(self._line.writing),
        ]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def _abandon(self, upload: Upload, *, wait: bool) -> None:
        """Drop an upload, without making what went wrong worse."""
        over: SimpleQueue[None] = SimpleQueue()

        def drop() -> None:
            try:
                self._line.remote.abandon(upload)
            except CloudError as error:
                logger.info("%s: a part of it may be left: %s", self._line.where(upload.key), error)
            finally:
                over.put(None)

        if wait or not threads.start(drop):
            drop()
        else:
            with suppress(Empty):
                over.get(timeout=PATIENCE)


def part_crcs(content: Content, part_size: int) -> Sequence[int]:
    """CRC32 of each part."""
    if content.part_size == part_size:
        return content.crcs
    crcs = PartCrcs(part_size, aside=False)
    for start in range(0, content.size, CHUNK):
        chunk = crcs.buffer()[: content.size - start]
        content.read_into(chunk, start)
        crcs.add(chunk)
    return crcs.finish()
