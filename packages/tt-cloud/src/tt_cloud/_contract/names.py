"""Deleting, copying, moving."""

from __future__ import annotations

import pytest

from tt_cloud._contract.base import (
    ATTRIBUTES,
    Abilities,
    known,
    sha256_of,
)
from tt_cloud.api import ObjectInfo, ObjectStore
from tt_cloud.errors import (
    AlreadyExists,
    NotFound,
    UnsafeKey,
)


class Names(Abilities):
    """Deleting, copying, moving."""

    def test_delete_removes_one_key(self, store: ObjectStore) -> None:
        store.put("a/one", b"1")
        store.put("a/two", b"2")
        store.delete("a/one")
        store.delete("a/one")
        assert store.head("a/one") is None
        assert [info.key for info in store.list()] == ["a/two"]

    def test_delete_removes_many_keys(self, store: ObjectStore) -> None:
        keys = [f"many/{number} & more" for number in range(20)]
        for key in [*keys, "rest"]:
            store.put(key, b"")
        store.delete("missing", *keys, "many/neither")
        assert [info.key for info in store.list()] == ["rest"]

    def test_a_deleted_key_is_free(self, store: ObjectStore) -> None:
        store.put("a/b/c", b"below", **ATTRIBUTES)
        store.delete("a/b/c")
        store.put("a/b/c", b"again", if_absent=True)
        assert store.read("a/b/c") == b"again"
        assert dict(known(store, "a/b/c").metadata) == {}

    def test_a_key_may_go_from_below_to_above(self, store: ObjectStore) -> None:
        store.put("a/b/c", b"below", **ATTRIBUTES)
        store.delete("a/b/c")
        store.put("a", b"above")
        assert store.read("a") == b"above"

    def test_the_beginning_of_a_key_is_no_object(self, store: ObjectStore) -> None:
        store.put("a/b", b"")
        assert store.head("a") is None
        assert store.head("a/b/c") is None
        assert store.versions("a") == ()
        store.delete("a")
        store.delete("a/b/c", "a")
        assert [info.key for info in store.list()] == ["a/b"]
        with pytest.raises(NotFound):
            store.copy("a", "b")

    def test_one_key_below_another(self, store: ObjectStore) -> None:
        for first, second in [("a", "a/b"), ("b/c/d", "b")]:
            store.put(first, b"1")
            if self.nests:
                store.put(second, b"2")
                assert store.read(second) == b"2"
            else:
                with pytest.raises(UnsafeKey):
                    store.put(second, b"2")
            assert store.read(first) == b"1"

    def test_a_copy_has_everything(self, store: ObjectStore) -> None:
        store.put("source.json", b"1,2", **ATTRIBUTES)
        info = store.copy("source.json", "folder/target.bin")
        assert info == ObjectInfo("folder/target.bin", 3, sha256_of(b"1,2"))
        copied = known(store, "folder/target.bin")
        assert (copied, copied.etag) == (info, info.etag)
        assert dict(copied.metadata) == ATTRIBUTES["metadata"]
        assert copied.content_type == ATTRIBUTES["content_type"]
        assert store.read("source.json") == store.read("folder/target.bin") == b"1,2"

    def test_a_copy_replaces_unless_told_not_to(self, store: ObjectStore) -> None:
        store.put("source", b"new")
        store.put("target", b"old", **ATTRIBUTES)
        for call in (store.copy, store.move):
            with pytest.raises(AlreadyExists):
                call("source", "target", if_absent=True)
        assert store.read("target") == b"old"
        store.copy("source", "free", if_absent=True)
        store.copy("source", "target")
        assert store.read("target") == store.read("free") == store.read("source") == b"new"
        assert dict(known(store, "target").metadata) == {}

    def test_what_is_missing_cannot_be_copied(self, store: ObjectStore) -> None:
        store.put("target", b"old")
        for call in (store.copy, store.move):
            with pytest.raises(NotFound):
                call("missing", "target")
        assert store.read("target") == b"old"

    def test_a_moved_object_is_elsewhere(self, store: ObjectStore) -> None:
        store.put("source", b"data", **ATTRIBUTES)
        assert store.move("source", "target") == ObjectInfo("target", 4, sha256_of(b"data"))
        assert dict(known(store, "target").metadata) == ATTRIBUTES["metadata"]
        assert [info.key for info in store.list()] == ["target"]
        with pytest.raises(ValueError, match="another key"):
            store.move("target", "target")
        assert store.read("target") == b"data"
