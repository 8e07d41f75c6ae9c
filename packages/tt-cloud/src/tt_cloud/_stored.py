"""What stores say of an object among themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from tt_cloud.api import Cancel, ObjectInfo, Progress


@dataclass(frozen=True, slots=True)
class Stored:
    """What a store knows of an object.

    Attributes:
        size: Bytes.
        etag: Opaque; another after each write.
        sha256: Hex digest from the object's metadata, as the uploader stored it.
        token: Which upload wrote it (``tt-upload`` of its metadata).
        version: Of a versioned bucket.
        modified: When it was written, with its time zone.
        content_type: MIME type.
        metadata: The caller's own; this package's entries are not among them.
        checksums: Digests of the *whole* content that the service vouches for, or that the
            uploader stored, in hex, by algorithm: ``md5``, ``crc32``, ``crc32c``, ``sha256``, ...
            Never those that are digests of digests of parts.
    """

    size: int
    etag: str = ""
    sha256: str | None = None
    token: str | None = None
    version: str | None = None
    modified: datetime | None = None
    content_type: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    checksums: Mapping[str, str] = field(default_factory=dict)

    def info(self, key: str) -> ObjectInfo:
        """The same for callers."""
        return ObjectInfo(
            key,
            self.size,
            self.sha256,
            self.etag,
            self.version,
            self.modified,
            self.content_type,
            self.metadata,
            self.checksums,
        )


class Condition(NamedTuple):
    """What must hold for a write: nothing, that the key is free, or that it has this etag."""

    absent: bool = False
    etag: str | None = None


class Attributes(NamedTuple):
    """What is stored beside the content; names in ``metadata`` are lower case.

    ``metadata`` holds the caller's entries and this package's: ``tt-sha256`` (hex), ``tt-upload``
    (the token), and, for what is uploaded in parts, ``tt-crc32`` (hex, 8 digits).
    """

    metadata: Mapping[str, str]
    content_type: str


class Watch(NamedTuple):
    """Who looks on while bytes move, and may stop it."""

    progress: Progress | None = None
    cancel: Cancel | None = None
