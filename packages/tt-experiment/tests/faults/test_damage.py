"""Bytes of a checkpoint that rot, are cut off or are gone: nothing of it is loaded unnoticed."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tt_experiment.checkpoints import CheckpointFolder
from tt_experiment.errors import CorruptCheckpoint, NoValidCheckpoint
from tt_loop.api import CheckpointRef

from .states import tree, value_of

SIZE = 3000  # numbers: files of several blocks
BLOCK = 4096
FILES = [
    "MANIFEST.json",
    "extra.safetensors",
    "model.safetensors",
    "optimizer.safetensors",
    "state.json",
]


class Checkpoints:
    """Two checkpoints; the newer one is damaged and made whole again."""

    def __init__(self, path: Path) -> None:
        self.store = CheckpointFolder(path / "checkpoint_model")
        self.older = self._save(1)
        self.newer = self._save(2)
        self.folder = Path(self.newer.location)
        self.whole = {item.name: item.read_bytes() for item in self.folder.iterdir()}

    def _save(self, value: int) -> CheckpointRef:
        return self.store.save(tree(value, SIZE), step=value, scores={}).wait_committed()

    def mend(self) -> None:
        for name, data in self.whole.items():
            (self.folder / name).write_bytes(data)

    def check_noticed(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert value_of(self.store, self.store.latest(), SIZE) == 1
        assert "damaged" in caplog.text
        assert str(self.folder) in caplog.text
        with pytest.raises(CorruptCheckpoint):
            self.store.load(self.newer)
        self.mend()


@pytest.fixture
def checkpoints(memory: Path) -> Iterator[Checkpoints]:
    made = Checkpoints(memory)
    assert sorted(made.whole) == FILES
    yield made
    assert value_of(made.store, made.store.latest(), SIZE) == 2


@pytest.mark.parametrize("name", FILES)
def test_cut_off(checkpoints: Checkpoints, name: str, caplog: pytest.LogCaptureFixture) -> None:
    data = checkpoints.whole[name]
    last = len(data) - 2 if name == "MANIFEST.json" else len(data) - 1  # a line's end says nothing
    for size in sorted({0, 1, last, *range(BLOCK, len(data), BLOCK)}):
        (checkpoints.folder / name).write_bytes(data[:size])
        checkpoints.check_noticed(caplog)


@pytest.mark.parametrize("name", FILES)
def test_longer(checkpoints: Checkpoints, name: str, caplog: pytest.LogCaptureFixture) -> None:
    (checkpoints.folder / name).write_bytes(checkpoints.whole[name] + b"\0")
    checkpoints.check_noticed(caplog)


@pytest.mark.parametrize("name", FILES)
def test_zeroed_blocks(
    checkpoints: Checkpoints, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole = checkpoints.whole[name]
    for start in range(0, len(whole), BLOCK):
        data = bytearray(whole)
        data[start : start + BLOCK] = bytes(len(data[start : start + BLOCK]))
        (checkpoints.folder / name).write_bytes(data)
        checkpoints.check_noticed(caplog)


@pytest.mark.parametrize("name", FILES)
def test_gone(checkpoints: Checkpoints, name: str, caplog: pytest.LogCaptureFixture) -> None:
    (checkpoints.folder / name).unlink()
    checkpoints.check_noticed(caplog)


@pytest.mark.parametrize("name", FILES[1:])
def test_swapped_for_the_other_checkpoint_s(
    checkpoints: Checkpoints, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copy(Path(checkpoints.older.location, name), checkpoints.folder / name)
    checkpoints.check_noticed(caplog)


@pytest.mark.slow
def test_random_bits(checkpoints: Checkpoints, caplog: pytest.LogCaptureFixture) -> None:
    draw = Random(7)
    places = [(name, i) for name, data in checkpoints.whole.items() for i in range(len(data))]
    noticed = 0
    for name, position in draw.sample(places, 300):
        data = bytearray(checkpoints.whole[name])
        data[position] ^= 1 << draw.randrange(8)
        (checkpoints.folder / name).write_bytes(data)
        if name == "MANIFEST.json" and same_document(data, checkpoints.whole[name]):
            checkpoints.mend()  # 1e-05 or 1E-05: nothing is changed
            continue
        checkpoints.check_noticed(caplog)
        noticed += 1
    assert noticed > 290


def same_document(data: bytearray, whole: bytes) -> bool:
    try:
        return bool(json.loads(bytes(data)) == json.loads(whole))
    except ValueError:
        return False


GARBAGE = [b"", b"{}", b"[]", b"null", b"\0" * 300, b'{"format": "tt-checkpoint/1"}', b"[" * 10**5]


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
def test_a_manifest_of_something_else(
    checkpoints: Checkpoints, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (checkpoints.folder / "MANIFEST.json").write_bytes(garbage)
    checkpoints.check_noticed(caplog)


def test_a_file_that_nobody_wrote_is_ignored(checkpoints: Checkpoints) -> None:
    extra = checkpoints.folder / "notes.txt"
    extra.write_text("mine")
    assert value_of(checkpoints.store, checkpoints.store.latest(), SIZE) == 2
    assert extra.read_text() == "mine"


def test_none_is_whole(checkpoints: Checkpoints) -> None:
    Path(checkpoints.older.location, "state.json").unlink()
    (checkpoints.folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(NoValidCheckpoint) as failure:
        checkpoints.store.latest()
    for ref in (checkpoints.older, checkpoints.newer):
        assert ref.location in str(failure.value)
    checkpoints.mend()
