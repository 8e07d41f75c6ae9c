"""Copying runs to an object store after the fact: `mirror` and `sync`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tt_experiment._lock import RunLock
from tt_experiment._outbox.courier import Courier
from tt_experiment._outbox.ledger import Ledger
from tt_experiment.errors import ExperimentError, RunFolderError, StoreError, UploadError
from tt_experiment.folder import ExperimentFolder
from tt_experiment.outbox import Outbox, Patience
from tt_experiment.ports import BlobStore
from tt_experiment.redact import redact_text
from tt_experiment.remote import verify_run
from tt_experiment.stores import open_store

__all__ = ["SyncReport", "mirror", "sync"]


def mirror(folder_path: Path | str, store: BlobStore, prefix: str = "") -> int:
    """Upload every file of a run that the store does not have yet; nothing is written to the run.

    A file that is gone here stays in the store. Only a manifest is removed there that is no longer
    true, before what it lists changes. A directory's ``MANIFEST.json`` goes after its other files,
    the run's own last of all, and only when nothing has failed: who finds a manifest in the store
    finds its files.

    Args:
        folder_path: The run, to which nobody writes.
        store: Where to.
        prefix: Key of the run in the store, without a slash at the end.

    Returns:
        How many files were uploaded.

    Raises:
        UploadError: Some files failed, after all were tried; calling again goes on from there.
    """
    run = Path(folder_path).absolute()
    sent = _Count()
    courier = Courier(run, store, prefix.rstrip("/"), Ledger(), ended=sent)
    if failures := courier.deliver():
        lines = "".join(f"\n  {name}: {error}" for name, error in failures.items())
        msg = f"{len(failures)} parts of {run.name} did not reach {store.url}; call again:{lines}"
        raise UploadError(redact_text(msg))
    return sent.files


class _Count:
    """Counts the files that were copied."""

    files = 0

    def __call__(self, _size: int, was_there: bool) -> None:
        self.files += not was_there


@dataclass(frozen=True)
class SyncReport:
    """What `sync` did.

    Attributes:
        complete: Runs that are in their store, as they are on the disk.
        pending: Of the others, why they are not.
        files: How many files were copied.
    """

    complete: tuple[Path, ...] = ()
    pending: Mapping[Path, str] = field(default_factory=dict)
    files: int = 0

    @property
    def exit_status(self) -> int:
        """0 if all is in its store, else 3."""
        return 3 if self.pending else 0


def sync(
    path: Path | str,
    *,
    store: BlobStore | str | None = None,
    timeout: float | None = None,
    patience: Patience | None = None,
) -> SyncReport:
    """Bring what is left of a run, or of all runs below a folder, to its store, and verify it.

    Args:
        path: A run's folder, or a folder of projects, or a project's. Below such a folder, runs
            without a store are left alone.
        store: Instead of the one that ``run.json`` names, e.g. with options of its own.
        timeout: Seconds for each run.
        patience: How long to wait for a store that fails.

    Raises:
        RunFolderError: There is no run.
        StoreError: A run that was named has no store, or nothing opens its URL.
    """
    found = _runs(Path(path).absolute())
    if not found:
        msg = f"{path} must be a run, or hold runs: give a folder with run.json in or below it"
        raise RunFolderError(msg)
    complete, pending, files = [], {}, 0
    for run in found:
        try:
            chosen = _store_of(run, store, named=found == [Path(path).absolute()])
            if chosen is not None:
                files += _sync(run, chosen, timeout, patience)
                complete.append(run)
        except StoreError:
            raise
        except ExperimentError as error:
            pending[run] = str(error)
    return SyncReport(tuple(complete), pending, files)


def _runs(path: Path) -> list[Path]:
    if (path / "run.json").is_file():
        return [path]
    return sorted(file.parent for depth in ("*", "*/*") for file in path.glob(f"{depth}/run.json"))


def _store_of(run: Path, store: BlobStore | str | None, *, named: bool) -> BlobStore | None:
    chosen = store or ExperimentFolder(run).run().get("store")
    if isinstance(chosen, str):
        return open_store(chosen)
    if chosen is None and named:
        msg = f"{run} has no store: give one, as a URL"
        raise StoreError(msg)
    return chosen


def _sync(run: Path, store: BlobStore, timeout: float | None, patience: Patience | None) -> int:
    """Copy what is left and, if the run is sealed, verify it; how many files."""
    lock, prefix = RunLock(run), f"{run.parent.name}/{run.name}"
    outbox = Outbox(run, store, prefix, patience=patience)
    held = lock.held
    lock.acquire()
    try:
        files = outbox.drain(timeout)
        if ExperimentFolder(run).manifest_file.is_file():
            files += _verified(outbox, timeout)
    finally:
        outbox.close()
        if not held:
            lock.release()
    return files


def _verified(outbox: Outbox, timeout: float | None) -> int:
    """Have the sealed run verified, and what the store has lost sent again; how many files."""
    where = f"{outbox.store.url}/{outbox.prefix}"
    try:
        if not (lost := verify_run(outbox.store, outbox.prefix).problems):
            return 0
        outbox.forget(lost)
        files = outbox.drain(timeout)
        lost = verify_run(outbox.store, outbox.prefix).problems
    except ExperimentError:
        raise
    except Exception as error:  # whatever a store raises, other runs are brought up
        msg = redact_text(f"{where} cannot be verified: {error}")
        raise UploadError(msg) from error
    if lost:
        lines = "".join(f"\n  {name}: {problem}" for name, problem in list(lost.items())[:5])
        msg = f"{where} is not what was sent:{lines}"
        raise UploadError(msg)
    return files
