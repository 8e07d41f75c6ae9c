"""A store out of a bucket: a `Remote` speaks its protocol, the rest of what protects is here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO, Literal, Self

from tt_cloud._base import BaseStore
from tt_cloud._content import Content
from tt_cloud._local import expect, missing
from tt_cloud._presigned import PresignedURL
from tt_cloud._remote import Unfinished
from tt_cloud._stored import Attributes, Condition, Stored, Watch
from tt_cloud._transfer.clock import Halt
from tt_cloud._transfer.copying import copy
from tt_cloud._transfer.download import Download
from tt_cloud._transfer.first import Wanted
from tt_cloud._transfer.line import Line
from tt_cloud._transfer.reader import open_reader
from tt_cloud._transfer.removal import remove
from tt_cloud._transfer.upload import upload


class BucketStore(BaseStore):
    """Objects of one bucket below one prefix."""

    def __init__(self, line: Line) -> None:
        super().__init__(line.remote.url)
        self._line = line

    @property
    def concurrency(self) -> int:
        return self._line.options.concurrency

    @property
    def service(self) -> str:
        return self._line.retrying.name

    def _below(self, prefix: str) -> Self:
        return type(self)(self._line.below(prefix))

    def _part_size(self, size: int) -> int:
        return self._line.part_size(size)

    def _put(
        self,
        key: str,
        content: Content,
        attributes: Attributes,
        condition: Condition,
        watch: Watch,
    ) -> Stored:
        return upload(self._line, key, content, attributes, condition, watch)

    def _get(
        self, key: str, target: Path, version: str | None, etag: str | None, watch: Watch
    ) -> Stored:
        return Download(self._line, Wanted(key, version, etag), watch).to_file(target)

    def _read(
        self, key: str, start: int, end: int | None, version: str | None, etag: str | None
    ) -> bytes:
        if end is not None and end <= start:
            stored = self._head(key, version)
            if stored is None:
                raise missing(self._where(key))
            expect(etag, stored.etag, self._where(key))
            return b""
        return Download(self._line, Wanted(key, version, etag, start, end)).to_memory()[1]

    def _open(self, key: str, version: str | None) -> BinaryIO:
        return open_reader(self._line, key, version)

    def _head(self, key: str, version: str | None) -> Stored | None:
        head = partial(self._line.remote.head, key, version=version)
        return self._line.retrying.run(head, Halt(key))

    def _list(self, prefix: str, start_after: str | None) -> Iterator[tuple[str, Stored]]:
        if self._line.remote.ordered:
            return self._pages(prefix, start_after)
        found = self._pages(prefix, None)  # what the service leaves out then may belong here
        wanted = (entry for entry in found if start_after is None or entry[0] > start_after)
        return iter(sorted(wanted, key=itemgetter(0)))

    def _versions(self, key: str) -> Sequence[Stored]:
        return self._line.retrying.run(partial(self._line.remote.versions, key), Halt(key))

    def _delete(self, keys: Sequence[str]) -> None:
        remove(self._line, keys)

    def _copy(self, source: str, target: str, condition: Condition) -> Stored:
        return copy(self._line, source, target, condition)

    def _presign(self, key: str, method: Literal["GET", "PUT"], expires: timedelta) -> PresignedURL:
        presign = partial(self._line.remote.presign, key, method, expires)
        return self._line.retrying.run(presign, Halt(key))

    def _unfinished(self, prefix: str, before: datetime) -> Sequence[str]:
        return sorted(each.upload.key for each in self._begun(prefix, before))

    def _abandon(self, prefix: str, before: datetime) -> None:
        for each in self._begun(prefix, before):
            abandon = partial(self._line.remote.abandon, each.upload)
            self._line.retrying.run(abandon, Halt(each.upload.key))

    def _begun(self, prefix: str, before: datetime) -> list[Unfinished]:
        """Uploads in parts that began before then."""
        remote = self._line.remote
        found = self._line.retrying.run(lambda: list(remote.unfinished(prefix)), Halt(prefix))
        return [each for each in found if each.begun < before]

    def _pages(self, prefix: str, start_after: str | None) -> Iterator[tuple[str, Stored]]:
        token: str | None = None
        while True:
            page = self._line.retrying.run(
                partial(self._line.remote.page, prefix, token, start_after=start_after),
                Halt(prefix),
            )
            yield from page.entries
            token = page.next
            if token is None:
                return
