"""``MANIFEST.json``: what a directory holds, byte for byte, and proof that the list is whole.

The last entry, ``self_sha256``, is the digest of the rest of the document as compact JSON with
sorted keys. It stays where and what it is in every later format version: that is how a manifest of
a newer version (an error to report) is told from a damaged one (a directory to skip).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from tt_experiment import _json
from tt_experiment._durable import Digest, digest_file
from tt_experiment.errors import CorruptCheckpoint, FormatVersionError

__all__ = ["NAME", "Manifest", "check_format"]

NAME = "MANIFEST.json"
_THREADS = 4
_MAX_BYTES = 64 << 20  # a manifest that is larger was not written by us


@dataclass(frozen=True)
class Manifest:
    """Format, facts and file digests of one directory."""

    format: str
    facts: Mapping[str, Any]
    files: Mapping[str, Digest] = field(default_factory=dict)

    def dumps(self) -> bytes:
        """The document, signed with its own digest."""
        document = {
            "format": self.format,
            **self.facts,
            "files": {name: digest._asdict() for name, digest in self.files.items()},
        }
        return _json.dumps({**document, "self_sha256": _signature(document)})

    @classmethod
    def read(cls, directory: Path, newest: str) -> Manifest:
        """Read and check the manifest of a directory; its files are not looked at yet.

        Args:
            directory: What the manifest describes.
            newest: Newest format that the caller reads, as ``tt-checkpoint/1``.

        Raises:
            CorruptCheckpoint: It is missing, damaged, or of another kind of directory.
            FormatVersionError: It is whole and newer than ``newest``.
        """
        document = _parse(directory)
        found = str(document.pop("format", None))
        check_format(directory, found, newest)
        return cls(found, document, _listed(directory, document.pop("files", None)))

    def read_file(self, directory: Path, name: str) -> bytes:
        """The content of a small file.

        Raises:
            CorruptCheckpoint: It is missing or is not what was written.
        """
        try:
            content = (directory / name).read_bytes()
            expected = self.files[name]
        except (OSError, KeyError) as error:
            msg = f"{directory / name} cannot be read: {error!r}"
            raise CorruptCheckpoint(msg) from error
        if Digest(len(content), hashlib.sha256(content).hexdigest()) != expected:
            msg = f"{directory / name} is not what was written: its sha256 is not the manifest's"
            raise CorruptCheckpoint(msg)
        return content

    def verify(self, directory: Path) -> None:
        """Compare every file with its size and digest.

        Raises:
            CorruptCheckpoint: Names the first file that is missing or is not what was written.
        """
        with ThreadPoolExecutor(_THREADS) as threads:  # hashing leaves the interpreter's lock
            list(threads.map(partial(self._verify_file, directory), self.files))

    def _verify_file(self, directory: Path, name: str) -> None:
        expected = self.files[name]
        try:
            size = (directory / name).stat().st_size
            found = digest_file(directory / name) if size == expected.bytes else None
        except OSError as error:
            msg = f"{directory / name} cannot be read: {error}"
            raise CorruptCheckpoint(msg) from error
        if found is None:
            msg = f"{directory / name} must have {expected.bytes} bytes. Got {size}"
            raise CorruptCheckpoint(msg)
        if found != expected:
            msg = f"{directory / name} is not what was written: its sha256 is not the manifest's"
            raise CorruptCheckpoint(msg)


def _listed(directory: Path, files: Any) -> dict[str, Digest]:
    try:
        listed = {name: Digest(entry["bytes"], entry["sha256"]) for name, entry in files.items()}
    except (AttributeError, KeyError, TypeError) as error:
        msg = f"{directory}: a manifest tells the size and digest of each file. Got {error!r}"
        raise CorruptCheckpoint(msg) from error
    for name in listed:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            msg = f"{directory}: a manifest names files below its directory. Got {name!r}"
            raise CorruptCheckpoint(msg)
    return listed


def _signature(document: Mapping[str, Any]) -> str:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _parse(directory: Path) -> dict[str, Any]:
    path = directory / NAME
    try:
        if path.stat().st_size > _MAX_BYTES:
            msg = f"a manifest has at most {_MAX_BYTES} bytes"
            raise ValueError(msg)
        document = _json.load_object(path.read_bytes())
        if _signature_of(document) != document.pop("self_sha256"):
            msg = "its own digest differs"
            raise ValueError(msg)
    except (OSError, ValueError, KeyError) as error:
        msg = f"{path} is missing or damaged: {error}"
        raise CorruptCheckpoint(msg) from error
    return document


def _signature_of(document: Mapping[str, Any]) -> str:
    return _signature({key: value for key, value in document.items() if key != "self_sha256"})


def check_format(path: Path, found: Any, newest: str) -> None:
    """Look whether this version reads a format.

    Raises:
        CorruptCheckpoint: It is of another kind.
        FormatVersionError: It is newer than ``newest``.
    """
    kind, _, version = str(found).partition("/")
    our_kind, _, our_version = newest.partition("/")
    if kind != our_kind or not version.isdigit():
        msg = f"{path} must hold a {our_kind}. Got format {found!r}"
        raise CorruptCheckpoint(msg)
    if int(version) > int(our_version):
        msg = (
            f"{path} was written in format {found}, and this version reads up to {newest}: "
            "pip install -U tt-experiment"
        )
        raise FormatVersionError(msg)
