"""What a bucket store sends, through faults and interruptions, to a service in memory."""

import errno
import hashlib
import io
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tt_cloud import (
    AccessDenied,
    AlreadyExists,
    BucketNotFound,
    Cancelled,
    Changed,
    ChecksumMismatch,
    NotFound,
    SourceChanged,
    Throttled,
    Unavailable,
)
from tt_cloud import _content as content_module
from tt_cloud._bucket import BucketStore
from tt_cloud._options import Writing
from tt_cloud._stored import Attributes
from tt_cloud._transfer import files
from tt_cloud._transfer import parts as parts_module
from tt_cloud._transfer.journal import open_journal

from .fake import (
    DOWN,
    FLIP,
    KILL,
    KILL_AFTER,
    LOST,
    NOW,
    PART,
    FakeRemote,
    Fault,
    Killed,
    Service,
    busy,
    store_of,
)

PARTS = 5
LARGE = os.urandom(PARTS * PART - 7)


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture(params=[True, False], ids=["parallel", "in order"])
def remote(service: Service, request: pytest.FixtureRequest) -> FakeRemote:
    return FakeRemote(service, parallel=request.param)


@pytest.fixture
def store(remote: FakeRemote, tmp_path: Path) -> BucketStore:
    return store_of(remote, tmp_path / "journal")


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are not kept in memory, as if these were large."""
    monkeypatch.setattr(content_module, "SPOOL", 64)


def notes(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "journal").glob("*"))


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 3 * PART, 3 * PART + 1])
@pytest.mark.parametrize("memory", [64, 1 << 20])
def test_any_size_arrives(
    store: BucketStore,
    service: Service,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
    memory: int,
) -> None:
    monkeypatch.setattr(content_module, "SPOOL", memory)
    data = os.urandom(size)
    (tmp_path / "file").write_bytes(data)
    for source in (tmp_path / "file", data, io.BytesIO(data), iter([data[:7], data[7:]])):
        info = store.put("key", source)
        assert service.objects["key"][0] == data
        assert (info.size, info.sha256) == (size, hashlib.sha256(data).hexdigest())
    assert ("put" in service.names()) == (size <= PART)
    assert ("begin" in service.names()) == (size > PART)
    assert notes(tmp_path) == []


def test_parts_grow_where_there_would_be_too_many() -> None:
    line = store_of(FakeRemote(Service()), None, part_size=16 << 20)._line
    assert line.part_size(1) == line.part_size(160_000 << 20) == 16 << 20
    assert line.part_size((160_000 << 20) + 1) == 17 << 20
    for size in (1 << 40, 5 << 40):
        part_size = line.part_size(size)
        assert part_size % (1 << 20) == 0
        assert size <= 10_000 * part_size < size + (10_000 << 20)


@pytest.mark.parametrize("name", ["put", "begin", "send", "finish"])
@pytest.mark.parametrize("fault", [DOWN, LOST, FLIP, busy(3)], ids=["down", "lost", "flip", "busy"])
@pytest.mark.parametrize("size", [100, len(LARGE)])
def test_one_fault_changes_nothing(
    store: BucketStore, service: Service, name: str, fault: Fault, size: int
) -> None:
    service.named[name] = [fault]
    store.put("key", LARGE[:size], if_absent=True)
    assert service.objects["key"][0] == LARGE[:size]
    if name not in ("begin", "finish") and name in service.names():
        counted = service.names().count(name)
        assert counted == (1 if size == 100 else PARTS) + 1


@pytest.mark.parametrize("size", [100, len(LARGE)])
def test_a_lost_answer_is_no_refusal(store: BucketStore, service: Service, size: int) -> None:
    name = "put" if size == 100 else "finish"
    service.named[name] = [LOST]
    first = store.put("key", LARGE[:size], if_absent=True)
    service.named[name] = [LOST, DOWN]
    second = store.put("key", LARGE[:size][::-1], if_match=first.etag)
    assert service.objects["key"][0] == LARGE[:size][::-1]
    assert second.etag == service.objects["key"][1].etag
    service.named[name] = [LOST]
    store.put("key", LARGE[:size])
    assert service.objects["key"][0] == LARGE[:size]


@pytest.mark.parametrize("size", [100, len(LARGE)])
def test_a_competitor_s_object_stays(
    store: BucketStore, service: Service, tmp_path: Path, size: int
) -> None:
    name = "put" if size == 100 else "finish"

    def compete(call: Any) -> None:
        if call.name == name and "key" not in service.objects:
            service.put_object("key", b"the competitor's", Attributes({}, "text/plain"))

    service.before = compete
    with pytest.raises(AlreadyExists):
        store.put("key", LARGE[:size], if_absent=True)
    assert service.objects["key"][0] == b"the competitor's"
    assert service.uploads == {}
    assert notes(tmp_path) == []


def test_a_taken_key_is_refused_before_anything_is_sent(
    store: BucketStore, service: Service
) -> None:
    etag = store.put("key", b"first").etag
    with pytest.raises(AlreadyExists):
        store.put("key", LARGE, if_absent=True)
    with pytest.raises(Changed):
        store.put("key", LARGE, if_match="another")
    assert "begin" not in service.names()
    store.put("key", LARGE, if_match=etag)
    assert service.objects["key"][0] == LARGE


def test_only_the_part_that_failed_is_sent_again(store: BucketStore, service: Service) -> None:
    service.named["send"] = [DOWN, FLIP]
    store.put("key", LARGE)
    assert service.names().count("send") == PARTS + 2
    assert set(service.stored_parts.values()) == {1}


@pytest.mark.parametrize("error", [AccessDenied, Throttled, Killed, KeyboardInterrupt])
def test_what_was_sent_stays_after_a_failure(
    store: BucketStore, service: Service, tmp_path: Path, error: type[BaseException]
) -> None:
    service.named["send"] = [
        *[Fault("after", None)] * 3,
        *[Fault("before", lambda: error("no"))] * 99,
    ]
    with pytest.raises(error):
        store.put("key", LARGE)
    assert len(service.uploads) == 1
    assert "key" not in service.objects
    assert len(notes(tmp_path)) == 1
    service.named.clear()
    again = store_of(store._line.remote, tmp_path / "journal", name=store._line.retrying.name)
    again.put("key", LARGE)
    assert service.objects["key"][0] == LARGE
    assert max(service.stored_parts.values()) == 1
    assert service.names().count("begin") == 1
    assert notes(tmp_path) == []


def test_without_a_journal_nothing_is_left(
    remote: FakeRemote, service: Service, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = store_of(remote, tmp_path / "file")
    service.named["send"] = [Fault("before", KeyboardInterrupt)] * 99
    with pytest.raises(KeyboardInterrupt):
        store.put("key", LARGE)
    assert service.uploads == {}
    service.named.clear()
    store.put("key", LARGE)
    assert service.objects["key"][0] == LARGE


def test_a_cancelled_upload_goes_on_later(
    store: BucketStore, service: Service, tmp_path: Path
) -> None:
    cancel = threading.Event()
    moved: list[int] = []

    def progress(key: str, count: int, size: int) -> None:
        moved.append(count)
        if len(moved) == 2:
            cancel.set()

    with pytest.raises(Cancelled):
        store.put("key", LARGE, progress=progress, cancel=cancel)
    assert len(service.uploads) == 1
    moved.clear()
    store.put("key", LARGE, progress=lambda key, count, size: moved.append(count))
    assert sum(moved) == len(LARGE)
    assert max(service.stored_parts.values()) == 1
    assert service.objects["key"][0] == LARGE


@pytest.mark.parametrize("when", [KILL, KILL_AFTER])
def test_an_object_that_was_finished_is_recognised_after_a_kill(
    store: BucketStore, service: Service, tmp_path: Path, when: Fault
) -> None:
    service.named["finish"] = [when]
    with pytest.raises(Killed):
        store.put("key", LARGE, if_absent=True)
    store.put("key", LARGE, if_absent=True)
    assert service.objects["key"][0] == LARGE
    assert max(service.stored_parts.values()) == 1
    assert notes(tmp_path) == []


def interrupted(store: BucketStore, service: Service, **options: Any) -> None:
    service.named["finish"] = [KILL]
    with pytest.raises(Killed):
        store.put("key", LARGE, **options)


@pytest.mark.parametrize("part_crc", [True, False])
@pytest.mark.parametrize("part_etag", ["md5", "random"])
def test_parts_are_trusted_as_far_as_they_are_proven(
    tmp_path: Path, part_crc: bool, part_etag: Any
) -> None:
    service = Service(part_crc=part_crc, part_etag=part_etag)
    store = store_of(FakeRemote(service), tmp_path / "journal")
    interrupted(store, service)
    ((_, _, parts),) = service.uploads.values()
    for number in (1, 2):  # somebody else's bytes, as long as ours
        data, part = parts[number]
        other = bytes(len(data))
        crc = 1 if part_crc else None
        etag = hashlib.md5(other).hexdigest() if part_etag == "md5" else "other"
        parts[number] = other, part._replace(etag=etag, crc32=crc)
    (path,) = notes(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if b'"number":3,' not in line]  # as if killed before
    path.write_bytes(b"".join(kept))
    store.put("key", LARGE)
    assert service.objects["key"][0] == LARGE
    counts = {number: count for (_, number), count in service.stored_parts.items()}
    proven = part_crc or part_etag == "md5"
    assert counts == {1: 2, 2: 2, 3: 1 if proven else 2, 4: 1, 5: 1}


def test_parts_of_another_size_are_sent_again(tmp_path: Path) -> None:
    service = Service(part_crc=False)
    store = store_of(FakeRemote(service), tmp_path / "journal")
    interrupted(store, service)
    ((_, _, parts),) = service.uploads.values()
    data, part = parts[2]
    parts[2] = data[:-1], part._replace(size=part.size - 1)
    parts[PARTS + 1] = b"more", part._replace(number=PARTS + 1, size=4)
    store.put("key", LARGE)
    assert service.names().count("begin") == 1
    assert service.objects["key"][0] == LARGE


def test_a_journal_of_another_release_is_ignored(
    store: BucketStore, service: Service, tmp_path: Path
) -> None:
    interrupted(store, service)
    (path,) = notes(tmp_path)
    path.write_text(path.read_text().replace('"format":1', '"format":2'))
    store.put("key", LARGE)
    assert service.names().count("begin") == 2


def test_without_locks_there_is_no_journal(
    store: BucketStore, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lock(descriptor: int) -> bool:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(files, "lock", lock)
    service.named["send"] = [Fault("before", lambda: AccessDenied("no"))] * 99
    with pytest.raises(AccessDenied):
        store.put("key", LARGE)
    assert service.uploads == {}
    service.named.clear()
    store.put("key", LARGE)
    store.get("key", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == LARGE
    assert notes(tmp_path) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["journal", "target"]


def test_a_journal_that_was_removed_while_it_was_opened_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "notes"
    real = files.lock

    def lock(descriptor: int) -> bool:
        path.unlink()  # by another process that has just finished
        return real(descriptor)

    monkeypatch.setattr(files, "lock", lock)
    assert open_journal(path) is None


def test_another_way_of_storing_does_not_go_on_with_it(
    store: BucketStore, service: Service
) -> None:
    interrupted(store, service)
    other = replace(store._line, writing=Writing(storage_class="COLD"))
    BucketStore(other).put("key", LARGE)
    assert service.names().count("begin") == 2
    assert service.uploads == {}


def test_a_torn_line_is_no_harm_to_those_after_it(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    journal = open_journal(path)
    assert journal is not None
    journal.begin({"identity": "one"})
    journal.note({"number": 1})
    journal.close()
    path.write_bytes(path.read_bytes() + b'{"number":')
    journal = open_journal(path)
    assert journal is not None
    assert len(journal.entries()) == 2
    journal.note({"number": 2})
    assert [entry.get("number") for entry in journal.entries()] == [None, 1, 2]
    journal.close()
    journal.note({"number": 3})
    assert journal.entries() == []


@pytest.mark.parametrize(
    "other",
    [
        {"source": LARGE[:-1] + b"x"},
        {"source": LARGE + b"x"},
        {"metadata": {"entry": "another"}},
        {"content_type": "text/plain"},
        {"if_absent": True},
    ],
    ids=["content", "size", "metadata", "type", "condition"],
)
def test_another_upload_does_not_go_on_with_it(
    store: BucketStore, service: Service, tmp_path: Path, other: dict[str, Any]
) -> None:
    interrupted(store, service)
    options = dict(other)
    source = options.pop("source", LARGE)
    store.put("key", source, **options)
    data, _, attributes = service.objects["key"]
    assert data == source
    assert attributes.metadata.get("entry") == other.get("metadata", {}).get("entry")
    assert service.uploads == {}
    assert service.names().count("begin") == 2
    assert notes(tmp_path) == []


@given(cut=st.integers(0, 2000), noise=st.binary(max_size=60))
@settings(max_examples=60, deadline=None)
def test_a_damaged_journal_does_no_harm(
    tmp_path_factory: pytest.TempPathFactory, cut: int, noise: bytes
) -> None:
    tmp_path, service = tmp_path_factory.mktemp("damaged"), Service()
    store = store_of(FakeRemote(service), tmp_path / "journal")
    interrupted(store, service)
    (path,) = notes(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[:cut] + noise)
    store.put("key", LARGE)
    assert service.objects["key"][0] == LARGE
    assert notes(tmp_path) == []


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null\n", "{}\n", '{"format":1}\n', '{"format":1,"identity":3,"upload":[]}\n'],
)
def test_a_foreign_journal_is_ignored(
    store: BucketStore, service: Service, tmp_path: Path, text: str
) -> None:
    interrupted(store, service)
    (path,) = notes(tmp_path)
    path.write_text(text)
    store.put("key", LARGE)
    assert service.objects["key"][0] == LARGE
    assert notes(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="has other permissions")
def test_only_the_user_can_read_the_journal(
    store: BucketStore, service: Service, tmp_path: Path
) -> None:
    interrupted(store, service)
    (path,) = notes(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_link_is_no_journal(store: BucketStore, service: Service, tmp_path: Path) -> None:
    interrupted(store, service)
    (path,) = notes(tmp_path)
    victim = tmp_path / "victim"
    path.rename(victim)
    before = victim.read_bytes()
    path.symlink_to(victim)
    store.put("key", LARGE)
    assert service.objects["key"][0] == LARGE
    assert victim.read_bytes() == before


def test_old_journals_are_cleared_away(store: BucketStore, tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    old, new, other = (tmp_path / "journal" / name for name in ("a.journal", "b.journal", "c.txt"))
    for path in (old, new, other):
        path.write_bytes(b"{}\n")
    for path in (old, other):
        os.utime(path, (0, 0))
    store.put("key", LARGE)
    assert not old.exists()
    assert new.exists()
    assert other.exists()


def test_two_uploads_at_once_do_not_share_a_journal(
    store: BucketStore, service: Service, tmp_path: Path
) -> None:
    other = LARGE[::-1]

    def meanwhile(call: Any) -> None:
        if call.name == "begin" and service.names().count("begin") == 1:
            store.put("key", other)
            assert service.objects["key"][0] == other

    service.before = meanwhile
    store.put("key", LARGE)
    assert service.objects["key"][0] == LARGE
    assert service.names().count("begin") == 2
    assert notes(tmp_path) == []


@pytest.mark.parametrize("name", ["send", "finish"])
def test_a_lost_upload_begins_anew(store: BucketStore, service: Service, name: str) -> None:
    moved: list[int] = []

    def lose(call: Any) -> None:
        if call.name == name and service.names().count(name) == 1:
            service.uploads.clear()

    service.before = lose
    store.put("key", LARGE, progress=lambda key, count, size: moved.append(count))
    assert service.objects["key"][0] == LARGE
    assert service.names().count("begin") == 2
    assert sum(moved) == len(LARGE)


def test_a_missing_bucket_is_told_at_once(store: BucketStore, service: Service) -> None:
    service.named["begin"] = [Fault("before", lambda: BucketNotFound("no bucket"))]
    with pytest.raises(BucketNotFound):
        store.put("key", LARGE)
    assert service.names() == ["begin"]


def test_a_service_that_loses_everything_is_told(store: BucketStore, service: Service) -> None:
    service.before = lambda call: service.uploads.clear()
    with pytest.raises(NotFound):
        store.put("key", LARGE)


def test_a_whole_that_is_another_is_sent_once_more(store: BucketStore, service: Service) -> None:
    service.named["finish"] = [Fault("before", lambda: ChecksumMismatch("another"))]
    store.put("key", LARGE)
    assert service.objects["key"][0] == LARGE
    service.named["finish"] = [Fault("before", lambda: ChecksumMismatch("another"))] * 2
    with pytest.raises(ChecksumMismatch):
        store.put("key", LARGE[::-1])
    assert service.objects["key"][0] == LARGE
    assert service.uploads == {}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(LARGE)
    return path


def same_size(path: Path) -> None:
    info = path.stat()
    with path.open("r+b") as file:
        file.seek(3 * PART)
        file.write(b"changed")
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))  # as a careless program may do it


def shrunk(path: Path) -> None:
    os.truncate(path, len(LARGE) - 100)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def grown(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


@pytest.mark.usefixtures("small_memory")
@pytest.mark.parametrize(
    ("moment", "change"),
    [
        *[("begin", change) for change in (same_size, shrunk, emptied, grown)],
        *[("finish", change) for change in (shrunk, emptied, grown)],
    ],
)
def test_a_file_must_not_change_while_it_is_sent(
    store: BucketStore,
    service: Service,
    tmp_path: Path,
    file: Path,
    change: Any,
    moment: str,
) -> None:
    def meanwhile(call: Any) -> None:
        last = moment == "finish" and call.number == PARTS
        if call.name == moment or last:
            change(file)

    service.before = meanwhile
    with pytest.raises(SourceChanged):
        store.put("key", file)
    assert service.objects == {}
    assert service.uploads == {}
    assert notes(tmp_path) == []


@pytest.mark.usefixtures("small_memory")
def test_a_file_must_not_change_before_it_is_sent_whole(
    remote: FakeRemote, service: Service, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(remote, None, part_size=1 << 20)
    store.put("right", file)
    assert service.objects["right"][0] == LARGE
    monkeypatch.setattr(content_module.Content, "read_into", lambda self, buffer, start: None)
    with pytest.raises(SourceChanged):
        store.put("wrong", file)
    assert "wrong" not in service.objects


def test_a_given_digest_is_checked_first(
    store: BucketStore, service: Service, tmp_path: Path
) -> None:
    with pytest.raises(ChecksumMismatch):
        store.put("key", LARGE, sha256="0" * 64)
    assert service.calls == []
    store.put("key", LARGE, sha256=hashlib.sha256(LARGE).hexdigest().upper())


@pytest.mark.usefixtures("small_memory")
def test_a_service_may_insist_on_other_parts(service: Service, tmp_path: Path, file: Path) -> None:
    class Rounding(FakeRemote):
        def begin(self, key: Any, size: Any, part_size: Any, *rest: Any) -> Any:
            return super().begin(key, size, part_size + 24, *rest)

    store = store_of(Rounding(service), tmp_path / "journal")
    store.put("file", file)
    store.put("bytes", LARGE)
    assert service.objects["file"][0] == service.objects["bytes"][0] == LARGE

    def meanwhile(call: Any) -> None:
        if call.name == "begin":
            same_size(file)

    service.before = meanwhile
    with pytest.raises(SourceChanged):
        store.put("file", file)


def test_a_failure_of_whoever_looks_on_ends_the_call(store: BucketStore) -> None:
    def progress(key: str, count: int, size: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.put("key", LARGE, progress=progress)


def test_an_upload_that_cannot_be_abandoned_does_not_hide_why(
    store: BucketStore, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    service.named["abandon"] = [DOWN]
    service.named["send"] = [Fault("before", lambda: AlreadyExists("taken"))] * 99
    with pytest.raises(AlreadyExists):
        store.put("key", LARGE)
    assert "may be left" in caplog.text
    assert "upload-" not in caplog.text  # a credential, at Google's


def test_a_stalled_abandon_is_left_alone(
    remote: FakeRemote,
    service: Service,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    over = threading.Event()
    monkeypatch.setattr(parts_module, "PATIENCE", 0.01)
    service.before = lambda call: call.name == "abandon" and over.wait(30)
    service.named["send"] = [Fault("before", KeyboardInterrupt)] * 99
    (tmp_path / "file").touch()
    with pytest.raises(KeyboardInterrupt):
        store_of(remote, tmp_path / "file").put("key", LARGE)
    over.set()


def test_unfinished_uploads_can_be_swept(store: BucketStore, service: Service) -> None:
    interrupted(store, service)
    assert store._unfinished("", NOW) == []
    assert store._unfinished("k", NOW + timedelta(1)) == ["key"]
    assert store._unfinished("other", NOW + timedelta(1)) == []
    store._abandon("", NOW)
    assert len(service.uploads) == 1
    service.named["abandon"] = [DOWN]
    store._abandon("", NOW + timedelta(1))
    assert service.uploads == {}


class Endless(io.RawIOBase):
    """No space is left for what comes."""

    def write(self, data: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_stream_that_does_not_fit_is_no_object(
    store: BucketStore, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content_module, "SPOOL", 64)
    monkeypatch.setattr(content_module.tempfile, "TemporaryFile", lambda **_: Endless())
    with pytest.raises(OSError, match="No space left"):
        store.put("key", io.BytesIO(LARGE))
    assert service.calls == []


def kinds() -> Iterator[Fault]:
    yield from (DOWN, LOST, FLIP, KILL, KILL_AFTER, busy(1))
    yield Fault("middle", at=100)
    yield Fault("middle", Killed)


@given(
    size=st.integers(0, 4 * PART + 2) | st.sampled_from([PART, PART + 1, 2 * PART, 4 * PART]),
    script=st.dictionaries(st.integers(0, 25), st.sampled_from(list(kinds())), max_size=6),
    parallel=st.booleans(),
    absent=st.booleans(),
    concurrency=st.integers(1, 4),
)
@settings(max_examples=150, deadline=None)
def test_through_any_faults_and_kills_the_bytes_arrive(
    tmp_path_factory: pytest.TempPathFactory,
    size: int,
    script: dict[int, Fault],
    parallel: bool,
    absent: bool,
    concurrency: int,
) -> None:
    tmp_path = tmp_path_factory.mktemp("faults")
    service = Service(script=script)
    data = LARGE[:size]
    kills = 0
    while True:
        remote = FakeRemote(service, parallel=parallel)
        store = store_of(remote, tmp_path / "journal", name="same", concurrency=concurrency)
        try:
            store.put("key", data, if_absent=absent)
        except Killed:
            kills += 1
            assert kills <= len(script)
        except AlreadyExists:
            assert kills  # one that was put whole, of which nothing was noted
            assert size <= PART
            break
        else:
            break
    assert service.objects["key"][0] == data
    assert service.uploads == {} or _begun_and_killed(service)
    lost = sum(fault in (LOST, KILL_AFTER) for fault in script.values())
    twice = sum(service.stored_parts.values()) - len(service.stored_parts)
    assert twice <= lost
    assert notes(tmp_path) == []


def _begun_and_killed(service: Service) -> bool:
    """An upload of which the answer was lost, or that was killed before it was noted."""
    return all(not parts for _, _, parts in service.uploads.values())


def test_unavailable_for_ever_is_told(store: BucketStore, service: Service) -> None:
    service.before = lambda call: (_ for _ in ()).throw(Unavailable("down"))
    with pytest.raises(Unavailable, match="20 attempts"):
        store.put("key", b"data")


def test_who_may_only_write_learns_at_the_end_that_a_key_is_taken(
    store: BucketStore, service: Service
) -> None:
    service.named["head"] = [Fault("before", lambda: AccessDenied("no"))]
    store.put("key", LARGE, if_absent=True)
    service.named["head"] = [Fault("before", lambda: AccessDenied("no"))]
    with pytest.raises(AlreadyExists):
        store.put("key", LARGE, if_absent=True)


@pytest.mark.parametrize("data", [b"small", LARGE], ids=len)
def test_who_may_only_write_is_told_that_a_key_is_taken(
    store: BucketStore, service: Service, data: bytes
) -> None:
    store.put("key", b"another's")
    service.named["head"] = [Fault("before", lambda: AccessDenied("no"))] * 3
    with pytest.raises(AlreadyExists):
        store.put("key", data, if_absent=True)
