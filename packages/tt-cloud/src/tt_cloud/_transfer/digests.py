"""Which digest of an object can be checked, and how."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from tt_cloud._stored import Stored
from tt_cloud._transfer import crc
from tt_cloud.errors import ChecksumMismatch

_HASHES = ("sha256", "sha1", "md5")
_COPY = 256 << 10


class Rolling(NamedTuple):
    """A checksum of pieces from which that of the whole follows."""

    name: str
    polynomial: int
    update: Callable[[memoryview, int], int]


CRC32 = Rolling("crc32", crc.CRC32, zlib.crc32)


def rolling(stored: Stored) -> Rolling | None:
    """One that is known of the object, and that can be computed here."""
    if "crc32" in stored.checksums:
        return CRC32
    if "crc32c" in stored.checksums and (update := _crc32c()) is not None:
        return Rolling("crc32c", crc.CRC32C, update)
    return None


def hashing(stored: Stored) -> tuple[str, Any] | None:
    """The name of a digest that is known of the object, and an empty one."""
    for name in _HASHES:
        if expected(stored, name) is not None:
            return name, hashlib.new(name, usedforsecurity=name == "sha256")
    return None


def expected(stored: Stored, name: str) -> str | None:
    """What a digest of the object must be."""
    if name == "sha256" and stored.sha256 is not None:
        return stored.sha256
    return stored.checksums.get(name)


def verify(data: bytearray, stored: Stored, where: str, *, quick: bool = False) -> None:
    """Compare the content of an object with the best digest that is known of it.

    Args:
        data: All of it.
        stored: What is known.
        where: For the message.
        quick: Whether there is so much of it that a checksum is to be preferred.
    """
    sha256 = stored.sha256
    if sha256 is not None and not quick:
        compare("sha256", hashlib.sha256(data).hexdigest(), sha256, where)
    elif (roll := rolling(stored)) is not None:
        came = f"{roll.update(memoryview(data), 0):08x}"
        compare(roll.name, came, stored.checksums[roll.name], where)
    elif (found := hashing(stored)) is not None:
        name, digest = found
        digest.update(data)
        compare(name, digest.hexdigest(), expected(stored, name), where)


def compare(name: str, came: str, wanted: str | None, where: str) -> None:
    """Refuse content with another digest."""
    if came != (wanted or "").lower():
        fault = f"{name} {came} instead of {wanted}"
        msg = f"an object must come as it was stored: {where} came with {fault}; get it again"
        raise ChecksumMismatch(msg)


@cache
def _crc32c() -> Callable[[memoryview, int], int] | None:
    """Of a library that comes with Google's client."""
    try:
        from google_crc32c import extend
    except ImportError:
        return None

    def update(data: memoryview, found: int) -> int:
        for start in range(0, len(data), _COPY):  # it takes nothing but `bytes`
            found = extend(found, data[start : start + _COPY].tobytes())
        return found

    return update
