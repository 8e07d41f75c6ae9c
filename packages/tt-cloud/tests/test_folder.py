"""Objects are plain files, and links are none."""

import errno
import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tt_cloud import (
    InvalidURL,
    ObjectStore,
    UnsafeKey,
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


def test_objects_are_plain_files(store: ObjectStore, root: Path) -> None:
    store.put("a/b.txt", b"text")
    assert (root / "a" / "b.txt").read_bytes() == b"text"
    (root / "by hand.txt").write_bytes(b"hand")
    assert [info.key for info in store.list()] == ["a/b.txt", "by hand.txt"]
    info = store.head("by hand.txt")
    assert info is not None
    assert info.sha256 == hashlib.sha256(b"hand").hexdigest()
    assert names(root) == ["a", "a/b.txt", "by hand.txt"]


def test_files_have_the_usual_mode(store: ObjectStore, root: Path) -> None:
    store.put("key", b"")
    (root / "other").touch()
    assert (root / "key").stat().st_mode == (root / "other").stat().st_mode


def test_deleting_prunes_empty_folders(store: ObjectStore, root: Path) -> None:
    store.put("a/b/c", b"", **NOTED)
    store.put("a/d", b"")
    store.delete("a/b/c")
    assert names(root) == ["a", "a/d"]
    store.delete("a/d")
    assert names(root) == []


@pytest.mark.parametrize(("first", "second"), [("a", "a/b"), ("a", "a/b/c"), ("a/b", "a")])
@pytest.mark.parametrize("if_absent", [False, True])
def test_no_key_lies_below_another(
    store: ObjectStore, first: str, second: str, if_absent: bool
) -> None:
    store.put(first, b"first")
    with pytest.raises(UnsafeKey, match="below"):
        store.put(second, b"second", if_absent=if_absent)
    assert [info.key for info in store.list()] == [first]


def test_a_folder_made_by_hand_is_no_object(store: ObjectStore, root: Path) -> None:
    (root / "folder").mkdir(parents=True)
    for call in (
        lambda: store.put("folder", b"", if_absent=True),
        lambda: store.put("folder", b""),
    ):
        with pytest.raises(UnsafeKey):
            call()
    assert not store.exists("folder")
    assert names(root) == ["folder"]


def test_names_too_long_for_a_file_are_refused(store: ObjectStore) -> None:
    for call in (store.read, store.exists, lambda key: store.put(key, b"")):
        with pytest.raises(UnsafeKey, match="255"):
            call("a/" + "é" * 128)


def test_names_too_long_for_this_file_system_are_refused(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some encrypt names, and have room for shorter ones only."""

    def short(self: Directory, name: str, new: str) -> None:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), new)

    monkeypatch.setattr(Directory, "rename", short)
    with pytest.raises(UnsafeKey, match="too long"):
        store.put("key", b"data")


def test_unfinished_files_are_not_listed(store: ObjectStore, root: Path) -> None:
    store.put("key", b"")
    (root / ".tt-cloud-0.part").write_bytes(b"left by a crash")
    assert [info.key for info in store.list()] == ["key"]


@pytest.mark.parametrize("opened", ["file", "below"])
def test_a_file_is_no_folder(tmp_path: Path, opened: str) -> None:
    (tmp_path / "file").write_bytes(b"data")
    store = open_store(tmp_path / "file" / ("inner" if opened == "below" else ""))
    with pytest.raises(InvalidURL, match="folder"):
        store.put("key", b"")
    assert (tmp_path / "file").read_bytes() == b"data"


@pytest.mark.parametrize("key", ["link", "link/inside", "real/link"])
def test_links_are_not_followed(store: ObjectStore, root: Path, tmp_path: Path, key: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "inside").write_bytes(b"secret")
    (root / "real").mkdir(parents=True)
    (root / "real" / "link").symlink_to(outside / "inside")
    (root / "link").symlink_to(outside / "inside" if key == "link" else outside)
    for call in (store.read, store.open, store.head, store.exists, store.versions, store.delete):
        with pytest.raises(UnsafeKey, match="link"):
            call(key)
    with pytest.raises(UnsafeKey, match="link"):
        store.put(key, b"overwritten")
    with pytest.raises(UnsafeKey, match="link"):
        store.put(key, b"overwritten", if_absent=True)
    with pytest.raises(UnsafeKey, match="link"):
        store.get(key, tmp_path / "target")
    with pytest.raises(UnsafeKey, match="link"):
        (store / key / "below").put("key", b"new")
    assert list(store.list()) == []
    assert [path.read_bytes() for path in outside.iterdir()] == [b"secret"]
    assert names(root) == ["link", "real", "real/link"]


def test_a_link_put_in_the_way_meanwhile_is_not_followed(
    store: ObjectStore, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()

    store.put("a/there", b"")

    def swap(*told: object) -> None:
        (root / "a").rename(root / "away")
        (root / "a").symlink_to(tmp_path / "outside")

    store.put("a/key", b"data", progress=swap)
    assert list((tmp_path / "outside").iterdir()) == []
    assert names(root / "away") == ["key", "there"]


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
    assert not store.exists("pipe")
    store.delete("pipe")
    assert names(root) == ["pipe"]


def test_a_file_that_goes_while_listing_is_left_out(
    store: ObjectStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("a/key", b"")
    store.put("b", b"")
    real = Directory.entries

    def losing(self: Directory) -> Any:
        for entry in real(self):
            if entry.name == "b":
                (root / "b").unlink()
            yield entry

    monkeypatch.setattr(Directory, "entries", losing)
    found = store.list()
    assert next(found).key == "a/key"
    assert list(found) == []


def test_a_folder_that_goes_while_listing_is_left_out(store: ObjectStore, root: Path) -> None:
    for key in ("a", "b/key", "c"):
        store.put(key, b"")
    found = store.list()
    assert next(found).key == "a"
    shutil.rmtree(root / "b")
    assert [info.key for info in found] == ["c"]


NAMES = st.text(st.sampled_from("a-./0é"), min_size=1, max_size=6)


@settings(deadline=None)
@given(st.sets(NAMES, max_size=8), st.text(st.sampled_from("a-./0"), max_size=3), NAMES | st.none())
def test_listings_agree_with_memory(
    tmp_path_factory: pytest.TempPathFactory, keys: set[str], prefix: str, start_after: str | None
) -> None:
    folder = tmp_path_factory.mktemp("root")
    stores = open_store(folder), open_store(f"memory://{folder.name}")
    for key in sorted(keys):
        try:
            stores[0].put(key, key.encode())
        except UnsafeKey:
            continue
        stores[1].put(key, key.encode())
    try:
        expected = list(stores[1].list(prefix, start_after=start_after))
    except UnsafeKey:
        return
    found = list(stores[0].list(prefix, start_after=start_after))
    assert [(info.key, info.size) for info in found] == [(info.key, info.size) for info in expected]
