"""The tests that every store passes; needs pytest.

Subclass `StoreContract` with a fixture that gives an empty store::

    class TestMyStore(StoreContract):
        @pytest.fixture
        def store(self):
            return MyStore(...)
"""

from __future__ import annotations

import hashlib
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from tt_cloud.api import ObjectInfo, ObjectStore
from tt_cloud.errors import AlreadyExists, ChecksumMismatch, NotFound, UnsafeKey

__all__ = ["UNSAFE_KEYS", "StoreContract"]

UNSAFE_KEYS = (
    "",
    "/absolute",
    "trailing/",
    "two//slashes",
    ".",
    "..",
    "../above",
    "a/../../above",
    "a/./b",
    "back\\slash",
    "nul\0",
    "line\nbreak",
    "delete\x7f",
    "half\ud800",
    "x" * 1025,
    ".tt-cloud-0.part",
)

_RACERS = 8


class StoreContract:
    """What `ObjectStore` promises, as tests."""

    @pytest.fixture
    def store(self) -> Any:
        """An empty store; each provider gives its own."""
        pytest.fail(
            "a subclass of StoreContract needs a fixture 'store': this one has none; add it"
        )

    def test_has_the_shape(self, store: ObjectStore) -> None:
        assert isinstance(store, ObjectStore)
        assert "://" in store.url

    @pytest.mark.parametrize("data", [b"", b"one", bytes(range(256)) * 20_480], ids=len)
    def test_bytes_come_back(self, store: ObjectStore, data: bytes) -> None:
        info = store.put("some/bytes.bin", data)
        assert info == ObjectInfo("some/bytes.bin", len(data), _sha256(data))
        assert store.head("some/bytes.bin") == info
        assert store.read("some/bytes.bin") == data

    @pytest.mark.parametrize("size", [0, 5_000_000])
    def test_files_come_back(self, store: ObjectStore, tmp_path: Path, size: int) -> None:
        source, target = tmp_path / "source", tmp_path / "target"
        source.write_bytes(bytes(size))
        assert store.get(store.put("file", source).key, target) == store.head("file")
        assert target.read_bytes() == bytes(size)

    @pytest.mark.parametrize(
        "key",
        ["ключ/鍵/🔑.txt", "with space/and+plus%20", "a=b&c?d#e", ".hidden/..x", "~/$HOME/*'"],
    )
    def test_a_key_may_hold_any_text(self, store: ObjectStore, key: str) -> None:
        store.put(key, b"content")
        assert store.read(key) == b"content"
        assert [info.key for info in store.list()] == [key]
        store.delete(key)
        assert store.head(key) is None

    def test_a_given_digest_is_checked(self, store: ObjectStore) -> None:
        assert store.put("right", b"data", sha256=_sha256(b"data").upper()).size == 4
        with pytest.raises(ChecksumMismatch, match="sha256"):
            store.put("wrong", b"data", sha256=_sha256(b"other"))
        assert store.head("wrong") is None

    def test_put_replaces(self, store: ObjectStore) -> None:
        store.put("key", b"first")
        store.put("key", b"second, longer")
        assert store.read("key") == b"second, longer"
        assert [info.size for info in store.list()] == [14]

    def test_a_taken_key_is_not_created_again(self, store: ObjectStore) -> None:
        store.put("key", b"first", if_absent=True)
        with pytest.raises(AlreadyExists, match="key"):
            store.put("key", b"second", if_absent=True)
        assert store.read("key") == b"first"

    def test_one_of_many_creators_wins(self, store: ObjectStore) -> None:
        start = Barrier(_RACERS)

        def create(number: int) -> bool:
            start.wait()
            try:
                store.put("race", str(number).encode(), if_absent=True)
            except AlreadyExists:
                return False
            return True

        with ThreadPoolExecutor(_RACERS) as pool:
            won = list(pool.map(create, range(_RACERS)))
        assert won.count(True) == 1
        assert store.read("race") == str(won.index(True)).encode()

    def test_threads_share_a_store(self, store: ObjectStore) -> None:
        keys = [f"thread/{number}" for number in range(16)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda key: store.put(key, key.encode()), keys))
            assert list(pool.map(store.read, keys)) == [key.encode() for key in keys]

    def test_list_is_ordered_by_key(self, store: ObjectStore) -> None:
        keys = ["a-b", "a.b", "a/b", "a/b-c", "a/é", "a0", "aa/b", "b", "Z"]
        for key in keys:
            store.put(key, key.encode())
        found = list(store.list())
        assert [info.key for info in found] == sorted(keys)
        assert [info.size for info in found] == [len(key.encode()) for key in sorted(keys)]
        for info in found:
            assert info.sha256 in (None, _sha256(info.key.encode()))

    def test_list_takes_any_beginning(self, store: ObjectStore) -> None:
        for key in ("runs", "run/10/a", "run/1/b", "run/1/a"):
            store.put(key, b"")
        for prefix, expected in {
            "": ["run/1/a", "run/1/b", "run/10/a", "runs"],
            "run": ["run/1/a", "run/1/b", "run/10/a", "runs"],
            "run/1": ["run/1/a", "run/1/b", "run/10/a"],
            "run/1/": ["run/1/a", "run/1/b"],
            "run/1/a": ["run/1/a"],
            "run/2": [],
            "other/": [],
        }.items():
            assert [info.key for info in store.list(prefix)] == expected, prefix

    def test_an_empty_store_lists_nothing(self, store: ObjectStore) -> None:
        assert list(store.list()) == []

    def test_delete_removes_one_key(self, store: ObjectStore) -> None:
        store.put("a/one", b"1")
        store.put("a/two", b"2")
        store.delete("a/one")
        store.delete("a/one")
        assert store.head("a/one") is None
        assert [info.key for info in store.list()] == ["a/two"]

    def test_a_deleted_key_is_free(self, store: ObjectStore) -> None:
        store.put("a/b/c", b"below")
        store.delete("a/b/c")
        store.put("a/b/c", b"again", if_absent=True)
        assert store.read("a/b/c") == b"again"

    def test_a_key_may_go_from_below_to_above(self, store: ObjectStore) -> None:
        store.put("a/b/c", b"below")
        store.delete("a/b/c")
        store.put("a", b"above")
        assert store.read("a") == b"above"

    def test_the_beginning_of_a_key_is_no_object(self, store: ObjectStore) -> None:
        store.put("a/b", b"")
        assert store.head("a") is None
        assert store.head("a/b/c") is None
        store.delete("a")
        store.delete("a/b/c")
        assert [info.key for info in store.list()] == ["a/b"]

    def test_a_missing_object_leaves_no_file(self, store: ObjectStore, tmp_path: Path) -> None:
        assert store.head("missing") is None
        with pytest.raises(NotFound, match="missing"):
            store.read("missing")
        with pytest.raises(NotFound, match="missing"):
            store.get("missing", tmp_path / "target")
        assert list(tmp_path.iterdir()) == []

    def test_get_makes_directories(self, store: ObjectStore, tmp_path: Path) -> None:
        store.put("key", b"data")
        store.get("key", tmp_path / "new" / "deep" / "target")
        assert (tmp_path / "new" / "deep" / "target").read_bytes() == b"data"

    def test_get_replaces_a_file(self, store: ObjectStore, tmp_path: Path) -> None:
        store.put("key", b"new")
        (tmp_path / "target").write_bytes(b"old and longer")
        store.get("key", tmp_path / "target")
        assert (tmp_path / "target").read_bytes() == b"new"
        assert [path.name for path in tmp_path.iterdir()] == ["target"]

    def test_unsafe_keys_are_refused(self, store: ObjectStore, tmp_path: Path) -> None:
        for key in UNSAFE_KEYS:
            for call in (store.read, store.head, store.delete):
                with pytest.raises(UnsafeKey):
                    call(key)
            with pytest.raises(UnsafeKey):
                store.put(key, b"")
            with pytest.raises(UnsafeKey):
                store.get(key, tmp_path / "target")
        assert list(tmp_path.iterdir()) == []
        assert list(store.list()) == []

    def test_unsafe_prefixes_are_refused(self, store: ObjectStore) -> None:
        for prefix in ("/", "../", "a//", "a/../b", "a\\b"):
            with pytest.raises(UnsafeKey):
                store.list(prefix)

    def test_a_pickled_store_works(self, store: ObjectStore) -> None:
        store.put("key", b"data")  # connects, where there is something to connect to
        copy = pickle.loads(pickle.dumps(store))
        assert copy.url == store.url
        assert copy.read("key") == b"data"

    def test_a_missing_source_is_reported(self, store: ObjectStore, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            store.put("key", tmp_path / "missing")
        assert store.head("key") is None


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
