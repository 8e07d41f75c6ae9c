"""Carries a run to a store, in an order in which a partial copy never looks like a whole one.

First the run's notes as they are at the moment, then the oldest checkpoint that is not there, its
manifest last, then notes again; the run's own manifest when everything else is there. Who finds a
manifest in the store finds its files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tt_experiment import _manifest
from tt_experiment._durable import Digest, digest_file, remove_file, scratch_path, write_file
from tt_experiment._manifest import Manifest
from tt_experiment._outbox.ledger import Ledger, Sent, stamp
from tt_experiment._outbox.plan import Plan, read_manifest
from tt_experiment.errors import CorruptCheckpoint, RunLockedError
from tt_experiment.folder import RUN_FORMAT, run_files
from tt_experiment.ports import BlobStore

__all__ = ["Courier", "may_pass"]

_SMALL = 8 << 20  # bytes that are read at once
_PIECE = 1 << 20
_GROWS = (".jsonl", ".log", ".txt")
_ROUNDS = 3  # in one pass, for files that change after the seal was looked at


class Courier:
    """Copies what is due.

    Args:
        run: The run's folder; it may be written to meanwhile.
        store: Where to.
        prefix: Key of the run in the store.
        ledger: What the store has.
        scratch: Where to copy large files that grow; ``None`` where none does.
        check: Called before anything is changed in the store; raises to keep from it.
        began: Told the bytes of each file before it is sent.
        ended: Told the bytes of each file that the store has then, and whether it had it before.
    """

    def __init__(
        self,
        run: Path,
        store: BlobStore,
        prefix: str,
        ledger: Ledger,
        *,
        scratch: Path | None = None,
        check: Callable[[], None] = lambda: None,
        began: Callable[[int], None] = lambda _: None,
        ended: Callable[[int, bool], None] = lambda _, __: None,
    ) -> None:
        self.run, self.store, self.prefix, self.ledger = run, store, prefix, ledger
        self.plan = Plan(run, ledger)
        self._scratch, self._check, self._began, self._ended = scratch, check, began, ended
        self._failures: dict[str, Exception] = {}
        self._sealed: str | None = None  # digest of the seal in the store
        self._asked = False

    def deliver(self, stop: Callable[[], bool] = lambda: False) -> dict[str, Exception]:
        """Copy everything that is due; what failed, by name, after the rest was tried.

        A store that does not answer ends the pass; and so does ``stop``, between two files.

        Raises:
            RunLockedError: Another process writes to the run in the store.
        """
        self._failures = {}
        for step in self._steps():
            if stop() or any(may_pass(error) for error in self._failures.values()):
                break
            step()
        return self._failures

    def left(self) -> tuple[int, int]:
        """How many files are due, and their bytes."""
        files, size = self.plan.left()
        return files + (not self._is_sealed()), size

    def forget(self, names: Iterable[str]) -> None:
        """The store has lost these: the manifests that list them go, and they are due again."""
        self._check()
        self.store.delete(self._key(_manifest.NAME))
        self._sealed, self._asked = None, True
        for name in names:
            self.ledger.forget(name)
            for folder in Path(name).parents[:-1]:
                own = (folder / _manifest.NAME).as_posix()
                if (self.run / own).is_file():
                    self.store.delete(self._key(own))
                    self.ledger.forget(own)

    def _steps(self) -> Iterator[Callable[[], None]]:
        yield partial(self._try, _manifest.NAME, self._break_seal, self.run)
        if not self._failures:
            yield from self._contents()
        for _ in range(_ROUNDS):
            if self._failures or self._is_sealed():
                return
            yield partial(self._try, _manifest.NAME, self._seal, self.run)
            yield from self._contents()
        if not self._is_sealed():
            yield partial(self._try, _manifest.NAME, self._unsettled, self.run)

    def _contents(self) -> Iterator[Callable[[], None]]:
        """Each set after the notes of its time, then what names them."""
        yield from self._notes(self.plan.due().notes)
        while name := self._next_set():
            yield partial(self._try, name, partial(self._send_set, name), self.run / name)
            yield from self._notes(self.plan.due().notes)
        yield from self._notes(self.plan.due().hints)

    def _notes(self, names: list[str]) -> Iterator[Callable[[], None]]:
        for name in names:
            yield partial(self._try, name, partial(self._send_note, name), self.run / name)

    def _next_set(self) -> str | None:
        return next((name for name in self.plan.due().sets if name not in self._failures), None)

    def _try(self, name: str, action: Callable[[], None], path: Path) -> None:
        try:
            action()
        except RunLockedError:
            raise
        except Exception as error:  # whatever a store raises, the rest is tried
            if path.exists() or may_pass(error):  # else it was deleted meanwhile
                self._failures[name] = error

    def _send_note(self, name: str) -> None:
        path = self.run / name
        now = stamp(path)
        with _Content(path, self._scratch) as content:
            known = self.ledger.get(name)
            if known is None or known.sha256 != content.digest.sha256:
                self._send(name, content, new=known is None)
        self.ledger.note(name, Sent(content.digest.sha256, now))

    def _send_set(self, name: str) -> None:
        """Files of a directory, then its manifest; an older manifest goes before the first."""
        folder, own = self.run / name, f"{name}/{_manifest.NAME}"
        now, manifest = stamp(folder / _manifest.NAME), read_manifest(folder)
        with _Content(folder / _manifest.NAME) as content:
            there = self.store.head(self._key(own))
            if there is None or there.sha256 != content.digest.sha256:
                self._check()
                if there is not None:
                    self.store.delete(self._key(own))
                self._send_files(folder, manifest)
                self._create(own, content)
        self.ledger.note(own, Sent(content.digest.sha256, now))

    def _send_files(self, folder: Path, manifest: Manifest) -> None:
        names = [path.relative_to(folder).as_posix() for path in run_files(folder)]
        if missing := sorted(manifest.files.keys() - set(names)):
            msg = f"{folder} must hold what its manifest lists. Missing: {', '.join(missing)}"
            raise CorruptCheckpoint(msg)
        for name in names:
            if name != _manifest.NAME:
                with _Content(folder / name, known=manifest.files.get(name)) as content:
                    self._send((folder / name).relative_to(self.run).as_posix(), content, new=True)

    def _create(self, name: str, content: _Content) -> None:
        """Store a manifest that is not there; only one of two writers can."""
        self._began(content.digest.bytes)
        try:
            self._put(name, content, if_absent=True)
        except FileExistsError:  # the answer to an earlier try was lost, or it is another's
            there = self.store.head(self._key(name))
            if there is None or there.sha256 != content.digest.sha256:
                self._check()
                raise
        self._ended(content.digest.bytes, False)

    def _send(self, name: str, content: _Content, *, new: bool) -> None:
        size, sha256 = content.digest
        self._began(size)
        there = self.store.head(self._key(name)) if new else None
        equal = there is not None and (there.sha256, there.size) == (sha256, size)
        if not equal:
            self._put(name, content)
        self._ended(size, equal)

    def _put(self, name: str, content: _Content, *, if_absent: bool = False) -> None:
        sha256 = content.digest.sha256
        self.store.put(self._key(name), content.source, sha256=sha256, if_absent=if_absent)

    def _break_seal(self) -> None:
        """A seal in the store that is not the one here goes before what it lists changes."""
        self._check()
        key = self._key(_manifest.NAME)
        if not self._asked:
            there = self.store.head(key)
            self._sealed, self._asked = None if there is None else there.sha256 or "", True
        if self._sealed not in (None, self._seal_here()):
            self.store.delete(key)
            self._sealed = None

    def _seal(self) -> None:
        """Store the run's manifest, if the store has what it lists."""
        listed = Manifest.read(self.run, RUN_FORMAT).files
        changed = [name for name, digest in listed.items() if not self._has(name, digest)]
        if self.plan.due().anything:
            return  # it was written to meanwhile
        if changed:
            msg = f"a sealed run stays as it is. Changed since: {', '.join(changed[:5])}"
            raise CorruptCheckpoint(msg)
        with _Content(self.run / _manifest.NAME) as content:
            self._check()
            self._create(_manifest.NAME, content)
        self._sealed = content.digest.sha256

    def _unsettled(self) -> None:
        msg = f"a sealed run stays as it is. {self.run} is written to all the time"
        raise CorruptCheckpoint(msg)

    def _has(self, name: str, listed: Digest) -> bool:
        """Whether the store has a file as the seal lists it."""
        sent = self.ledger.get(name)
        if sent is not None:
            return sent.sha256 == listed.sha256 and not self.plan.is_due(name)
        folder = self._set_of(name)
        if folder is None:
            return False
        files = read_manifest(self.run / folder).files
        return files.get(name.removeprefix(f"{folder}/"), listed) == listed

    def _set_of(self, name: str) -> str | None:
        """The set that a file belongs to, if the store has that."""
        for parent in Path(name).parents:
            own = (parent / _manifest.NAME).as_posix()
            if parent != Path() and self.ledger.get(own) and not self.plan.is_due(own):
                return parent.as_posix()
        return None

    def _seal_here(self) -> str | None:
        path = self.run / _manifest.NAME
        return digest_file(path).sha256 if path.is_file() else None

    def _is_sealed(self) -> bool:
        """Whether the store has the seal that is here, or neither has any."""
        return self._seal_here() == self._sealed

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{name}" if self.prefix else name


class _Content:
    """What is sent of a file: its bytes, the file itself, or a copy of it as it was."""

    source: Path | bytes
    digest: Digest

    def __init__(
        self, path: Path, scratch: Path | None = None, known: Digest | None = None
    ) -> None:
        self._path, self._scratch, self._known = path, scratch, known
        self._copy: Path | None = None

    def __enter__(self) -> _Content:
        size = self._path.stat().st_size
        if size <= _SMALL:
            self.source = self._path.read_bytes()
            self.digest = Digest(len(self.source), hashlib.sha256(self.source).hexdigest())
        elif self._known is not None:
            self.source, self.digest = self._path, self._known
        elif self._scratch is not None and _may_grow(self._path):
            self._copy = self.source = scratch_path(self._scratch, self._path.name)
            self.digest = write_file(self._copy, _pieces(self._path, size))
        else:
            self.source, self.digest = self._path, digest_file(self._path)
        if self._known not in (None, self.digest):
            msg = f"{self._path} is not what was written: its sha256 is not the manifest's"
            raise CorruptCheckpoint(msg)
        return self

    def __exit__(self, *_: Any) -> None:
        if self._copy is not None:
            remove_file(self._copy)


def _may_grow(path: Path) -> bool:
    return path.suffix in _GROWS or ".tfevents." in path.name


def may_pass(error: Exception) -> bool:
    """Whether the same request may succeed later."""
    return isinstance(error, ConnectionError | TimeoutError)


def _pieces(path: Path, size: int) -> Iterator[bytes]:
    """The first bytes of a file, which may grow."""
    with path.open("rb") as file:
        while size > 0 and (piece := file.read(min(_PIECE, size))):
            size -= len(piece)
            yield piece
