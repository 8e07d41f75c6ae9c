"""Zip archives."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Sequence
from pathlib import Path

from tt_cloud.datasets._archives.writer import CHUNK, Writer, chunks_of
from tt_cloud.errors import UnsafeArchive, Unsupported

_ENCRYPTED = 0x1
_LOCAL_HEADER = 30  # bytes at least between a member's offset and its content
_BOUNDED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_STEP = 4096  # of the other methods zipfile unpacks at once whatever it reads at once


def unpack_zip(archive: Path, writer: Writer) -> None:
    """Write all members."""
    with zipfile.ZipFile(archive) as file:
        members = file.infolist()
        _check_apart(members, file.start_dir)
        writer.meter.foresee(sum(member.file_size for member in members))
        for member in members:
            _check_kind(member)
            if member.is_dir():
                writer.make_folder(member.orig_filename)
            else:
                _unpack(file, member, writer)


def _unpack(file: zipfile.ZipFile, member: zipfile.ZipInfo, writer: Writer) -> None:
    step = CHUNK if member.compress_type in _BOUNDED else _STEP
    executable = bool(member.external_attr >> 16 & stat.S_IXUSR)
    path = writer.new_file(member.orig_filename)
    with file.open(member) as stream:
        size = writer.write(path, chunks_of(stream, step), executable=executable)
    if size != member.file_size:
        msg = (
            f"a member has the size that is told: {member.filename!r} has {size} bytes instead of "
            f"{member.file_size}; pack it anew"
        )
        raise UnsafeArchive(msg)


def _check_kind(member: zipfile.ZipInfo) -> None:
    """Refuse what is neither a plain file nor a folder, or cannot be read."""
    kind = stat.S_IFMT(member.external_attr >> 16)
    wanted = stat.S_IFDIR if member.is_dir() else stat.S_IFREG
    if kind not in (0, wanted) or (member.is_dir() and member.file_size):
        msg = (
            f"members of an archive are plain files and folders: {member.filename!r} is a link or "
            "device; pack what it leads to instead"
        )
        raise UnsafeArchive(msg)
    if member.flag_bits & _ENCRYPTED:
        msg = (
            f"members of an archive are read without a password: {member.filename!r} needs one; "
            "store it without"
        )
        raise Unsupported(msg)


def _check_apart(members: Sequence[zipfile.ZipInfo], end: int) -> None:
    """Refuse members that share bytes: so a few of them become as many as one likes."""
    for member in sorted(members, key=lambda each: each.header_offset, reverse=True):
        behind = member.header_offset + _LOCAL_HEADER + member.compress_size
        if behind > end or member.header_offset < 0:
            msg = (
                f"members of an archive lie one behind the other: {member.filename!r} overlaps "
                "what is behind it; pack it anew"
            )
            raise UnsafeArchive(msg)
        end = member.header_offset
