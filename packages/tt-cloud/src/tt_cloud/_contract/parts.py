"""Parts of an object, and objects as streams."""

from __future__ import annotations

import io
import random
import zipfile

import pytest

from tt_cloud._contract.base import (
    DIGITS,
    Abilities,
)
from tt_cloud.api import ObjectStore
from tt_cloud.errors import (
    Changed,
)


class Parts(Abilities):
    """Parts of an object, and objects as streams."""

    @pytest.mark.parametrize(
        ("start", "end"),
        [
            *[(0, None), (0, 0), (0, 1), (3, 7), (9, 10), (5, None), (0, 99), (5, 99)],
            *[(10, None), (10, 10), (11, None), (50, 99), (7, 3)],
        ],
    )
    def test_a_range_is_a_slice(self, store: ObjectStore, start: int, end: int | None) -> None:
        store.put("digits", DIGITS)
        assert store.read("digits", start=start, end=end) == DIGITS[start:end]

    def test_an_empty_object_has_empty_ranges(self, store: ObjectStore) -> None:
        store.put("empty", b"")
        for start, end in [(0, None), (0, 1), (1, None), (1, 2)]:
            assert store.read("empty", start=start, end=end) == b""
        assert store.open("empty").read() == b""

    def test_positions_are_not_negative(self, store: ObjectStore) -> None:
        store.put("digits", DIGITS)
        for start, end in [(-1, None), (0, -1)]:
            with pytest.raises(ValueError, match="beginning"):
                store.read("digits", start=start, end=end)

    def test_a_stream_reads_like_a_file(self, store: ObjectStore) -> None:
        lines = b"one\ntwo\nthree"
        store.put("lines", lines)
        with store.open("lines") as stream:
            assert stream.readable()
            assert stream.seekable()
            assert not stream.writable()
            assert stream.readline() == b"one\n"
            assert list(stream) == [b"two\n", b"three"]
            assert stream.read() == b""
            assert stream.seek(-5, io.SEEK_END) == 8
            buffer = bytearray(3)
            assert stream.readinto(buffer) == 3  # type: ignore[attr-defined]  # not in BinaryIO
            assert buffer == b"thr"
            assert stream.seek(-1, io.SEEK_CUR) == 10
            assert stream.tell() == 10
            assert stream.seek(99) == 99
            assert stream.read(5) == b""
            with pytest.raises((OSError, ValueError)):
                stream.seek(-1)
        with pytest.raises(ValueError, match="closed"):
            stream.read()

    def test_a_stream_agrees_with_the_bytes(self, store: ObjectStore) -> None:
        chance = random.Random(7)
        data = chance.randbytes(3_000_000)
        store.put("random", data)
        with store.open("random") as stream, io.BytesIO(data) as expected:
            for _ in range(40):
                if chance.random() < 0.5:
                    place = chance.randrange(len(data) + 10)
                    assert stream.seek(place) == expected.seek(place)
                count = chance.choice([0, 1, 100, 70_000, 1_500_000])
                assert stream.read(count) == expected.read(count)
                assert stream.tell() == expected.tell()

    def test_a_stream_is_enough_for_an_archive(self, store: ObjectStore) -> None:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("inside.txt", DIGITS * 1000)
        store.put("archive.zip", archive.getvalue())
        with store.open("archive.zip") as stream, zipfile.ZipFile(stream) as file:
            assert file.read("inside.txt") == DIGITS * 1000

    def test_a_stream_sees_one_version(self, store: ObjectStore) -> None:
        store.put("key", b"1" * self.large)
        with store.open("key") as stream:
            assert stream.read(1) == b"1"
            store.put("key", b"2" * self.large)
            stream.seek(self.large - 10)
            with pytest.raises(Changed):
                stream.read(10)
