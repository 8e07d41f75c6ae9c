"""What an object has beside its content, and what is left over."""

import errno
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tt_cloud import (
    ObjectStore,
)
from tt_cloud._folder._store import FolderStore

LATER = datetime.now(UTC) + timedelta(days=1)
NOTED: dict[str, Any] = {"metadata": {"note": "kept"}, "content_type": "text/x-note"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def store(root: Path) -> FolderStore:
    return FolderStore(str(root))


def names(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*"))


def test_what_is_usual_needs_no_file_beside(store: ObjectStore, root: Path) -> None:
    store.put("page.html", b"", content_type="text/html")
    assert names(root) == ["page.html"]
    store.put("page.html", b"", content_type="text/plain")
    assert len(names(root)) == 2
    store.put("page.html", b"")
    assert names(root) == ["page.html"]


def test_what_is_beside_goes_with_its_object(store: ObjectStore, root: Path) -> None:
    store.put("key", b"", **NOTED)
    assert len(names(root)) == 2
    store.delete("key")
    assert names(root) == []


@pytest.mark.parametrize("change", ["rewritten", "replaced", "touched"])
def test_a_file_that_somebody_changed_has_nothing_beside(
    store: ObjectStore, root: Path, change: str
) -> None:
    store.put("page.html", b"data", **NOTED)
    if change == "rewritten":
        (root / "page.html").write_bytes(b"atad")
    elif change == "replaced":
        (root / "new").write_bytes(b"data")
        (root / "new").rename(root / "page.html")
    else:
        (root / "page.html").touch()
    info = store.head("page.html")
    assert info is not None
    assert dict(info.metadata) == {}
    assert info.content_type == "text/html"
    store.delete("page.html")
    assert list(store.list()) == []


def test_what_is_beside_follows_a_renamed_file(store: ObjectStore, root: Path) -> None:
    store.put("key", b"", **NOTED)
    (root / "key").rename(root / "new")
    info = store.head("new")
    assert info is not None
    assert dict(info.metadata) == {"note": "kept"}


def test_what_is_left_beside_does_not_keep_a_folder(store: ObjectStore, root: Path) -> None:
    store.put("a/one", b"", **NOTED)
    store.put("a/two", b"")
    (root / "a" / "one").unlink()
    store.delete("a/two")
    assert names(root) == []


@pytest.mark.parametrize("text", ["", "no JSON", "[]", json.dumps({"metadata": 1})])
def test_a_spoilt_file_beside_is_reported(store: ObjectStore, root: Path, text: str) -> None:
    store.put("key", b"", **NOTED)
    (beside,) = root.glob(".tt-cloud-*")
    beside.write_text(text)
    with pytest.raises(OSError, match="remove it") as caught:
        store.read("key")
    assert caught.value.errno == errno.EIO


def test_content_and_metadata_belong_together(store: ObjectStore, tmp_path: Path) -> None:
    store.put("key", b"0", metadata={"number": "0"})
    done = threading.Event()

    def write() -> None:
        for number in range(150):
            text = str(number)
            store.put("key", text.encode(), metadata={"number": text})
        done.set()

    def read(reader: int) -> int:
        count, target = 0, tmp_path / str(reader)
        while not done.is_set() or not count:
            info = store.get("key", target)
            assert target.read_text() == info.metadata["number"]
            count += 1
        return count

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read, number) for number in range(2)]
        pool.submit(write).result()
        assert all(reader.result() for reader in readers)


def test_leftovers_are_found_and_removed(store: FolderStore, root: Path) -> None:
    store.put("a/key", b"data", **NOTED)
    store.put("b/gone", b"", **NOTED)
    (root / "b" / "gone").unlink()
    (root / "c").mkdir()
    (root / "c" / ".tt-cloud-0.part").touch()
    (root / "a" / ".tt-cloud-lock").touch()  # the next writer takes it away
    (root / "a" / ".tt-cloud-1.part").touch()
    assert store._unfinished("", datetime(2001, 1, 1, tzinfo=UTC)) == []
    found = store._unfinished("", LATER)
    assert found[0] == "a/.tt-cloud-1.part"
    assert [name.rpartition("/")[0] for name in found] == ["a", "b", "c"]
    assert list(store._unfinished("c", LATER)) == ["c/.tt-cloud-0.part"]
    assert list((store / "c")._unfinished("", LATER)) == [".tt-cloud-0.part"]
    store._abandon("b", LATER)
    store._abandon("", datetime(2001, 1, 1, tzinfo=UTC))
    assert len(store._unfinished("", LATER)) == 2
    store._abandon("", LATER)
    info = store.head("a/key")
    assert info is not None
    assert dict(info.metadata) == {"note": "kept"}
    store.put("a/key", b"new")
    assert names(root) == ["a", "a/key"]
