"""Objects to files, with somebody who looks on and may stop it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tt_cloud._contract.base import (
    Abilities,
    Stop,
    known,
    sha256_of,
)
from tt_cloud.api import ObjectStore
from tt_cloud.errors import (
    Cancelled,
    NotFound,
)


class Getting(Abilities):
    """Objects to files, with somebody who looks on and may stop it."""

    def test_a_missing_object_leaves_no_file(self, store: ObjectStore, tmp_path: Path) -> None:
        assert store.head("missing") is None
        assert not store.exists("missing")
        with pytest.raises(NotFound, match="missing"):
            store.read("missing")
        with pytest.raises(NotFound, match="missing"):
            store.read("missing", start=1, end=2)
        with pytest.raises(NotFound, match="missing"):
            store.get("missing", tmp_path / "target")
        with pytest.raises(NotFound, match="missing"):
            store.open("missing").read()
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

    def test_get_does_not_follow_a_link(self, store: ObjectStore, tmp_path: Path) -> None:
        store.put("key", b"new")
        (tmp_path / "elsewhere").write_bytes(b"old")
        (tmp_path / "target").symlink_to(tmp_path / "elsewhere")
        store.get("key", tmp_path / "target")
        assert (tmp_path / "target").read_bytes() == b"new"
        assert (tmp_path / "elsewhere").read_bytes() == b"old"

    def test_a_folder_is_no_target(self, store: ObjectStore, tmp_path: Path) -> None:
        store.put("key", b"data")
        with pytest.raises(IsADirectoryError, match="folder"):
            store.get("key", tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_progress_adds_up(self, store: ObjectStore, tmp_path: Path) -> None:
        for size in (0, 10, self.large):
            seen: list[tuple[str, int, int]] = []
            store.put("key", bytes(size), progress=lambda *told: seen.append(told))  # noqa: B023 - called at once
            assert sum(moved for _, moved, _ in seen) == size
            assert {(key, total) for key, _, total in seen} <= {("key", size)}
            seen.clear()
            store.get("key", tmp_path / "target", progress=lambda *told: seen.append(told))  # noqa: B023 - called at once
            assert sum(moved for _, moved, _ in seen) == size
            assert {(key, total) for key, _, total in seen} <= {("key", size)}

    def test_a_call_stops_before_it_begins(self, store: ObjectStore, tmp_path: Path) -> None:
        cancel = threading.Event()
        store.put("there", b"data", cancel=cancel)
        cancel.set()
        for data in (b"", b"data"):
            with pytest.raises(Cancelled):
                store.put("key", data, cancel=cancel)
        with pytest.raises(Cancelled):
            store.get("there", tmp_path / "target", cancel=cancel)
        assert not store.exists("key")
        assert list(tmp_path.iterdir()) == []

    def test_a_call_stops_in_the_middle(self, store: ObjectStore, tmp_path: Path) -> None:
        store.put("key", bytes(self.large))
        (tmp_path / "target").write_bytes(b"before")
        stop = Stop()
        with pytest.raises(Cancelled):
            store.put("key", b"1" * self.large, progress=stop, cancel=stop.cancel)
        stop = Stop()
        with pytest.raises(Cancelled):
            store.get("key", tmp_path / "target", progress=stop, cancel=stop.cancel)
        assert known(store, "key").sha256 == sha256_of(bytes(self.large))
        assert (tmp_path / "target").read_bytes() == b"before"
