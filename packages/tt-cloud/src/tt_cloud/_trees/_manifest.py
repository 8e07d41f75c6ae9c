"""The manifest of a committed set: which object holds which file; see `tt_cloud.commits`."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tt_cloud._keys import check_key
from tt_cloud.api import ObjectStore
from tt_cloud.errors import BucketNotFound, NotCommitted, NotFound, ProtocolError

MANIFEST = "MANIFEST.json"
"""Name of the manifest below the prefix."""

FILES = "files"
"""What the keys of a set's objects begin with, below the prefix."""

_FORMAT = "tt-cloud manifest"
_VERSION = 1
_DIGITS = 32  # no two contents of one path meet, not even on purpose
_OBJECT = re.compile(rf"{FILES}/[0-9a-f]{{{_DIGITS}}}/.+")
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class CommittedFile:
    """One file of a set.

    Attributes:
        path: Below the folder that was committed.
        size: Bytes.
        sha256: Hex digest of its content.
        key: The object that holds it: in a `Manifest` that was read, below the store.
    """

    path: str
    size: int
    sha256: str
    key: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """A committed set.

    Attributes:
        commit: Another after each commit.
        created: When it was committed.
        files: Ordered by path.
    """

    commit: str
    created: datetime
    files: tuple[CommittedFile, ...]


def read_manifest(store: ObjectStore, prefix: str = "", /) -> Manifest:
    """The set that is committed to a prefix.

    Raises:
        NotCommitted: When there is none.
        ProtocolError: When the manifest is none of this package, or of a version to come.
        UnsafeKey: When it names a file or an object by what is no plain relative path.
    """
    data = _data(store, prefix)
    if data is None:
        raise not_committed(store, prefix)
    return parsed(data, prefix, joined(store.url, joined(prefix, MANIFEST)))


def find_manifest(store: ObjectStore, prefix: str) -> Manifest | None:
    """The set that is committed to a prefix; `None` where there are only other objects."""
    data = _data(store, prefix)
    if data is None or recognised(data) is None:
        return None
    return parsed(data, prefix, joined(store.url, joined(prefix, MANIFEST)))


def is_manifest(key: str) -> bool:
    """Whether a key is that of a manifest, wherever the set lies."""
    return key.rpartition("/")[2] == MANIFEST


def is_object(name: str) -> bool:
    """Whether a key below a set's prefix looks like that of one of its files."""
    return _OBJECT.fullmatch(name) is not None


def object_key(path: str, sha256: str) -> str:
    """The object for a file of a set, below the set's prefix."""
    # Of the path, too: as files, "a" and "a/b" of the same content could not lie side by side.
    digest = hashlib.sha256(f"{path}\0{sha256}".encode()).hexdigest()
    return f"{FILES}/{digest[:_DIGITS]}/{path}"


def _data(store: ObjectStore, prefix: str) -> bytes | None:
    try:
        return store.read(joined(prefix, MANIFEST))
    except BucketNotFound:
        raise
    except NotFound:
        return None


def joined(prefix: str, name: str) -> str:
    """The key of a name below a prefix, which may be empty."""
    return f"{prefix}/{name}" if prefix else name


def not_committed(store: ObjectStore, prefix: str) -> NotCommitted:
    """The error for a place without a manifest."""
    where = joined(store.url, prefix).rstrip("/")
    msg = f"a committed set has a {MANIFEST}: {where} has none; commit a folder to it first"
    return NotCommitted(msg)


def unfinished(store: ObjectStore, prefix: str) -> NotCommitted:
    """The error for a place that only has what an unfinished first commit leaves."""
    where = joined(store.url, prefix).rstrip("/")
    msg = f"a set is read when it is complete: the commit to {where} is not; commit it again"
    return NotCommitted(msg)


def written(manifest: Manifest) -> bytes:
    """The manifest as it is stored; its keys are relative to the prefix."""
    head = {
        "format": _FORMAT,
        "version": _VERSION,
        "commit": manifest.commit,
        "created": manifest.created.isoformat(),
    }
    lines = [f" {_text(name)}: {_text(value)}" for name, value in head.items()]
    files = [
        f"  {_text({'path': f.path, 'size': f.size, 'sha256': f.sha256, 'key': f.key})}"
        for f in manifest.files
    ]
    inside = ",\n".join(files)
    lines.append(f' "files": [\n{inside}\n ]' if files else ' "files": []')
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def parsed(data: bytes, prefix: str, where: str) -> Manifest:
    """What `written` wrote; its keys are now those of the store."""
    found = recognised(data)
    if found is None:
        msg = f"a manifest is one of this package: {where} is another file; use another prefix"
        raise ProtocolError(msg)
    if found.get("version") != _VERSION:
        came = f"{where} has version {found.get('version')!r}"
        msg = f"a manifest of version {_VERSION} is understood: {came}; install a newer tt-cloud"
        raise ProtocolError(msg)
    try:
        return _manifest(found, prefix)
    except (KeyError, TypeError, AttributeError, _MalformedError) as error:
        msg = f"a manifest is as a commit writes it: {where} is not ({error}); commit again"
        raise ProtocolError(msg) from error


def recognised(data: bytes) -> Mapping[str, Any] | None:
    """The fields of a manifest of any version; `None` for every other file."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    ours = isinstance(found, dict) and found.get("format") == _FORMAT
    return found if ours else None


class _MalformedError(Exception):
    """A field is not what it should be."""


def _manifest(found: Mapping[str, Any], prefix: str) -> Manifest:
    files = tuple(_file(each, prefix) for each in found["files"])
    paths = [file.path for file in files]
    _demand(paths == sorted(set(paths)), "its paths are not ordered")
    return Manifest(_string(found["commit"]), _time(found["created"]), files)


def _file(found: Mapping[str, Any], prefix: str) -> CommittedFile:
    path, sha256, key = (_string(found[name]) for name in ("path", "sha256", "key"))
    size = found["size"]
    _demand(type(size) is int and size >= 0, f"size {size!r}")
    _demand(_SHA256.fullmatch(sha256) is not None, f"sha256 {sha256!r}")
    _demand(key.startswith(FILES + "/"), f"key {key!r}")
    check_key(path)
    check_key(key)
    return CommittedFile(path, size, sha256, joined(prefix, key))


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise _MalformedError(error) from error


def _string(value: object) -> str:
    _demand(isinstance(value, str), f"{value!r} is no text")
    return str(value)


def _demand(holds: bool, fault: str) -> None:
    if not holds:
        raise _MalformedError(fault)


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
