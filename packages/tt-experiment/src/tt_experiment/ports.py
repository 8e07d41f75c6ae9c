"""The services that experiments use, as shapes: any object that has the methods fits.

The provider imports nothing from here. Failures cross as builtins, so that no error type has to be
shared: `FileNotFoundError` for an object that is not there, `FileExistsError` for a conditional
create that another one won, `ConnectionError` or `TimeoutError` for what may work later, any other
`OSError` or `ValueError` for what will not.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

__all__ = ["BlobInfo", "BlobStore"]


@runtime_checkable
class BlobInfo(Protocol):
    """What is known of one stored object."""

    @property
    def key(self) -> str:
        """Its name in the store."""
        ...

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    @property
    def sha256(self) -> str | None:
        """Hex digest that was stored with the object, if one was."""
        ...


@runtime_checkable
class BlobStore(Protocol):
    """A place for files: blocking calls, idempotent, usable from several threads.

    Keys are relative, ``/``-separated, and never escape the store's own prefix.
    """

    @property
    def url(self) -> str:
        """Where the store is, without credentials."""
        ...

    def put(
        self,
        key: str,
        source: Path | bytes,
        /,
        *,
        sha256: str | None = None,
        if_absent: bool = False,
    ) -> BlobInfo:
        """Store a file or bytes and its digest; the object appears whole or not at all.

        Raises:
            FileExistsError: With ``if_absent``, when the key is taken.
            ValueError: When ``sha256`` is given and is not the digest of the content.
        """
        ...

    def get(self, key: str, target: Path, /) -> BlobInfo:
        """Write an object to a file, verified against its digest; whole or not at all.

        Raises:
            FileNotFoundError: When there is no such object.
        """
        ...

    def head(self, key: str, /) -> BlobInfo | None:
        """What is known of an object; ``None`` when there is none."""
        ...

    def list(self, prefix: str = "", /) -> Iterator[BlobInfo]:
        """Objects whose key begins with ``prefix``, ordered by key."""
        ...

    def delete(self, key: str, /) -> None:
        """Remove an object; not an error when there is none."""
        ...
