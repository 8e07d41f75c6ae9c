"""Which objects there are."""

from __future__ import annotations

from tt_cloud._contract.base import (
    Abilities,
    known,
    sha256_of,
)
from tt_cloud.api import ObjectStore


class Listing(Abilities):
    """Which objects there are."""

    def test_an_empty_store_lists_nothing(self, store: ObjectStore) -> None:
        assert list(store.list()) == []

    def test_list_is_ordered_by_key(self, store: ObjectStore) -> None:
        keys = ["a-b", "a.b", "a/b", "a/b-c", "a/é", "a0", "aa/b", "b", "Z", "\uff5e", "😀"]
        for key in keys:
            store.put(key, key.encode())
        found = list(store.list())
        assert [info.key for info in found] == sorted(keys)
        assert [info.size for info in found] == [len(key.encode()) for key in sorted(keys)]
        for info in found:
            assert info.sha256 in (None, sha256_of(info.key.encode()))
            assert info.etag == known(store, info.key).etag

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

    def test_list_goes_on_behind_a_key(self, store: ObjectStore) -> None:
        keys = ["a-", "a/b", "a/c", "a/c-", "a/c0", "a0", "b"]
        for key in keys:
            store.put(key, b"")
        for start in ["", "a", "a-", "a/", "a/b", "a/bb", "a/c", "a/c/d", "a/d", "a0", "b", "c"]:
            for prefix in ["", "a/", "a/c", "b"]:
                found = [info.key for info in store.list(prefix, start_after=start)]
                expected = [key for key in keys if key.startswith(prefix) and key > start]
                assert found == expected, (prefix, start)

    def test_list_takes_a_pattern(self, store: ObjectStore) -> None:
        for key in ("a.txt", "b.bin", "d/a.txt", "d/e/a.txt", "d/e/b.bin"):
            store.put(key, b"")
        for glob, expected in {
            "*": ["a.txt", "b.bin"],
            "*.txt": ["a.txt"],
            "**/*.txt": ["a.txt", "d/a.txt", "d/e/a.txt"],
            "d/**": ["d/a.txt", "d/e/a.txt", "d/e/b.bin"],
            "?/*/[!a].*": ["d/e/b.bin"],
            "A*": [],
        }.items():
            assert [info.key for info in store.list(glob=glob)] == expected, glob
        assert [info.key for info in store.list("d/", glob="**/*.bin")] == ["d/e/b.bin"]
