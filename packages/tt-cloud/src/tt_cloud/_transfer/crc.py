"""Checksums of a whole from those of its parts, for any CRC of the usual, reflected kind.

A CRC's polynomial is written with its lowest power in the highest bit, whose place is the width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

CRC32 = 0xEDB88320
CRC32C = 0x82F63B78


def joined(polynomial: int, pieces: Iterable[tuple[int, int]]) -> int:
    """The CRC of pieces behind one another, from the CRC and the length in bytes of each."""
    whole = 0
    for crc, length in pieces:
        whole = _times(polynomial, _behind(polynomial, length), whole) ^ crc
    return whole


def joined_parts(polynomial: int, crcs: Sequence[int], part_size: int, size: int) -> int:
    """The same for parts of one size, but the last, that have so many bytes together."""
    last = size - part_size * (len(crcs) - 1)
    lengths = [part_size] * (len(crcs) - 1) + [last]
    return joined(polynomial, zip(crcs, lengths, strict=True))


@lru_cache(256)
def _behind(polynomial: int, length: int) -> int:
    """What so many bytes behind it do to a CRC: x to the power of their bits."""
    one = 1 << (polynomial.bit_length() - 1)
    power, square = one, one >> 8
    while length:
        if length & 1:
            power = _times(polynomial, power, square)
        square = _times(polynomial, square, square)
        length >>= 1
    return power


def _times(polynomial: int, left: int, right: int) -> int:
    """Multiply modulo the polynomial."""
    product, top = 0, 1 << (polynomial.bit_length() - 1)
    low = top - 1
    while left:
        if left & top:
            product ^= right
        left = (left & low) << 1
        right = right >> 1 ^ polynomial if right & 1 else right >> 1
    return product
