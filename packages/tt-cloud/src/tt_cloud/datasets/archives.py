"""Archives unpacked so that nothing lands elsewhere, links anywhere, or fills the disk.

What an archive is, the ending of its name says: ``.zip``, ``.tar``, ``.tar.gz`` (``.tgz``),
``.tar.bz2`` (``.tbz2``), ``.tar.xz`` (``.txz``), and ``.gz``, ``.bz2``, ``.xz`` for one file.
"""

from __future__ import annotations

import os
import secrets
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from lzma import LZMAError
from pathlib import Path
from typing import NamedTuple

from tt_cloud._keys import TEMPORARY_PREFIX
from tt_cloud.api import Cancel
from tt_cloud.datasets._archives.limits import Limits, Meter
from tt_cloud.datasets._archives.single import unpack_single
from tt_cloud.datasets._archives.tar import unpack_tar
from tt_cloud.datasets._archives.writer import Writer
from tt_cloud.datasets._archives.zip import unpack_zip
from tt_cloud.errors import CloudError, UnsafeArchive, Unsupported

__all__ = ["ARCHIVE_ENDINGS", "ArchiveName", "Limits", "archive_name", "extract"]


class _Format(NamedTuple):
    kind: str
    compression: str = ""


_FORMATS = {  # longer endings first
    ".tar.gz": _Format("tar", "gz"),
    ".tar.bz2": _Format("tar", "bz2"),
    ".tar.xz": _Format("tar", "xz"),
    ".tbz2": _Format("tar", "bz2"),
    ".tgz": _Format("tar", "gz"),
    ".txz": _Format("tar", "xz"),
    ".tar": _Format("tar"),
    ".zip": _Format("zip"),
    ".bz2": _Format("single", "bz2"),
    ".gz": _Format("single", "gz"),
    ".xz": _Format("single", "xz"),
}

ARCHIVE_ENDINGS = tuple(_FORMATS)
"""Of the names of archives, longer ones first."""


class ArchiveName(NamedTuple):
    """What the name of an archive says.

    Attributes:
        stem: The name without its ending.
        ending: One of `ARCHIVE_ENDINGS`.
        single: Whether it holds one file without a name: that is the stem.
    """

    stem: str
    ending: str
    single: bool


def archive_name(name: str) -> ArchiveName | None:
    """Take a file's name apart; ``None`` when it is not that of an archive."""
    for ending, form in _FORMATS.items():
        if name.lower().endswith(ending) and len(name) > len(ending):
            return ArchiveName(name[: -len(ending)], ending, form.kind == "single")
    return None


def extract(
    archive: Path, target: Path, /, *, limits: Limits | None = None, cancel: Cancel | None = None
) -> None:
    """Unpack an archive into a new folder, which appears when everything is in it.

    Args:
        archive: Its name has one of `ARCHIVE_ENDINGS`.
        target: The folder; there must be nothing under that name.
        limits: How much it may become.
        cancel: Stops it when it is set.

    Raises:
        UnsafeArchive: When a member is a link or a device, would be written elsewhere or over
            another one, when there is too much, or when it is broken. Nothing is left of it.
        Unsupported: When it is encrypted, or packed in a way that Python cannot read.
        FileExistsError: When the folder is there.
    """
    named = archive_name(archive.name)
    if named is None:
        msg = f"an archive's name ends with {', '.join(ARCHIVE_ENDINGS)}: got {archive.name!r}"
        raise Unsupported(f"{msg}; rename it")
    if os.path.lexists(target):
        msg = f"an archive is unpacked to a new folder: {target} is there; name another"
        raise FileExistsError(msg)
    meter = Meter(limits or Limits(), archive.stat().st_size, cancel)
    with _beside(target) as folder, _readable(archive):
        _unpack(archive, named, Writer(folder, meter))
        folder.rename(target)


def _unpack(archive: Path, named: ArchiveName, writer: Writer) -> None:
    form = _FORMATS[named.ending]
    match form.kind:
        case "zip":
            unpack_zip(archive, writer)
        case "tar":
            unpack_tar(archive, form.compression, writer)
        case _:
            unpack_single(archive, form.compression, named.stem, writer)


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A new folder next to another, gone after the block unless it was renamed."""
    folder = target.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}.part"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        if folder.exists():
            shutil.rmtree(folder)


@contextmanager
def _readable(archive: Path) -> Iterator[None]:
    """Raise what Python's readers raise for rubbish as `UnsafeArchive`."""
    try:
        yield
    except CloudError:
        raise
    except NotImplementedError as error:
        msg = f"an archive is packed in a way that Python reads: {archive.name} is not ({error})"
        raise Unsupported(f"{msg}; pack it anew") from error
    except OSError as error:
        if error.errno is not None:  # of the disk
            raise
        raise _broken(archive, error) from error
    except (
        EOFError,
        LZMAError,
        OverflowError,
        RecursionError,  # headers upon headers
        ValueError,
        struct.error,
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise _broken(archive, error) from error


def _broken(archive: Path, error: Exception) -> UnsafeArchive:
    return UnsafeArchive(
        f"an archive must be whole: {archive.name} is not ({type(error).__name__}: {error}); "
        "pack it anew"
    )
