"""Writers exclude each other, and copies are made by whoever can."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tt_cloud import (
    AlreadyExists,
    ObjectStore,
    Unsupported,
)
from tt_cloud._folder import _draft, _lock
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


def test_no_two_writes_look_alike(store: ObjectStore) -> None:
    """Even where the system gives a new file the number of one that is gone."""
    etags = [store.put("key", bytes([number])).etag for number in range(200)]
    assert len(set(etags)) == 200


@pytest.mark.parametrize("condition", [{}, {"if_absent": True}, {"if_match": "etag"}])
def test_writers_exclude_each_other(
    store: ObjectStore, root: Path, monkeypatch: pytest.MonkeyPatch, condition: dict[str, Any]
) -> None:
    if "if_match" in condition:
        condition = {"if_match": store.put("key", b"before").etag}
    held = []

    def watch(self: Directory, name: str, new: str) -> None:
        with (root / ".tt-cloud-lock").open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held.append(new)
        real(self, name, new)

    real = Directory.link if condition.get("if_absent") else Directory.rename
    monkeypatch.setattr(Directory, real.__name__, watch)
    store.put("key", b"data", **condition)
    assert held == ["key"]
    assert names(root) == ["key"]


def test_who_waited_for_a_lock_that_is_gone_begins_anew(
    store: ObjectStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, locked = _lock._lock, []

    def released(descriptor: int) -> None:
        """The holder before is done just when we get it, and another one begins."""
        if not locked:
            (root / ".tt-cloud-lock").unlink()
            (root / ".tt-cloud-lock").touch()
        locked.append(os.fstat(descriptor).st_nlink)
        real(descriptor)

    monkeypatch.setattr(_lock, "_lock", released)
    store.put("key", b"data")
    assert locked == [0, 1]
    assert names(root) == ["key"]


def test_a_write_survives_a_power_cut(
    store: ObjectStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[tuple[str, int]] = []
    real = {name: getattr(os, name) for name in ("fsync", "mkdir", "replace")}

    def watched(name: str) -> Any:
        def call(first: Any, *arguments: Any, **options: Any) -> None:
            real[name](first, *arguments, **options)
            events.append((name, os.fstat(first).st_ino if name == "fsync" else 0))

        return call

    root.mkdir()
    for name in real:
        monkeypatch.setattr(os, name, watched(name))
    store.put("new/key", b"data")
    inodes = [path.stat().st_ino for path in (root, root / "new" / "key", root / "new")]
    flushed = [("fsync", inode) for inode in inodes]
    assert events == [("mkdir", 0), flushed[0], flushed[1], ("replace", 0), flushed[2]]


def test_a_delete_excludes_writers(
    store: ObjectStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("key", b"")
    seen = []
    real = Directory.unlink

    def watch(self: Directory, name: str) -> None:
        seen.append((name, (root / ".tt-cloud-lock").exists()))
        real(self, name)

    monkeypatch.setattr(Directory, "unlink", watch)
    store.delete("key")
    assert ("key", True) in seen


INCREMENT = """
import sys
from tt_cloud import Changed, open_store
store = open_store(sys.argv[1])
for _ in range(20):
    while True:
        info = store.head("a/count")
        try:
            number = int(store.read("a/count", if_match=info.etag))
            store.put("a/count", str(number + 1).encode(), if_match=info.etag)
        except Changed:
            continue
        break
"""


@pytest.mark.slow
def test_processes_lose_no_write(store: ObjectStore, root: Path) -> None:
    store.put("a/count", b"0")
    line = [sys.executable, "-c", INCREMENT, str(root)]
    processes = [subprocess.Popen(line) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert store.read("a/count") == b"80"
    assert names(root) == ["a", "a/count"]


def test_one_of_many_processes_creates(store: ObjectStore, root: Path) -> None:
    """A program that knows nothing of the lock is no danger to a create."""
    real = Directory.link

    def later(self: Directory, name: str, new: str) -> None:
        (root / new).write_bytes(b"theirs")
        real(self, name, new)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Directory, "link", later)
        with pytest.raises(AlreadyExists):
            store.put("key", b"ours", if_absent=True)
    assert store.read("key") == b"theirs"
    assert names(root) == ["key"]


def test_a_file_system_without_links_creates_too(
    store: ObjectStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(self: Directory, name: str, new: str) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Directory, "link", none)
    store.put("key", b"first", if_absent=True)
    with pytest.raises(AlreadyExists):
        store.put("key", b"second", if_absent=True)
    assert store.read("key") == b"first"


def test_a_file_system_without_locks_writes_but_does_not_compare(
    store: ObjectStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(descriptor: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(_lock, "_lock", none)
    etag = store.put("key", b"first").etag
    with pytest.raises(Unsupported, match="lock"):
        store.put("key", b"second", if_match=etag)
    assert store.read("key") == b"first"
    store.delete("key")
    assert names(root) == [".tt-cloud-lock"] or names(root) == []


def test_a_lock_that_somebody_else_made_is_enough(
    store: ObjectStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def theirs(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        if str(path).endswith("lock") and flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path, flags, *arguments, **options)

    etag = store.put("key", b"first").etag
    (root / ".tt-cloud-lock").touch()
    monkeypatch.setattr(os, "open", theirs)
    store.put("key", b"second", if_match=etag)
    assert store.read("key") == b"second"


@pytest.mark.parametrize("call", ["_lock", "link"])
def test_what_fails_beside_is_reported(
    store: ObjectStore, root: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def failing(*arguments: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(_lock if call == "_lock" else Directory, call, failing)
    with pytest.raises(OSError, match="Input/output") as caught:
        store.put("new/key", b"data", if_absent=True)
    assert caught.value.errno == errno.EIO
    monkeypatch.undo()
    assert list(store.list()) == []


def test_a_writer_begins_anew_when_a_folder_goes(
    store: ObjectStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = _draft.Draft.__init__, []

    def once_pruned(self: Any, directory: Directory) -> None:
        if not calls:
            (root / "a").rmdir()
        calls.append(directory)
        real(self, directory)

    monkeypatch.setattr(_draft.Draft, "__init__", once_pruned)
    store.put("a/key", b"data")
    assert len(calls) == 2
    assert store.read("a/key") == b"data"


def test_a_folder_that_goes_each_time_is_reported(
    store: ObjectStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(self: Any, directory: Directory) -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(_draft.Draft, "__init__", gone)
    with pytest.raises(FileNotFoundError):
        store.put("a/key", b"data")
    assert names(root) == []


@pytest.mark.parametrize("number", [None, errno.EXDEV, errno.ENOSYS])
def test_a_copy_is_made_by_whoever_can(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, number: int | None
) -> None:
    def unable(*arguments: Any) -> int:
        if number is None:
            return 0
        raise OSError(number, os.strerror(number))

    data = os.urandom(3 << 20)
    before = store.put("key", data, **NOTED)
    assert store.copy("key", "shared").sha256 == before.sha256
    monkeypatch.setattr(os, "copy_file_range", unable)
    assert store.copy("key", "read").sha256 == before.sha256
    assert store.read("shared") == store.read("read") == data


def test_a_copy_that_fails_leaves_nothing(
    store: ObjectStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.copy_file_range

    def filling(source: int, target: int, count: int, *places: int) -> int:
        if places[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(source, target, 1000, *places)

    store.put("key", bytes(5000))
    monkeypatch.setattr(os, "copy_file_range", filling)
    with pytest.raises(OSError, match="No space"):
        store.copy("key", "new/key")
    assert names(root) == ["key"]
