import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_cloud import AccessDenied, ChecksumMismatch, NotFound, ObjectStore, UnsafeKey, open_store
from tt_cloud._content import Content, Staged, _stage
from tt_cloud._folder import FolderStore, _walk


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def store(root: Path) -> ObjectStore:
    return open_store(root)


def test_objects_are_plain_files(store: ObjectStore, root: Path) -> None:
    store.put("a/b.txt", b"text")
    assert (root / "a" / "b.txt").read_bytes() == b"text"
    (root / "by hand.txt").write_bytes(b"hand")
    assert [info.key for info in store.list()] == ["a/b.txt", "by hand.txt"]
    info = store.head("by hand.txt")
    assert info is not None
    assert info.sha256 == hashlib.sha256(b"hand").hexdigest()


def test_files_have_the_usual_mode(store: ObjectStore, root: Path) -> None:
    store.put("key", b"")
    (root / "other").touch()
    assert (root / "key").stat().st_mode == (root / "other").stat().st_mode


def test_deleting_prunes_empty_folders(store: ObjectStore, root: Path) -> None:
    store.put("a/b/c", b"")
    store.put("a/d", b"")
    store.delete("a/b/c")
    assert sorted(path.name for path in root.rglob("*")) == ["a", "d"]
    store.delete("a/d")
    assert list(root.iterdir()) == []


@pytest.mark.parametrize(("first", "second"), [("a", "a/b"), ("a", "a/b/c"), ("a/b", "a")])
@pytest.mark.parametrize("if_absent", [False, True])
def test_no_key_lies_below_another(
    store: ObjectStore, first: str, second: str, if_absent: bool
) -> None:
    store.put(first, b"first")
    with pytest.raises((UnsafeKey, FileExistsError)):
        store.put(second, b"second", if_absent=if_absent)
    assert [info.key for info in store.list()] == [first]


@pytest.mark.parametrize("key", ["link", "link/inside"])
def test_links_are_not_followed(store: ObjectStore, root: Path, tmp_path: Path, key: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "inside").write_bytes(b"secret")
    root.mkdir()
    (root / "link").symlink_to(outside / "inside" if key == "link" else outside)
    for call in (store.read, store.head, store.delete):
        with pytest.raises(UnsafeKey, match="link"):
            call(key)
    with pytest.raises(UnsafeKey, match="link"):
        store.put(key, b"overwritten")
    assert list(store.list()) == []
    assert [path.read_bytes() for path in outside.iterdir()] == [b"secret"]


def test_the_root_itself_may_be_a_link(store: ObjectStore, root: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    root.symlink_to(tmp_path / "real")
    store.put("key", b"data")
    assert (tmp_path / "real" / "key").read_bytes() == b"data"


def test_special_files_are_no_objects(store: ObjectStore, root: Path) -> None:
    root.mkdir()
    os.mkfifo(root / "pipe")
    assert list(store.list()) == []
    assert store.head("pipe") is None  # and does not wait for a writer


def test_unfinished_files_are_not_listed(store: ObjectStore, root: Path) -> None:
    store.put("key", b"")
    (root / ".tt-cloud-0.part").write_bytes(b"left by a crash")
    assert [info.key for info in store.list()] == ["key"]


def test_a_failed_write_leaves_nothing(
    store: ObjectStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("key", b"before")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store.put("key", b"after")
    assert [path.name for path in root.iterdir()] == ["key"]
    assert store.read("key") == b"before"


def test_a_closed_folder_is_access_denied(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*arguments: Any) -> None:
        raise PermissionError(13, "Permission denied")

    store.put("key", b"")
    monkeypatch.setattr(os, "open", closed)  # the tests may run as root, whom no mode stops
    with pytest.raises(AccessDenied, match="owner and mode"):
        store.read("key")


def test_a_source_that_changes_is_not_stored(store: ObjectStore, tmp_path: Path) -> None:
    class Changing(FolderStore):
        def _upload(self, key: str, content: Content, *, if_absent: bool) -> None:
            source.write_bytes(b"later")
            super()._upload(key, content, if_absent=if_absent)

    source = tmp_path / "source"
    source.write_bytes(b"first")
    with pytest.raises(ChecksumMismatch, match="must not change"):
        Changing(store.url.removeprefix("file://")).put("key", source)
    assert store.head("key") is None


def test_a_file_that_goes_while_listing_is_left_out(root: Path) -> None:
    root.mkdir()
    for name in ("a", "b"):
        (root / name).touch()
    found = _walk(root, "", "")
    assert next(found).key == "a"
    (root / "b").unlink()
    assert list(found) == []


def test_a_folder_removed_in_between_is_made_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = Staged.__init__, []

    def once_pruned(self: Staged, path: Path) -> None:
        if not calls:
            path.parent.rmdir()
        calls.append(path)
        real(self, path)

    monkeypatch.setattr(Staged, "__init__", once_pruned)
    _stage(root / "part").file.close()
    assert len(calls) == 2


def test_a_folder_that_cannot_be_made_is_reported(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "mkdir", lambda *arguments, **options: None)
    with pytest.raises(FileNotFoundError):
        _stage(root / "part")
    with pytest.raises(NotFound):
        open_store(root).put("key", b"")


NAMES = st.text(st.sampled_from("a-./0é"), min_size=1, max_size=6)


@given(st.sets(NAMES, max_size=8), st.text(st.sampled_from("a-./0"), max_size=3))
def test_listings_agree_with_memory(
    tmp_path_factory: pytest.TempPathFactory, keys: set[str], prefix: str
) -> None:
    folder = tmp_path_factory.mktemp("root")
    stores = open_store(folder), open_store(f"memory://{folder.name}")
    for key in sorted(keys):
        try:
            stores[0].put(key, key.encode())
        except (UnsafeKey, FileExistsError):
            continue
        stores[1].put(key, key.encode())
    try:
        expected = [(info.key, info.size) for info in stores[1].list(prefix)]
    except UnsafeKey:
        return
    assert [(info.key, info.size) for info in stores[0].list(prefix)] == expected
