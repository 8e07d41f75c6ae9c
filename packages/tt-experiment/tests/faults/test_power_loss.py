"""The power fails at any moment of a save: what was said to be committed is there, and whole."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tt_experiment.api import (
    Experiment,
    ExperimentFolder,
    load_model,
    read_metrics,
    save_model,
)
from tt_experiment.checkpoints import BestPolicy, CheckpointFolder, Retention
from tt_experiment.errors import RunFolderError
from tt_loop.api import RunInfo

from .disk import NotingDisk, using
from .forks import Forks
from .power import images
from .states import as_stored, names, tree, value_of

pytestmark = pytest.mark.slow

SAVES = [(1, 10, 0.5), (2, 20, 0.2), (3, 30, 0.9), (4, 30, 0.4)]
RETENTIONS = [None, Retention(last=1), Retention(last=1, best=BestPolicy("loss", "min"))]


def save_all(disk: NotingDisk, path: Path, retention: Retention | None) -> None:
    store = CheckpointFolder(path / "run" / "checkpoint_model", retention=retention)
    for value, step, loss in SAVES:
        disk.say("begun", value)
        store.save(tree(value), step=step, scores={"loss": loss}).wait_committed()
        disk.say("committed", value)


def save_in_a_row(disk: NotingDisk, path: Path, retention: Retention | None) -> None:
    store = CheckpointFolder(path / "run" / "checkpoint_model", retention=retention)
    tickets = []
    for value, step, loss in SAVES:
        disk.say("begun", value)
        tickets.append(store.save(tree(value), step=step, scores={"loss": loss}))
    tickets[-1].wait_committed()
    disk.say("committed", SAVES[-1][0])


def noted(
    forks: Forks, path: Path, act: Callable[..., object], *facts: object
) -> Iterator[tuple[dict[str, Any], Path]]:
    """Let a process act in a folder, and go through what a power loss leaves of the folder."""
    (path / "disk").mkdir()
    assert forks.run(_note, path, act, facts) == 0
    changes = pickle.loads((path / "changes").read_bytes())
    for said, left in images(path / "disk", changes, path / "left"):
        yield said, left
        shutil.rmtree(left)


def _note(path: Path, act: Callable[..., object], facts: tuple[object, ...]) -> None:
    disk = NotingDisk()
    with using(disk):
        act(disk, path / "disk", *facts)
    (path / "changes").write_bytes(pickle.dumps(disk.changes))


@pytest.mark.parametrize("retention", RETENTIONS, ids=["all", "last", "last and best"])
@pytest.mark.parametrize("act", [save_all, save_in_a_row])
def test_checkpoints(
    forks: Forks, memory: Path, act: Callable[..., object], retention: Retention | None
) -> None:
    moments, found = 0, set()
    for said, left in noted(forks, memory, act, retention):
        store = CheckpointFolder(left / "run" / "checkpoint_model", retention=retention)
        newest = value_of(store, store.latest()) or 0
        assert said.get("committed", 0) <= newest <= said.get("begun", 0)
        assert not [name for name in names(store.path) if name.startswith(".")]
        stored = as_stored(store.path)
        if retention is not None and retention.best and newest > 2:
            assert 2 in stored  # the best was there before and is not lost
        moments += 1
        found.add(newest)
    assert moments > 500
    assert found == {0, *(value for value, _, _ in SAVES)}


def train_by_hand(disk: NotingDisk, path: Path) -> None:
    """Records and checkpoints of a run, and its end."""
    folder = ExperimentFolder.create(path, "p", "e", timestamp="2026-01-02_03-04-05")
    folder.write_start({"lr": 0.1})
    disk.say("a run", folder.path.name)
    experiment = Experiment.open(folder.path)
    experiment.recorder.open(RunInfo(step=0, epoch=0, world_size=1, strategy="SingleDevice"))
    for step in range(1, 7):
        experiment.recorder.scalars(step, {"loss": float(step)}, epoch=0)
        if step % 2 == 0:
            disk.say("begun", step)
            experiment.save(tree(step), step=step, scores={}).wait_committed()
            disk.say("committed", step)
    save_model(folder, {"w": torch.full((4,), 6.0)})
    disk.say("model", 6)
    experiment.recorder.close("completed")
    disk.say("closed", "completed")


def test_a_run(forks: Forks, memory: Path) -> None:
    statuses = set()
    for said, left in noted(forks, memory, train_by_hand):
        path = left / "p" / "e_2026-01-02_03-04-05"
        status = status_of(path)
        statuses.add(status)
        assert (status is not None) >= ("a run" in said)
        if status is None:
            continue
        store = CheckpointFolder(path / "checkpoint_model")
        newest = value_of(store, store.latest()) or 0
        assert said.get("committed", 0) <= newest <= said.get("begun", 0)
        steps = [record["step"] for record in read_metrics(path)]
        assert steps == list(range(1, len(steps) + 1))
        assert len(steps) >= newest  # a history goes on where its checkpoint does
        if "model" in said:
            assert torch.equal(load_model(path / "model")["w"], torch.full((4,), 6.0))
        if "closed" in said:
            assert status == "completed"
            assert len(steps) == 6
            ExperimentFolder(path).verify()
    assert statuses >= {None, "running", "completed"}


def status_of(path: Path) -> str | None:
    try:
        status: str = ExperimentFolder(path).run()["status"]
    except RunFolderError:
        return None
    return status
