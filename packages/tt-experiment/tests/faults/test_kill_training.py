"""A training that is killed again and again ends as the one that is not, bit for bit."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from random import Random
from typing import Any

import pytest

from .disk import KillingDisk, NotingDisk, using
from .forks import Forks
from .training import EPOCHS, STEPS, Hook, outcome, runs, train

pytestmark = pytest.mark.slow

MOST_DEATHS = 3


def train_on(root: Path, at_change: int, at_batch: int, late: bool) -> None:
    """Die at a change to the disk, or before a batch's forward pass, whichever comes first."""

    def die(batch: int) -> None:
        if batch == at_batch:
            os.kill(os.getpid(), signal.SIGKILL)

    with using(KillingDisk(at_change)):
        train(root, Hook(die), late=late)


def train_whole(root: Path) -> None:
    disk = NotingDisk()
    with using(disk):
        train(root)
    (root / "changes").write_text(str(disk.count))


@pytest.fixture(scope="module")
def whole(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], int]:
    """What comes out of the uninterrupted training, and how many changes to the disk it makes."""
    root = tmp_path_factory.mktemp("whole") / "root"
    root.mkdir()
    assert forks.run(train_whole, root) == 0
    return outcome(root), int((root / "changes").read_text())


def test_the_training_does_something(whole: tuple[dict[str, Any], int]) -> None:
    known, changes = whole
    assert known["status"] == "completed"
    assert len(known["history"]) > 0
    assert len(known["records"]) >= EPOCHS
    assert len(known["saved"]) > STEPS // 3
    assert changes > 300


@pytest.mark.parametrize("case", range(20))
def test_killed(forks: Forks, memory: Path, whole: tuple[dict[str, Any], int], case: int) -> None:
    known, changes = whole
    draw = Random(case)
    root = memory / "root"
    root.mkdir()
    deaths = 0
    for left in reversed(range(MOST_DEATHS + 1)):
        by_disk = draw.random() < 0.6
        at_change = draw.randint(1, changes) if by_disk and left else 0
        at_batch = draw.randint(1, STEPS) if not by_disk and left else 0
        status = forks.run(train_on, root, at_change, at_batch, draw.random() < 0.7)
        if status == 0:
            break
        assert status == -signal.SIGKILL
        deaths += 1
    assert deaths > 0
    assert outcome(root) == known
    assert len(runs(root)) == 1
