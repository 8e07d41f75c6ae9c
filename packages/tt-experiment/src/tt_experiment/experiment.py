"""One run as one object: its folder, its checkpoints, its records, its copy in a store."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from tt_experiment.checkpoints import BestPolicy, CheckpointFolder, SaveTicket
from tt_experiment.errors import ExperimentSetupError, UploadError
from tt_experiment.folder import ExperimentFolder, Status
from tt_experiment.names import check_name
from tt_experiment.ports import BlobStore
from tt_experiment.recorder import JsonLinesRecorder
from tt_experiment.report import write_report
from tt_experiment.results import read_results
from tt_experiment.stores import open_store
from tt_experiment.upload import mirror
from tt_loop.api import CheckpointRef, Collective, RunInfo, Tree

__all__ = ["Experiment", "ExperimentRecorder"]

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
        source_dirs: Folders of source code to keep.
        keep_best: Which checkpoints to keep; by default all.

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
        source_dirs: Sequence[Path | str] = (),
        keep_best: BestPolicy | None = None,
    ) -> None:
        self.project_name = check_name(project_name, "project name")
        self.experiment_name = check_name(experiment_name)
        self.root = Path(root).expanduser().absolute()
        self.hyperparams = dict(hyperparams or {})
        self.store = _opened(store)
        self.source_dirs = list(source_dirs)
        self.keep_best = keep_best
        self.recorder = ExperimentRecorder(self)
        self._folder: ExperimentFolder | None = None

    @property
    def folder(self) -> ExperimentFolder:
        """The run's folder; makes it when it is not there yet."""
        if self._folder is None:
            self.start()
        assert self._folder is not None  # noqa: S101  # `start` has made it
        return self._folder

    @property
    def checkpoints(self) -> CheckpointFolder:
        """The run's checkpoints."""
        return CheckpointFolder(self.folder.checkpoints, keep_best=self.keep_best)

    def start(self, timestamp: str | None = None) -> None:
        """Make the run's folder, write down what is known, and copy it to the store; once.

        Args:
            timestamp: Start of the run as ``YYYY-MM-DD_HH-MM-SS``; now if left out.

        Raises:
            UploadError: The store cannot be written to: better now than after the training.
        """
        if self._folder is not None:
            return
        folder = ExperimentFolder.create(
            self.root, self.project_name, self.experiment_name, timestamp=timestamp
        )
        folder.write_start(self.hyperparams, self._script(), self.source_dirs)
        try:
            self._claim(folder)
            self._mirror(folder)
        except BaseException:
            folder.finish("failed")
            raise
        self._folder = folder

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
        return opened

    def _claim(self, folder: ExperimentFolder) -> None:
        """Be the only run under this name in the store."""
        if self.store is None:
            return
        key = f"{self._prefix(folder)}/run.json"
        try:
            self.store.put(key, folder.run_file, if_absent=True)
        except FileExistsError as error:
            msg = f"{self.store.url} has a run {self._prefix(folder)} already: start again."
            raise UploadError(msg) from error
        except Exception as error:  # whatever a store raises
            msg = f"{self.store.url} cannot be written to: {error}"
            raise UploadError(msg) from error

    def _script(self) -> Path | None:
        """The training script: as the hyperparameters say, else the program that runs."""
        said = self.hyperparams.get("experiment_file_path")
        if said is not None:
            if not isinstance(said, str | os.PathLike) or not Path(said).is_file():
                msg = f"experiment_file_path must be the training script, got {said!r}."
                raise ExperimentSetupError(msg)
            return Path(said)
        main = Path(getattr(sys.modules.get("__main__"), "__file__", None) or "")
        return main if main.suffix == ".py" and main.is_file() else None

    def save(self, tree: Tree, /, *, step: int, scores: Mapping[str, float]) -> SaveTicket:
        """Save a checkpoint; with a store, copy what is new there too.

        A copy that fails is logged and made up for by the next one.
        """
        self.folder.unseal()
        ticket = self.checkpoints.save(tree, step=step, scores=scores)
        if ticket.committed:
            self.recorder.event("checkpoint", {"step": step, "scores": dict(scores)})
            self._try_to_upload()
        return ticket

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
        """Note how the run ended, write its report, seal it, and copy it to the store."""
        self.folder.finish(status)
        try:
            write_report(self.folder)
        except Exception:  # the run is worth more than its report
            _log.exception("the report of %s could not be written", self.folder.path)
        self.folder.seal()
        self._try_to_upload()

    def results(self) -> dict[str, dict[str, Any]]:
        """The results by package that were kept at the end."""
        return read_results(self.folder)

    def upload(self) -> int:
        """Copy to the store what is not there yet; the number of files that were.

        Raises:
            UploadError: Some files did not reach the store; call again to go on.
        """
        return self._mirror(self.folder)

    def _mirror(self, folder: ExperimentFolder) -> int:
        return 0 if self.store is None else mirror(folder.path, self.store, self._prefix(folder))

    def _prefix(self, folder: ExperimentFolder) -> str:
        return folder.path.relative_to(self.root).as_posix()

    def _try_to_upload(self) -> None:
        try:
            self.upload()
        except UploadError as error:
            _log.warning("%s", error)


def _opened(store: BlobStore | str | os.PathLike[str] | None) -> BlobStore | None:
    if isinstance(store, str | os.PathLike):
        return open_store(os.fspath(store))
    if store is not None and not isinstance(store, BlobStore):
        msg = f"store must be a BlobStore, a URL or a folder, got {type(store).__name__}."
        raise ExperimentSetupError(msg)
    return store


class ExperimentRecorder:
    """Records into the run's folder and finishes the run when the fit ends."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self._lines: JsonLinesRecorder | None = None

    def open(self, run: RunInfo, /) -> None:
        """Begin an attempt."""
        self._lines = JsonLinesRecorder(self.experiment.folder)
        self._lines.open(run)

    def scalars(self, step: int, values: Mapping[str, float], /, *, epoch: int) -> None:
        """Append metric values."""
        if self._lines is not None:
            self._lines.scalars(step, values, epoch=epoch)

    def event(self, kind: str, data: Mapping[str, Any], /) -> None:
        """Append something that happened."""
        if self._lines is not None:
            self._lines.event(kind, data)

    def close(self, status: Literal["completed", "failed", "interrupted"], /) -> None:
        """End the attempt and finish the run; a failure is logged, for training is over."""
        if self._lines is None:
            return
        self._lines.close(status)
        self._lines = None
        try:
            self.experiment.finish(status)
        except Exception:  # the interface says so: a recorder must not raise
            _log.exception("finishing the run in %s failed", self.experiment.folder.path)
