"""Checksums of a whole from those of its pieces, against those that libraries compute at once."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_cloud._transfer.crc import CRC32, CRC32C, joined, joined_parts

pieces = st.lists(st.binary(max_size=300), max_size=8)


@given(pieces)
def test_crc32_is_that_of_zlib(data: list[bytes]) -> None:
    known = [(zlib.crc32(piece), len(piece)) for piece in data]
    assert joined(CRC32, known) == zlib.crc32(b"".join(data))


@given(pieces)
def test_crc32c_is_that_of_google(data: list[bytes]) -> None:
    google_crc32c = pytest.importorskip("google_crc32c")
    known = [(google_crc32c.value(piece), len(piece)) for piece in data]
    assert joined(CRC32C, known) == google_crc32c.value(b"".join(data))


@given(st.binary(min_size=1, max_size=2000), st.integers(1, 500))
def test_parts_have_one_size_but_the_last(data: bytes, size: int) -> None:
    crcs = [zlib.crc32(data[start : start + size]) for start in range(0, len(data), size)]
    assert joined_parts(CRC32, crcs, size, len(data)) == zlib.crc32(data)


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_any_width_will_do(data: list[bytes]) -> None:
    polynomial = 0x9A6C9329AC4BC9B5  # CRC-64/NVME, bit by bit

    def crc(content: bytes) -> int:
        found = (1 << 64) - 1
        for byte in content:
            found ^= byte
            for _ in range(8):
                found = found >> 1 ^ (polynomial if found & 1 else 0)
        return found ^ ((1 << 64) - 1)

    assert crc(b"123456789") == 0xAE8B14860A799888  # the catalogue's check value
    assert joined(polynomial, [(crc(piece), len(piece)) for piece in data]) == crc(b"".join(data))


def test_terabytes_take_no_time() -> None:
    assert joined(CRC32, [(1, 0), (zlib.crc32(b""), 1 << 45)]) == joined(
        CRC32, [(1, 0), (0, 1 << 44), (0, 1 << 44)]
    )
