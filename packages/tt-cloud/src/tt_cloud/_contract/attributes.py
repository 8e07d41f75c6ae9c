"""What is stored beside the content."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tt_cloud._contract.base import (
    ATTRIBUTES,
    Abilities,
    known,
)
from tt_cloud.api import ObjectStore


class Attributes(Abilities):
    """What is stored beside the content."""

    def test_attributes_come_back(self, store: ObjectStore, tmp_path: Path) -> None:
        store.put("data.json", b"1,2", **ATTRIBUTES)
        for info in (known(store, "data.json"), store.get("data.json", tmp_path / "target")):
            assert dict(info.metadata) == ATTRIBUTES["metadata"]
            assert info.content_type == ATTRIBUTES["content_type"]

    @pytest.mark.parametrize(
        ("key", "expected"),
        [
            ("a/page.html", "text/html"),
            ("data.JSON", "application/json"),
            ("model.bin", "application/octet-stream"),
            ("archive.tar.gz", "application/gzip"),
            ("README", "application/octet-stream"),
        ],
    )
    def test_the_type_is_guessed(self, store: ObjectStore, key: str, expected: str) -> None:
        assert store.put(key, b"").content_type == expected
        assert known(store, key).content_type == expected

    def test_it_is_known_when_an_object_was_written(self, store: ObjectStore) -> None:
        store.put("key", b"")
        modified = known(store, "key").modified
        assert modified is not None
        assert abs(datetime.now(UTC) - modified) < timedelta(hours=1)
        assert [info.modified is not None for info in store.list()] == [True]

    @pytest.mark.parametrize(
        "attributes",
        [
            {"metadata": {"Upper": "case"}},
            {"metadata": {"tt-sha256": "this package's"}},
            {"metadata": {"": "no name"}},
            {"metadata": {"name": ""}},
            {"metadata": {"name": "line\nbreak"}},
            {"metadata": {"name": "ünïcode"}},
            {"metadata": {"name": " space at its ends "}},
            {"metadata": {"name": "x" * 2048}},
            {"content_type": "text/plain\r\nx-header: injected"},
            {"content_type": "text"},
        ],
        ids=str,
    )
    def test_attributes_that_no_header_holds_are_refused(
        self, store: ObjectStore, attributes: dict[str, Any]
    ) -> None:
        with pytest.raises(ValueError, match=r"metadata|content type"):
            store.put("key", b"", **attributes)
        assert not store.exists("key")
