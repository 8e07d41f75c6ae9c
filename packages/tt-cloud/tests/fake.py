"""A service in memory whose calls go wrong as a test says, and a `Remote` that leads to it."""

from __future__ import annotations

import hashlib
import itertools
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tt_cloud import (
    AlreadyExists,
    Changed,
    ChecksumMismatch,
    CloudError,
    NotFound,
    PresignedURL,
    RetryPolicy,
    Throttled,
    TransferOptions,
    Unavailable,
    Unsupported,
)
from tt_cloud._attributes import CRC32, SHA256, TOKEN, callers
from tt_cloud._bucket import BucketStore
from tt_cloud._options import Writing
from tt_cloud._remote import Page, Part, Unfinished, Upload
from tt_cloud._stored import Attributes, Condition, Stored
from tt_cloud._transfer.clock import Clock
from tt_cloud._transfer.line import Line
from tt_cloud._transfer.retry import Retrying

PART = 1 << 10
NOW = datetime(2030, 1, 1, tzinfo=UTC)


class Killed(BaseException):
    """The process would have ended here."""


class Fault(NamedTuple):
    """What goes wrong with one call.

    Attributes:
        when: Before anything is done, in the middle of the bytes, or when it is done.
        error: What the caller sees, made anew each time; ``None`` for a flipped bit.
        at: Bytes before the middle.
    """

    when: Literal["before", "middle", "after"]
    error: Callable[[], BaseException] | None = lambda: Unavailable("no answer")
    at: int = 0


LOST = Fault("after")
DOWN = Fault("before")
FLIP = Fault("middle", None)
KILL = Fault("before", Killed)
KILL_AFTER = Fault("after", Killed)


def busy(seconds: float) -> Fault:
    """A service that asks to wait."""

    def error() -> Throttled:
        found = Throttled("slow down")
        found.retry_after = seconds
        return found

    return Fault("before", error)


class Call(NamedTuple):
    """What was asked."""

    name: str
    key: str
    number: int | None = None  # of a part


@dataclass
class Service:
    """Objects and unfinished uploads.

    Attributes:
        script: What goes wrong with the n-th call, counted from 0.
        named: What goes wrong with the next calls of a name.
        tells: What is known of objects.
        part_crc: Whether the service has a checksum of each part.
        part_etag: What etags of parts are.
        before: Called with each call, before it is done.
    """

    script: dict[int, Fault] = field(default_factory=dict)
    named: dict[str, list[Fault]] = field(default_factory=dict)
    tells: Sequence[str] = ("sha256", "crc32")
    part_crc: bool = True
    part_etag: Literal["md5", "random", "none"] = "random"
    before: Callable[[Call], object] = lambda call: None
    objects: dict[str, tuple[bytes, Stored, Attributes]] = field(default_factory=dict)
    uploads: dict[str, tuple[Upload, Attributes, dict[int, tuple[bytes, Part]]]] = field(
        default_factory=dict
    )
    calls: list[Call] = field(default_factory=list)
    stored_parts: Counter[tuple[str, int]] = field(default_factory=Counter)
    numbers: Iterator[int] = field(default_factory=itertools.count)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def begin(self, call: Call) -> Fault | None:
        """Count a call, and break it if it is to be."""
        with self.lock:
            count = len(self.calls)
            self.calls.append(call)
        self.before(call)
        with self.lock:
            queue = self.named.get(call.name)
            fault = queue.pop(0) if queue else self.script.get(count)
        if fault is not None and fault.when == "before" and fault.error is not None:
            raise fault.error()
        return fault

    def names(self) -> list[str]:
        return [call.name for call in self.calls]

    def put_object(self, key: str, data: bytes, attributes: Attributes) -> Stored:
        """As somebody else would do it."""
        with self.lock:
            etag = f"etag-{next(self.numbers)}"
            known = {
                "crc32": f"{zlib.crc32(data):08x}",
                "md5": hashlib.md5(data).hexdigest(),
                "crc32c": _crc32c(data),
                "sha1": hashlib.sha1(data).hexdigest(),
            }
            stored = Stored(
                len(data),
                etag,
                sha256=attributes.metadata.get(SHA256) if "sha256" in self.tells else None,
                token=attributes.metadata.get(TOKEN),
                modified=datetime.now(UTC),
                content_type=attributes.content_type,
                metadata=callers(attributes.metadata),
                checksums={name: known[name] for name in self.tells if name in known},
            )
            self.objects[key] = data, stored, attributes
            return stored

    def hold(self, key: str, condition: Condition) -> None:
        found = self.objects.get(key)
        if condition.absent and found is not None:
            raise AlreadyExists(f"{key} is taken")
        if condition.etag is not None and (found is None or found[1].etag != condition.etag):
            raise Changed(f"{key} is another")


class Body:
    """The bytes of an answer."""

    def __init__(self, stored: Stored, data: bytes, fault: Fault | None) -> None:
        self.stored = stored
        self._data = data
        self._fault = fault if fault is not None and fault.when == "middle" else None
        self._position = 0
        if self._fault is not None and self._fault.error is None and data:
            broken = bytearray(data)
            broken[self._fault.at % len(data)] ^= 4
            self._data, self._fault = bytes(broken), None

    def readinto(self, buffer: memoryview, /) -> int:
        assert len(buffer)
        stop = len(self._data)
        if self._fault is not None:
            stop = min(stop, self._fault.at)
            if self._position >= stop and self._fault.error is not None:
                raise self._fault.error()
        count = min(len(buffer), stop - self._position, 300)
        buffer[:count] = self._data[self._position : self._position + count]
        self._position += count
        return count


class FakeRemote:
    """One attempt per call, at the service."""

    def __init__(
        self, service: Service, *, prefix: str = "", parallel: bool = True, ordered: bool = True
    ) -> None:
        self.service = service
        self.prefix = prefix
        self.parallel = parallel
        self.ordered = ordered
        self.largest_put = 1 << 40
        self.url = f"fake://bucket/{prefix}".rstrip("/")
        self.page_size = 3
        self.copies = True
        self.presigns = False

    def __reduce__(self) -> tuple[Any, ...]:
        _pickled[id(self)] = self  # a copy leads to the same service
        return _unpickled, (id(self),)

    def below(self, prefix: str) -> FakeRemote:
        return FakeRemote(
            self.service,
            prefix=f"{self.prefix}{prefix}/",
            parallel=self.parallel,
            ordered=self.ordered,
        )

    def put(
        self, key: str, data: memoryview, sha256: str, attributes: Attributes, condition: Condition
    ) -> Stored:
        with self._call("put", key) as fault:
            content = _received(data, fault)
            if content != bytes(data):
                raise ChecksumMismatch("other bytes came")
            assert hashlib.sha256(content).hexdigest() == sha256
            with self.service.lock:
                self.service.hold(self.prefix + key, condition)
                return self.service.put_object(self.prefix + key, content, attributes)

    @contextmanager
    def get(
        self,
        key: str,
        *,
        start: int = 0,
        end: int | None = None,
        etag: str | None = None,
        version: str | None = None,
    ) -> Iterator[Body]:
        with self._call("get", key) as fault:
            data, stored = self._object(key)
            if etag not in (None, stored.etag):
                raise Changed(f"{key} is another")
        yield Body(stored, data[start:end], fault)

    def head(self, key: str, *, version: str | None = None) -> Stored | None:
        with self._call("head", key):
            found = self.service.objects.get(self.prefix + key)
            return None if found is None else found[1]

    def page(self, prefix: str, token: str | None, *, start_after: str | None = None) -> Page:
        with self._call("page", prefix):
            begin = self.prefix + prefix
            keys = [key for key in self.service.objects if key.startswith(begin)]
            keys.sort(reverse=not self.ordered)
            after = token if token is not None else start_after and self.prefix + start_after
            if after is not None:
                keys = [key for key in keys if (key > after) == self.ordered and key != after]
            now, rest = keys[: self.page_size], keys[self.page_size :]
            entries = [(key.removeprefix(self.prefix), self.service.objects[key][1]) for key in now]
            return Page(entries, now[-1] if rest else None)

    def versions(self, key: str) -> tuple[Stored, ...]:
        with self._call("versions", key):
            found = self.service.objects.get(self.prefix + key)
            return () if found is None else (found[1],)

    def delete(self, keys: Sequence[str]) -> Mapping[str, CloudError]:
        assert 0 < len(keys) <= 1000
        failed: dict[str, CloudError] = {}
        with self._call("delete", keys[0]):
            for key in keys:
                fault = self.service.named.get(f"delete {key}")
                if fault:
                    error = fault.pop(0).error
                    assert error is not None
                    failed[key] = error()  # type: ignore[assignment]  # tests put no other
                else:
                    self.service.objects.pop(self.prefix + key, None)
        return failed

    def copy(self, source: str, target: str, condition: Condition) -> Stored | None:
        with self._call("copy", target):
            if not self.copies:
                return None
            self._object(source)
            data, _, attributes = self.service.objects[self.prefix + source]
            with self.service.lock:
                self.service.hold(self.prefix + target, condition)
                return self.service.put_object(self.prefix + target, data, attributes)

    def presign(self, key: str, method: Literal["GET", "PUT"], expires: timedelta) -> PresignedURL:
        with self._call("presign", key):
            if not self.presigns:
                raise Unsupported("nothing is signed here")
            return PresignedURL(f"{self.url}/{key}?signature", method, NOW + expires)

    def begin(
        self, key: str, size: int, part_size: int, attributes: Attributes, condition: Condition
    ) -> Upload:
        with self._call("begin", key):
            upload = Upload(key, f"upload-{next(self.service.numbers)}", size, part_size)
            self.service.uploads[upload.id] = upload, attributes, {}
            return upload

    def send(self, upload: Upload, number: int, data: memoryview, crc32: int) -> Part:
        with self._call("send", upload.key, number) as fault:
            if upload.id not in self.service.uploads:
                raise NotFound("no such upload")
            content = _received(data, fault)
            if zlib.crc32(content) != crc32:
                raise ChecksumMismatch("other bytes came")
            parts = self.service.uploads[upload.id][2]
            if not self.parallel:
                assert number <= len(parts) + 1, "parts come in order"
            part = Part(number, len(content), self._etag(content), crc32)
            with self.service.lock:
                if number not in parts or self.parallel:
                    self.service.stored_parts[upload.id, number] += 1
                    parts[number] = content, part
                return parts[number][1]

    def sent(self, upload: Upload) -> Mapping[int, Part] | None:
        with self._call("sent", upload.key):
            if upload.id not in self.service.uploads:
                return None
            found = {
                number: part for number, (_, part) in self.service.uploads[upload.id][2].items()
            }
            if not self.service.part_crc:
                found = {number: part._replace(crc32=None) for number, part in found.items()}
            if not self.parallel:
                found = {n: part._replace(etag="", crc32=None) for n, part in found.items()}
            return found

    def finish(
        self, upload: Upload, parts: Sequence[Part], crc32: int, condition: Condition
    ) -> Stored:
        with self._call("finish", upload.key):
            if upload.id not in self.service.uploads:
                raise NotFound("no such upload")
            _, attributes, have = self.service.uploads[upload.id]
            assert [part.number for part in parts] == list(range(1, len(parts) + 1))
            assert [part.etag for part in parts] == [have[part.number][1].etag for part in parts]
            data = b"".join(have[part.number][0] for part in parts)
            if zlib.crc32(data) != crc32:
                raise ChecksumMismatch("the whole is another")
            assert attributes.metadata[CRC32] == f"{crc32:08x}"
            with self.service.lock:
                self.service.hold(self.prefix + upload.key, condition)
                del self.service.uploads[upload.id]
                return self.service.put_object(self.prefix + upload.key, data, attributes)

    def abandon(self, upload: Upload) -> None:
        with self._call("abandon", upload.key):
            self.service.uploads.pop(upload.id, None)

    def unfinished(self, prefix: str) -> Iterator[Unfinished]:
        with self._call("unfinished", prefix):
            for upload, _, _ in list(self.service.uploads.values()):
                if upload.key.startswith(prefix):
                    yield Unfinished(upload, NOW)

    def close(self) -> None:
        pass

    @contextmanager
    def _call(self, name: str, key: str, number: int | None = None) -> Iterator[Fault | None]:
        fault = self.service.begin(Call(name, key, number))
        yield fault
        if fault is not None and fault.when == "after" and fault.error is not None:
            raise fault.error()

    def _object(self, key: str) -> tuple[bytes, Stored]:
        found = self.service.objects.get(self.prefix + key)
        if found is None:
            raise NotFound(f"{key} is not there")
        return found[0], found[1]

    def _etag(self, content: bytes) -> str:
        if self.service.part_etag == "md5":
            return hashlib.md5(content).hexdigest()
        return f"part-{next(self.service.numbers)}"


_pickled: dict[int, FakeRemote] = {}


def _unpickled(number: int) -> FakeRemote:
    return _pickled[number]


class FastClock(Clock):
    """Time that passes in waits alone."""

    def __init__(self, chance: float = 0.5) -> None:
        self.time = 1000.0
        self.chance = chance

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def random(self) -> float:
        return self.chance


_names = itertools.count()

PATIENT = RetryPolicy(attempts=20, deadline=1e9)


def store_of(
    remote: Any,
    journal: Path | None,
    *,
    part_size: int = PART,
    concurrency: int = 4,
    retry: RetryPolicy = PATIENT,
    name: str | None = None,
    clock: Clock | None = None,
) -> BucketStore:
    """A store over a remote, by default as if it were the first to its endpoint."""
    options = TransferOptions(concurrency, part_size, journal)
    name = name or f"fake-{next(_names)}"
    return BucketStore(
        Line(remote, Retrying(retry, name, clock or FastClock()), options, Writing())
    )


def _received(data: memoryview, fault: Fault | None) -> bytes:
    """What comes of what is sent."""
    content = bytearray(data)
    if fault is not None and fault.when == "middle":
        if fault.error is not None:
            raise fault.error()
        if content:
            content[fault.at % len(content)] ^= 1
    return bytes(content)


def _crc32c(data: bytes) -> str:
    try:
        import google_crc32c
    except ImportError:
        return ""
    return f"{google_crc32c.value(data):08x}"
