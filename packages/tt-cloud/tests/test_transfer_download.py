"""What a bucket store fetches, through faults and interruptions, from a service in memory."""

import errno
import hashlib
import io
import json
import os
import sys
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tt_cloud import (
    AccessDenied,
    Cancelled,
    Changed,
    ChecksumMismatch,
    NotFound,
    Unavailable,
)
from tt_cloud._bucket import BucketStore
from tt_cloud._remote import Incoming
from tt_cloud._stored import Attributes, Stored
from tt_cloud._transfer import digests, files, reader, unfinished
from tt_cloud._transfer.journal import open_journal

from .fake import (
    DOWN,
    FLIP,
    KILL,
    LOST,
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
NOBODY = Attributes({}, "application/octet-stream")
SIZES = [100, len(LARGE)]


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unfinished, "LEAST_PIECE", 64)


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def store(service: Service) -> BucketStore:
    return store_of(FakeRemote(service), None)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A file that is there already, in a folder of its own."""
    path = tmp_path / "folder" / "target"
    path.parent.mkdir()
    path.write_bytes(b"as before")
    return path


def beside(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir() if path != target)


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 3 * PART, 3 * PART + 1])
@pytest.mark.parametrize(
    "tells", [["sha256"], ["crc32"], ["crc32c"], ["md5"], ["sha1"], [], ["crc64nvme"]], ids=str
)
def test_any_size_comes_back(size: int, tells: list[str], target: Path) -> None:
    service = Service(tells=tells)
    store = store_of(FakeRemote(service), None)
    store.put("key", LARGE[:size])
    service.calls.clear()
    moved: list[int] = []
    info = store.get("key", target, progress=lambda key, count, size: moved.append(count))
    assert (info.size, sum(moved)) == (size, size)
    assert target.read_bytes() == LARGE[:size]
    assert store.read("key") == LARGE[:size]
    assert beside(target) == []
    names = service.names()
    assert names.count("get") == 2 * max(1, -(-size // PART))  # not one more request than needed
    asked = size > PART and not set(tells) - {"crc64nvme"}
    assert names.count("head") == (2 if asked else 0)  # to learn a digest, where no answer told one


@pytest.mark.parametrize("tells", [["sha256"], ["crc32"], ["crc32c"], ["md5"], ["sha1"]], ids=str)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("way", ["get", "read"])
def test_a_flipped_bit_is_seen(size: int, tells: list[str], way: str, target: Path) -> None:
    if tells == ["crc32c"]:
        pytest.importorskip("google_crc32c")
    service = Service(tells=tells)
    store = store_of(FakeRemote(service), None)
    service.put_object("key", LARGE[:size], Attributes({"tt-sha256": _sha256(LARGE[:size])}, ""))

    def fetch() -> bytes:
        if way == "read":
            return store.read("key")
        store.get("key", target)
        return target.read_bytes()

    service.named["get"] = [Fault("middle", None, at=99)]
    assert fetch() == LARGE[:size]
    target.write_bytes(b"as before")
    service.before = lambda call: service.named.update(get=[FLIP])
    with pytest.raises(ChecksumMismatch, match="key came with"):
        fetch()
    assert target.read_bytes() == b"as before"
    assert beside(target) == []


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "fault",
    [DOWN, LOST, busy(2), Fault("middle", at=50), Fault("middle", None, at=50)],
    ids=["down", "lost", "busy", "cut", "flip"],
)
def test_one_fault_changes_nothing(
    store: BucketStore, service: Service, target: Path, size: int, fault: Fault
) -> None:
    store.put("key", LARGE[:size])
    moved: list[int] = []
    for each in range(PARTS):
        service.named["get"] = [*[Fault("after", None)] * each, fault]
        moved.clear()
        store.get("key", target, progress=lambda key, count, size: moved.append(count))
        assert target.read_bytes() == LARGE[:size]
        assert sum(moved) == size
        service.named["get"] = [*[Fault("after", None)] * each, fault]
        assert store.read("key") == LARGE[:size]


def test_a_broken_answer_goes_on_where_it_broke(
    store: BucketStore, service: Service, target: Path
) -> None:
    store.put("key", LARGE)
    service.named["get"] = [Fault("middle", at=100)] * 30  # each time 100 bytes more
    got: list[int] = []
    store.get("key", target, progress=lambda key, count, size: got.append(count))
    assert target.read_bytes() == LARGE
    assert sum(got) == len(LARGE)
    assert all(count > 0 for count in got)


def test_an_answer_without_progress_ends_at_last(store: BucketStore, service: Service) -> None:
    store.put("key", LARGE)
    service.before = lambda call: service.named.update(get=[Fault("middle", at=0)])
    with pytest.raises(Unavailable, match="20 attempts"):
        store.read("key")


def test_a_short_answer_goes_on(store: BucketStore, service: Service, target: Path) -> None:
    class Short(FakeRemote):
        def get(self, key: str, **options: Any) -> Any:
            options["end"] = min(options["end"], options["start"] + 77)
            return super().get(key, **options)

    store.put("key", LARGE)
    short = store_of(Short(service), None)
    short.get("key", target)
    assert target.read_bytes() == LARGE
    assert short.read("key", start=5, end=105) == LARGE[5:105]


@pytest.mark.parametrize("size", SIZES)
def test_a_replaced_object_is_begun_anew_once(
    store: BucketStore, service: Service, target: Path, size: int
) -> None:
    first = store.put("key", LARGE[:size])
    service.named["get"] = [Fault("middle", at=10)]

    def replace(call: Any) -> None:
        if call.name == "get" and service.names().count("get") == 2:
            service.put_object("key", LARGE[::-1], NOBODY)

    service.before = replace
    info = store.get("key", target)
    assert info.etag != first.etag
    assert target.read_bytes() == LARGE[::-1]
    assert beside(target) == []


@pytest.mark.parametrize("size", SIZES)
def test_an_object_that_is_always_replaced_is_told(
    store: BucketStore, service: Service, target: Path, size: int
) -> None:
    store.put("key", LARGE[:size])

    def replace(call: Any) -> None:
        service.put_object("key", LARGE[:size], NOBODY)
        service.named["get"] = [Fault("middle", at=10)]

    service.before = replace
    with pytest.raises(Changed):
        store.get("key", target)
    with pytest.raises(Changed):
        store.read("key")
    assert target.read_bytes() == b"as before"
    assert beside(target) == []


def test_the_object_with_an_etag_is_not_begun_anew(
    store: BucketStore, service: Service, target: Path
) -> None:
    etag = store.put("key", LARGE).etag
    assert store.get("key", target, if_match=etag).etag == etag

    def replace(call: Any) -> None:
        if service.names().count("get") == 1 + PARTS + 1:
            service.put_object("key", LARGE[::-1], NOBODY)

    service.before = replace
    with pytest.raises(Changed):
        store.get("key", target, if_match=etag)
    assert target.read_bytes() == LARGE


@pytest.mark.parametrize("size", SIZES)
def test_a_service_that_ignores_etags_is_seen_through(
    service: Service, target: Path, size: int
) -> None:
    wanted: list[str | None] = []

    class Ignoring(FakeRemote):
        def get(self, key: str, **options: Any) -> Any:
            wanted.append(options["etag"])
            options["etag"] = None
            service.named["get"] = [Fault("middle", at=10)]
            service.put_object("key", LARGE[:size], NOBODY)
            return super().get(key, **options)

    service.put_object("key", LARGE[:size], NOBODY)
    with pytest.raises(Changed):
        store_of(Ignoring(service), None).get("key", target)
    assert wanted[0] is None
    assert wanted[1] is not None


def test_an_object_that_is_deleted_meanwhile_leaves_nothing(
    store: BucketStore, service: Service, target: Path
) -> None:
    store.put("key", LARGE)

    def delete(call: Any) -> None:
        if call.name == "get" and service.names().count("get") == 3:
            service.objects.clear()

    service.before = delete
    with pytest.raises(NotFound):
        store.get("key", target)
    assert target.read_bytes() == b"as before"
    assert beside(target) == []


def interrupted(store: BucketStore, service: Service, target: Path, gets: int = 3) -> None:
    """A download that was killed in the middle of one of its requests."""
    service.named["get"] = [*[Fault("after", None)] * gets, *[Fault("middle", Killed, 500)] * 99]
    with pytest.raises(Killed):
        store.get("key", target)
    service.named.clear()
    service.calls.clear()
    assert len(beside(target)) == 2


@pytest.mark.parametrize("tells", [["sha256"], ["crc32"], ["crc32c"], []], ids=str)
def test_a_download_goes_on(target: Path, tells: list[str]) -> None:
    service = Service(tells=tells)
    one, two = (store_of(FakeRemote(service), None, concurrency=1, name="one") for _ in range(2))
    one.put("key", LARGE)
    interrupted(one, service, target)
    moved: list[int] = []
    two.get("key", target, progress=lambda key, count, size: moved.append(count))
    assert target.read_bytes() == LARGE
    assert sum(moved) == len(LARGE)
    assert moved[0] >= 3 * PART
    gets = service.names().count("get")
    assert gets == 1 + 2  # what there is, and the rest of what was missing
    assert beside(target) == []


def test_another_version_does_not_go_on(store: BucketStore, service: Service, target: Path) -> None:
    store.put("key", LARGE)
    interrupted(store, service, target)
    store.put("key", LARGE[::-1])
    service.calls.clear()
    store.get("key", target)
    assert target.read_bytes() == LARGE[::-1]
    assert len(service.calls) == PARTS  # and not once more, after a mixture
    assert beside(target) == []


def test_pieces_that_overlap_are_taken_once(service: Service, target: Path) -> None:
    store = store_of(FakeRemote(service), None, concurrency=1)
    store.put("key", LARGE)
    interrupted(store, service, target)
    notes = target.parent / beside(target)[0]
    with notes.open("a") as file:
        piece = {"start": 10, "end": PART + 60, "crc": zlib.crc32(LARGE[10 : PART + 60])}
        file.write(f"{json.dumps(piece)}\n")
    store.get("key", target)
    assert target.read_bytes() == LARGE
    assert len(service.calls) == 1 + 2


def test_a_download_without_notes_leaves_nothing(
    store: BucketStore, service: Service, target: Path
) -> None:
    store.put("key", LARGE)
    service.calls.clear()

    def meanwhile(call: Any) -> None:
        if service.names().count("get") == 2:
            no = Fault("before", lambda: AccessDenied("no"))
            service.named["get"] = [Fault("after", None), *[no] * 9]
            before = beside(target)
            with pytest.raises(AccessDenied):
                store.get("key", target)
            assert beside(target) == before
            service.named.clear()

    service.before = meanwhile
    store_of(store._line.remote, None, concurrency=1, name=store._line.retrying.name).get(
        "key", target
    )
    assert target.read_bytes() == LARGE
    assert beside(target) == []


def test_a_thread_that_comes_too_late_does_not_write(target: Path) -> None:
    file = unfinished.FileLanding(target, "name", Stored(10, "etag"), "where", 5)
    assert file.retain()
    file.release()
    file.release()
    assert not file.retain()


@pytest.mark.parametrize(
    "damage",
    [
        lambda part, notes: part.write_bytes(b"\0" * len(LARGE)),
        lambda part, notes: part.write_bytes(part.read_bytes()[:100]),
        lambda part, notes: part.write_bytes(part.read_bytes() + 2 * LARGE),
        lambda part, notes: part.unlink(),
        lambda part, notes: notes.unlink(),
        lambda part, notes: notes.write_bytes(b""),
        lambda part, notes: notes.write_text("{}\n[]\nnull"),
        lambda part, notes: notes.write_bytes(notes.read_bytes()[:-5]),
        lambda part, notes: notes.write_text(notes.read_text().replace('"end":', '"end":9')),
        lambda part, notes: notes.write_text(notes.read_text().replace('"crc":', '"crc":"x",')),
        lambda part, notes: notes.write_text(notes.read_text() + notes.read_text()),
        lambda part, notes: notes.write_text(notes.read_text().replace('"crc":', '"other":')),
    ],
)
def test_what_was_damaged_is_fetched_again(
    store: BucketStore, service: Service, target: Path, damage: Any
) -> None:
    store.put("key", LARGE)
    interrupted(store, service, target)
    notes, part = (target.parent / name for name in beside(target))
    damage(part, notes)
    store.get("key", target)
    assert target.read_bytes() == LARGE
    assert beside(target) == []


@given(cut=st.integers(0, 700), noise=st.binary(max_size=60))
@settings(max_examples=60, deadline=None)
def test_a_damaged_journal_does_no_harm(
    tmp_path_factory: pytest.TempPathFactory, cut: int, noise: bytes
) -> None:
    target, service = tmp_path_factory.mktemp("damaged") / "target", Service()
    store = store_of(FakeRemote(service), None)
    store.put("key", LARGE)
    interrupted(store, service, target)
    notes = target.parent / beside(target)[0]
    notes.write_bytes(notes.read_bytes()[:cut] + noise)
    store.get("key", target)
    assert target.read_bytes() == LARGE
    assert beside(target) == []


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("link_to", [Path.symlink_to, Path.hardlink_to])
def test_nothing_is_written_through_links(
    store: BucketStore, service: Service, target: Path, tmp_path: Path, number: int, link_to: Any
) -> None:
    store.put("key", LARGE)
    interrupted(store, service, target)
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    link = target.parent / beside(target)[number]
    link.unlink()
    link_to(link, victim)
    store.get("key", target)
    assert target.read_bytes() == LARGE
    assert not target.is_symlink()
    assert victim.read_bytes() == b"precious"


def test_two_downloads_to_one_file_do_not_disturb_each_other(
    store: BucketStore, service: Service, target: Path
) -> None:
    store.put("key", LARGE)
    service.calls.clear()

    def meanwhile(call: Any) -> None:
        if service.names().count("get") == 3:
            store.get("key", target)
            assert target.read_bytes() == LARGE

    service.before = meanwhile
    store.get("key", target)
    assert target.read_bytes() == LARGE
    assert beside(target) == []


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["write_at", "fsync"])
def test_a_full_disk_leaves_nothing(
    store: BucketStore,
    service: Service,
    target: Path,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
    name: str,
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    store.put("key", LARGE[:size])
    if name == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr(unfinished, "write_at", full)
        monkeypatch.setattr(files, "write_at", full)
    with pytest.raises(OSError, match="No space left") as caught:
        store.get("key", target)
    assert caught.value.errno == errno.ENOSPC
    assert target.read_bytes() == b"as before"
    assert beside(target) == []
    assert service.names().count("get") <= 1 + PARTS


def test_a_failure_keeps_what_came(service: Service, target: Path) -> None:
    store = store_of(FakeRemote(service), None, concurrency=1)
    store.put("key", LARGE)
    service.named["get"] = [
        *[Fault("after", None)] * 3,
        *[Fault("before", lambda: AccessDenied("no"))] * 9,
    ]
    with pytest.raises(AccessDenied):
        store.get("key", target)
    assert target.read_bytes() == b"as before"
    service.named.clear()
    moved: list[int] = []
    store.get("key", target, progress=lambda key, count, size: moved.append(count))
    assert moved[0] > PART


def test_a_cancelled_download_goes_on_later(
    store: BucketStore, service: Service, target: Path
) -> None:
    cancel = threading.Event()
    store.put("key", LARGE)
    moved = 0

    def progress(key: str, count: int, size: int) -> None:
        nonlocal moved
        moved += count
        if moved > 2 * PART:
            cancel.set()

    with pytest.raises(Cancelled):
        store.get("key", target, progress=progress, cancel=cancel)
    assert target.read_bytes() == b"as before"
    moved = -100 * PART
    cancel.clear()
    store.get("key", target, progress=progress, cancel=cancel)
    assert target.read_bytes() == LARGE
    assert moved == len(LARGE) - 100 * PART


def test_a_stalled_download_is_left_alone(service: Service, target: Path) -> None:
    store = store_of(FakeRemote(service), None)
    store.put("key", LARGE)
    cancel, over = threading.Event(), threading.Event()

    def stall(call: Any) -> None:
        if service.names().count("get") == 3:
            cancel.set()
            over.wait(30)

    service.before = stall
    with pytest.raises(Cancelled):
        store.get("key", target, cancel=cancel)
    service.before = lambda call: None
    store.get("key", target)  # a thread of the other call may still have the unfinished file
    over.set()
    assert target.read_bytes() == LARGE


def test_parts_of_objects_are_read(store: BucketStore, service: Service) -> None:
    store.put("key", LARGE)
    size = len(LARGE)
    for start in (0, 1, PART, size - 1, size, size + 9):
        for end in (None, 0, 1, PART + 1, 2 * PART, size - 1, size, size + 9):
            assert store.read("key", start=start, end=end) == LARGE[start:end]
    with pytest.raises(NotFound):
        store.read("other", start=5, end=5)


@given(
    size=st.integers(0, 4 * PART + 2) | st.sampled_from([PART, PART + 1, 2 * PART, 4 * PART]),
    script=st.dictionaries(
        st.integers(0, 25),
        st.sampled_from(
            [DOWN, KILL, LOST, busy(1), Fault("middle", at=333), Fault("middle", Killed, 444)]
        ),
        max_size=8,
    ),
    concurrency=st.integers(1, 4),
    tells=st.sampled_from([["sha256"], ["crc32"], []]),
)
@settings(max_examples=150, deadline=None)
def test_through_any_faults_and_kills_the_bytes_come_back(
    tmp_path_factory: pytest.TempPathFactory,
    size: int,
    script: dict[int, Fault],
    concurrency: int,
    tells: list[str],
) -> None:
    target = tmp_path_factory.mktemp("faults") / "target"
    service = Service(tells=tells)
    service.put_object("key", LARGE[:size], NOBODY)
    service.script = script
    kills = 0
    while True:
        store = store_of(FakeRemote(service), None, name="same", concurrency=concurrency)
        try:
            store.get("key", target)
        except Killed:
            kills += 1
            assert kills <= len(script)
            assert not target.exists()
        else:
            break
    assert target.read_bytes() == LARGE[:size]
    assert beside(target) == []


def test_crc32c_needs_its_library(monkeypatch: pytest.MonkeyPatch, target: Path) -> None:
    monkeypatch.setitem(sys.modules, "google_crc32c", None)
    digests._crc32c.cache_clear()
    service = Service(tells=["crc32c", "md5"])
    service.put_object("key", LARGE, NOBODY)
    try:
        store = store_of(FakeRemote(service), None)
        store.get("key", target)
        service.before = lambda call: service.named.update(get=[FLIP])
        with pytest.raises(ChecksumMismatch, match="md5"):
            store.get("key", target)
    finally:
        digests._crc32c.cache_clear()


@pytest.fixture
def _small_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "LEAST", 200)
    monkeypatch.setattr(reader, "MOST", 900)
    monkeypatch.setattr(reader, "BUFFER", 50)


steps = st.lists(
    st.tuples(st.sampled_from(["seek", "read", "end", "line"]), st.integers(0, len(LARGE) + 50)),
    max_size=12,
)


@pytest.mark.usefixtures("_small_window")
def test_a_stream_is_like_a_file(store: BucketStore, service: Service) -> None:
    store.put("key", LARGE)

    @given(steps)
    @settings(max_examples=60, deadline=None)
    def check(steps: list[tuple[str, int]]) -> None:
        with store.open("key") as stream, io.BytesIO(LARGE) as model:
            for what, count in steps:
                if what == "seek":
                    assert stream.seek(count) == model.seek(count)
                elif what == "end":
                    back = min(count, len(LARGE))
                    assert stream.seek(-back, 2) == model.seek(-back, 2)
                elif what == "line":
                    assert stream.readline() == model.readline()
                else:
                    assert stream.read(count) == model.read(count)
                assert stream.tell() == model.tell()

    check()


@pytest.mark.usefixtures("_small_window")
def test_reading_in_order_takes_larger_and_larger_steps(
    store: BucketStore, service: Service
) -> None:
    store.put("key", LARGE)
    service.calls.clear()
    with store.open("key") as stream:
        assert b"".join(iter(lambda: stream.read(10), b"")) == LARGE
    steps = 200 + 400 + 800  # then 900 each
    assert len(service.calls) == 3 + -(-(len(LARGE) - steps) // 900)


@pytest.mark.usefixtures("_small_window")
def test_a_stream_sees_one_version(store: BucketStore, service: Service) -> None:
    store.put("key", LARGE)
    with store.open("key") as stream:
        assert stream.read(5) == LARGE[:5]
        service.put_object("key", LARGE, NOBODY)
        stream.seek(3000)
        with pytest.raises(Changed):
            stream.read(5)
    with pytest.raises(ValueError, match="closed"):
        stream.read(5)


@pytest.mark.usefixtures("_small_window")
def test_a_stream_outlives_faults(store: BucketStore, service: Service) -> None:
    store.put("key", LARGE)
    service.named["get"] = [DOWN, Fault("middle", at=100), busy(1), LOST]
    with store.open("key") as stream:
        assert stream.read() == LARGE


def test_a_missing_object_is_told_when_it_is_opened(store: BucketStore) -> None:
    with pytest.raises(NotFound):
        store.open("key")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_lock_ends_although_a_forked_process_lives(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "notes")
    assert journal is not None
    reading, writing = os.pipe()
    if not (child := os.fork()):
        os.close(writing)
        os.read(reading, 1)  # until the test is over
        os._exit(0)
    try:
        journal.close()
        again = open_journal(tmp_path / "notes")
        assert again is not None
        again.close()
    finally:
        os.close(writing)
        os.close(reading)
        os.waitpid(child, 0)


def test_what_no_range_tells_is_asked_for(target: Path) -> None:
    class Quiet(FakeRemote):
        """As S3 is about objects that others sent in parts."""

        @contextmanager
        def get(self, *arguments: Any, **options: Any) -> Iterator[Incoming]:
            with super().get(*arguments, **options) as incoming:
                incoming.stored = replace(incoming.stored, checksums={}, sha256=None)
                yield incoming

    service = Service(tells=["crc32"])
    service.put_object("key", LARGE, NOBODY)
    store = store_of(Quiet(service), None)
    service.named["get"] = [Fault("middle", None, at=99)] * (2 * PARTS)
    with pytest.raises(ChecksumMismatch):
        store.get("key", target)
    assert target.read_bytes() == b"as before"
    service.named.clear()
    store.get("key", target)
    assert target.read_bytes() == LARGE
