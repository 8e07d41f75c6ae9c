"""Creating, and comparing before reading and replacing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tt_cloud._contract.base import (
    Abilities,
    known,
    race,
)
from tt_cloud.api import ObjectStore
from tt_cloud.errors import (
    AlreadyExists,
    Changed,
)


class Conditions(Abilities):
    """Creating, and comparing before reading and replacing."""

    def test_a_taken_key_is_not_created_again(self, store: ObjectStore) -> None:
        store.put("key", b"first", if_absent=True)
        with pytest.raises(AlreadyExists, match="key"):
            store.put("key", b"second", if_absent=True)
        assert store.read("key") == b"first"

    def test_only_the_object_with_the_etag_is_replaced(self, store: ObjectStore) -> None:
        first = store.put("key", b"first")
        second = store.put("key", b"second", if_match=first.etag)
        assert known(store, "key").etag == second.etag
        with pytest.raises(Changed):
            store.put("key", b"third", if_match=first.etag)
        assert store.read("key") == b"second"

    def test_a_missing_object_has_no_etag(self, store: ObjectStore) -> None:
        etag = store.put("key", b"first").etag
        store.delete("key")
        for key in ("key", "another/key"):
            with pytest.raises(Changed):
                store.put(key, b"second", if_match=etag)
        assert list(store.list()) == []

    def test_one_condition_is_enough(self, store: ObjectStore) -> None:
        with pytest.raises(ValueError, match="if_absent and if_match"):
            store.put("key", b"", if_absent=True, if_match="etag")

    def test_one_of_many_creators_wins(self, store: ObjectStore) -> None:
        won = race(lambda data: store.put("race", data, if_absent=True), AlreadyExists)
        assert won.count(True) == 1
        assert store.read("race") == str(won.index(True)).encode()

    def test_one_of_many_replacers_wins(self, store: ObjectStore) -> None:
        etag = store.put("race", b"before").etag
        won = race(lambda data: store.put("race", data, if_match=etag), Changed)
        assert won.count(True) == 1
        assert store.read("race") == str(won.index(True)).encode()

    def test_nothing_is_lost_between_readers_that_write(self, store: ObjectStore) -> None:
        store.put("count", b"0")

        def increment(_: int) -> None:
            while True:
                info = known(store, "count")
                try:
                    number = int(store.read("count", if_match=info.etag))
                    store.put("count", str(number + 1).encode(), if_match=info.etag)
                except Changed:
                    continue
                return

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(increment, range(12)))
        assert store.read("count") == b"12"

    def test_only_the_object_with_the_etag_is_read(
        self, store: ObjectStore, tmp_path: Path
    ) -> None:
        first = store.put("key", b"first")
        assert store.read("key", if_match=first.etag) == b"first"
        assert store.get("key", tmp_path / "target", if_match=first.etag) == first
        store.put("key", b"second")
        with pytest.raises(Changed):
            store.read("key", if_match=first.etag)
        with pytest.raises(Changed):
            store.read("key", start=1, end=2, if_match=first.etag)
        with pytest.raises(Changed):
            store.get("key", tmp_path / "target", if_match=first.etag)
        assert (tmp_path / "target").read_bytes() == b"first"
