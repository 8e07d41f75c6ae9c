"""Committed sets: readers see the one before or this one, whatever happens meanwhile."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tt_cloud import (
    BucketNotFound,
    Changed,
    ChecksumMismatch,
    CloudError,
    NotCommitted,
    NotFound,
    ProtocolError,
    TransferFailed,
    TreeStore,
    Unavailable,
    UnsafeKey,
    open_store,
)
from tt_cloud._memory import MemoryStore
from tt_cloud.commits import FILES, MANIFEST, CommittedFile, Manifest, read_manifest

Tree = dict[str, bytes]

_folders = count()

NAMES = st.sampled_from(["a", "b", ".c", "d e", "é", "鍵", "f.txt", MANIFEST, FILES])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


def _possible(tree: Tree) -> Tree:
    """Without files that would have to be directories for others."""
    return {
        path: data
        for path, data in tree.items()
        if not any(other.startswith(f"{path}/") for other in tree)
    }


TREES = st.dictionaries(PATHS, st.binary(max_size=40), max_size=6).map(_possible)
PREFIXES = st.sampled_from(["", "a", "some/prefix"])

FEW = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(params=["folder", "memory"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store(kind: str, tmp_path: Path) -> TreeStore:
    return _store(kind, tmp_path)


def _store(kind: str, tmp_path: Path) -> TreeStore:
    """A new one each time."""
    folder = tmp_path / f"store{next(_folders)}"
    store = open_store(folder if kind == "folder" else f"memory://{uuid4()}")
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


def _read(store: Any, prefix: str, tmp_path: Path) -> Tree:
    """The set as a reader gets it that has nothing yet."""
    target = tmp_path / f"folder{next(_folders)}"
    store.download_tree(prefix, target)
    return _files(target)


def _keys(store: Any, prefix: str = "") -> list[str]:
    return [info.key for info in store.list(prefix)]


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _key(path: str, data: bytes) -> str:
    """The object for a file, below the prefix."""
    both = hashlib.sha256(path.encode() + b"\0" + _sha256(data).encode())
    return f"files/{both.hexdigest()[:32]}/{path}"


class _Hooked(MemoryStore):
    """Calls a test's own function before each primitive: it may fail, wait, or do other things."""

    def __init__(self, url: str | None = None) -> None:
        super().__init__(url or f"memory://{uuid4()}")
        self.before: Callable[[str, str], object] = lambda call, key: None
        self.aged = timedelta(0)

    def _put(self, key: str, *rest: Any) -> Any:
        self.before("put", key)
        return super()._put(key, *rest)

    def _get(self, key: str, *rest: Any) -> Any:
        self.before("get", key)
        return super()._get(key, *rest)

    def _read(self, key: str, *rest: Any, **more: Any) -> bytes:
        self.before("read", key)
        return super()._read(key, *rest, **more)

    def _head(self, key: str, version: str | None) -> Any:
        self.before("head", key)
        return self._older(super()._head(key, version))

    def _list(self, prefix: str, start_after: str | None) -> Iterator[tuple[str, Any]]:
        self.before("list", prefix)
        for key, stored in super()._list(prefix, start_after):
            yield key, self._older(stored)

    def _delete(self, keys: Sequence[str]) -> None:
        self.before("delete", keys[0])
        super()._delete(keys)

    def _older(self, stored: Any) -> Any:
        return stored and replace(stored, modified=stored.modified - self.aged)


def _once(wanted: tuple[str, str], act: Callable[[], object]) -> Callable[[str, str], object]:
    """A hook that acts the first time that such a call comes."""
    left = [act]

    def before(call: str, key: str) -> None:
        if call == wanted[0] and key.startswith(wanted[1]) and left:
            left.pop()()

    return before


# What is written, and read again.


@FEW
@given(TREES, TREES, PREFIXES)
def test_readers_get_what_was_committed(
    kind: str, tmp_path: Path, before: Tree, now: Tree, prefix: str
) -> None:
    store = _store(kind, tmp_path)
    store.commit(_folder(tmp_path, before), prefix)
    assert _read(store, prefix, tmp_path) == before
    report = store.commit(_folder(tmp_path, now), prefix)
    changed = {path for path, data in now.items() if before.get(path) != data}
    start = f"{prefix}/" if prefix else ""
    assert [info.key for info in report.done] == sorted(
        start + _key(path, now[path]) for path in changed
    )
    assert len(report.skipped) == len(now) - len(changed)
    assert _read(store, prefix, tmp_path) == now
    assert len(store.verify(prefix, read_back=True).done) == len(now)


def test_the_layout_is_the_one_that_is_documented(store: TreeStore, tmp_path: Path) -> None:
    tree = {"b/é.txt": b"two", "a": b"", MANIFEST: b"{}"}
    store.commit(_folder(tmp_path, tree), "p")
    found = json.loads(store.read("p/MANIFEST.json"))
    assert (found["format"], found["version"]) == ("tt-cloud manifest", 1)
    assert datetime.fromisoformat(found["created"]).tzinfo is not None
    assert found["files"] == [
        {
            "path": path,
            "size": len(tree[path]),
            "sha256": hashlib.sha256(tree[path]).hexdigest(),
            "key": _key(path, tree[path]),
        }
        for path in sorted(tree)
    ]
    lines = store.read("p/MANIFEST.json").decode().splitlines()
    assert sum("é.txt" in line for line in lines) == 1
    assert _keys(store) == sorted(["p/MANIFEST.json", *(f"p/{f['key']}" for f in found["files"])])
    manifest = read_manifest(store, "p")
    assert manifest.commit == found["commit"]
    assert manifest.files[0] == CommittedFile(
        MANIFEST, 2, _sha256(b"{}"), f"p/{_key(MANIFEST, b'{}')}"
    )


def test_equal_content_may_move_from_a_file_into_a_directory(
    store: TreeStore, tmp_path: Path
) -> None:
    for tree in ({"a": b"same"}, {"a/b": b"same"}, {"a/b/c": b"same"}, {"a": b"same"}):
        store.commit(_folder(tmp_path, tree))
        assert _read(store, "", tmp_path) == tree


def test_the_objects_of_the_set_before_stay(store: TreeStore, tmp_path: Path) -> None:
    store.commit(_folder(tmp_path, {"a": b"old", "b": b"both"}))
    old = read_manifest(store)
    store.commit(_folder(tmp_path, {"a": b"new", "b": b"both"}))
    assert read_manifest(store).commit != old.commit
    assert {file.path: store.read(file.key) for file in old.files} == {"a": b"old", "b": b"both"}


def test_an_empty_set_is_one(store: TreeStore, tmp_path: Path) -> None:
    store.commit(_folder(tmp_path, {}), "p")
    assert read_manifest(store, "p").files == ()
    assert _read(store, "p", tmp_path) == {}
    assert store.verify("p").done == ()


def test_a_set_that_is_copied_is_a_set(store: TreeStore, tmp_path: Path) -> None:
    tree = {"a": b"1", "b/c": b"2"}
    source = _store("memory", tmp_path)
    source.commit(_folder(tmp_path, tree), "here")
    store.sync(source / "here", "there")
    assert _read(store, "there", tmp_path) == tree
    assert len(store.verify("there").done) == 2


# Who comes between.


def test_a_commit_that_another_overtook_says_so(tmp_path: Path) -> None:
    for first in ({}, {"a": b"before"}):
        store, other = _Hooked(), _folder(tmp_path, {"a": b"theirs"})
        if first:
            store.commit(_folder(tmp_path, first))
        store.before = _once(
            ("put", "files/"), lambda other=other, at=store.url: open_store(at).commit(other)
        )
        with pytest.raises(Changed, match="meanwhile"):
            store.commit(_folder(tmp_path, {"a": b"ours"}))
        assert _read(store, "", tmp_path) == {"a": b"theirs"}


@pytest.mark.parametrize("error", [Unavailable, Changed])
def test_a_commit_whose_answer_was_lost_is_one(tmp_path: Path, error: type[Exception]) -> None:
    class Losing(MemoryStore):
        def _put(self, key: str, *rest: Any) -> Any:
            stored = super()._put(key, *rest)
            if key == MANIFEST:
                raise error("the answer was lost")
            return stored

    store = Losing(f"memory://{uuid4()}")
    store.commit(_folder(tmp_path, {"a": b"1"}))
    store.commit(_folder(tmp_path, {"a": b"2"}))
    assert _read(store, "", tmp_path) == {"a": b"2"}


def test_a_manifest_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    def before(call: str, key: str) -> None:
        if (call, key) == ("put", MANIFEST):
            raise Unavailable("not today")

    store = _Hooked()
    store.before = before
    with pytest.raises(Unavailable, match="not today"):
        store.commit(_folder(tmp_path, {"a": b"1"}))


@pytest.mark.slow
def test_readers_see_whole_sets_while_others_commit_and_sweep(
    store: TreeStore, tmp_path: Path
) -> None:
    sets = [{"a": bytes([n]), "b": bytes([n]), f"only{n}": bytes([n])} for n in range(6)]
    folders = [_folder(tmp_path, tree) for tree in sets]
    store.commit(folders[0])
    over, seen, wrong = threading.Event(), [], []

    def reader() -> None:
        while not over.is_set():
            try:
                found = _read(store, "", tmp_path)
            except TransferFailed as failed:  # two commits and sweeps came between
                kinds = (NotFound, Changed)
                wrong.extend(f for f in failed.report.failures if not isinstance(f.error, kinds))
            else:
                (seen if found in sets else wrong).append(found)

    threads = [threading.Thread(target=reader) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for folder in folders[1:] * 3:
            store.commit(folder)
            store.sweep(older_than=timedelta(0))
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert _read(store, "", tmp_path) == sets[-1]


def test_a_reader_begins_again_when_the_set_went_away(tmp_path: Path) -> None:
    store, writer = _Hooked(), None
    store.commit(_folder(tmp_path, {"a": b"old", "b": b"old", "same": b"1", "x/y": b"2"}))
    writer = MemoryStore(store.url)
    now = _folder(tmp_path, {"a": b"new", "b": b"new", "same": b"1", "x": b"3"})

    def replaced() -> None:
        writer.commit(now)
        writer.sweep(older_than=timedelta(0))

    b = _key("b", b"old")
    store.before = _once(("get", b), replaced)
    target = tmp_path / "target"
    report = store.download_tree("", target)
    assert _files(target) == _files(now)
    assert len(report.done) == 4
    assert not report.failures


def test_a_reader_that_misses_an_object_of_the_only_set_says_so(
    store: TreeStore, tmp_path: Path
) -> None:
    store.commit(_folder(tmp_path, {"a": b"1", "b": b"2"}))
    store.delete(_key("a", b"1"))
    with pytest.raises(TransferFailed) as caught:
        store.download_tree("", tmp_path / "target")
    assert [type(failure.error) for failure in caught.value.report.failures] == [NotFound]
    assert _files(tmp_path / "target") == {"b": b"2"}


def test_an_object_that_is_not_what_the_manifest_says_is_not_kept(
    store: TreeStore, tmp_path: Path
) -> None:
    store.commit(_folder(tmp_path, {"a": b"1", "b": b"2"}))
    store.put(_key("a", b"1"), b"3")
    with pytest.raises(TransferFailed) as caught:
        store.download_tree("", tmp_path / "target")
    assert isinstance(caught.value.report.failures[0].error, ChecksumMismatch)
    assert _files(tmp_path / "target") == {"b": b"2"}


# What fails on the way.


def test_after_any_failure_readers_see_a_whole_set(tmp_path: Path) -> None:
    old, new = {"a": b"old", "b/c": b"both"}, {"a": b"new", "b/c": b"both", "b/d": b"more"}
    first, second = _folder(tmp_path, old), _folder(tmp_path, new)
    outcomes = set()
    for fails_at in range(14):
        for before in ({}, old):
            store, calls = _Hooked(), count()

            def fail(call: str, key: str, calls: Any = calls, fails_at: int = fails_at) -> None:
                if next(calls) == fails_at:
                    raise Unavailable(f"{call} {key}")

            if before:
                store.commit(first)
            store.before = fail
            with suppress(CloudError):
                store.commit(second)
            store.before = lambda call, key: None
            try:
                found = _read(store, "", tmp_path)
                assert len(store.verify(read_back=True).done) == len(found)
            except NotCommitted:
                found = {}
            assert found in (before, new)
            outcomes.add(found == new)
            store.commit(second)
            assert _read(store, "", tmp_path) == new
    assert outcomes == {True, False}


def test_an_unfinished_commit_goes_on(tmp_path: Path) -> None:
    def before(call: str, key: str) -> None:
        if call == "put" and key.endswith("/a"):
            raise PermissionError("a is forbidden")

    store = _Hooked()
    store.before = before
    source = _folder(tmp_path, {"a": b"1", "b": b"2"})
    with pytest.raises(TransferFailed, match="a is forbidden"):
        store.commit(source, "p")
    with pytest.raises(NotCommitted, match="p has none"):
        store.verify("p")
    with pytest.raises(NotCommitted, match="when it is complete"):
        store.download_tree("p", tmp_path / "target")
    assert not (tmp_path / "target").exists()
    store.before = lambda call, key: None
    report = store.commit(source, "p")
    assert [info.key for info in report.done] == ["p/" + _key("a", b"1")]
    assert report.skipped == ("p/" + _key("b", b"2"),)


@pytest.mark.parametrize("wrong", [b"x", b"longer"])
def test_an_object_that_is_another_is_stored_again(
    store: TreeStore, tmp_path: Path, wrong: bytes
) -> None:
    key = _key("a", b"1")
    store.put(key, wrong)
    assert [info.key for info in store.commit(_folder(tmp_path, {"a": b"1"})).done] == [key]
    assert _read(store, "", tmp_path) == {"a": b"1"}
    store.put(key, wrong)
    assert [info.key for info in store.commit(_folder(tmp_path, {"a": b"1"})).done] == [key]
    assert _read(store, "", tmp_path) == {"a": b"1"}


def test_what_a_sweep_may_take_is_stored_again(tmp_path: Path) -> None:
    store, source = _Hooked(), _folder(tmp_path, {"a": b"1"})
    key = _key("a", b"1")
    store.put(key, b"1")
    store.aged = timedelta(hours=13)
    assert [info.key for info in store.commit(source).done] == [key]
    assert store.commit(source).skipped == (key,)  # old, but named by the manifest


# Whether a set is whole.


def test_verify_finds_what_is_missing_or_another(store: TreeStore, tmp_path: Path) -> None:
    tree = {"gone": b"1", "short": b"22", "other": b"3", "right": b"4"}
    store.commit(_folder(tmp_path, tree), "p")
    assert [info.sha256 for info in store.verify("p").done] == [
        file.sha256 for file in sorted(read_manifest(store, "p").files, key=lambda f: f.key)
    ]
    key = {path: "p/" + _key(path, data) for path, data in tree.items()}
    store.delete(key["gone"])
    store.put(key["short"], b"2")
    store.put(key["other"], b"x")
    for read_back in (False, True):
        with pytest.raises(TransferFailed) as caught:
            store.verify("p", read_back=read_back)
        report = caught.value.report
        kinds = {failure.key: type(failure.error) for failure in report.failures}
        assert (
            "1 bytes instead of 2" in {f.key: str(f.error) for f in report.failures}[key["short"]]
        )
        assert kinds == {
            key["gone"]: NotFound,
            key["short"]: ChecksumMismatch,
            key["other"]: ChecksumMismatch,
        }
        assert [info.key for info in report.done] == [key["right"]]


def test_read_back_does_not_take_the_services_word(tmp_path: Path) -> None:
    class Rotting(MemoryStore):
        rotten = False

        def _open(self, key: str, version: str | None) -> Any:
            return BytesIO(b"9") if self.rotten else super()._open(key, version)

    store = Rotting(f"memory://{uuid4()}")
    store.commit(_folder(tmp_path, {"a": b"1"}))
    store.rotten = True
    assert len(store.verify().done) == 1
    with pytest.raises(TransferFailed):
        store.verify(read_back=True)


def test_an_object_without_a_digest_is_read(tmp_path: Path) -> None:
    class Forgetful(MemoryStore):
        def _head(self, key: str, version: str | None) -> Any:
            stored = super()._head(key, version)
            return stored and replace(stored, sha256=None)

    store = Forgetful(f"memory://{uuid4()}")
    store.commit(_folder(tmp_path, {"a": b"1"}))
    assert store.verify().done[0].sha256 == _sha256(b"1")
    store.put(_key("a", b"1"), b"2")
    with pytest.raises(TransferFailed):
        store.verify()


def _manifest(**fields: Any) -> bytes:
    file = {"path": "a", "size": 1, "sha256": _sha256(b"1"), "key": _key("a", b"1")}
    file |= fields.pop("file", {})
    whole = {
        "format": "tt-cloud manifest",
        "version": 1,
        "commit": "c",
        "created": "2026-01-01T00:00:00+00:00",
        "files": [file],
    }
    return json.dumps(whole | fields).encode()


def test_a_manifest_written_by_hand_is_read(store: TreeStore) -> None:
    store.put(f"p/{MANIFEST}", _manifest(more="ignored"))
    key = "p/" + _key("a", b"1")
    assert read_manifest(store, "p") == Manifest(
        "c", datetime(2026, 1, 1, tzinfo=UTC), (CommittedFile("a", 1, _sha256(b"1"), key),)
    )


FOREIGN = [b"", b"{}", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"format": "another"}']
FILE = {"size": 0, "sha256": _sha256(b""), "key": "files/0/a"}
BROKEN = [
    _manifest(files=[FILE | {"path": "b"}, FILE | {"path": "a"}]),
    _manifest(files=[FILE | {"path": "a"}, FILE | {"path": "a"}]),
    _manifest(version=2),
    _manifest(version=None),
    _manifest(files=None),
    _manifest(files=[1]),
    _manifest(files=[{}]),
    _manifest(commit=1),
    _manifest(created="yesterday"),
    _manifest(file={"size": -1}),
    _manifest(file={"size": True}),
    _manifest(file={"size": "1"}),
    _manifest(file={"sha256": "0"}),
    _manifest(file={"key": "elsewhere/a"}),
    _manifest(file={"path": None}),
]


@pytest.mark.parametrize("data", FOREIGN + BROKEN, ids=range(len(FOREIGN + BROKEN)))
def test_what_is_no_manifest_is_a_protocol_error(
    store: TreeStore, tmp_path: Path, data: bytes
) -> None:
    store.put(f"p/{MANIFEST}", data)
    orphan = "p/" + _key("a", b"1")
    store.put(orphan, b"1")
    for call in (
        lambda: read_manifest(store, "p"),
        lambda: store.verify("p"),
        lambda: store.sweep("p", older_than=timedelta(0)),
        lambda: store.commit(_folder(tmp_path, {"a": b"2"}), "p"),
    ):
        with pytest.raises(ProtocolError, match=r"p/MANIFEST\.json"):
            call()
    assert _keys(store) == [f"p/{MANIFEST}", orphan]


@pytest.mark.parametrize("data", FOREIGN, ids=range(len(FOREIGN)))
def test_somebody_elses_manifest_is_a_file_like_others(
    store: TreeStore, tmp_path: Path, data: bytes
) -> None:
    store.put(MANIFEST, data)
    assert _read(store, "", tmp_path) == {MANIFEST: data}


def test_a_set_of_a_version_to_come_is_not_taken_for_plain_objects(
    store: TreeStore, tmp_path: Path
) -> None:
    store.put(MANIFEST, _manifest(version=2))
    with pytest.raises(ProtocolError, match="newer"):
        store.download_tree("", tmp_path / "target")


@pytest.mark.parametrize(
    "file",
    [{"path": "../a"}, {"path": "/a"}, {"path": "a\\b"}, {"key": "files/../../a"}, {"path": ""}],
)
def test_manifests_that_lead_out_are_refused(
    store: TreeStore, tmp_path: Path, file: dict[str, str]
) -> None:
    store.put(MANIFEST, _manifest(file=file))
    with pytest.raises(UnsafeKey):
        store.download_tree("", tmp_path / "target")
    with pytest.raises(UnsafeKey):
        read_manifest(store)
    assert not (tmp_path / "target").exists()


def test_without_a_manifest_nothing_is_committed(store: TreeStore) -> None:
    store.put(f"p/{MANIFEST}.part", b"")
    for call in (store.verify, lambda prefix: read_manifest(store, prefix)):
        with pytest.raises(NotCommitted, match="p has none"):
            call("p")


def test_a_missing_bucket_is_not_taken_for_an_empty_place(tmp_path: Path) -> None:
    def before(call: str, key: str) -> None:
        raise BucketNotFound(call)

    store = _Hooked()
    store.before = before
    for act in (
        store.verify,
        store.sweep,
        lambda: store.download_tree("", tmp_path / "target"),
        lambda: store.commit(_folder(tmp_path, {"a": b"1"})),
    ):
        with pytest.raises(BucketNotFound):
            act()


# The order in which things appear and go.


def test_a_copied_sets_manifest_goes_last(tmp_path: Path) -> None:
    source, store = _Hooked(), _Hooked()
    source.commit(_folder(tmp_path, {"a": b"1", "b": b"2"}), "x/y")
    calls: list[str] = []
    store.before = lambda call, key: calls.append(key) if call == "put" else None
    store.sync(source)
    assert calls[-1] == "x/y/MANIFEST.json"
    assert len(calls) == 3

    other = _Hooked()

    def before(call: str, key: str) -> None:
        if call == "put" and key.endswith("/a"):
            raise Unavailable("not now")

    other.before = before
    with pytest.raises(TransferFailed) as caught:
        other.sync(source)
    assert caught.value.report.failures[0].key == "x/y/MANIFEST.json"
    assert not other.exists("x/y/MANIFEST.json")


def test_a_deleted_sets_manifest_goes_first(tmp_path: Path) -> None:
    store = _Hooked()
    store.commit(_folder(tmp_path, {"a": b"1"}), "x")
    deleted: list[str] = []
    store.before = lambda call, key: deleted.append(key) if call == "delete" else None
    store.delete_tree("", everything=True)
    assert deleted[0] == "x/MANIFEST.json"
    assert _keys(store) == []


def test_a_set_whose_manifest_stays_stays_whole(tmp_path: Path) -> None:
    def before(call: str, key: str) -> None:
        if call == "delete" and key.endswith(MANIFEST):
            raise PermissionError("no")

    store = _Hooked()
    store.commit(_folder(tmp_path, {"a": b"1"}), "x")
    store.before = before
    with pytest.raises(TransferFailed):
        store.delete_tree("x")
    assert len(store.verify("x").done) == 1


# What is left over.


def _left(store: TreeStore, prefix: str = "") -> str:
    """An object as an unfinished commit leaves it."""
    key = (f"{prefix}/" if prefix else "") + _key("left", b"left")
    store.put(key, b"left")
    return key


@pytest.mark.parametrize("prefix", ["", "p"])
def test_sweep_removes_what_no_manifest_names(
    store: TreeStore, tmp_path: Path, prefix: str
) -> None:
    tree = {"a": b"1"}
    left = _left(store, prefix)
    elsewhere = _left(store, "elsewhere")
    assert store.sweep(prefix).deleted == ()  # it is new
    assert store.sweep(prefix, older_than=timedelta(0), dry_run=True).deleted == (left,)
    assert store.exists(left)
    store.commit(_folder(tmp_path, {"a": b"old"}), prefix)
    store.commit(_folder(tmp_path, tree), prefix)
    report = store.sweep(prefix, older_than=timedelta(0))
    old = left.replace(_key("left", b"left"), _key("a", b"old"))
    assert report.deleted == tuple(sorted([left, old]))
    assert store.exists(elsewhere)
    assert _read(store, prefix, tmp_path) == tree
    assert len(store.verify(prefix).done) == 1
    with pytest.raises(ValueError, match="below 0"):
        store.sweep(prefix, older_than=timedelta(-1))


def test_sweep_takes_the_leftovers_of_a_first_commit(store: TreeStore) -> None:
    left = _left(store, "p")
    assert store.sweep("p", older_than=timedelta(0)).deleted == (left,)


def test_sweep_leaves_what_is_somebody_elses(store: TreeStore, tmp_path: Path) -> None:
    theirs = {"files/notes/a": b"1", "files/0123456789abcdef/b": b"2", "files/c": b"3", "d": b"4"}
    for key, data in theirs.items():
        store.put(key, data)
    assert store.sweep(older_than=timedelta(0)).deleted == ()
    assert _keys(store) == sorted(theirs)


def test_sweep_takes_what_is_old_enough(tmp_path: Path) -> None:
    store = _Hooked()
    left = _left(store)
    store.aged = timedelta(hours=23)
    asked: list[str] = []
    store.before = lambda call, key: asked.append(call)
    assert store.sweep().deleted == ()
    assert "head" not in asked
    store.aged = timedelta(hours=25)
    assert store.sweep().deleted == (left,)


def test_sweep_spares_a_commit_that_comes_between(tmp_path: Path) -> None:
    store, source = _Hooked(), _folder(tmp_path, {"left": b"left"})
    left = _left(store)
    store.aged = timedelta(days=2)
    store.before = _once(("head", left), lambda: MemoryStore(store.url).commit(source))
    assert store.sweep().deleted == ()
    assert len(store.verify().done) == 1


def test_sweep_spares_what_is_stored_anew(tmp_path: Path) -> None:
    store = _Hooked()
    left = _left(store)
    store.aged = timedelta(days=2)
    store.before = _once(("head", left), lambda: setattr(store, "aged", timedelta(0)))
    assert store.sweep().deleted == ()


def test_sweep_says_so_when_it_met_a_commit(tmp_path: Path) -> None:
    store, source = _Hooked(), _folder(tmp_path, {"left": b"left"})
    left = _left(store)
    store.aged = timedelta(days=2)
    store.before = _once(("delete", left), lambda: MemoryStore(store.url).commit(source))
    with pytest.raises(TransferFailed, match="commit it again"):
        store.sweep()
    store.commit(source)
    assert len(store.verify().done) == 1


def test_sweep_drops_uploads_in_parts(tmp_path: Path) -> None:
    class Uploading(MemoryStore):
        uploads: Sequence[str] = ("p/big",)
        asked: Sequence[Any] = ()

        def _unfinished(self, prefix: str, before: datetime) -> Sequence[str]:
            self.asked = (prefix, before)
            return self.uploads

        def _abandon(self, prefix: str, before: datetime) -> None:
            assert self.asked == (prefix, before)
            self.uploads = ()

    store = Uploading(f"memory://{uuid4()}")
    assert store.sweep("p", dry_run=True).deleted == ("p/big",)
    assert store.sweep("p").deleted == ("p/big",)
    assert store.sweep("p").deleted == ()
    prefix, before = store.asked
    assert prefix == "p/"
    assert abs(datetime.now(UTC) - timedelta(days=1) - before) < timedelta(hours=1)


def test_nothing_is_sent_where_a_key_would_be_too_long(store: TreeStore, tmp_path: Path) -> None:
    source = _folder(tmp_path, {"a": b"1", "/".join(["x" * 200] * 4): b"2"})
    store.upload_tree(source, "p")
    with pytest.raises(UnsafeKey, match="1024"):
        store.commit(source, "/".join(["y" * 200]))
    assert _keys(store, "y") == []


# On real services.


@pytest.mark.slow
@pytest.mark.parametrize("service", ["s3", "gcs"])
def test_commits_on_real_services(
    service: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    endpoint = request.getfixturevalue(f"{service}_endpoint")
    bucket = request.getfixturevalue(f"{service}_bucket")
    if service == "s3":
        store = open_store(f"s3://{bucket}", endpoint_url=endpoint, region="us-east-1")
    else:
        store = open_store(f"gs://{bucket}", endpoint_url=endpoint, anonymous=True)
    old, new = {"a b": b"1", "é": b"old"}, {"a b": b"1", "é": b"new", "more": b""}
    with pytest.raises(NotCommitted):
        store.verify("p")
    assert len(store.commit(_folder(tmp_path, old), "p").done) == 2
    manifest = read_manifest(store, "p")
    assert _read(store, "p", tmp_path) == old
    assert len(store.commit(_folder(tmp_path, new), "p").done) == 2
    assert _read(store, "p", tmp_path) == new
    for read_back in (False, True):
        assert len(store.verify("p", read_back=read_back).done) == 3
    stale = next(file.key for file in manifest.files if file.path == "é")
    assert store.read(stale) == b"old"
    assert store.sweep("p", older_than=timedelta(0)).deleted == (stale,)
    assert len(store.verify("p").done) == 3
    store.delete(read_manifest(store, "p").files[0].key)
    with pytest.raises(TransferFailed):
        store.verify("p")


def test_what_is_not_as_promised_does_not_replace_what_is(store: TreeStore, tmp_path: Path) -> None:
    store.commit(_folder(tmp_path, {"a": b"old"}))
    store.download_tree("", tmp_path / "target")
    store.commit(_folder(tmp_path, {"a": b"new"}))
    store.put(_key("a", b"new"), b"bad")
    with pytest.raises(TransferFailed, match="what its manifest says"):
        store.download_tree("", tmp_path / "target")
    assert _files(tmp_path / "target") == {"a": b"old"}
    assert [path.name for path in (tmp_path / "target").iterdir()] == ["a"]


def test_a_sets_manifest_is_the_first_to_make_room(tmp_path: Path) -> None:
    store = _Hooked()
    store.commit(_folder(tmp_path, {"a": b"1"}))
    store.put(".before", b"")
    deleted: list[str] = []
    store.before = lambda call, key: deleted.append(key) if call == "delete" else None
    store.sync(_folder(tmp_path, {"b": b"2"}), delete=True)
    assert deleted[0] == MANIFEST
    assert _keys(store) == ["b"]
