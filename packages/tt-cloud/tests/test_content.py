"""What can be stored, and that it is read once, whole, and as it was."""

import errno
import hashlib
import io
import os
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tt_cloud import ChecksumMismatch, ObjectStore, SourceChanged, open_store
from tt_cloud import _content as content_module
from tt_cloud._content import opened
from tt_cloud._transfer import prepass, threads

DATA = os.urandom(3000)


class OnlyRead:
    """A stream that can do nothing else, and gives as little as it likes."""

    def __init__(self, data: bytes) -> None:
        self._stream = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._stream.read(min(size, 1000))


class NotSeekable(io.BytesIO):
    def seekable(self) -> bool:
        return False

    def seek(self, *_: Any) -> int:
        raise io.UnsupportedOperation


SOURCES: list[Callable[[bytes, Path], Any]] = [
    lambda data, path: data,
    lambda data, path: bytearray(data),
    lambda data, path: memoryview(data),
    lambda data, path: memoryview(bytearray(data)).cast("B", (3, len(data) // 3)),
    lambda data, path: path,
    lambda data, path: io.BufferedReader(io.BytesIO(data)),
    lambda data, path: io.BytesIO(data),
    lambda data, path: NotSeekable(data),
    lambda data, path: OnlyRead(data),
    lambda data, path: [data[:10], bytearray(data[10:11]), memoryview(data)[11:], b""],
    lambda data, path: (data[start : start + 7] for start in range(0, len(data), 7)),
]


@pytest.fixture(params=[100, 1 << 20], ids=["on disk", "in memory"])
def _memory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content_module, "SPOOL", request.param)


@pytest.mark.usefixtures("_memory")
@pytest.mark.parametrize("number", range(len(SOURCES)))
def test_all_kinds_of_sources_are_read(number: int, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(DATA)
    with opened(SOURCES[number](DATA, tmp_path / "file"), None, lambda size: 700) as content:
        assert (content.size, content.sha256) == (3000, hashlib.sha256(DATA).hexdigest())
        assert b"".join(content.chunks(999)) == DATA
        assert b"".join(content.chunks()) == DATA
        part = memoryview(bytearray(50))
        content.read_into(part, 100)
        assert part == DATA[100:150]
        assert content.crcs in ((), [zlib.crc32(DATA[at : at + 700]) for at in range(0, 3000, 700)])
        assert bool(content.crcs) != (content.data is not None)


@pytest.mark.usefixtures("_memory")
def test_a_stream_is_read_from_where_it_is() -> None:
    stream = io.BytesIO(DATA)
    stream.seek(10)
    with opened(stream, None) as content:
        assert b"".join(content.chunks()) == DATA[10:]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(DATA,))
    writer.start()
    with opened(path, None) as content:
        assert content.sha256 == hashlib.sha256(DATA).hexdigest()
    writer.join()


@pytest.fixture(params=["memory", "folder"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ObjectStore]:
    return open_store(f"memory://{tmp_path.name}" if request.param == "memory" else tmp_path / "at")


def test_a_folder_is_no_source(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match=r"is a folder; see upload_tree") as caught:
        store.put("key", tmp_path)
    assert caught.value.errno == errno.EISDIR


def test_a_missing_file_is_told(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        store.put("key", tmp_path / "missing")


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("a/path", r"got str; write Path"),
        (7, r"got int; convert it"),
        (None, r"got NoneType"),
        (io.StringIO("text"), r"gives bytes: got str; open it in binary mode"),
        (["text"], r"gives bytes: got str"),
        ([1, 2], r"gives bytes: got int"),
    ],
)
def test_other_things_are_no_sources(store: ObjectStore, source: Any, rule: str) -> None:
    with pytest.raises(TypeError, match=rule):
        store.put("key", source)
    assert not store.exists("key")


def test_a_failing_source_leaves_no_object(store: ObjectStore) -> None:
    def failing() -> Iterator[bytes]:
        yield b"first"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.put("key", failing())
    assert not store.exists("key")


@pytest.mark.usefixtures("_memory")
def test_a_digest_that_does_not_fit_is_told(tmp_path: Path) -> None:
    with (
        pytest.raises(ChecksumMismatch, match="check the source"),
        opened(iter([DATA]), "0" * 64),
    ):
        pass


def cut(path: Path) -> None:
    os.truncate(path, 2000)


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


@pytest.mark.parametrize("change", [cut, grow])
@pytest.mark.parametrize("memory", [100, 1 << 20])
def test_a_file_must_not_change_while_it_is_digested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Any, memory: int
) -> None:
    (tmp_path / "file").write_bytes(DATA)
    monkeypatch.setattr(content_module, "SPOOL", memory)
    real = content_module.read_at

    def read_at(descriptor: int, buffer: memoryview, offset: int) -> int:
        change(tmp_path / "file")
        return real(descriptor, buffer, offset)

    monkeypatch.setattr(content_module, "read_at", read_at)
    monkeypatch.setattr(prepass, "read_at", read_at)
    with pytest.raises(SourceChanged), opened(tmp_path / "file", None, lambda size: 700):
        pass


def overwrite(path: Path) -> None:
    info = path.stat()
    path.write_bytes(DATA[::-1])
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))  # as a careless program may do it


@pytest.mark.parametrize("change", [cut, grow, overwrite])
def test_a_file_must_not_change_while_it_is_stored(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Any
) -> None:
    (tmp_path / "file").write_bytes(DATA)
    monkeypatch.setattr(content_module, "SPOOL", 100)
    monkeypatch.setattr(
        content_module.Content,
        "chunks",
        lambda self, chunks=content_module.Content.chunks: (
            change(tmp_path / "file"),  # type: ignore[func-returns-value]  # for its effect
            chunks(self),
        )[1],
    )
    with pytest.raises(SourceChanged):
        store.put("key", tmp_path / "file")
    assert not store.exists("key")


@given(
    pieces=st.lists(st.binary(min_size=1, max_size=50), max_size=12),
    part_size=st.integers(1, 60),
    aside=st.booleans(),
)
@settings(deadline=None)
def test_the_checksums_of_parts_do_not_depend_on_how_they_come(
    pieces: list[bytes], part_size: int, aside: bool
) -> None:
    crcs = prepass.PartCrcs(part_size, aside=aside)
    for piece in pieces:
        buffer = crcs.buffer()[: len(piece)]
        buffer[:] = piece
        crcs.add(buffer)
    data = b"".join(pieces)
    starts = range(0, len(data) or 1, part_size)
    assert crcs.finish() == [zlib.crc32(data[at : at + part_size]) for at in starts]


def test_a_file_with_fewer_bytes_than_told_has_changed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(DATA)
    with (tmp_path / "file").open("rb") as file, pytest.raises(SourceChanged):
        prepass.digests(file.fileno(), len(DATA) + 1, 700)


def test_a_large_file_takes_two_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(DATA)
    monkeypatch.setattr(prepass, "CHUNK", 64)
    monkeypatch.setattr(prepass, "TWO_THREADS", 1000)
    real, started = threads.start, []

    def start(job: Any) -> bool:
        started.append(job)
        return real(job)

    monkeypatch.setattr(threads, "start", start)
    with (tmp_path / "file").open("rb") as file:
        sha256, crcs = prepass.digests(file.fileno(), len(DATA), 700)
    assert sha256 == hashlib.sha256(DATA).hexdigest()
    assert crcs == [zlib.crc32(DATA[at : at + 700]) for at in range(0, 3000, 700)]
    assert len(started) == 1
