"""A process that saves is killed at any moment: what is left is the old state or the new one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from tt_experiment.checkpoints import BestPolicy, CheckpointFolder, Retention

from .forks import Forks
from .moments import deaths
from .states import as_stored, names, tree, value_of

pytestmark = pytest.mark.slow

LAST = Retention(last=1)
BEST = Retention(last=1, best=BestPolicy("loss", "min"))


def folder(path: Path, retention: Retention | None = None) -> CheckpointFolder:
    return CheckpointFolder(path / "checkpoint_model", retention=retention)


def save(store: CheckpointFolder, value: int, step: int, loss: float = 1.0) -> None:
    store.save(tree(value), step=step, scores={"loss": loss}).wait_committed()


def nothing(path: Path) -> None:
    pass


def one(path: Path) -> None:
    save(folder(path), 1, 10)


def two(path: Path) -> None:
    one(path)
    save(folder(path), 2, 20, loss=0.1)


def first(path: Path) -> None:
    save(folder(path), 1, 10)


def second(path: Path) -> None:
    save(folder(path), 2, 20)


def the_only_one_kept(path: Path) -> None:
    save(folder(path, LAST), 2, 20)


def third_beside_the_best(path: Path) -> None:
    save(folder(path, BEST), 3, 30)


def same_step_again(path: Path) -> None:
    save(folder(path), 2, 10)


def two_at_once(path: Path) -> None:
    store = folder(path)
    store.save(tree(2), step=20, scores={})
    store.save(tree(3), step=30, scores={}).wait_committed()


CASES = [
    # prepared, saved then, states that may be the newest in the order of time, those kept at last
    (nothing, first, [None, 1], [1]),
    (one, second, [1, 2], [1, 2]),
    (one, the_only_one_kept, [1, 2], [2]),
    (two, third_beside_the_best, [2, 3], [2, 3]),
    (one, same_step_again, [1, 2], [2]),
    (one, two_at_once, [1, 2, 3], [1, 2, 3]),
]


@pytest.mark.parametrize(
    ("prepare", "act", "states", "kept"), CASES, ids=[case[1].__name__ for case in CASES]
)
def test_a_kill_at_any_moment(
    forks: Forks,
    memory: Path,
    caplog: pytest.LogCaptureFixture,
    prepare: Callable[[Path], object],
    act: Callable[[Path], object],
    states: list[int | None],
    kept: list[int],
) -> None:
    found = []
    for left in deaths(forks, prepare, act, memory):
        store = folder(left)
        with caplog.at_level(logging.WARNING):
            found.append(value_of(store, store.latest()))
        assert not caplog.records  # nothing was skipped
        stored = as_stored(store.path)
        assert not [name for name in names(store.path) if name.startswith(".")]
        save(store, 9, 90)
        assert value_of(store, store.latest()) == 9
    assert len(found) > 25
    assert found == sorted(found, key=states.index)
    assert list(dict.fromkeys(found)) == states
    assert stored == kept


def pin(path: Path) -> None:
    folder(path).pin(10, "for the paper")


def pinned(path: Path) -> None:
    two(path)
    pin(path)


def unpin(path: Path) -> None:
    folder(path).unpin(10)


def pins(path: Path) -> list[int]:
    return [info.step for info in folder(path).pinned()]


@pytest.mark.parametrize(
    ("prepare", "act", "known"), [(two, pin, [[], [10]]), (pinned, unpin, [[10], []])]
)
def test_a_kill_while_a_pin_is_noted(
    forks: Forks,
    memory: Path,
    prepare: Callable[[Path], object],
    act: Callable[[Path], object],
    known: list[list[int]],
) -> None:
    found = []
    for left in deaths(forks, prepare, act, memory):
        found.append(pins(left))
        assert as_stored(left / "checkpoint_model") == [1, 2]
        act(left)
        assert pins(left) == known[1]
    assert found == sorted(found, key=known.index)
    assert [found[0], found[-1]] == known


def test_a_kill_beside_a_pinned_checkpoint(forks: Forks, memory: Path) -> None:
    for left in deaths(forks, pinned, third_and_last, memory):
        stored = as_stored(left / "checkpoint_model")
        assert 1 in stored
        assert pins(left) == [10]
    assert stored == [1, 3]


def third_and_last(path: Path) -> None:
    save(folder(path, LAST), 3, 30)
