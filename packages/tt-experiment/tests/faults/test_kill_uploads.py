"""A process is killed at each of its requests to a store: the next one brings the rest up."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from urllib.parse import quote, unquote

import pytest

from tt_experiment import folder
from tt_experiment.api import Experiment
from tt_experiment.folder import run_files
from tt_experiment.testing import MemoryBlobStore

from .disk import KillingDisk, using
from .forks import Forks
from .states import tree

pytestmark = pytest.mark.slow

STAMP = "2026-01-02_03-04-05"
PREFIX = f"project/run_{STAMP}"
MOST = 500


class Files(MutableMapping[str, bytes]):
    """Objects in a folder, which outlives the process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(exist_ok=True)

    def __getitem__(self, key: str) -> bytes:
        try:
            return (self.path / quote(key, "")).read_bytes()
        except FileNotFoundError:
            raise KeyError(key) from None

    def __setitem__(self, key: str, content: bytes) -> None:
        part = self.path / "part"
        part.write_bytes(content)
        part.rename(self.path / quote(key, ""))

    def __delitem__(self, key: str) -> None:
        (self.path / quote(key, "")).unlink()

    def __iter__(self) -> Iterator[str]:
        return (unquote(item.name) for item in self.path.iterdir() if item.name != "part")

    def __len__(self) -> int:
        return len(list(iter(self)))


class Store(MemoryBlobStore):
    """A store that kills whoever makes a request too many."""

    def __init__(self, path: Path, at: int = 0) -> None:
        super().__init__()
        self.objects = Files(path)  # type: ignore[assignment]  # all that a store does with it
        self.before = self._count
        self.at, self.requests = at, 0

    def _count(self, *_: object) -> None:
        self.requests += 1
        if self.requests == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


def keep(path: Path, at_request: int, at_change: int = 0) -> None:
    """A run with its copy, from the start to the end."""
    os.chdir(path)  # which no git repository holds
    folder.environment = dict  # asking what is installed takes long
    with using(KillingDisk(at_change)):
        store = Store(path / "store", at_request)
        experiment = Experiment("project", "run", path / "root", store=store)
        experiment.start(STAMP)
        for value in (1, 2):
            experiment.save(tree(value), step=value, scores={}).wait_committed()
        experiment.finish("completed")
        experiment.upload()


def copied(path: Path) -> dict[str, bytes]:
    return {key.removeprefix(f"{PREFIX}/"): content for key, content in Files(path).items()}


def check_copy(objects: dict[str, bytes]) -> None:
    """Whatever has a manifest in the store is there, whole."""
    for key, content in objects.items():
        base, _, name = key.rpartition("MANIFEST.json")
        if name or not key.endswith("MANIFEST.json"):
            continue
        for file, entry in json.loads(content)["files"].items():
            assert hashlib.sha256(objects[f"{base}{file}"]).hexdigest() == entry["sha256"]


@pytest.mark.parametrize("what", ["request", "change"])
def test_a_kill(forks: Forks, memory: Path, what: str) -> None:
    sizes = []
    for at in range(1, MOST, 1 if what == "request" else 7):
        work = memory / "work"
        work.mkdir()
        status = forks.run(keep, work, *((at, 0) if what == "request" else (0, at)))
        objects = copied(work / "store") if (work / "store").is_dir() else {}
        check_copy(objects)
        sizes.append(len(objects))
        if (work / "root" / PREFIX / "run.json").exists():
            finish(work)
        shutil.rmtree(work)
        if status == 0:
            break
    assert status == 0
    assert len(sizes) > 20
    assert sizes[0] < sizes[-1]


def finish(work: Path) -> None:
    """What the next process does."""
    experiment = Experiment.open(work / "root" / PREFIX, store=Store(work / "store"))
    experiment.finish("completed")
    experiment.upload()
    run = experiment.folder.path
    on_disk = {path.relative_to(run).as_posix(): path.read_bytes() for path in run_files(run)}
    objects = copied(work / "store")
    assert {key: objects.get(key) for key in on_disk} == on_disk
    check_copy(objects)
