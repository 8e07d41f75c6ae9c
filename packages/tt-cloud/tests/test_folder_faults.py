"""What fails leaves nothing behind."""

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tt_cloud import (
    AccessDenied,
    Cancelled,
    Changed,
    ChecksumMismatch,
    NotFound,
    ObjectStore,
    TransferFailed,
    open_store,
)
from tt_cloud._folder._directory import Directory
from tt_cloud._folder._store import FolderStore

NOTED: dict[str, Any] = {"metadata": {"note": "kept"}, "content_type": "text/x-note"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def store(root: Path) -> FolderStore:
    return FolderStore(str(root))


def names(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*"))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
@pytest.mark.parametrize("place", ["fsync", "replace", "utime"])
def test_a_failed_write_leaves_nothing(
    store: ObjectStore, root: Path, monkeypatch: pytest.MonkeyPatch, number: int, place: str
) -> None:
    store.put("key", b"before", **NOTED)
    before = names(root)

    def failing(*arguments: Any, **options: Any) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, place, failing)
        for key in ("key", "new/deep/key"):
            with pytest.raises(OSError, match=os.strerror(number)) as caught:
                store.put(key, b"after", **NOTED)
            assert caught.value.errno == number
    assert names(root) == before
    assert store.read("key") == b"before"


FULL = """
import resource, signal, sys
from pathlib import Path
from tt_cloud import open_store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3_500_000, 3_500_000))
store = open_store(sys.argv[1])
for call in (
    lambda: store.put("new/key", Path(sys.argv[2])),
    lambda: store.copy("large", "new/key"),
    lambda: store.get("large", Path(sys.argv[3])),
):
    try:
        call()
    except OSError as error:
        print(error.errno)
"""


def test_a_real_bound_on_files_leaves_nothing(
    store: ObjectStore, root: Path, tmp_path: Path
) -> None:
    source, target = tmp_path / "source", tmp_path / "folder" / "target"
    source.write_bytes(bytes(5_000_000))
    store.put("large", source)
    target.parent.mkdir()
    line = [sys.executable, "-c", FULL, str(root), str(source), str(target)]
    found = subprocess.run(line, capture_output=True, text=True, check=True)
    assert found.stdout.split() == [str(errno.EFBIG)] * 3
    assert names(root) == ["large"]
    assert names(target.parent) == []


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_a_closed_folder_is_access_denied(
    store: ObjectStore, root: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    real = os.open

    def closed(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        if str(path).startswith((".tt-cloud-", "key")):
            raise OSError(number, os.strerror(number))
        return real(path, flags, *arguments, **options)

    store.put("key", b"")
    monkeypatch.setattr(os, "open", closed)  # the tests may run as root, whom no mode stops
    calls: list[Callable[[], object]] = [
        lambda: store.read("key"),
        lambda: store.head("key"),
        lambda: store.put("key", b"new"),
        lambda: store.put("new/deep/other", b"new"),
        lambda: store.delete("key"),
    ]
    for call in calls:
        with pytest.raises(AccessDenied, match="owner and mode") as caught:
            call()
        assert caught.value.errno == number
    assert names(root) == ["key"]


@pytest.mark.skipif(os.geteuid() == 0, reason="no mode stops root")
def test_a_read_only_folder_is_access_denied(store: ObjectStore, root: Path) -> None:
    store.put("key", b"data")
    root.chmod(0o500)
    try:
        for call in (lambda: store.put("key", b""), lambda: store.delete("key")):
            with pytest.raises(AccessDenied):
                call()
        assert store.read("key") == b"data"
    finally:
        root.chmod(0o700)


def test_what_cannot_be_deleted_is_in_the_report(
    store: ObjectStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("a", "b", "c"):
        store.put(key, b"")
    real = Directory.unlink

    def stuck(self: Directory, name: str) -> None:
        if name == "b":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(self, name)

    monkeypatch.setattr(Directory, "unlink", stuck)
    with pytest.raises(TransferFailed, match="1 of 4") as caught:
        store.delete("c", "b", "missing", "a")
    report = caught.value.report
    assert report.deleted == ("a", "c", "missing")
    assert [failure.key for failure in report.failures] == ["b"]
    assert isinstance(report.failures[0].error, OSError)
    with pytest.raises(OSError, match="Input/output"):
        store.delete("b")
    assert names(root) == ["b"]


def test_a_cancelled_call_leaves_nothing(store: ObjectStore, root: Path, tmp_path: Path) -> None:
    store.put("key", bytes(3 << 20))
    (tmp_path / "folder").mkdir()
    cancel = threading.Event()
    options: Any = {"progress": lambda *told: cancel.set(), "cancel": cancel}
    with pytest.raises(Cancelled):
        store.put("new/deep/key", bytes(3 << 20), **options)
    cancel.clear()
    with pytest.raises(Cancelled):
        store.get("key", tmp_path / "folder" / "target", **options)
    assert names(root) == ["key"]
    assert names(tmp_path / "folder") == []


def test_a_source_that_changes_is_not_stored(root: Path, tmp_path: Path) -> None:
    class Changing(FolderStore):
        def _put(self, *arguments: Any) -> Any:
            source.write_bytes(bytes(1 << 20) + b"later")
            return super()._put(*arguments)

    source = tmp_path / "source"
    source.write_bytes(bytes(20 << 20))
    with pytest.raises(ChecksumMismatch, match="change"):
        Changing(str(root)).put("a/key", source)
    assert names(root) == []


def test_a_file_that_is_written_to_while_it_is_read(
    store: ObjectStore, root: Path, tmp_path: Path
) -> None:
    store.put("key", bytes(3 << 20))

    def write(*told: object) -> None:
        with (root / "key").open("r+b") as file:
            file.write(b"changed")

    with pytest.raises(Changed, match="while it is read"):
        store.get("key", tmp_path / "target", progress=write)
    assert not (tmp_path / "target").exists()


def test_a_file_that_is_replaced_while_it_is_read_is_read_as_it_was(
    store: ObjectStore, tmp_path: Path
) -> None:
    store.put("key", bytes(3 << 20), **NOTED)
    info = store.get("key", tmp_path / "target", progress=lambda *told: store.put("key", b"new"))
    assert (tmp_path / "target").read_bytes() == bytes(3 << 20)
    assert dict(info.metadata) == {"note": "kept"}


def test_a_stream_of_an_object_that_goes(store: ObjectStore) -> None:
    store.put("key", bytes(3 << 20))
    with store.open("key") as stream:
        stream.read(1)
        store.delete("key")
        stream.seek(2 << 20)
        with pytest.raises(NotFound):
            stream.read()


@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EROFS])
def test_a_place_that_takes_nothing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: int
) -> None:
    store = open_store(str(tmp_path / "store"))
    store.put("a", b"1")

    def flush(descriptor: int) -> None:
        raise OSError(fault, os.strerror(fault))

    monkeypatch.setattr(os, "fsync", flush)
    for call in (lambda: store.get("a", tmp_path / "b"), lambda: store.put("c", b"")):
        with pytest.raises(OSError, match=r"name (another|a) place") as caught:
            call()
        assert caught.value.errno == fault
        assert str(tmp_path) in str(caught.value)
