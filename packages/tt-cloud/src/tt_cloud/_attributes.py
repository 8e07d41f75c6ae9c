"""What is stored beside an object's content."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from tt_cloud._content import Content
from tt_cloud._stored import Attributes
from tt_cloud.api import ObjectInfo

OWN = "tt-"  # entries of this package begin so
SHA256 = "tt-sha256"
TOKEN = "tt-upload"  # noqa: S105 - a name, no secret
CRC32 = "tt-crc32"

MAX_METADATA_BYTES = 1536  # of S3's 2048, with room for this package's own

_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_TEXT = re.compile(r"[!-~]([ -~]*[!-~])?")  # some servers lose what is empty
_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+( *;[ -~]*[!-~])?", re.ASCII)
# What Python knows, the same on each machine; packed files it would take for what is in them.
_TYPES = mimetypes.MimeTypes(()).types_map[True] | {
    ".bz2": "application/x-bzip2",
    ".gz": "application/gzip",
    ".xz": "application/x-xz",
    ".zst": "application/zstd",
}


def attributes_of(
    key: str, content: Content, metadata: Mapping[str, str] | None, content_type: str | None
) -> Attributes:
    """The caller's entries, checked, and this package's."""
    entries = dict(metadata or {})
    _check(entries)
    if content_type is not None and not _TYPE.fullmatch(content_type):
        msg = (
            f"a content type is like 'text/plain; charset=utf-8': got {content_type!r}; correct it"
        )
        raise ValueError(msg)
    own = {SHA256: content.sha256, TOKEN: content.token}
    return Attributes(entries | own, content_type or guessed_type(key))


def guessed_type(key: str) -> str:
    """What the ending of a key tells."""
    return _TYPES.get(PurePosixPath(key).suffix.lower(), "application/octet-stream")


def callers(metadata: Mapping[str, str]) -> dict[str, str]:
    """The entries that are not this package's."""
    return {name: text for name, text in metadata.items() if not name.startswith(OWN)}


def portable(info: ObjectInfo) -> dict[str, Any]:
    """What of an object that another program stored can be stored with a copy of it, for `put`."""
    entries: dict[str, str] = {}
    for name, text in info.metadata.items():
        try:
            _check({**entries, name: text})
        except ValueError as error:
            _log().warning("%r is copied without a part of its metadata: %s", info.key, error)
        else:
            entries[name] = text
    usable = info.content_type is not None and _TYPE.fullmatch(info.content_type)
    return {"metadata": entries or None, "content_type": info.content_type if usable else None}


def _log() -> Any:
    import logging  # here, as `import tt_cloud` does without

    return logging.getLogger(__name__)


def _check(entries: Mapping[str, str]) -> None:
    for name, text in entries.items():
        if not _NAME.fullmatch(name) or name.startswith(OWN):
            msg = (
                "names of metadata have lower-case letters, digits and '-', and do not begin with "
                f"{OWN!r}: got {name!r}; rename it"
            )
            raise ValueError(msg)
        if not _TEXT.fullmatch(text):
            msg = (
                f"metadata is printable ASCII without space at its ends: {name!r} is not; encode it"
            )
            raise ValueError(msg)
    size = sum(len(name) + len(text) for name, text in entries.items())
    if size > MAX_METADATA_BYTES:
        msg = f"metadata has up to {MAX_METADATA_BYTES} bytes: got {size}; store an object instead"
        raise ValueError(msg)
