"""A disk that is full, broken or read-only costs a save or some records, never the training."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tt_experiment.api import ExperimentFolder, JsonLinesRecorder, read_metrics
from tt_experiment.checkpoints import CheckpointFolder, Retention
from tt_experiment.errors import CheckpointError
from tt_loop.api import CheckpointRef, RunInfo

from .disk import FailingDisk, using
from .states import as_stored, names, tree, value_of

pytestmark = pytest.mark.slow

ERRORS = [errno.ENOSPC, errno.EIO, errno.EROFS]
NAMES = [errno.errorcode[error] for error in ERRORS]
MOST = 2000
STAMP = "2026-01-02_03-04-05"


def save(store: CheckpointFolder, value: int, step: int) -> CheckpointRef:
    ticket = store.save(tree(value), step=step, scores={"loss": 1.0 / value})
    ticket.wait_staged()
    return ticket.wait_committed()


def failures(error: int, changes: int) -> Iterator[FailingDisk]:
    """A disk that fails at its first change, then one at its second, ... until none fails."""
    for at in range(1, MOST):
        disk = FailingDisk(at, error, changes=changes)
        yield disk
        if not disk.failed:
            return
    raise AssertionError("it makes more changes than anyone can fail at")


@pytest.mark.parametrize("changes", [1, MOST], ids=["once", "from then on"])
@pytest.mark.parametrize("error", ERRORS, ids=NAMES)
@pytest.mark.parametrize("kept", [None, Retention(last=1)], ids=["all kept", "last kept"])
@pytest.mark.parametrize("step", [20, 10], ids=["new step", "same step"])
def test_a_save(memory: Path, error: int, changes: int, kept: Retention | None, step: int) -> None:
    outcomes = []
    for disk in failures(error, changes):
        store = CheckpointFolder(memory / "run" / "checkpoint_model", retention=kept)
        save(store, 1, 10)
        with using(disk):
            outcomes.append(outcome(store, step, error))
        newest = value_of(store, store.latest())
        assert newest in ((2,) if outcomes[-1] == "committed" else (1, 2))
        assert set(as_stored(store.path)) <= {1, 2}
        save(store, 3, 30)
        assert value_of(store, store.latest()) == 3
        as_stored(store.path)
        assert not [name for name in names(store.path) if name.startswith(".")]
        shutil.rmtree(memory / "run")
    assert len(outcomes) > 25
    assert set(outcomes) == {"failed", "committed"}


def outcome(store: CheckpointFolder, step: int, error: int) -> str:
    failure = failure_of(lambda: save(store, 2, step))
    if failure is None:
        return "committed"
    assert isinstance(failure.__cause__, OSError)
    assert failure.__cause__.errno == error
    assert os.strerror(error) in str(failure)
    assert "MB are free" in str(failure)
    assert str(store.path) in str(failure)
    return "failed"


def failure_of(action: Callable[[], object]) -> CheckpointError | None:
    try:
        action()
    except CheckpointError as failure:
        return failure
    return None


@pytest.mark.parametrize("error", ERRORS, ids=NAMES)
def test_the_first_save_of_all(memory: Path, error: int) -> None:
    outcomes = []
    for disk in failures(error, MOST):
        store = CheckpointFolder(memory / "run" / "checkpoint_model")
        with using(disk):
            outcomes.append(outcome(store, 10, error))
        assert value_of(store, store.latest()) in (None, 2)
        save(store, 3, 30)
        assert value_of(store, store.latest()) == 3
        shutil.rmtree(memory / "run", ignore_errors=True)
    assert set(outcomes) == {"failed", "committed"}


def test_a_failure_behind_the_training_is_told_once_and_the_next_save_works(memory: Path) -> None:
    store = CheckpointFolder(memory / "checkpoint_model")
    save(store, 1, 10)
    with using(FailingDisk(5, errno.EIO, changes=MOST)):
        ticket = store.save(tree(2), step=20, scores={})
        ticket.wait_staged()  # the training goes on
        with pytest.raises(CheckpointError, match=os.strerror(errno.EIO)):
            ticket.wait_committed()
    assert not ticket.committed
    assert save(store, 3, 30).step == 30
    with pytest.raises(CheckpointError):
        ticket.wait_committed()  # asked again, it says the same


def record(folder: ExperimentFolder) -> JsonLinesRecorder:
    recorder = JsonLinesRecorder(folder)
    recorder.open(RunInfo(step=0, epoch=0, world_size=1, strategy="SingleDevice"))
    for step in range(1, 7):
        recorder.scalars(step, {"loss": float(step)}, epoch=0)
    recorder.close("completed")
    return recorder


@pytest.mark.parametrize("error", ERRORS, ids=NAMES)
@pytest.mark.parametrize("changes", [1, MOST], ids=["once", "from then on"])
def test_records(memory: Path, caplog: pytest.LogCaptureFixture, error: int, changes: int) -> None:
    kept: list[int] = []
    ExperimentFolder.create(memory, "p", "e", timestamp=STAMP).write_start({})
    for disk in failures(error, changes):
        folder = ExperimentFolder(shutil.copytree(memory / "p" / f"e_{STAMP}", memory / "run"))
        caplog.clear()
        with caplog.at_level(logging.WARNING), using(disk):
            recorder = record(folder)
        steps = [entry["step"] for entry in read_metrics(folder.path)]
        assert steps == sorted(set(steps))
        assert set(steps) <= set(range(1, 7))
        told = [line.getMessage() for line in caplog.records if "recording" in line.getMessage()]
        assert len(told) == (1 if disk.failed else 0)
        assert all(f"[Errno {error}]" in line for line in told)
        assert recorder.lost >= 6 - len(steps)
        kept.append(len(steps))
        record(folder)
        assert [entry["step"] for entry in read_metrics(folder.path)] == [1, 2, 3, 4, 5, 6]
        shutil.rmtree(memory / "run")
    assert kept[-1] == 6
