"""Objects as the service describes them: in JSON, or in the headers of a download."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from tt_cloud._attributes import CRC32, SHA256, TOKEN, callers
from tt_cloud._options import Writing
from tt_cloud._stored import Attributes, Stored

FIELDS = "name,size,generation,timeCreated,contentType,metadata,md5Hash,crc32c"
"""What a description must have to be read here."""

_META = "x-goog-meta-"
_TOTAL = re.compile(r"bytes (?:\d+-\d+|\*)/(\d+)")
_NAMES = {"crc32c": "crc32c", "md5Hash": "md5"}


def described(resource: Mapping[str, Any]) -> Stored:
    """An object from its JSON."""
    written = resource.get("timeCreated")
    return _stored(
        int(resource["size"]),
        str(resource["generation"]),
        resource.get("metadata") or {},
        {ours: resource[name] for name, ours in _NAMES.items() if name in resource},
        None if written is None else datetime.fromisoformat(written),
        resource.get("contentType"),
    )


def announced(headers: Mapping[str, str]) -> Stored:
    """An object from the headers that come with its content, or with a part of that."""
    written = headers.get("last-modified")
    return _stored(
        _size(headers),
        headers["x-goog-generation"],
        dict(_metadata(headers)),
        dict(_hashes(headers.get("x-goog-hash", ""))),
        None if written is None else parsedate_to_datetime(written),
        headers.get("content-type"),
    )


def resource_of(name: str, attributes: Attributes, writing: Writing) -> dict[str, Any]:
    """The JSON of an object to be."""
    resource: dict[str, Any] = {
        "name": name,
        "contentType": attributes.content_type,
        "metadata": dict(attributes.metadata),
    }
    if writing.storage_class is not None:
        resource["storageClass"] = writing.storage_class
    return resource


def _stored(
    size: int,
    generation: str,
    metadata: Mapping[str, str],
    hashes: Mapping[str, str],
    modified: datetime | None,
    content_type: str | None,
) -> Stored:
    checksums = {name: base64.b64decode(text, validate=True).hex() for name, text in hashes.items()}
    if CRC32 in metadata:
        checksums["crc32"] = metadata[CRC32]
    return Stored(
        size=size,
        etag=generation,
        sha256=metadata.get(SHA256),
        token=metadata.get(TOKEN),
        version=generation,
        modified=modified,
        content_type=content_type,
        metadata=callers(metadata),
        checksums=checksums,
    )


def _size(headers: Mapping[str, str]) -> int:
    """Bytes as they are stored: not of the range that was asked for."""
    total = _TOTAL.fullmatch(headers.get("content-range", ""))
    if total is not None:
        return int(total[1])
    return int(headers.get("x-goog-stored-content-length") or headers["content-length"])


def _metadata(headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, text in headers.items():
        if name.startswith(_META):
            # HTTP says Latin-1, the service sends UTF-8
            yield name.removeprefix(_META), text.encode("latin-1").decode("utf-8", "replace")


def _hashes(header: str) -> Iterator[tuple[str, str]]:
    for entry in filter(None, map(str.strip, header.split(","))):
        name, _, text = entry.partition("=")
        yield name, text
