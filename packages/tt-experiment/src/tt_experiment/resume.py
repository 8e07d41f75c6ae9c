"""Going on with a run: finding it, taking it over, and its state into a loop.

::

    loop = TrainLoopCheckpoint(...)
    loop.fit(num_epochs=10, resume="auto")

    experiment = Experiment("digits", "mlp", "runs")  # the same with a plain loop
    resume_from(loop, "auto", experiment)
    loop.fit(num_epochs=10, callbacks=[ExperimentCheckpoint(experiment)])
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tt_experiment._runs.data import check_data
from tt_experiment._runs.which import candidates
from tt_experiment.checkpoints import CheckpointFolder
from tt_experiment.errors import (
    CheckpointMismatch,
    ExperimentSetupError,
    NoValidCheckpoint,
    RunLockedError,
)
from tt_experiment.experiment import Experiment
from tt_experiment.folder import ExperimentFolder
from tt_loop.api import Callback, CheckpointRef, Collective, LoopStateError, TrainLoop, Tree

__all__ = ["VARIABLE", "Resumption", "asked_for", "resume_from", "resuming"]

VARIABLE = "TT_RESUME"  # names a run to the program that `tt-experiment resume` starts

_log = logging.getLogger(__name__)


def resume_from(loop: TrainLoop, what: str | Path, experiment: Experiment) -> CheckpointRef | None:
    """Go on with a run in a loop that has not begun to train: the next ``fit`` does the rest of it.

    Args:
        loop: The loop, made as for the run.
        what: ``"auto"``, the newest unfinished run of the experiment's names and hyperparameters
            below its root, or else in its store; the folder of a run or of one of its checkpoints;
            a run's ``id`` or the name of its folder; or its URL in a store.
        experiment: Takes over the run; hand it to the callbacks of the fit.

    Returns:
        The checkpoint. ``None`` if the run died before its first one, and for ``"auto"`` also if
        there is no unfinished run: the fit then makes a new one.

    Raises:
        NoValidCheckpoint: The run has checkpoints and none of them is valid.
        CheckpointMismatch: The state is that of another model, optimizer or scheduler; nothing
            was loaded.
        RunLockedError: Another process writes to the run.
        QueryError: There is no such run, or the name means several.
        RunFolderError: A folder is no run.
    """
    resumption = Resumption(experiment, asked_for(what) or what)
    resumption.take_over(loop.comm)
    return resumption.load_into(loop, whole=False)


def asked_for(what: str | Path | None) -> str | Path | None:
    """What to go on with: once, what ``tt-experiment resume`` says, else what the program says."""
    return os.environ.pop(VARIABLE, None) or what


@dataclass(frozen=True)
class _Found:
    """A run to go on with, and where its state is."""

    run: Path
    checkpoint: CheckpointRef | None
    is_newest: bool


class Resumption:
    """Going on with a run in two moments: before anything is written, and when all is set up.

    Args:
        experiment: Takes over the run.
        what: As for `resume_from`.
    """

    def __init__(self, experiment: Experiment, what: str | Path) -> None:
        self.experiment, self.what = experiment, what
        self._found: _Found | None = None

    def take_over(self, comm: Collective) -> None:
        """Find the run and become its writer; all processes must call it.

        Raises:
            ExperimentSetupError: In the others, when the first cannot go on with it.
        """
        if self.experiment.is_started():
            if self.what == "auto":  # a second fit of this process goes on in its own run
                self._found = _in_first(comm, self._cut_short)
                return
            msg = f"The loop keeps {self.experiment.folder.path} already: make a new one to resume."
            raise ExperimentSetupError(msg)
        self._found = _in_first(comm, self._choose)
        if self._found is not None and comm.rank != 0:
            self.experiment.take_over(ExperimentFolder(self._found.run), writes=False)

    def load_into(self, loop: TrainLoop, *, whole: bool) -> CheckpointRef | None:
        """Load the state; all or nothing.

        Args:
            loop: The loop.
            whole: The loop has all of its callbacks, so that schedulers are compared as well.

        Raises:
            CheckpointMismatch: It is the state of something else.
        """
        found = self._found
        if found is None or found.checkpoint is None:
            return None
        try:
            tree = self._checkpoints(found.run).load(found.checkpoint)
            check_data(loop, self.experiment, ExperimentFolder(found.run), tree.get("inside"))
            _load(loop, tree, found.checkpoint, whole=whole)
        except BaseException:
            self.experiment.let_go()
            raise
        if not found.is_newest and loop.is_main_process():
            # What came after it is abandoned from now on, also if this attempt dies at once.
            ref = found.checkpoint
            self.experiment.save(tree, step=ref.step, scores=ref.scores).wait_committed()
        _log.info("going on from step %d of %s", found.checkpoint.step, found.run)
        return found.checkpoint

    def _cut_short(self) -> _Found | None:
        """The newest state of the experiment's run, if its last fit did not reach its end."""
        run = self.experiment.folder
        if run.run()["status"] not in ("failed", "interrupted"):
            return None
        self.experiment.lock.acquire()
        ref = self.experiment.latest()
        return None if ref is None else _Found(run.path, ref, is_newest=True)

    def _choose(self) -> _Found | None:
        for run, checkpoint in candidates(self.experiment, self.what):
            folder = ExperimentFolder(run)
            try:
                self.experiment.take_over(folder)
            except RunLockedError as error:
                if self.what != "auto":
                    raise
                _log.info("not going on with a run that is at work: %s", error)
                continue
            try:
                return self._state_of(run, checkpoint)
            except BaseException:
                self.experiment.let_go()
                raise
        return None

    def _state_of(self, run: Path, checkpoint: Path | None) -> _Found:
        store = self._checkpoints(run)
        if checkpoint is None:
            ref = store.latest()
            if ref is None:
                _log.warning("%s has no checkpoint yet: it begins again as a new attempt", run)
            return _Found(run, ref, is_newest=True)
        entries = store.entries()
        named = [entry.ref for entry in entries if entry.path == checkpoint]
        if not named:
            msg = f"{checkpoint} is no valid checkpoint: its manifest is missing or damaged."
            raise NoValidCheckpoint(msg)
        store.verify(named[0])
        return _Found(run, named[0], is_newest=entries[0].ref == named[0])

    @staticmethod
    def _checkpoints(run: Path) -> CheckpointFolder:
        """An own view: that of the experiment is made when all know what is to be kept."""
        return CheckpointFolder(ExperimentFolder(run).checkpoints)


def _in_first(comm: Collective, choose: Any) -> Any:
    """What the first process finds, in all of them."""
    if comm.world_size == 1:
        return choose()
    said: tuple[Any, str] = (None, "")
    try:
        if comm.rank == 0:
            said = (choose(), "")
    except Exception as error:  # the others wait to hear of it
        comm.broadcast_object((None, f"{type(error).__name__}: {error}"))
        raise
    found, failure = comm.broadcast_object(said)
    if failure:
        msg = f"Process 0 could not go on with the run: {failure}"
        raise ExperimentSetupError(msg)
    return found


def _load(loop: TrainLoop, tree: Tree, ref: CheckpointRef, *, whole: bool) -> None:
    try:
        if whole:
            loop.check_state_dict(tree)
        loop.load_state_dict(tree)
    except LoopStateError as error:
        msg = f"{ref.location}: {error}"
        raise CheckpointMismatch(msg) from error


class _TakeOver(Callback):
    """Takes over the run when it joins a loop: before callbacks that would begin a new one."""

    may_change_weights = False

    def __init__(self, resumption: Resumption) -> None:
        super().__init__("Resume: find the run")
        self.resumption = resumption

    def on_train_loop_registration(self) -> None:
        """Find the run."""
        self.resumption.take_over(self.train_loop_obj.comm)


class _Load(Callback):
    """Loads the state when it joins a loop: after all other callbacks."""

    may_change_weights = False

    def __init__(self, resumption: Resumption) -> None:
        super().__init__("Resume: load the state")
        self.resumption = resumption

    def on_train_loop_registration(self) -> None:
        """Load the state, and say so if nothing is left to be done."""
        loop = self.train_loop_obj
        ref = self.resumption.load_into(loop, whole=True)
        began = loop.fit_began["epochs_done"]
        if ref is not None and 0 < loop.num_epochs <= loop.epochs_done - began:
            run = self.resumption.experiment.folder.path
            _log.warning("%s has its %d epochs: nothing is left to train", run, loop.num_epochs)


def resuming(experiment: Experiment, what: str | Path) -> tuple[Callback, Callback]:
    """Two callbacks that go on with a run: the first and the last that are to join a loop."""
    resumption = Resumption(experiment, what)
    return _TakeOver(resumption), _Load(resumption)
