"""Fetching one object, or a part of it: in stretches that go on where they broke."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from tt_cloud._remote import Incoming
from tt_cloud._stored import Stored, Watch
from tt_cloud._transfer.clock import Halt, Stopped
from tt_cloud._transfer.crew import Crew
from tt_cloud._transfer.digests import hashing, rolling, verify
from tt_cloud._transfer.files import store_file
from tt_cloud._transfer.first import First, Wanted, check_same, too_short
from tt_cloud._transfer.landing import Landing, MemoryLanding, Writer
from tt_cloud._transfer.line import Line
from tt_cloud._transfer.pieces import Stretch
from tt_cloud._transfer.unfinished import FileLanding
from tt_cloud.errors import Changed, ChecksumMismatch, CloudError, NotFound

_T = TypeVar("_T")

_USELESS = (Changed, ChecksumMismatch, NotFound)
"""After these a later call cannot go on with what was fetched."""


class Download:
    """One call that fetches an object."""

    def __init__(self, line: Line, wanted: Wanted, watch: Watch = Watch()) -> None:  # noqa: B008 - a tuple does not change
        self._line = line
        self._wanted = wanted
        self._watch = watch
        self._where = line.where(wanted.key)

    def to_file(self, target: Path) -> Stored:
        """All of it, verified, or nothing."""
        return self._twice(partial(self._file, target))

    def to_memory(self) -> tuple[Stored, bytes]:
        """What is wanted; verified if that is the whole object."""
        return self._twice(self._memory)

    def _twice(self, fetch: Callable[[First], _T]) -> _T:
        """Begin anew once, when the object was replaced, and once, when it came broken."""
        changed = self._wanted.etag is not None or self._wanted.version is not None
        broken = False
        while True:
            first = First(
                self._line,
                self._wanted,
                Halt(self._wanted.key, self._watch.cancel),
                self._watch.progress,
            )
            try:
                first.run()
                self._ask_for_digests(first)
                return fetch(first)
            except Changed:
                if changed:
                    raise
                changed = True
            except ChecksumMismatch:
                if broken:
                    raise
                broken = True
            finally:
                first.close()
            first.undo()

    def _ask_for_digests(self, first: First) -> None:
        """Learn the service's own, which answers to ranges do not tell, if there is no other."""
        wanted, stored = self._wanted, first.stored
        part = wanted.start or wanted.stop(stored.size) < stored.size
        if part or first.data is not None or rolling(stored) or hashing(stored):
            return
        head = partial(self._line.remote.head, wanted.key, version=wanted.version)
        found = self._line.retrying.run(head, first.halt)
        if found is not None:
            check_same(found, stored, self._where)
            first.stored = replace(stored, checksums=found.checksums)

    def _file(self, target: Path, first: First) -> Stored:
        if first.data is not None:
            verify(first.data, first.stored, self._where)
            store_file(target, first.data)
            return first.stored
        name = f"{self._line.retrying.name}\n{self._where}\n{self._wanted.version}"
        options = self._line.options
        piece = options.part_size // options.concurrency
        landing = FileLanding(target, name, first.stored, self._where, piece)
        try:
            first.tally.add(landing.have)
            Spread(self._line, self._wanted, first, landing).run()
            landing.verify()
            landing.publish()
        except BaseException as error:
            if not landing.lasting or isinstance(error, _USELESS) or _is_local(error):
                landing.discard()
            raise
        finally:
            landing.release()
        return first.stored

    def _memory(self, first: First) -> tuple[Stored, bytes]:
        stored, data = first.stored, first.data
        if data is None:
            stop = self._wanted.stop(stored.size)
            landing = MemoryLanding(stored, self._wanted.start, stop, self._where)
            Spread(self._line, self._wanted, first, landing).run()
            landing.verify()
            data = landing.data
        elif len(data) == stored.size:
            verify(data, stored, self._where)
        return stored, bytes(data)


class Spread:
    """The rest of a download, in several requests at once."""

    def __init__(self, line: Line, wanted: Wanted, first: First, landing: Landing) -> None:
        self._line = line
        self._wanted = wanted
        self._first = first
        self._landing = landing
        self._halt = first.halt

    def run(self) -> None:
        """Fetch what is missing."""
        options, endpoint = self._line.options, self._line.retrying.endpoint
        gaps = self._landing.gaps(options.part_size)
        if not gaps or gaps[0].start != self._wanted.start:
            self._first.close()
        with Crew(gaps, self._worker, options.concurrency, endpoint, self._halt) as crew:
            crew.finish(self._landing.follow)

    @contextmanager
    def _worker(self) -> Iterator[Callable[[Stretch], None]]:
        if not self._landing.retain():
            raise Stopped
        writer = self._landing.writer()
        try:
            yield partial(self._fetch, writer)
        finally:
            try:
                writer.pause()
            finally:
                self._landing.release()

    def _fetch(self, writer: Writer, stretch: Stretch) -> None:
        self._line.retrying.run(
            partial(self._attempt, writer, stretch),
            self._halt,
            lambda: stretch.position,
            here=True,
        )

    def _attempt(self, writer: Writer, stretch: Stretch) -> None:
        where = self._line.where(self._wanted.key)
        with self._incoming(stretch) as incoming:
            check_same(incoming.stored, self._first.stored, where)
            while stretch.position < stretch.end:
                count = incoming.readinto(writer.room(stretch))
                if not count:
                    raise too_short(where)
                self._halt.check()
                writer.keep(stretch, count)
                self._first.tally.add(count)

    def _incoming(self, stretch: Stretch) -> AbstractContextManager[Incoming]:
        if stretch.position == self._wanted.start and self._first.handed is not None:
            handed, self._first.handed = self._first.handed, None
            return handed
        return self._line.remote.get(
            self._wanted.key,
            start=stretch.position,
            end=stretch.end,
            etag=self._first.stored.etag or None,
            version=self._wanted.version,
        )


def _is_local(error: BaseException) -> bool:
    """Whether it is this machine's fault, like a full disk."""
    return isinstance(error, OSError) and not isinstance(error, CloudError)
