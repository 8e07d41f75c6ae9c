"""A disk that fails for a while costs a training checkpoints and nothing else."""

from __future__ import annotations

import errno
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tt_experiment.checkpoints import CheckpointFolder
from tt_experiment.errors import CheckpointError

from .disk import FailingDisk, NotingDisk, using
from .forks import Forks
from .training import outcome, runs, train

pytestmark = pytest.mark.slow


def train_whole(root: Path) -> None:
    disk = NotingDisk()
    with using(disk):
        train(root)
    first = next(i for i, change in enumerate(disk.changes) if "metrics" in str(change.args))
    last = max(i for i, change in enumerate(disk.changes) if "MANIFEST.json" in str(change.args))
    (root / "between").write_text(f"{first} {last}")


def train_on(root: Path, at: int, error: int, changes: int) -> None:
    disk = FailingDisk(at, error, changes=changes)
    with using(disk):
        train(root)
    assert disk.failed


@pytest.fixture(scope="module")
def whole(
    forks: Forks, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], int, int]:
    """What comes out of it on a sound disk, and between which changes to the disk it trains."""
    root = tmp_path_factory.mktemp("whole") / "root"
    root.mkdir()
    assert forks.run(train_whole, root) == 0
    first, last = map(int, (root / "between").read_text().split())
    return outcome(root), first, last


@pytest.mark.parametrize("case", range(12))
def test_training_goes_on(
    forks: Forks, memory: Path, whole: tuple[dict[str, Any], int, int], case: int
) -> None:
    known, first, last = whole
    draw = Random(case)
    root = memory / "root"
    root.mkdir()
    at = draw.randint(first + 60, last - 250)
    error = draw.choice([errno.ENOSPC, errno.EIO, errno.EROFS])
    assert forks.run(train_on, root, at, error, draw.randint(1, 4)) == 0  # at most two saves
    found = outcome(root)
    assert found["saved"][-1] == known["saved"][-1]
    assert set(found.pop("saved")) <= set(known["saved"])
    assert found == {key: value for key, value in known.items() if key != "saved"}
    (run,) = runs(root)
    store = CheckpointFolder(run.checkpoints)
    for entry in store.entries():
        store.verify(entry.ref)


def train_to_the_end(root: Path, at: int) -> None:
    with using(FailingDisk(at, errno.ENOSPC, changes=10**9)):
        try:
            train(root)
        except CheckpointError as error:
            raise SystemExit(40 if isinstance(error.__cause__, OSError) else 1) from error


def test_a_disk_that_stays_full_ends_it_with_the_reason(
    forks: Forks, memory: Path, whole: tuple[dict[str, Any], int, int]
) -> None:
    known, first, last = whole
    root = memory / "root"
    root.mkdir()
    assert forks.run(train_to_the_end, root, (first + last) // 2) == 40
    (run,) = runs(root)
    assert CheckpointFolder(run.checkpoints).latest() is not None
    assert forks.run(train, root) == 0  # when there is room again
    found = outcome(root)
    assert {**found, "saved": 0} == {**known, "saved": 0}
