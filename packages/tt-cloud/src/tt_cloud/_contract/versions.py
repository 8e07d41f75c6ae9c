"""Versions, and addresses that are signed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tt_cloud._contract.base import (
    Abilities,
    fetch,
    known,
)
from tt_cloud.api import ObjectStore
from tt_cloud.errors import (
    CloudError,
    Unsupported,
)


class Versions(Abilities):
    """Versions, and addresses that are signed."""

    def test_versions_begin_with_what_is_there(self, store: ObjectStore) -> None:
        assert store.versions("key") == ()
        store.put("key", b"first")
        store.put("key", b"second")
        store.put("key-beside", b"another")
        newest, *older = store.versions("key")
        now = known(store, "key")
        assert (newest.key, newest.size, newest.etag) == (now.key, now.size, now.etag)
        assert newest.sha256 in (None, now.sha256)
        assert [info.size for info in older] == ([5] if self.versioned else [])

    def test_a_version_that_there_never_was(self, store: ObjectStore) -> None:
        store.put("key", b"data")
        if self.checks_versions:
            with pytest.raises(CloudError):
                store.read("key", version="1")
        else:
            assert store.read("key", version="1") == b"data"

    def test_older_versions_can_be_read(self, store: ObjectStore, tmp_path: Path) -> None:
        store.put("key", b"first")
        store.put("key", b"second")
        if not self.versioned:
            assert len(store.versions("key")) == 1
            return
        store.delete("key")
        _, first = store.versions("key")
        assert store.head("key") is None
        assert store.read("key", version=first.version) == b"first"
        assert store.read("key", start=1, end=3, version=first.version) == b"ir"
        info = store.head("key", version=first.version)
        assert info is not None
        assert (info.size, info.etag, info.version) == (5, first.etag, first.version)
        assert store.get("key", tmp_path / "target", version=first.version).size == 5
        assert (tmp_path / "target").read_bytes() == b"first"
        with store.open("key", version=first.version) as stream:
            assert stream.read() == b"first"

    def test_a_signed_address_leads_to_the_object(self, store: ObjectStore) -> None:
        store.put("some key", b"data")
        if not self.presigns:
            with pytest.raises(Unsupported):
                store.presign("some key")
            return
        address = store.presign("some key")
        assert address.method == "GET"
        assert timedelta(minutes=14) < address.expires - datetime.now(UTC) < timedelta(minutes=16)
        assert fetch(address.reveal()) == b"data"
        query = address.reveal().partition("?")[2]
        assert query not in f"{address} {address!r}"

    def test_a_signed_address_takes_an_object(self, store: ObjectStore) -> None:
        if not self.presigns:
            with pytest.raises(Unsupported):
                store.presign("new", method="PUT")
            return
        address = store.presign("new", method="PUT", expires=timedelta(minutes=1))
        fetch(address.reveal(), b"from elsewhere")
        assert store.read("new") == b"from elsewhere"
        assert known(store, "new").sha256 is None

    @pytest.mark.parametrize("expires", [timedelta(0), timedelta(-1), timedelta(days=8)])
    def test_signed_addresses_expire(self, store: ObjectStore, expires: timedelta) -> None:
        with pytest.raises(ValueError, match="7 days"):
            store.presign("key", expires=expires)
