"""Calls that change nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tt_cloud._gcs._answers import Reply, failure, nonsense, parsed
from tt_cloud._gcs._calls import Calls
from tt_cloud._gcs._download import Nothing, Span, arriving
from tt_cloud._gcs._objects import FIELDS
from tt_cloud._local import expect, missing
from tt_cloud._remote import Incoming, Page
from tt_cloud._stored import Stored
from tt_cloud.errors import NotFound

_LISTED = f"nextPageToken,items({FIELDS})"


class Reading:
    """Calls that change nothing."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    @contextmanager
    def get(
        self, key: str, span: Span, etag: str | None, version: str | None
    ) -> Iterator[Incoming]:
        """Begin a download."""
        if span.empty:
            yield Nothing(self._present(key, etag, version))
            return
        query = self._calls.query(
            ifGenerationMatch=self._calls.generation(etag, key),
            generation=self._calls.version(version, key),
        )
        target, headers = self._calls.to.media(key, query)
        with self._calls.line.open("GET", target, {**span.headers(), **headers}) as answer:
            if answer.status in (200, 206):
                yield arriving(answer, span, etag, self._calls.where(key))
                return
            reply = Reply(answer.status, answer.headers, answer.read())
        if reply.status != 416:
            error = failure(reply, self._calls.where(key))
            if type(error) is NotFound:
                self._calls.require_bucket()
            raise error
        yield Nothing(self._present(key, etag, version))

    def head(self, key: str, version: str | None = None) -> Stored | None:
        """What is known of an object."""
        reply = self.description(key, FIELDS, version)
        return None if reply is None else self._calls.stored(reply, key)

    def description(self, key: str, fields: str, version: str | None = None) -> Reply | None:
        """The answer that has these fields of an object."""
        try:
            generation = self._calls.version(version, key)
            query = self._calls.query(fields=fields, generation=generation)
            target = self._calls.to.object(key, query)
            return self._calls.line.call("GET", target, self._calls.where(key))
        except NotFound:
            self._calls.require_bucket()
            return None

    def page(self, prefix: str, token: str | None, start_after: str | None) -> Page:
        """Up to 1000 objects."""
        start = None if start_after is None else self._calls.name(start_after)
        found, following = self._listed(
            prefix=self._calls.name(prefix), pageToken=token, startOffset=start
        )
        own = len(self._calls.place.prefix)
        entries = [(name[own:], stored) for name, stored in found if name != start]
        return Page(entries, following)

    def versions(self, key: str) -> tuple[Stored, ...]:
        """The newest first."""
        name, token = self._calls.name(key), None
        found: list[Stored] = []
        while True:
            page, token = self._listed(prefix=name, pageToken=token, versions="true")
            found += [stored for other, stored in page if other == name]
            if token is None or (page and page[-1][0] != name):
                return tuple(sorted(found, key=lambda stored: -int(stored.etag)))

    def _listed(self, **parts: str | None) -> tuple[list[tuple[str, Stored]], str | None]:
        query = self._calls.query(fields=_LISTED, **parts)
        where = str(self._calls.place)
        try:
            reply = self._calls.line.call("GET", self._calls.to.objects(query), where)
        except NotFound:
            self._calls.require_bucket()
            raise
        page = parsed(reply, where)
        try:
            items = [(item["name"], item) for item in page.get("items", ())]
        except (LookupError, TypeError) as error:
            raise nonsense(reply, where) from error
        found = [(name, self._calls.described(item, reply, name)) for name, item in items]
        return found, page.get("nextPageToken") or None

    def _present(self, key: str, etag: str | None, version: str | None) -> Stored:
        """Of an object that must be there, and the one with that etag."""
        stored = self.head(key, version)
        if stored is None:
            raise missing(self._calls.where(key))
        expect(etag, stored.etag, self._calls.where(key))
        return stored
