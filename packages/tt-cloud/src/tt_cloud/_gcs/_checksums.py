"""CRC32C, which Google keeps of every object."""

from __future__ import annotations

import base64

import google_crc32c

_CHUNK = 256 << 10  # what is copied stays in the processor's cache


def crc32c(data: memoryview) -> int:
    """Of bytes anywhere in memory: the library takes nothing but `bytes`."""
    found = 0
    for start in range(0, len(data), _CHUNK):
        found = google_crc32c.extend(found, data[start : start + _CHUNK].tobytes())
    return found


def to_wire(checksum: int) -> str:
    """As the service writes it."""
    return base64.b64encode(checksum.to_bytes(4, "big")).decode()
