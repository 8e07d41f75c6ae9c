"""What goes in comes out."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tt_cloud._contract.base import (
    ATTRIBUTES,
    DIGITS,
    Abilities,
    OneWay,
    known,
    sha256_of,
)
from tt_cloud.api import ObjectInfo, ObjectStore
from tt_cloud.errors import (
    ChecksumMismatch,
)


class Putting(Abilities):
    """What goes in comes out."""

    @pytest.mark.parametrize("data", [b"", b"one", bytes(range(256)) * 20_480], ids=len)
    def test_bytes_come_back(self, store: ObjectStore, data: bytes) -> None:
        info = store.put("some/bytes.bin", data)
        assert info == ObjectInfo("some/bytes.bin", len(data), sha256_of(data))
        assert store.head("some/bytes.bin") == info
        assert store.read("some/bytes.bin") == data

    @pytest.mark.parametrize("size", [0, 5_000_000])
    def test_files_come_back(self, store: ObjectStore, tmp_path: Path, size: int) -> None:
        source, target = tmp_path / "source", tmp_path / "target"
        source.write_bytes(bytes(size))
        assert store.get(store.put("file", source).key, target) == store.head("file")
        assert target.read_bytes() == bytes(size)

    def test_all_kinds_of_sources_are_taken(self, store: ObjectStore, tmp_path: Path) -> None:
        file = tmp_path / "file"
        file.write_bytes(DIGITS)
        behind = io.BytesIO(b"begun " + DIGITS)
        behind.seek(6)
        with file.open("rb") as stream, file.open("rb") as pipe:
            sources: dict[str, Any] = {
                "path": file,
                "bytes": DIGITS,
                "stream": stream,
                "begun stream": behind,
                "stream that cannot seek": io.BufferedReader(OneWay(pipe)),
                "iterator": iter([b"01234", b"", b"56789"]),
                "list": [b"0", b"123456789"],
            }
            for name, source in sources.items():
                info = store.put(name, source)
                assert info == ObjectInfo(name, 10, sha256_of(DIGITS)), name
                assert store.read(name) == DIGITS, name

    def test_a_source_that_fails_is_not_stored(self, store: ObjectStore) -> None:
        def failing() -> Iterator[bytes]:
            yield b"begun"
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            store.put("key", failing())
        assert not store.exists("key")

    def test_a_missing_source_is_reported(self, store: ObjectStore, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            store.put("key", tmp_path / "missing")
        assert store.head("key") is None

    def test_a_folder_is_no_source(self, store: ObjectStore, tmp_path: Path) -> None:
        with pytest.raises(IsADirectoryError):
            store.put("key", tmp_path)
        assert store.head("key") is None

    @pytest.mark.parametrize(
        "key",
        ["ключ/鍵/🔑.txt", "with space/and+plus%20", "a=b&c?d#e", ".hidden/..x", "~/$HOME/*'"],
    )
    def test_a_key_may_hold_any_text(self, store: ObjectStore, key: str) -> None:
        store.put(key, b"content")
        assert store.read(key) == b"content"
        assert [info.key for info in store.list()] == [key]
        assert store.copy(key, "copy").size == 7
        store.delete(key)
        assert store.head(key) is None

    def test_a_given_digest_is_checked(self, store: ObjectStore) -> None:
        assert store.put("right", b"data", sha256=sha256_of(b"data").upper()).size == 4
        for key in ("right", "wrong"):
            with pytest.raises(ChecksumMismatch, match="sha256"):
                store.put(key, b"new", sha256=sha256_of(b"other"))
        assert store.head("wrong") is None
        assert store.read("right") == b"data"

    def test_put_replaces(self, store: ObjectStore) -> None:
        before = store.put("key", b"first", **ATTRIBUTES)
        after = store.put("key", b"second, longer")
        assert store.read("key") == b"second, longer"
        assert [info.size for info in store.list()] == [14]
        assert before.etag != after.etag
        assert dict(known(store, "key").metadata) == {}

    def test_the_same_again_has_another_etag_or_is_the_same(self, store: ObjectStore) -> None:
        etags = {store.put("key", data).etag for data in (b"a", b"b", b"a")}
        assert len(etags) >= 2
        assert store.put("key", b"c").etag not in etags
