"""Tar archives, plain or compressed."""

from __future__ import annotations

import io
import stat
import tarfile
from pathlib import Path
from typing import BinaryIO, cast

from tt_cloud.datasets._archives.limits import Meter
from tt_cloud.datasets._archives.single import decompressed
from tt_cloud.datasets._archives.writer import CHUNK, Writer, chunks_of
from tt_cloud.errors import UnsafeArchive

_HEADERS = 4 << 20  # bytes before a member's content; long names and their like take some KiB
_KINDS = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
}


def unpack_tar(archive: Path, compression: str, writer: Writer) -> None:
    """Write all members; everything is read to its end, where compressed files have a digest."""
    with decompressed(archive, compression) as plain:
        stream = _Bounded(plain)
        stream.allow(_HEADERS)
        with tarfile.open(fileobj=cast("BinaryIO", stream), mode="r:", encoding="utf-8") as file:
            while (member := file.next()) is not None:
                _unpack(file, member, stream, writer)
                file.members.clear()  # type: ignore[attr-defined]  # it keeps all that it read
                stream.allow(_HEADERS)
            _check_end(file, stream, writer.meter)


def _unpack(
    file: tarfile.TarFile, member: tarfile.TarInfo, stream: _Bounded, writer: Writer
) -> None:
    _check_kind(member)
    if member.isdir():
        writer.make_folder(member.name)
        return
    path = writer.new_file(member.name)
    mode = _filtered(member, writer.folder).mode or 0
    stream.allow(member.size + CHUNK)
    content = file.extractfile(member)
    if content is None:  # of links only
        raise _refused(member, "has no content")
    with content:
        chunks = chunks_of(content)
        size = writer.write(path, chunks, executable=bool(mode & stat.S_IXUSR))
    if size != member.size:
        raise _refused(member, f"has {size} bytes instead of {member.size}")


def _filtered(member: tarfile.TarInfo, folder: Path) -> tarfile.TarInfo:
    """A second opinion: Python's own."""
    if not hasattr(tarfile, "data_filter"):  # before Python 3.11.4
        return member
    return tarfile.data_filter(member, str(folder))


def _check_kind(member: tarfile.TarInfo) -> None:
    if member.size < 0:
        raise _refused(member, f"has a size of {member.size} bytes")
    if member.issparse():
        raise _refused(member, "is a sparse file")
    if not member.isreg() and not member.isdir():
        raise _refused(member, f"is {_KINDS.get(member.type, 'of an unknown kind')}")


def _refused(member: tarfile.TarInfo, fault: str) -> UnsafeArchive:
    return UnsafeArchive(
        f"members of an archive are plain files and folders: {member.name!r} {fault}; pack it anew "
        "without that"
    )


def _check_end(file: tarfile.TarFile, stream: _Bounded, meter: Meter) -> None:
    """Read what is left: a broken header also ends the loop above, without an error."""
    stream.allow(CHUNK)
    stream.seek(file.offset)
    if stream.read(tarfile.BLOCKSIZE).strip(b"\0"):
        msg = f"a tar archive ends with empty blocks: this one breaks off at byte {file.offset}; "
        raise UnsafeArchive(msg + "pack it anew")
    while True:
        stream.allow(CHUNK)
        if not (rest := stream.read(CHUNK)):
            return
        meter.add(len(rest))


class _Bounded:
    """A stream that gives tarfile only as much as it should need.

    It believes sizes in headers, and keeps in memory what they announce.
    """

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self._stream = stream
        self._left = 0

    def allow(self, size: int) -> None:
        """Let so much be read from now on."""
        self._left = size

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= self._left:
            msg = f"headers of a tar take up to {_HEADERS} bytes: these take more; pack it anew"
            raise UnsafeArchive(msg)
        self._left -= size
        return self._stream.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def close(self) -> None:
        self._stream.close()
