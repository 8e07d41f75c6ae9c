"""Stores below stores, in other threads and processes, and what they refuse."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tt_cloud._contract.base import (
    ATTRIBUTES,
    UNSAFE_KEYS,
    Abilities,
)
from tt_cloud.api import ObjectStore
from tt_cloud.errors import (
    UnsafeKey,
)


class Stores(Abilities):
    """Stores below stores, in other threads and processes, and what they refuse."""

    def test_has_the_shape(self, store: ObjectStore) -> None:
        assert isinstance(store, ObjectStore)
        assert "://" in store.url
        assert store.url in repr(store)

    def test_a_store_below_a_prefix(self, store: ObjectStore) -> None:
        below = store / "some" / "prefix/deep er"
        assert isinstance(below, type(store))
        assert below.url.startswith(store.url)
        store.put("some/other", b"")
        below.put("a/key", b"data", **ATTRIBUTES)
        assert store.read("some/prefix/deep er/a/key") == below.read("a/key") == b"data"
        assert [info.key for info in below.list()] == ["a/key"]
        assert [info.key for info in below.list("a", start_after="a/j")] == ["a/key"]
        assert below.copy("a/key", "b").key == "b"
        assert pickle.loads(pickle.dumps(below)).read("b") == b"data"
        below.delete("a/key", "b")
        assert [info.key for info in store.list()] == ["some/other"]

    def test_a_pickled_store_works(self, store: ObjectStore) -> None:
        store.put("key", b"data")  # connects, where there is something to connect to
        copy = pickle.loads(pickle.dumps(store))
        assert copy.url == store.url
        assert copy.read("key") == b"data"

    def test_threads_share_a_store(self, store: ObjectStore) -> None:
        keys = [f"thread/{number}" for number in range(16)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda key: store.put(key, key.encode()), keys))
            assert list(pool.map(store.read, keys)) == [key.encode() for key in keys]
            list(pool.map(store.delete, keys))
        assert list(store.list()) == []

    def test_unsafe_keys_are_refused(self, store: ObjectStore, tmp_path: Path) -> None:
        for key in UNSAFE_KEYS:
            calls: list[Callable[[str], object]] = [store.read, store.open, store.head]
            calls += [store.exists, store.versions, store.delete, store.presign]
            calls += [store.__truediv__]
            for call in calls:
                with pytest.raises(UnsafeKey):
                    call(key)
            with pytest.raises(UnsafeKey):
                store.put(key, b"")
            with pytest.raises(UnsafeKey):
                store.get(key, tmp_path / "target")
            with pytest.raises(UnsafeKey):
                store.delete("safe", key)
            for keys in [(key, "safe"), ("safe", key)]:
                with pytest.raises(UnsafeKey):
                    store.copy(*keys)
                with pytest.raises(UnsafeKey):
                    store.move(*keys)
        assert list(tmp_path.iterdir()) == []
        assert list(store.list()) == []

    def test_unsafe_prefixes_are_refused(self, store: ObjectStore) -> None:
        for prefix in ("/", "../", "a//", "a/../b", "a\\b"):
            with pytest.raises(UnsafeKey):
                store.list(prefix)
            with pytest.raises(UnsafeKey):
                store.list(start_after=prefix)
