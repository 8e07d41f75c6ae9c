"""A training that is asked to end, wherever it is: it commits, says so, and goes on exactly."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tt_experiment.recorder import read_events
from tt_loop.api import Callback

from .disk import NotingDisk, using
from .forks import Forks
from .training import outcome, runs, train

pytestmark = pytest.mark.slow

PREEMPTED = 75


def ask() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


class At(Callback):
    """Sends the signal at a moment of the training."""

    def __init__(self, moment: str, number: int) -> None:
        super().__init__("signal")
        self.moment, self.left = moment, number

    def _reached(self, moment: str) -> None:
        if moment == self.moment:
            self.left -= 1
            if self.left == 0:
                ask()

    def on_batch_begin(self) -> None:
        self._reached("batch begin")

    def on_batch_end(self) -> None:
        self._reached("batch end")

    def on_after_gradient_update(self, optimizer_idx: int) -> None:
        self._reached("update")

    def on_epoch_end(self) -> None:
        self._reached("epoch end")


class DiskThatAsks(NotingDisk):
    """The signal comes while a save is written, behind the training or not."""

    def __init__(self, name: str, path: str, number: int) -> None:
        super().__init__()
        self.name, self.path, self.left = name, path, number

    def change(self, name: str, real: Any, *args: Any, **options: Any) -> Any:
        if name == self.name and self.path in str(args[0]):
            self.left -= 1
            if self.left == 0:
                ask()
        return super().change(name, real, *args, **options)


MOMENTS: dict[str, Callable[[Path], None]] = {}


def moment(action: Callable[[Path], None]) -> Callable[[Path], None]:
    MOMENTS[action.__name__] = action
    return action


@moment
def before_the_first_batch(root: Path) -> None:
    train(root, At("batch begin", 1))


@moment
def inside_a_window(root: Path) -> None:
    train(root, At("batch begin", 8))


@moment
def after_an_update(root: Path) -> None:
    train(root, At("update", 5))


@moment
def between_epochs(root: Path) -> None:
    train(root, At("epoch end", 2))


@moment
def in_a_save(root: Path) -> None:
    with using(DiskThatAsks("open", "model.safetensors", 4)):
        train(root)


@moment
def at_a_commit(root: Path) -> None:
    with using(DiskThatAsks("rename", "-step-12-", 1)):
        train(root)


@moment
def after_the_last_batch(root: Path) -> None:
    train(root, At("batch end", 33))


def train_whole(root: Path) -> None:
    train(root)


@pytest.fixture(scope="module")
def whole(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("whole") / "root"
    root.mkdir()
    assert forks.run(train_whole, root) == 0
    return outcome(root)


@pytest.mark.parametrize("name", MOMENTS)
def test_sigterm(forks: Forks, memory: Path, whole: dict[str, Any], name: str) -> None:
    root = memory / "root"
    root.mkdir()
    assert forks.run(MOMENTS[name], root) == PREEMPTED
    (run,) = runs(root)
    assert run.run()["status"] == "interrupted"
    assert "preempt" in [event["kind"] for event in read_events(run.events_file)]
    assert forks.run(train_whole, root) == 0
    (run,) = runs(root)
    assert [attempt["status"] for attempt in run.run()["attempts"]] == ["interrupted", "completed"]
    known = outcome(root)
    extra = set(known.pop("saved")) - set(whole["saved"])
    assert len(extra) <= 1  # the one that was made on demand
    assert known == {key: value for key, value in whole.items() if key != "saved"}
