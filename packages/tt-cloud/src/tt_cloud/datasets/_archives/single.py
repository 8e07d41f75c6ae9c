"""Files that are compressed by themselves."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from tt_cloud.datasets._archives.writer import Writer, chunks_of

_OPENERS: dict[str, Callable[[Path], Any]] = {
    "": lambda path: path.open("rb"),
    "bz2": bz2.open,
    "gz": gzip.open,
    "xz": lzma.open,
}


def decompressed(archive: Path, compression: str) -> io.BufferedIOBase:
    """What is inside, as a stream; ``compression`` is ``gz``, ``bz2``, ``xz`` or empty."""
    return cast("io.BufferedIOBase", _OPENERS[compression](archive))


def unpack_single(archive: Path, compression: str, name: str, writer: Writer) -> None:
    """Write the one file under a name."""
    with decompressed(archive, compression) as stream:
        writer.write(writer.new_file(name), chunks_of(stream))
