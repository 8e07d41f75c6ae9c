"""The interface of a store: what every backend has, and all that callers rely on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

__all__ = ["ObjectInfo", "ObjectStore"]


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What is known of one stored object.

    Attributes:
        key: Its name inside the store.
        size: Bytes.
        sha256: Hex digest that was stored with it. ``None`` for an object that something else
            uploaded, and in a listing that does not carry digests: `ObjectStore.head` asks again.
    """

    key: str
    size: int
    sha256: str | None


@runtime_checkable
class ObjectStore(Protocol):
    """A place for whole objects: blocking calls, usable from several threads, picklable.

    A key is a relative path with ``/`` between its parts: no part is empty, ``.`` or ``..``, and
    there are no backslashes or control characters. Other keys raise `tt_cloud.UnsafeKey`.
    """

    @property
    def url(self) -> str:
        """Where the store is; never holds credentials."""
        ...

    def put(
        self,
        key: str,
        source: Path | bytes,
        /,
        *,
        sha256: str | None = None,
        if_absent: bool = False,
    ) -> ObjectInfo:
        """Store a file or bytes with its digest; the object appears whole or not at all.

        Args:
            key: The object's name; what was stored under it before is replaced.
            source: A file to read, or the content itself.
            sha256: Digest that the content must have.
            if_absent: Create only: of several writers at the same moment exactly one succeeds.

        Raises:
            AlreadyExists: With ``if_absent``, when the key is taken.
            ChecksumMismatch: When the content does not have the digest ``sha256``, or changed on
                its way. Nothing is stored.
        """
        ...

    def get(self, key: str, target: Path, /) -> ObjectInfo:
        """Write an object to a file, verified by size and digest; whole or not at all.

        Missing directories above ``target`` are made, and a file that is already there is
        replaced in one step.

        Raises:
            NotFound: When there is no such object.
            ChecksumMismatch: When the bytes are not those that were stored. ``target`` is as it
                was before.
        """
        ...

    def read(self, key: str, /) -> bytes:
        """The content of an object, verified like `get`; for what fits in memory."""
        ...

    def head(self, key: str, /) -> ObjectInfo | None:
        """What is known of an object; ``None`` when there is none."""
        ...

    def list(self, prefix: str = "", /) -> Iterator[ObjectInfo]:
        """Objects whose key begins with ``prefix``, in the order of their keys' code points."""
        ...

    def delete(self, key: str, /) -> None:
        """Remove an object; not an error when there is none."""
        ...
