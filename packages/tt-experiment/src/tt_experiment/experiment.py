"""One run as one object: its folder, its checkpoints, its records, its copy in a store."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from tt_experiment._lock import RunLock
from tt_experiment.checkpoints import BestPolicy, CheckpointFolder, Retention, SaveTicket
from tt_experiment.errors import ExperimentSetupError
from tt_experiment.folder import ExperimentFolder, Status
from tt_experiment.names import folder_name
from tt_experiment.outbox import Outbox
from tt_experiment.ports import BlobStore, Logger
from tt_experiment.provenance import Provenance
from tt_experiment.recording import ExperimentRecorder, check_loggers
from tt_experiment.report import write_report
from tt_experiment.results import read_results
from tt_experiment.stores import open_store
from tt_loop.api import CheckpointRef, Collective, Tree

__all__ = ["Experiment"]

_log = logging.getLogger(__name__)


class Experiment:
    """A run of a project: hand it to callbacks, or use it in a loop of your own.

    It keeps checkpoints, so it is a ``CheckpointStore`` for tt-loop, and its ``recorder`` is a
    ``Recorder``. Nothing is written before `start`.

    Args:
        project_name: Folder of the project.
        experiment_name: What the run's folder is called, before the time stamp.
        root: Folder of all projects.
        hyperparams: What the run was made with; kept without secrets.
        store: A `BlobStore`, its URL or a folder, to which the run is copied; ``None`` stays local.
        retention: Which checkpoints to keep; by default all.
        loggers: Take metrics and events elsewhere, too.
        provenance: What to write down about code and data.
        parent: ``id`` of the run whose state or weights this one starts from.

    Example:
        >>> import tempfile, torch
        >>> experiment = Experiment("digits", "linear", tempfile.mkdtemp())
        >>> experiment.start()
        >>> ticket = experiment.save({"model": {"w": torch.ones(1)}}, step=1, scores={})
        >>> experiment.latest().step
        1
    """

    def __init__(
        self,
        project_name: str,
        experiment_name: str,
        root: Path | str,
        *,
        hyperparams: Mapping[str, Any] | None = None,
        store: BlobStore | str | os.PathLike[str] | None = None,
        retention: Retention | BestPolicy | None = None,
        loggers: Sequence[Logger] = (),
        provenance: Provenance | None = None,
        parent: str | None = None,
    ) -> None:
        folder_name(project_name, "project name")  # refuses what cannot be a name
        folder_name(experiment_name)
        self.project_name, self.experiment_name = project_name, experiment_name
        self.root = Path(root).expanduser().absolute()
        self.hyperparams = dict(hyperparams or {})
        self.store = _opened(store)
        self.retention = retention
        self.loggers = list(loggers)
        self.provenance = provenance or Provenance()
        self.parent = parent
        self.recorder = ExperimentRecorder(self)
        self.outbox: Outbox | None = None
        self._folder: ExperimentFolder | None = None
        self._checkpoints: CheckpointFolder | None = None
        self._lock: RunLock | None = None

    @property
    def folder(self) -> ExperimentFolder:
        """The run's folder; makes it when it is not there yet."""
        if self._folder is None:
            self.start()
        assert self._folder is not None  # noqa: S101  # `start` has made it
        return self._folder

    @property
    def lock(self) -> RunLock:
        """The right to write to the run: taken by whoever starts, resumes or saves."""
        if self._lock is None:
            self._lock = RunLock(self.folder.path)
        return self._lock

    @property
    def checkpoints(self) -> CheckpointFolder:
        """The run's checkpoints."""
        if self._checkpoints is None:
            self._checkpoints = CheckpointFolder(
                self.folder.checkpoints,
                retention=self.retention,
                is_pending=self._is_pending,
                before_commit=self.recorder.sync,
                on_commit=self._committed,
            )
        return self._checkpoints

    def start(self, timestamp: str | None = None) -> None:
        """Make the run's folder, write down what is known, and claim its place in the store; once.

        Args:
            timestamp: Start of the run as ``YYYY-MM-DD_HH-MM-SS``; now if left out.

        Raises:
            UploadError: The store cannot be written to: better now than after the training. One
                that is down is no error: the copy is made when it is back.
        """
        if self._folder is not None:
            return
        check_loggers(self)
        folder = ExperimentFolder.create(
            self.root, self.project_name, self.experiment_name, timestamp=timestamp
        )
        lock = RunLock(folder.path)
        lock.acquire()
        try:
            store = None if self.store is None else self.store.url
            folder.write_start(self.hyperparams, self.provenance, parent=self.parent, store=store)
            outbox = self._outbox(folder)
            if outbox is not None:
                outbox.claim()
        except BaseException as error:
            folder.abandon(f"{type(error).__name__}: {error}")
            lock.release()
            raise
        self._folder, self._lock, self.outbox = folder, lock, outbox

    def _outbox(self, folder: ExperimentFolder) -> Outbox | None:
        return None if self.store is None else Outbox(folder.path, self.store, self.prefix(folder))

    def copy_to(self, store: BlobStore) -> None:
        """Have a run that has begun copied to a store, too.

        Args:
            store: Where to.

        Raises:
            UploadError: It cannot be written to.
        """
        self.folder.note_store(store.url)
        self.store = store
        self.outbox = Outbox(self.folder.path, store, self.prefix(self.folder))
        self.outbox.claim()

    def start_together(self, comm: Collective, timestamp: str | None = None) -> None:
        """Start the run for several processes: the first makes the folder, the others know it.

        Args:
            comm: The processes; all of them must call it.
            timestamp: As for `start`.

        Raises:
            ExperimentSetupError: In the others, when the first cannot start the run.
        """
        if self._folder is not None:
            return
        said: tuple[Path | None, str] = (None, "")
        try:
            if comm.rank == 0:
                self.start(timestamp)
                said = (self.folder.path, "")
        except Exception as error:  # the others wait to hear of it
            comm.broadcast_object((None, f"{type(error).__name__}: {error}"))
            raise
        path, failure = comm.broadcast_object(said)
        if path is None:
            msg = f"Process 0 could not start the run: {failure}"
            raise ExperimentSetupError(msg)
        self._folder = self._folder or ExperimentFolder(path)

    def take_over(self, folder: ExperimentFolder, *, writes: bool = True) -> None:
        """Go on with a run that is there, instead of starting a new one.

        Args:
            folder: The run.
            writes: Whether this is the process that writes to it.

        Raises:
            RunLockedError: Another process writes to the run.
            UploadError: The store cannot be written to.
        """
        lock = RunLock(folder.path)
        outbox = self._outbox(folder)
        if writes:
            check_loggers(self)
            lock.acquire()
            try:
                if outbox is not None:
                    folder.note_store(outbox.store.url)
                    outbox.claim()
            except BaseException:
                lock.release()
                raise
        self._folder, self._lock, self.outbox, self._checkpoints = folder, lock, outbox, None

    def let_go(self) -> None:
        """Leave a run that was taken over as it is."""
        if self.outbox is not None:
            self.outbox.close()
        self.lock.release()
        self._folder = self._lock = self.outbox = self._checkpoints = None

    def derive_from(self, parent: str) -> None:
        """Note the run whose state this one starts from, by its ``id``."""
        self.parent = parent
        if self._folder is not None:
            self._folder.note_parent(parent)

    @classmethod
    def open(
        cls, path: Path | str, *, store: BlobStore | str | os.PathLike[str] | None = None
    ) -> Experiment:
        """Open a run that is there, to read it or to go on with it.

        Args:
            path: The run's own folder.
            store: As for a new run.

        Raises:
            RunFolderError: It is no run.
        """
        folder = ExperimentFolder(path)
        run = folder.run()
        opened = cls(run["project"], run["experiment"], folder.path.parent.parent, store=store)
        opened._folder = folder
        opened.outbox = opened._outbox(folder)
        return opened

    def save(self, tree: Tree, /, *, step: int, scores: Mapping[str, float]) -> SaveTicket:
        """Save a checkpoint behind the training; with a store, it is copied there after that.

        Raises:
            RunLockedError: Another process writes to the run.
        """
        self.lock.acquire()
        self.folder.unseal()
        return self.checkpoints.save(tree, step=step, scores=scores, facts=_facts(tree))

    def _is_pending(self, path: Path) -> bool:
        return self.outbox is not None and self.outbox.is_pending(path)

    def _committed(self, ref: CheckpointRef) -> None:
        self.recorder.committed(ref)
        if self.outbox is not None:
            self.outbox.offer()

    def latest(self) -> CheckpointRef | None:
        """The newest valid checkpoint."""
        return self.checkpoints.latest()

    def best(self, metric: str, mode: Literal["min", "max"], /) -> CheckpointRef | None:
        """The valid checkpoint with the best value of a metric."""
        return self.checkpoints.best(metric, mode)

    def load(self, ref: CheckpointRef, /) -> Tree:
        """Read a checkpoint's state tree back, verified."""
        return self.checkpoints.load(ref)

    def is_started(self) -> bool:
        """Whether the run has its folder."""
        return self._folder is not None

    def is_running(self) -> bool:
        """Whether the run has begun and its end has not been noted."""
        return self._folder is not None and self._folder.run()["status"] == "running"

    def finish(self, status: Status) -> None:
        """Note how the run ended, write its report, seal it, and have it copied to the store.

        Raises:
            CheckpointError: The last save failed, and nobody asked its ticket; after all the rest.
        """
        if self.recorder.is_open and status != "running":  # by a loop of one's own
            self.recorder.close(status)  # which comes back here
            return
        try:
            if self._checkpoints is not None:
                self._checkpoints.close()  # what is sealed is no longer written to
        finally:
            self._close(status)

    def _close(self, status: Status) -> None:
        try:
            self.folder.finish(status)
            try:
                write_report(self.folder)
            except Exception:  # the run is worth more than its report
                _log.exception("the report of %s could not be written", self.folder.path)
            self.folder.seal()
            if self.outbox is not None:
                self.outbox.offer()
        finally:
            self.lock.release()

    def results(self) -> dict[str, dict[str, Any]]:
        """The results by package that were kept at the end."""
        return read_results(self.folder)

    def upload(self, timeout: float | None = None) -> int:
        """Wait until the store has everything; the number of files that were copied meanwhile.

        Args:
            timeout: Seconds after which to stop waiting although files arrive.

        Raises:
            UploadError: Some files did not reach the store; call again to go on.
            RunLockedError: The run goes on elsewhere.
        """
        return 0 if self.outbox is None else self.outbox.drain(timeout)

    def prefix(self, folder: ExperimentFolder) -> str:
        """Key of a run in the store."""
        return folder.path.relative_to(self.root).as_posix()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_checkpoints": None}  # another process has threads of its own


def _facts(tree: Tree) -> dict[str, Any]:
    """What to note of a loop's state, so that it can be found without reading it."""
    loop = tree.get("loop")
    if not isinstance(loop, Mapping) or "epochs_done" not in loop:
        return {}
    return {"epoch": loop["epochs_done"], "inside_epoch": tree.get("inside") is not None}


def _opened(store: BlobStore | str | os.PathLike[str] | None) -> BlobStore | None:
    if isinstance(store, str | os.PathLike):
        return open_store(os.fspath(store))
    if store is not None and not isinstance(store, BlobStore):
        msg = f"store must be a BlobStore, a URL or a folder, got {type(store).__name__}."
        raise ExperimentSetupError(msg)
    return store
