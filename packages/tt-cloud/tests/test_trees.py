"""Folders and stores become equal, and what could go wrong on the way is refused before."""

from __future__ import annotations

import _thread
import hashlib
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tt_cloud import (
    Cancelled,
    InvalidURL,
    NotFound,
    ObjectInfo,
    SourceChanged,
    TransferFailed,
    TreeStore,
    Unavailable,
    UnsafeKey,
    open_store,
)
from tt_cloud._files import Folding
from tt_cloud._memory import MemoryStore
from tt_cloud._stored import Stored, Watch
from tt_cloud._trees import _index, _known

Tree = dict[str, bytes]

_folders = count()

NAMES = st.sampled_from(["a", "b", ".c", "d e", "é", "鍵", "f.txt", "MANIFEST.json", "files"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
CONTENTS = st.binary(max_size=40)


def _possible(tree: Tree) -> Tree:
    """Without files that would have to be directories for others."""
    return {
        path: data
        for path, data in tree.items()
        if not any(other.startswith(f"{path}/") for other in tree)
    }


TREES = st.dictionaries(PATHS, CONTENTS, max_size=8).map(_possible)
PREFIXES = st.sampled_from(["", "a", "some/prefix"])

FEW = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(params=["folder", "memory"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store(kind: str, tmp_path: Path) -> TreeStore:
    return _store(kind, tmp_path)


def _store(kind: str, tmp_path: Path) -> TreeStore:
    """A new one each time."""
    store = open_store(
        tmp_path / f"store{next(_folders)}" if kind == "folder" else f"memory://{uuid4()}"
    )
    assert isinstance(store, TreeStore)
    return store


def _folder(tmp_path: Path, tree: Mapping[str, bytes]) -> Path:
    root = tmp_path / f"folder{next(_folders)}"
    root.mkdir()
    for path, data in tree.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return root


def _files(folder: Path) -> Tree:
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def _objects(store: Any, prefix: str = "") -> Tree:
    return {info.key: store.read(info.key) for info in store.list(prefix)}


def _put(store: Any, tree: Mapping[str, bytes]) -> None:
    for key, data in tree.items():
        store.put(key, data)


class _Watched(MemoryStore):
    """Counts what is asked of it, and fails or waits where a test wants it."""

    def __init__(self, url: str | None = None) -> None:
        super().__init__(url or f"memory://{uuid4()}")
        self.calls: list[str] = []
        self.broken: dict[str, Exception] = {}
        self.fails_at: int | None = None
        self.puts_wait: threading.Event | None = None
        self.noticed = threading.Event()

    def _note(self, call: str, key: str) -> None:
        self.calls.append(f"{call} {key}")
        if len(self.calls) - 1 == self.fails_at:
            raise Unavailable(f"{call} {key}")
        if key in self.broken:
            raise self.broken[key]

    def _put(self, key: str, content: Any, attributes: Any, condition: Any, watch: Any) -> Any:
        self._note("put", key)
        if self.puts_wait is not None:
            self.puts_wait.set()
            if watch.cancel.wait(10):
                self.noticed.set()
        return super()._put(key, content, attributes, condition, watch)

    def _get(self, key: str, *rest: Any) -> Any:
        self._note("get", key)
        return super()._get(key, *rest)

    def _read(self, key: str, *rest: Any, **more: Any) -> bytes:
        self._note("read", key)
        return super()._read(key, *rest, **more)

    def _head(self, key: str, version: str | None) -> Any:
        self._note("head", key)
        return super()._head(key, version)

    def _list(self, prefix: str, start_after: str | None) -> Any:
        self._note("list", prefix)
        return super()._list(prefix, start_after)

    def _delete(self, keys: Sequence[str]) -> None:
        self._note("delete", keys[0])
        super()._delete(keys)


class _Foreign:
    """A store of somebody else's: it has the few methods that a source needs, and says anything."""

    url = "foreign://somewhere"

    def __init__(self, objects: Mapping[str, bytes], listed: Sequence[str] | None = None) -> None:
        self._objects = objects
        self._listed = list(objects) if listed is None else listed

    def list(self, prefix: str = "", /, **_: Any) -> Iterator[ObjectInfo]:
        assert prefix == ""
        return iter(
            [ObjectInfo(key, len(self._objects.get(key, b"")), None) for key in self._listed]
        )

    def head(self, key: str, /, **_: Any) -> ObjectInfo | None:
        return ObjectInfo(key, len(self._objects[key]), None)

    def get(self, key: str, target: Path, /, **_: Any) -> ObjectInfo:
        target.write_bytes(self._objects[key])
        return ObjectInfo(key, len(self._objects[key]), None, content_type="text/x-other")


# What becomes equal.


@FEW
@given(TREES, PREFIXES)
def test_a_tree_goes_up_and_comes_down_again(
    kind: str, tmp_path: Path, tree: Tree, prefix: str
) -> None:
    store, source = _store(kind, tmp_path), _folder(tmp_path, tree)
    start = f"{prefix}/" if prefix else ""
    report = store.upload_tree(source, prefix)
    assert [info.key for info in report.done] == sorted(start + path for path in tree)
    assert report.size == sum(map(len, tree.values()))
    assert _objects(store) == {start + path: data for path, data in tree.items()}
    if "MANIFEST.json" in tree:
        return  # somebody else's: no manifest of this package
    target = tmp_path / f"folder{next(_folders)}"
    assert store.download_tree(prefix, target).size == report.size
    assert _files(target) == tree


@FEW
@given(TREES, TREES, PREFIXES)
def test_a_second_upload_moves_only_what_changed(
    kind: str, tmp_path: Path, before: Tree, now: Tree, prefix: str
) -> None:
    store = _store(kind, tmp_path)
    tree = _possible({**before, **now})
    first = _folder(tmp_path, {path: data for path, data in before.items() if path in tree})
    store.upload_tree(first, prefix)
    report = store.upload_tree(_folder(tmp_path, tree), prefix)
    start = f"{prefix}/" if prefix else ""
    changed = {path for path, data in tree.items() if before.get(path) != data}
    assert {info.key for info in report.done} == {start + path for path in changed}
    assert set(report.skipped) == {start + path for path in tree.keys() - changed}
    assert report.deleted == ()


@FEW
@given(TREES, TREES, PREFIXES, st.booleans())
def test_sync_with_delete_makes_equal(
    kind: str, tmp_path: Path, before: Tree, now: Tree, prefix: str, from_store: bool
) -> None:
    store, start = _store(kind, tmp_path), f"{prefix}/" if prefix else ""
    beside = {} if not prefix else {f"{prefix}s": b"not below it", "z": b""}
    _put(store, {start + path: data for path, data in before.items()} | beside)
    source: Any = _folder(tmp_path, now)
    if from_store:
        source = _store(kind, tmp_path)
        _put(source, now)
    if not now:
        with pytest.raises(NotFound, match="delete_tree"):
            store.sync(source, prefix, delete=True)
        return
    report = store.sync(source, prefix, delete=True)
    assert _objects(store) == {start + path: data for path, data in now.items()} | beside
    assert report.deleted == tuple(sorted(start + path for path in before.keys() - now.keys()))
    again = store.sync(source, prefix, delete=True)
    assert (again.done, again.deleted) == ((), ())


@FEW
@given(TREES, TREES)
def test_a_download_moves_only_what_differs(
    kind: str, tmp_path: Path, here: Tree, there: Tree
) -> None:
    there.pop("MANIFEST.json", None)
    store = _store(kind, tmp_path)
    _put(store, {f"p/{path}": data for path, data in there.items()})
    expected = {path: data for path, data in here.items() if path not in there} | there
    if expected != _possible(expected):
        return
    folder = _folder(tmp_path, here)
    report = store.download_tree("p", folder)
    assert {info.key for info in report.done} == {
        f"p/{path}" for path, data in there.items() if here.get(path) != data
    }
    assert _files(folder) == expected
    assert store.download_tree("p", folder).done == ()


def test_nothing_is_done_in_a_dry_run(store: TreeStore, tmp_path: Path) -> None:
    source = _folder(tmp_path, {"new": b"1", "changed": b"now", "same": b"3"})
    _put(store, {"changed": b"old", "same": b"3", "gone": b"4"})
    before = _objects(store)
    for report in (
        store.upload_tree(source, dry_run=True),
        store.sync(source, delete=True, dry_run=True),
    ):
        assert [info.key for info in report.done] == ["changed", "new"]
        assert report.skipped == ("same",)
        assert report.size == 4
    assert report.deleted == ("gone",)
    target = tmp_path / "not yet there"
    assert store.download_tree("", target, dry_run=True).size == sum(map(len, before.values()))
    assert store.delete_tree("", everything=True, dry_run=True).deleted == tuple(sorted(before))
    assert _objects(store) == before
    assert not target.exists()


def test_delete_tree_keeps_what_only_begins_alike(store: TreeStore) -> None:
    _put(store, {"run/1/a": b"", "run/1/b/c": b"", "run/10/a": b"", "run/1.txt": b""})
    assert store.delete_tree("run/1").deleted == ("run/1/a", "run/1/b/c")
    assert list(_objects(store)) == ["run/1.txt", "run/10/a"]
    with pytest.raises(ValueError, match="everything=True"):
        store.delete_tree("")
    assert len(store.delete_tree("", everything=True).deleted) == 2
    assert _objects(store) == {}


def test_what_came_with_an_object_goes_on(tmp_path: Path, kind: str) -> None:
    source, store = _store("memory", tmp_path), _store(kind, tmp_path)
    source.put("a", b"data", metadata={"who": "me"}, content_type="text/x-notes")
    store.sync(source, "copy")
    info = store.head("copy/a")
    assert info is not None
    assert (dict(info.metadata), info.content_type) == ({"who": "me"}, "text/x-notes")


def test_a_store_of_somebody_elses_is_a_source(store: TreeStore) -> None:
    report = store.sync(_Foreign({"a": b"1", "b/c": b"22"}), "p")
    assert report.size == 3
    assert _objects(store) == {"p/a": b"1", "p/b/c": b"22"}


def test_progress_counts_what_moves(store: TreeStore, tmp_path: Path) -> None:
    tree = {"a": b"1", "b/c": bytes(3_000_000)}
    moved: list[tuple[str, int, int]] = []
    store.upload_tree(_folder(tmp_path, tree), "p", progress=lambda *told: moved.append(told))
    for path, data in tree.items():
        assert sum(n for key, n, size in moved if (key, size) == (f"p/{path}", len(data))) == len(
            data
        )
    moved.clear()
    store.download_tree("p", tmp_path / "out", progress=lambda *told: moved.append(told))
    assert sum(n for _, n, _ in moved) == 3_000_001


# What is asked for.


@pytest.fixture
def _old(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if all files had been written long ago."""
    monkeypatch.setattr(_index, "_TICK", -(10**10))
    monkeypatch.setattr(_index, "_COARSE", -(10**10))


def _calls(store: _Watched) -> list[str]:
    found, store.calls = store.calls, []
    return sorted(found)


@pytest.mark.usefixtures("_old")
def test_what_is_known_is_not_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, source = _Watched(), _folder(tmp_path, {"a": b"1", "b": b"2"})
    store.upload_tree(source, "p")
    assert _calls(store) == ["list p/", "put p/a", "put p/b"]
    monkeypatch.setattr("tt_cloud._trees._known.digest_of", None)  # nothing is read
    assert store.upload_tree(source, "p").skipped == ("p/a", "p/b")
    assert store.sync(source, "p", delete=True).skipped == ("p/a", "p/b")
    assert _calls(store) == ["list p/", "list p/"]
    assert store.download_tree("p", source).skipped == ("p/a", "p/b")
    assert _calls(store) == ["list p/", "read p/MANIFEST.json"]


@pytest.fixture
def _same(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the file system's clock stood still, and only that."""
    now = time.time_ns()

    def lstat(path: Path) -> Any:
        info = os.lstat(path)
        same = {name: getattr(info, name) for name in dir(info) if name.startswith("st_")}
        if stat.S_ISREG(info.st_mode):
            same |= {"st_ino": 1, "st_mtime_ns": now, "st_ctime_ns": now}
        return SimpleNamespace(**same)

    monkeypatch.setattr(Path, "lstat", lstat)
    monkeypatch.setattr(_known, "time", SimpleNamespace(time_ns=lambda: now))


@pytest.mark.usefixtures("_same")
@pytest.mark.parametrize("later", [0, 10**10])
def test_a_write_that_leaves_no_trace_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: int
) -> None:
    now = _known.time.time_ns()
    monkeypatch.setattr(_index, "time", SimpleNamespace(time_ns=lambda: now + later))
    store, source = _Watched(), _folder(tmp_path, {"a": b"old"})
    store.upload_tree(source)
    (source / "a").write_bytes(b"new")  # while the file system's clock showed the same time
    assert [each.key for each in store.upload_tree(source).done] == ["a"]
    assert store.read("a") == b"new"


@pytest.mark.usefixtures("_same")
def test_a_write_right_after_a_download_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = _known.time.time_ns()
    monkeypatch.setattr(_index, "time", SimpleNamespace(time_ns=lambda: now))
    store, target = _Watched(), tmp_path / "target"
    store.put("a", b"old")
    store.download_tree("", target)
    (target / "a").write_bytes(b"new")
    assert [each.key for each in store.download_tree("", target).done] == ["a"]
    assert (target / "a").read_bytes() == b"old"


@pytest.mark.usefixtures("_old")
def test_a_file_that_was_written_to_is_sent_again(store: TreeStore, tmp_path: Path) -> None:
    source = _folder(tmp_path, {"a": b"old", "b": b"same"})
    store.upload_tree(source)
    (source / "a").write_bytes(b"new")
    report = store.upload_tree(source)
    assert ([info.key for info in report.done], report.skipped) == (["a"], ("b",))
    assert store.read("a") == b"new"


@pytest.mark.usefixtures("_old")
@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"version": 1, "entries": {"a": 1}}', "null", "\0"]
)
def test_a_broken_index_is_harmless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    store, source = _Watched(), _folder(tmp_path, {"a": b"1"})
    store.upload_tree(source)
    (index,) = (tmp_path / "cache").rglob("*.json")
    index.write_text(text)
    assert store.upload_tree(source).skipped == ("a",)
    assert store.upload_tree(source).skipped == ("a",)


def test_a_user_without_a_home_has_no_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", home)
    store, source = _Watched(), _folder(tmp_path, {"a": b"1"})
    assert store.upload_tree(source).size == 1
    assert store.upload_tree(source).skipped == ("a",)


@pytest.mark.usefixtures("_old")
def test_an_index_that_cannot_be_kept_is_harmless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_bytes(b"a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    store, source = _Watched(), _folder(tmp_path, {"a": b"1"})
    assert store.upload_tree(source).size == 1
    assert store.upload_tree(source).skipped == ("a",)


@pytest.mark.usefixtures("_old")
def test_an_object_that_somebody_replaced_is_replaced_again(
    store: TreeStore, tmp_path: Path
) -> None:
    source = _folder(tmp_path, {"a": b"ours"})
    store.upload_tree(source)
    store.put("a", b"else")
    assert store.upload_tree(source).size == 4
    assert store.read("a") == b"ours"


def test_equal_objects_of_others_are_told_by_their_md5(tmp_path: Path) -> None:
    class Foreign(_Watched):
        def _list(self, prefix: str, start_after: str | None) -> Any:
            for key, stored in super()._list(prefix, start_after):
                md5 = hashlib.md5(self.read(key), usedforsecurity=False).hexdigest()
                yield key, type(stored)(stored.size, stored.etag, checksums={"md5": md5})

    store = Foreign()
    _put(store, {"a": b"1", "b": b"2"})
    store.calls.clear()
    source = _folder(tmp_path, {"a": b"1", "b": b"3"})
    report = store.upload_tree(source)
    assert (report.skipped, [info.key for info in report.done]) == (("a",), ["b"])
    assert "head a" not in store.calls


# What is refused, before anything moves.


def test_what_differs_plainly_is_not_read_nor_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, source = _Watched(), _folder(tmp_path, {"a": b"1", "b": b"2"})
    _put(store, {"a": b"x", "b": b"longer"})
    store.calls.clear()
    read: list[str] = []
    digest_of = _known.digest_of

    def noted(file: Path, algorithm: str, stop: Any) -> str:
        read.append(f"{algorithm} {file.name}")
        return digest_of(file, algorithm, stop)

    monkeypatch.setattr(_known, "digest_of", noted)
    store.upload_tree(source)
    assert _calls(store) == ["list ", "put a", "put b"]
    assert read == ["sha256 a"]


def _hostile(keys: Sequence[str]) -> TreeStore:
    class Hostile(MemoryStore):
        def _list(self, prefix: str, start_after: str | None) -> Any:
            for _, stored in super()._list("real", None):
                for key in keys:
                    yield key, stored

    store = Hostile(f"memory://{uuid4()}")
    store.put("real", b"data")
    return store


@pytest.mark.parametrize(
    "keys",
    [
        ["p/ok", "p/../../escaped"],
        ["p/ok", "p//absolute"],
        ["p/ok", "p/a\\b"],
        ["p/ok", "p/nul\0"],
        ["p/a", "p/a/b"],
        ["p/ok", "p/" + "x" * 256],
        ["p/ok", "p/.tt-cloud-lock"],
    ],
)
def test_keys_that_leave_the_folder_are_refused_first(keys: list[str], tmp_path: Path) -> None:
    target = tmp_path / "target"
    with pytest.raises(UnsafeKey):
        _hostile(keys).download_tree("p", target)
    assert list(tmp_path.iterdir()) == []


def test_keys_that_are_one_file_are_refused_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tt_cloud import _files

    keys = ["p/ok", "p/Readme", "p/README"]
    monkeypatch.setattr(_files, "folding_of", lambda folder: _files.Folding(case=True))
    with pytest.raises(UnsafeKey, match="README"):
        _hostile(keys).download_tree("p", tmp_path / "target")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", ["../up", "/absolute", "a//b", "a\\b", "a/../b", "nul\0"])
def test_keys_of_a_foreign_source_are_refused_first(store: TreeStore, key: str) -> None:
    with pytest.raises(UnsafeKey):
        store.sync(_Foreign({"a": b"1", key: b"2"}), "p")
    assert _objects(store) == {}


def test_links_in_the_destination_are_not_followed(store: TreeStore, tmp_path: Path) -> None:
    _put(store, {"p/a": b"1", "p/below/b": b"2"})
    elsewhere, target = _folder(tmp_path, {"b": b"kept"}), _folder(tmp_path, {})
    (target / "below").symlink_to(elsewhere)
    with pytest.raises(UnsafeKey, match="below"):
        store.download_tree("p", target)
    assert _files(elsewhere) == {"b": b"kept"}
    assert not (target / "a").exists()
    (target / "below").unlink()
    (target / "a").symlink_to(elsewhere / "b")
    with pytest.raises(UnsafeKey, match="a"):
        store.download_tree("p", target)
    assert _files(elsewhere) == {"b": b"kept"}


def test_links_that_appear_meanwhile_are_not_followed(tmp_path: Path) -> None:
    elsewhere, target = _folder(tmp_path, {"b": b"kept"}), _folder(tmp_path, {})

    class Linking(_Watched):
        concurrency = 1

        def _get(self, key: str, *rest: Any) -> Any:
            (target / "below").symlink_to(elsewhere)
            return super()._get(key, *rest)

    store = Linking()
    _put(store, {"p/a": b"1", "p/below/b": b"2"})
    with pytest.raises(TransferFailed) as caught:
        store.download_tree("p", target)
    assert isinstance(caught.value.report.failures[0].error, UnsafeKey)
    assert _files(elsewhere) == {"b": b"kept"}


@pytest.mark.skipif(os.name == "nt", reason="needs names and kinds that Windows does not have")
@pytest.mark.parametrize("name", ["back\\slash", "line\nbreak", os.fsdecode(b"caf\xe9"), "\x7f"])
def test_names_that_no_key_can_have_are_refused_first(
    store: TreeStore, tmp_path: Path, name: str
) -> None:
    source = _folder(tmp_path, {"a": b"1"})
    (source / "below").mkdir()
    (source / "below" / name).write_bytes(b"2")
    for call in (store.upload_tree, store.sync, store.commit):
        with pytest.raises(UnsafeKey) as caught:
            call(source)
        assert repr(f"below/{name}") in str(caught.value)
    assert _objects(store) == {}


def test_links_are_refused_unless_asked_for(store: TreeStore, tmp_path: Path) -> None:
    secret = _folder(tmp_path, {"password": b"secret"})
    source = _folder(tmp_path, {"a": b"1", "below/b": b"2"})
    (source / "out").symlink_to(secret / "password")
    (source / "below" / "up").symlink_to(secret)
    for call in (store.upload_tree, store.sync, store.commit):
        with pytest.raises(UnsafeKey, match="'below/up', 'out'"):
            call(source)
    with pytest.raises(UnsafeKey, match="'below/up', 'out'"):
        store.upload_tree(source, symlinks="inside")
    assert _objects(store) == {}
    store.upload_tree(source, symlinks="skip")
    assert _objects(store) == {"a": b"1", "below/b": b"2"}
    with pytest.raises(ValueError, match="'follow'"):
        store.upload_tree(source, symlinks="follow")


def test_links_that_stay_inside_are_stored_as_what_they_point_to(
    store: TreeStore, tmp_path: Path
) -> None:
    source = _folder(tmp_path, {"a": b"1", "below/b": b"2"})
    (source / "again").symlink_to("a")
    (source / "twice").symlink_to("again")
    (source / "other").symlink_to(source / "below")
    store.upload_tree(source, symlinks="inside")
    assert _objects(store) == {
        "a": b"1", "again": b"1", "twice": b"1", "below/b": b"2", "other/b": b"2",
    }  # fmt: skip


@pytest.mark.parametrize("target", [".", "..", "loop", "nothing", "below"])
def test_links_that_lead_back_or_nowhere_are_refused(
    store: TreeStore, tmp_path: Path, target: str
) -> None:
    source = _folder(tmp_path, {"below/a": b"1"})
    (source / "below" / "loop").symlink_to(target if target == "loop" else source / target)
    with pytest.raises(UnsafeKey, match=r"^links .*: found 'below/loop';"):
        store.upload_tree(source, symlinks="inside")
    assert _objects(store) == {}


def test_links_that_lead_to_each_other_are_refused(store: TreeStore, tmp_path: Path) -> None:
    source = _folder(tmp_path, {"a/file": b"1", "b/file": b"2"})
    (source / "a" / "to").symlink_to(source / "b")
    (source / "b" / "back").symlink_to(source / "a")
    with pytest.raises(UnsafeKey, match=r"^links .*: found 'a/to/back', 'b/back/to';"):
        store.upload_tree(source, symlinks="inside")


@pytest.mark.skipif(os.name == "nt", reason="needs names and kinds that Windows does not have")
def test_what_is_no_file_is_refused_first(store: TreeStore, tmp_path: Path) -> None:
    source = _folder(tmp_path, {"a": b"1"})
    os.mkfifo(source / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(source / "socket"))
    with pytest.raises(UnsafeKey, match="'pipe', 'socket'"):
        store.upload_tree(source)
    assert _objects(store) == {}


def test_unfinished_files_are_left_out(store: TreeStore, tmp_path: Path) -> None:
    source = _folder(tmp_path, {".hidden": b"1", ".tt-cloud-0.part": b"2", ".tt-cloud-x/b": b"3"})
    store.upload_tree(source)
    assert _objects(store) == {".hidden": b"1"}


def test_a_folder_must_be_one(store: TreeStore, tmp_path: Path) -> None:
    file = _folder(tmp_path, {"file": b"1"}) / "file"
    for call in (store.upload_tree, store.sync, store.commit):
        with pytest.raises(FileNotFoundError, match="missing"):
            call(tmp_path / "missing")
        with pytest.raises(NotADirectoryError, match="file"):
            call(file)
    with pytest.raises(NotADirectoryError, match="file"):
        store.download_tree("p", file)


@pytest.mark.parametrize("prefix", ["/", "a/", "../a", "a//b", "a\\b"])
def test_prefixes_are_paths(store: TreeStore, tmp_path: Path, prefix: str) -> None:
    folder = _folder(tmp_path, {"a": b"1"})
    for call in (
        lambda: store.upload_tree(folder, prefix),
        lambda: store.download_tree(prefix, folder),
        lambda: store.sync(folder, prefix, delete=True),
        lambda: store.delete_tree(prefix),
        lambda: store.commit(folder, prefix),
        lambda: store.verify(prefix),
        lambda: store.sweep(prefix),
    ):
        with pytest.raises(UnsafeKey):
            call()


def test_a_place_is_not_copied_into_itself(store: TreeStore, kind: str, tmp_path: Path) -> None:
    _put(store, {"a/b/c": b"1", "ab/c": b"2"})
    before = _objects(store)
    for source, prefix in (
        (store, ""),
        (store / "a", "a"),
        (store / "a", ""),
        (store / "a", "a/b"),
    ):
        with pytest.raises(InvalidURL, match="apart"):
            store.sync(source, prefix, delete=True)
    store.sync(store / "a", "ab", delete=True)
    assert _objects(store) == {"a/b/c": b"1", "ab/b/c": b"1"}
    assert before.keys() != _objects(store).keys()


def test_buckets_of_one_name_may_be_on_two_services(tmp_path: Path) -> None:
    class Elsewhere(MemoryStore):
        service = "https://elsewhere"

    store = open_store(f"memory://{uuid4()}")
    store.put("a", b"1")
    assert len(store.sync(Elsewhere(store.url), dry_run=True).skipped) == 1


def test_a_folder_is_not_stored_in_itself(tmp_path: Path) -> None:
    root = _folder(tmp_path, {"a/b": b"1"})
    store = open_store(root)
    assert isinstance(store, TreeStore)
    for call in (
        lambda: store.upload_tree(root / "a", "a"),
        lambda: store.upload_tree(root, "a/c"),
        lambda: store.commit(root),
        lambda: store.download_tree("a", root / "a"),
        lambda: store.download_tree("", root / "a"),
    ):
        with pytest.raises(InvalidURL, match="apart"):
            call()
    assert _files(root) == {"a/b": b"1"}


# What fails on the way.


def test_one_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    tree = {f"{number:03}": b"x" for number in range(60)}
    store, source = _Watched(), _folder(tmp_path, tree)
    store.broken = {"p/037": PermissionError("037 is forbidden")}
    _put(store, {"p/stale": b""})
    with pytest.raises(TransferFailed, match="037 is forbidden") as caught:
        store.sync(source, "p", delete=True)
    report = caught.value.report
    assert [failure.key for failure in report.failures] == ["p/037"]
    assert len(report.done) == 59
    assert report.deleted == ()
    assert store.exists("p/stale")
    store.broken = {}
    report = store.sync(source, "p", delete=True)
    assert [info.key for info in report.done] == ["p/037"]
    assert report.deleted == ("p/stale",)


def test_nothing_is_deleted_when_the_source_cannot_be_listed(tmp_path: Path) -> None:
    source, store = _Watched(), _Watched()
    _put(source, {"a": b"1"})
    _put(store, {"b": b"2"})
    source.broken = {"": Unavailable("the listing ended early")}
    with pytest.raises(Unavailable):
        store.sync(source, delete=True)
    assert _objects(store) == {"b": b"2"}


@pytest.mark.parametrize("way", ["up", "down", "between"])
def test_after_any_failure_the_same_call_completes(tmp_path: Path, way: str) -> None:
    tree = {"a": b"1", "b/c": b"2", "b/d": b"3"}
    for fails_at in range(12):
        store, other = _Watched(), _Watched()
        source, target = _folder(tmp_path, tree), _folder(tmp_path, {})
        _put(other, tree)
        watched = other if way == "down" else store
        watched.calls.clear()
        watched.fails_at = fails_at

        def call(
            store: Any = store, other: Any = other, source: Path = source, target: Path = target
        ) -> Any:
            if way == "up":
                return store.upload_tree(source, "p")
            return other.download_tree("", target) if way == "down" else store.sync(other, "p")

        try:
            call()
        except (TransferFailed, Unavailable):
            found = _files(target) if way == "down" else _objects(store / "p")
            assert found.items() <= tree.items()
        watched.fails_at = None
        call()
        assert (_files(target) if way == "down" else _objects(store / "p")) == tree


def test_a_file_that_changes_on_its_way_is_reported(tmp_path: Path) -> None:
    source = _folder(tmp_path, {"a": b"first", "b": b"steady"})

    class Changing(_Watched):
        def _put(self, key: str, *rest: Any) -> Any:
            if key == "a":
                (source / "a").write_bytes(b"after")
            return super()._put(key, *rest)

    store = Changing()
    with pytest.raises(TransferFailed) as caught:
        store.upload_tree(source)
    (failure,) = caught.value.report.failures
    assert failure.key == "a"
    assert isinstance(failure.error, SourceChanged)
    assert [info.key for info in caught.value.report.done] == ["b"]


def test_another_name_for_a_file_is_no_change(tmp_path: Path) -> None:
    source = _folder(tmp_path, {"a": b"first"})

    class Linking(_Watched):
        def _put(self, key: str, *rest: Any) -> Any:
            (tmp_path / "latest").hardlink_to(source / "a")
            return super()._put(key, *rest)

    assert len(Linking().upload_tree(source).done) == 1


def test_a_file_that_is_not_what_was_digested_is_reported(tmp_path: Path) -> None:
    source = _folder(tmp_path, {"a": b"first"})

    class Changing(MemoryStore):
        def put(self, key: str, *rest: Any, **more: Any) -> Any:
            (source / "a").write_bytes(b"after")
            return super().put(key, *rest, **more)

    store = Changing(f"memory://{uuid4()}")
    with pytest.raises(TransferFailed) as caught:
        store.commit(source)
    assert isinstance(caught.value.report.failures[0].error, SourceChanged)
    assert _objects(store) == {}


def test_a_file_that_goes_away_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = _folder(tmp_path, {"a": b"first", "b": b"steady"})

    class Losing(_Watched):
        def _list(self, prefix: str, start_after: str | None) -> Any:
            (source / "a").unlink(missing_ok=True)
            return super()._list(prefix, start_after)

    with pytest.raises(TransferFailed) as caught:
        Losing().upload_tree(source)
    assert isinstance(caught.value.report.failures[0].error, SourceChanged)


def test_cancel_stops_and_what_is_done_stays(tmp_path: Path) -> None:
    cancel, store = threading.Event(), _Watched()
    source = _folder(tmp_path, {f"{number:03}": b"x" for number in range(200)})

    def progress(key: str, moved: int, size: int) -> None:
        cancel.set()

    with pytest.raises(Cancelled):
        store.upload_tree(source, cancel=cancel, progress=progress)
    assert 0 < len(_objects(store)) < 200
    store.calls.clear()
    with pytest.raises(Cancelled):
        store.upload_tree(source, cancel=cancel)
    assert store.calls == []
    cancel.clear()
    assert len(store.upload_tree(source, cancel=cancel).done) > 0
    assert len(_objects(store)) == 200


@pytest.mark.parametrize("call", ["upload", "download", "sync", "commit"])
def test_listing_can_be_cancelled(tmp_path: Path, call: str) -> None:
    cancel, source = threading.Event(), _folder(tmp_path, {"a": b"1", "b": b"2"})

    class Endless(_Watched):
        def _list(self, prefix: str, start_after: str | None) -> Any:
            for number in count():
                cancel.set()
                yield f"{prefix}{number:020}", Stored(1)

    store = Endless()
    calls: dict[str, Callable[[], object]] = {
        "upload": lambda: store.upload_tree(source, cancel=cancel),
        "download": lambda: store.download_tree("p", tmp_path / "target", cancel=cancel),
        "sync": lambda: _Watched().sync(store, cancel=cancel),
        "commit": lambda: store.commit(source, cancel=cancel),
    }
    with pytest.raises(Cancelled):
        calls[call]()


def test_a_call_that_hangs_can_be_cancelled(tmp_path: Path) -> None:
    cancel, store = threading.Event(), _Watched()
    store.puts_wait = threading.Event()
    threading.Thread(
        target=lambda: store.puts_wait and store.puts_wait.wait(60) and cancel.set()
    ).start()
    with pytest.raises(Cancelled):
        store.upload_tree(_folder(tmp_path, {"a": b"1"}), cancel=cancel)
    assert store.noticed.wait(10)
    assert _objects(store) == {}


def test_a_store_that_does_not_look_can_be_cancelled(tmp_path: Path) -> None:
    cancel = threading.Event()

    class Deaf(MemoryStore):
        def _put(self, key: str, content: Any, attributes: Any, condition: Any, watch: Any) -> Any:
            cancel.set()
            return super()._put(key, content, attributes, condition, Watch())

    store, tree = Deaf(f"memory://{uuid4()}"), {f"{number:03}": b"x" for number in range(200)}
    with pytest.raises(Cancelled):
        store.upload_tree(_folder(tmp_path, tree), cancel=cancel)
    assert 0 < len(_objects(store)) < 200


def test_ctrl_c_stops_what_hangs(tmp_path: Path) -> None:
    store = _Watched()
    store.puts_wait = threading.Event()

    def interrupt() -> None:
        assert store.puts_wait is not None
        store.puts_wait.wait(60)
        _thread.interrupt_main()

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        store.upload_tree(_folder(tmp_path, {"a": b"1", "b": b"2"}))
    assert store.noticed.wait(10)
    assert _objects(store) == {}


def test_deletions_that_fail_are_reported(tmp_path: Path) -> None:
    store = _Watched()
    _put(store, {"p/a": b"", "p/b": b""})
    store.broken = {"p/a": PermissionError("no")}
    with pytest.raises(TransferFailed) as caught:
        store.delete_tree("p")
    assert [failure.key for failure in caught.value.report.failures] == ["p/a", "p/b"]


# On real services.


@pytest.fixture(params=["s3", "gcs"])
def buckets(request: pytest.FixtureRequest) -> tuple[TreeStore, TreeStore]:
    """The same bucket below two prefixes."""
    endpoint = request.getfixturevalue(f"{request.param}_endpoint")
    bucket = request.getfixturevalue(f"{request.param}_bucket")
    scheme, more = (
        ("s3", {"region": "us-east-1"}) if request.param == "s3" else ("gs", {"anonymous": True})
    )
    one, other = (
        open_store(f"{scheme}://{bucket}/{name}", endpoint_url=endpoint, **more)
        for name in ("one", "other")
    )
    return one, other


@pytest.mark.slow
@pytest.mark.usefixtures("_old")
def test_trees_on_real_services(buckets: tuple[TreeStore, TreeStore], tmp_path: Path) -> None:
    one, other = buckets
    tree = {"a b": b"1", "é/鍵": b"22", "é/f.txt": b"", "large": os.urandom(17 << 20)}
    source, target = _folder(tmp_path, tree), tmp_path / "target"
    assert len(one.upload_tree(source, "p").done) == 4
    assert _objects(one) == {f"p/{path}": data for path, data in tree.items()}
    assert one.upload_tree(source, "p").done == ()
    assert one.download_tree("p", target).size == sum(map(len, tree.values()))
    assert _files(target) == tree
    assert one.download_tree("p", target).done == ()
    assert len(other.sync(one, delete=True).done) == 4
    assert other.sync(one, delete=True).done == ()
    (source / "é/f.txt").unlink()
    (source / "a b").write_bytes(b"2")
    report = other.sync(source, "p", delete=True)
    assert [info.key for info in report.done] == ["p/a b"]
    assert report.deleted == ("p/é/f.txt",)
    assert _objects(other / "p") == _files(source)
    with pytest.raises(InvalidURL, match="apart"):
        one.sync(one / "p", delete=True)
    assert len(one.delete_tree("p").deleted) == 4
    assert _objects(one) == {}


@pytest.mark.slow
def test_equal_files_of_another_machine_are_told_without_asking(
    buckets: tuple[TreeStore, TreeStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, source = buckets[0], _folder(tmp_path, {"a": b"1", "b": b"2"})
    store.upload_tree(source)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
    monkeypatch.setattr(type(store), "head", None)  # the listing has their MD5
    assert store.upload_tree(source).skipped == ("a", "b")


def test_an_empty_folder_does_not_empty_the_place(store: TreeStore, tmp_path: Path) -> None:
    _put(store, {"p/a": b"1"})
    with pytest.raises(NotFound, match="must hold something"):
        store.sync(_folder(tmp_path, {}), "p", delete=True)
    assert _objects(store) == {"p/a": b"1"}
    assert store.sync(_folder(tmp_path, {}), "p").done == ()


def test_what_another_program_noted_does_not_keep_an_object_from_being_copied(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Foreign(MemoryStore):
        def get(self, key: str, target: Path, /, **keywords: Any) -> ObjectInfo:
            info = super().get(key, target, **keywords)
            return replace(info, metadata={"my_key": "1", "fine": "2"}, content_type="odd")

    source, store = Foreign(f"memory://{uuid4()}"), open_store(f"memory://{uuid4()}")
    _put(source, {"a": b"1"})
    store.sync(source)
    found = store.head("a")
    assert found is not None
    assert (found.metadata, found.content_type) == ({"fine": "2"}, "application/octet-stream")
    assert "'my_key'" in caplog.text


def test_a_file_that_another_call_replaces_meanwhile_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest_of = _known.digest_of

    def replaced(file: Path, *arguments: Any) -> str:
        digest = digest_of(file, *arguments)
        (tmp_path / "new").write_bytes(b"new")
        (tmp_path / "new").replace(file)
        return digest

    store, target = open_store(f"memory://{uuid4()}"), _folder(tmp_path, {"a": b"old"})
    _put(store, {"a": b"new"})
    monkeypatch.setattr(_known, "digest_of", replaced)
    assert [info.key for info in store.download_tree("", target).done] == ["a"]
    assert (target / "a").read_bytes() == b"new"


def test_an_index_of_another_user_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not hasattr(os, "geteuid"):
        pytest.skip("files have no owner here")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(_index, "_TICK", -1)  # nothing is too young to be remembered
    monkeypatch.setattr(_index, "_COARSE", -1)
    store, folder = MemoryStore(f"memory://{uuid4()}"), _folder(tmp_path, {"a": b"1"})
    store.upload_tree(folder)
    (file,) = (tmp_path / "cache").rglob("*.json")
    assert '"a"' in file.read_text()
    read: list[Path] = []
    digest_of = _known.digest_of
    monkeypatch.setattr(
        _known, "digest_of", lambda f, *rest: (read.append(f), digest_of(f, *rest))[1]
    )
    assert store.upload_tree(folder).skipped == ("a",)
    assert read == []
    monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + 1)
    assert store.upload_tree(folder).skipped == ("a",)
    assert len(read) == 1


def test_a_sync_into_a_folder_finds_names_that_are_one_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tt_cloud._files.folding_of", lambda folder: Folding(case=True))
    source = open_store(f"memory://{uuid4()}")
    for key in ("Model.bin", "model.bin"):
        source.put(key, key.encode())
    with pytest.raises(UnsafeKey, match="are one here"):
        open_store(tmp_path / "target").sync(source)
    assert not (tmp_path / "target").exists()
