"""The services that experiments use, as shapes: any object that has the methods fits.

The provider imports nothing from here. Failures cross as builtins, so that no error type has to be
shared: `FileNotFoundError` for an object that is not there, `FileExistsError` for a conditional
create that another one won, `ConnectionError` or `TimeoutError` for what may work later, any other
`OSError` or `ValueError` for what will not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

__all__ = ["BlobInfo", "BlobStore", "Instance", "Logger", "Mailer", "RunFacts"]


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


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a logger is told of the run when an attempt begins."""

    id: str
    project: str
    experiment: str
    folder: Path
    hyperparams: Mapping[str, Any]
    """As they are written down: without secrets, values of JSON."""
    attempt: int
    """1 for a new run."""
    step: int
    """From which it goes on; what was logged after it belongs to an abandoned attempt."""


@runtime_checkable
class Logger(Protocol):
    """Takes a run's metrics and events elsewhere, beside the run's own files.

    Only the first process logs. What a logger raises is told once and never ends training.
    """

    def start(self, run: RunFacts, /) -> None:
        """An attempt begins."""
        ...

    def scalars(self, step: int, values: Mapping[str, float], /, *, epoch: int) -> None:
        """Metric values that are known after ``step`` batches."""
        ...

    def event(self, kind: str, data: Mapping[str, Any], /) -> None:
        """Something that happened; ``data`` is JSON."""
        ...

    def finish(self, status: Literal["completed", "failed", "interrupted"], /) -> None:
        """The attempt has ended; everything has to be out on return."""
        ...


@runtime_checkable
class Mailer(Protocol):
    """Sends messages from and to addresses that it knows."""

    def send(
        self,
        subject: str,
        text: str,
        /,
        *,
        html: str | None = None,
        attachments: Sequence[Path] = (),
    ) -> str:
        """Send one message; returns its identifier. Raises when it was not accepted."""
        ...


@runtime_checkable
class Instance(Protocol):
    """The machine that a run has to itself."""

    def stop(self) -> None:
        """Shut it down; its disk stays."""
        ...

    def terminate(self) -> None:
        """End it for good, with its disk."""
        ...

    def interruption(self) -> datetime | None:
        """When its owner takes it away, if that has been announced."""
        ...
