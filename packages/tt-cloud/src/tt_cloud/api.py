"""The interface of a store: what every backend has, and all that callers rely on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Literal, Protocol, Self, TypeAlias, runtime_checkable

from tt_cloud._presigned import PresignedURL

__all__ = [
    "Cancel",
    "Failure",
    "ObjectInfo",
    "ObjectStore",
    "PresignedURL",
    "Progress",
    "Source",
    "TransferReport",
    "TreeStore",
]

Source: TypeAlias = "Path | bytes | BinaryIO | Iterable[bytes]"
"""What can be stored. A stream or an iterable is read once, to a temporary file if it is large."""

Progress: TypeAlias = Callable[[str, int, int], object]
"""Called as ``progress(key, moved, size)``: bytes since the last call (negative where some are sent
again) and the object's size. Comes from several threads at once, in the middle of requests: it must
not call the store."""

Cancel: TypeAlias = threading.Event
"""Set it from another thread to stop a call within a second; the call raises `Cancelled`. A small
object whose only request is under way may be stored all the same."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What is known of one stored object.

    Attributes:
        key: Its name inside the store.
        size: Bytes.
        sha256: Hex digest that was stored with it. ``None`` for an object that something else
            uploaded, and in a listing that does not carry digests: `ObjectStore.head` asks again.
        etag: Opaque; another after each write. Give it as ``if_match``.
        version: Of the bucket's versions, where it keeps some.
        modified: When it was written.
        content_type: MIME type.
        metadata: What the caller stored with it. Listings do not carry it.
        checksums: Further digests of the whole content, as the service knows them: ``md5``,
            ``crc32``, ``crc32c``, ... in hex.
    """

    key: str
    size: int
    sha256: str | None
    etag: str = field(default="", compare=False)
    version: str | None = field(default=None, compare=False)
    modified: datetime | None = field(default=None, compare=False)
    content_type: str | None = field(default=None, compare=False)
    metadata: Mapping[str, str] = field(default_factory=dict, compare=False, hash=False)
    checksums: Mapping[str, str] = field(default_factory=dict, compare=False, hash=False)


@dataclass(frozen=True, slots=True)
class Failure:
    """One object of many that failed."""

    key: str
    error: Exception


@dataclass(frozen=True, slots=True)
class TransferReport:
    """What a call on many objects did.

    Attributes:
        done: Objects that were transferred (in a dry run: would be), ordered by key.
        skipped: Keys that were equal already.
        deleted: Keys that were removed.
        failures: What failed, ordered by key.
        size: Bytes of what was transferred.
        seconds: How long it took.
    """

    done: tuple[ObjectInfo, ...] = ()
    skipped: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()
    size: int = 0
    seconds: float = 0.0


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

    def __truediv__(self, prefix: str, /) -> Self:
        """The store below a prefix: ``(store / "a").read("b")`` is ``store.read("a/b")``."""
        ...

    def put(
        self,
        key: str,
        source: Source,
        /,
        *,
        sha256: str | None = None,
        if_absent: bool = False,
        if_match: str | None = None,
        metadata: Mapping[str, str] | None = None,
        content_type: str | None = None,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> ObjectInfo:
        """Store an object with its digest; it appears whole or not at all.

        A large upload that was interrupted, by whatever, goes on when the same content is put
        again under the same key from this machine.

        Args:
            key: The object's name; what was stored under it before is replaced.
            source: A file to read, or the content itself.
            sha256: Digest that the content must have.
            if_absent: Create only: of several writers at the same moment exactly one succeeds.
            if_match: Replace only the object that has this etag (compare and swap).
            metadata: Text stored with the object; names of lower-case letters, digits and ``-``.
            content_type: MIME type; else guessed from the key's ending.
            progress: Told of the bytes sent.
            cancel: Stops the call when it is set.

        Raises:
            AlreadyExists: With ``if_absent``, when the key is taken.
            Changed: With ``if_match``, when the object is another by now, or gone.
            ChecksumMismatch: When the content does not have the digest ``sha256``, or changed on
                its way. Nothing is stored.
        """
        ...

    def get(
        self,
        key: str,
        target: Path,
        /,
        *,
        version: str | None = None,
        if_match: str | None = None,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> ObjectInfo:
        """Write an object to a file, verified by size and digest; whole or not at all.

        Missing directories above ``target`` are made, and a file that is already there is
        replaced in one step. A large download that was interrupted goes on when the same object
        is fetched again to the same file.

        Raises:
            NotFound: When there is no such object.
            Changed: With ``if_match``, when the object has another etag; also when it is replaced
                again and again while it is read.
            ChecksumMismatch: When the bytes are not those that were stored. ``target`` is as it
                was before.
        """
        ...

    def read(
        self,
        key: str,
        /,
        *,
        start: int = 0,
        end: int | None = None,
        version: str | None = None,
        if_match: str | None = None,
    ) -> bytes:
        """The content of an object, or its bytes from ``start`` up to ``end``.

        A whole object is verified like in `get`; of a part only the length can be. Positions are
        those of a slice without negative numbers: what lies beyond the end is empty.
        """
        ...

    def open(self, key: str, /, *, version: str | None = None) -> BinaryIO:
        """A seekable, buffered stream to read from, which fetches what is read.

        All reads see one version of the object: when it is replaced they raise `Changed`.
        """
        ...

    def head(self, key: str, /, *, version: str | None = None) -> ObjectInfo | None:
        """What is known of an object; ``None`` when there is none."""
        ...

    def exists(self, key: str, /) -> bool:
        """Whether there is such an object."""
        ...

    def list(
        self, prefix: str = "", /, *, glob: str | None = None, start_after: str | None = None
    ) -> Iterator[ObjectInfo]:
        """Objects whose key begins with ``prefix``, in the order of their keys' code points.

        Args:
            prefix: Any beginning of keys, also in the middle of a name.
            glob: Of these, only keys that match: ``*`` and ``?`` stay inside a part, ``**`` is any
                number of parts, ``[...]`` a set; the pattern is for the whole key.
            start_after: Only keys behind this one.
        """
        ...

    def versions(self, key: str, /) -> tuple[ObjectInfo, ...]:
        """All versions that the bucket keeps of an object, the newest first.

        Without versioning this is the object alone; empty when there is none.
        """
        ...

    def delete(self, key: str, /, *keys: str) -> None:
        """Remove objects; not an error when there are none.

        Raises:
            TransferFailed: When some of several keys could not be removed.
        """
        ...

    def copy(self, source: str, target: str, /, *, if_absent: bool = False) -> ObjectInfo:
        """Copy an object to another key of the store, by the service itself where it can.

        With ``if_absent``, `tt_cloud.AlreadyExists` may also tell that this very copy was made, and
        the first answer got lost: nothing tells it from another writer's copy of the object.
        """
        ...

    def move(self, source: str, target: str, /, *, if_absent: bool = False) -> ObjectInfo:
        """Copy, then delete the source: after an interruption both may be there, never none.

        What another writer stores under the source in between is deleted with it.
        """
        ...

    def presign(
        self,
        key: str,
        /,
        *,
        method: Literal["GET", "PUT"] = "GET",
        expires: timedelta = timedelta(minutes=15),
    ) -> PresignedURL:
        """An address with which anybody may read (or write) the object for a while.

        Raises:
            Unsupported: By stores that no URL leads to.
        """
        ...


@runtime_checkable
class TreeStore(ObjectStore, Protocol):
    """A store that also moves folders; every method here uses `ObjectStore`'s alone.

    All take several objects at once, do what they can, and then raise `TransferFailed` with the
    report when something failed.
    """

    def upload_tree(
        self,
        folder: Path,
        prefix: str = "",
        /,
        *,
        symlinks: Literal["error", "skip", "inside"] = "error",
        dry_run: bool = False,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> TransferReport:
        """Store every file of a folder below a prefix; those that are there and equal are skipped.

        Args:
            folder: What to store; empty directories have no counterpart.
            prefix: A path, without a slash at its end.
            symlinks: Links are refused, left out, or stored as what they point to where that
                lies inside the folder.
            dry_run: Only report what would be done.
            progress: Told of the bytes sent.
            cancel: Stops the call when it is set.
        """
        ...

    def download_tree(
        self,
        prefix: str,
        folder: Path,
        /,
        *,
        dry_run: bool = False,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> TransferReport:
        """Write every object below a prefix into a folder; files that are equal are skipped.

        Where the prefix holds a committed set, its files are fetched, as of one commit.

        Raises:
            UnsafeKey: Before the first byte is written, when a key would leave the folder, meets
                another on a file system that ignores case, or lies below another object.
        """
        ...

    def sync(
        self,
        source: Path | ObjectStore,
        prefix: str = "",
        /,
        *,
        delete: bool = False,
        dry_run: bool = False,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> TransferReport:
        """Make what is below a prefix equal to a folder or to another store.

        Args:
            source: What to copy from.
            prefix: Where to, in this store.
            delete: Also remove here what is not in the source, which must hold something.
            dry_run: Only report what would be done.
            progress: Told of the bytes moved.
            cancel: Stops the call when it is set.
        """
        ...

    def delete_tree(
        self, prefix: str, /, *, everything: bool = False, dry_run: bool = False
    ) -> TransferReport:
        """Remove all objects below a prefix: those whose keys begin with ``prefix + "/"``.

        The empty prefix means the whole store, and needs ``everything=True``.
        """
        ...

    def commit(
        self,
        folder: Path,
        prefix: str = "",
        /,
        *,
        symlinks: Literal["error", "skip", "inside"] = "error",
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> TransferReport:
        """Store a folder as one set: readers see the one before or this one, never a mixture.

        Only what changed since the last commit is sent. See `tt_cloud.commits` for the layout.

        Raises:
            Changed: When another commit came between.
        """
        ...

    def verify(self, prefix: str = "", /, *, read_back: bool = False) -> TransferReport:
        """Check that a committed set is there, whole and as it was committed.

        Args:
            prefix: Where it was committed.
            read_back: Fetch every object and digest it, instead of comparing size and the digest
                that the service has.

        Raises:
            NotCommitted: When there is no committed set.
            TransferFailed: When an object of the set is missing or another.
        """
        ...

    def sweep(
        self,
        prefix: str = "",
        /,
        *,
        older_than: timedelta = timedelta(days=1),
        dry_run: bool = False,
    ) -> TransferReport:
        """Remove what commits and uploads left behind that were never finished.

        These are objects of a committed set's place that its manifest does not name, and the
        unfinished multipart uploads below the prefix, as far as they are older than given: which
        should be longer than any commit takes.
        """
        ...
