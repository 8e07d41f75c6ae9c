"""A process is killed while it writes a run's other files: each is the old one or the new one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tt_experiment import folder as run_folder
from tt_experiment.api import Experiment, ExperimentFolder, load_model, read_metrics, read_results
from tt_experiment.errors import RunFolderError
from tt_experiment.recorder import read_events
from tt_experiment.results import save_model, save_results
from tt_loop.api import RunInfo

from .forks import Forks
from .moments import deaths
from .states import names

pytestmark = pytest.mark.slow

STAMP = "2026-01-02_03-04-05"


def nothing(path: Path) -> None:
    pass


def started(path: Path) -> Experiment:
    os.chdir(path)  # which no git repository holds
    run_folder.environment = dict  # asking what is installed takes long, and writes nothing
    experiment = Experiment("project", "run", path / "root", hyperparams={"lr": 0.1})
    experiment.start(STAMP)
    return experiment


def run(path: Path) -> ExperimentFolder:
    return ExperimentFolder(path / "root" / "project" / f"run_{STAMP}")


def prepared(path: Path) -> None:
    """A run, made by hand: a lock of this process must not get in the way."""
    folder = ExperimentFolder.create(path / "root", "project", "run", timestamp=STAMP)
    folder.write_start({"lr": 0.1})


def scratch(path: Path) -> list[Path]:
    return list(path.rglob(".tmp-*"))


def test_a_start(forks: Forks, memory: Path) -> None:
    found = []
    for left in deaths(forks, nothing, started, memory):
        runs = names(left / "root" / "project")
        assert runs in ([], [f"run_{STAMP}"])
        found.append(describe(left) if runs else "nothing")
        if found[-1] not in found[:-1]:
            start_again(left, runs)
    assert list(dict.fromkeys(found)) == ["nothing", "no run yet", "a run"]


def start_again(left: Path, runs: list[str]) -> None:
    again = Experiment("project", "run", left / "root", hyperparams={"lr": 0.1})
    again.start(STAMP)
    assert again.folder.run()["status"] == "running"
    assert len(names(left / "root" / "project")) == len(runs) + 1
    again.lock.release()


def describe(path: Path) -> str:
    """Whether the folder is a run: then all it says of itself can be read."""
    try:
        opened = Experiment.open(run(path).path)
    except RunFolderError:
        return "no run yet"
    assert opened.folder.run()["experiment"] == "run"
    return "a run"


def with_a_model(path: Path) -> None:
    prepared(path)
    write_model(path, 1)


def write_model(path: Path, value: int = 2) -> None:
    save_model(run(path), {"w": torch.full((8,), float(value)), "n": torch.tensor(value)})


@pytest.mark.parametrize(("prepare", "before"), [(prepared, None), (with_a_model, 1)])
def test_the_final_model(forks: Forks, memory: Path, prepare: Any, before: int | None) -> None:
    found = []
    for left in deaths(forks, prepare, write_model, memory):
        folder = run(left)
        found.append(model_in(folder))
        write_model(left, 3)
        assert model_in(folder) == 3
        assert names(folder.model) == ["MANIFEST.json", "model.safetensors", "state.json"]
    assert list(dict.fromkeys(found)) == [before, 2]


def model_in(folder: ExperimentFolder) -> int | None:
    try:
        state = load_model(folder.model)
    except ValueError:
        assert not folder.model.exists()
        return None
    value = int(state["n"])
    assert torch.equal(state["w"], torch.full((8,), float(value)))
    return value


def with_results(path: Path) -> None:
    prepared(path)
    write_results(path, 1)


def write_results(path: Path, value: int = 2) -> None:
    pairs = {"package": (np.full(4, value), np.full(4, value))}
    save_results(run(path), {"package": {"accuracy": value}}, pairs)


def test_results(forks: Forks, memory: Path) -> None:
    found = []
    for left in deaths(forks, with_results, write_results, memory):
        folder = run(left)
        found.append(read_results(folder)["package"]["accuracy"])
        with np.load(folder.predictions_file) as arrays:
            assert set(arrays["package/y_true"].tolist()) in ({1}, {2})
        write_results(left, 3)
        assert read_results(folder)["package"]["accuracy"] == 3
    assert list(dict.fromkeys(found)) == [1, 2]


def seal(path: Path) -> None:
    folder = run(path)
    folder.begin_attempt(1, 0)
    folder.finish("completed")
    folder.seal()


def test_a_seal(forks: Forks, memory: Path) -> None:
    found = []
    for left in deaths(forks, with_results, seal, memory):
        folder = run(left)
        status = folder.run()["status"]
        if folder.manifest_file.exists():
            folder.verify()
            status = "sealed"
        found.append((status, len(folder.run()["attempts"])))
        seal(left)
        folder.verify()
    expected = [("running", 0), ("running", 1), ("completed", 1), ("sealed", 1)]
    assert list(dict.fromkeys(found)) == expected


def record(path: Path) -> None:
    recorder = Experiment.open(run(path).path).recorder
    recorder.system = None  # it writes when it likes
    recorder.open(RunInfo(step=0, epoch=0, world_size=1, strategy="SingleDevice"))
    for step in range(1, 6):
        recorder.scalars(step, {"loss": float(step)}, epoch=0)
    recorder.close("completed")


def test_an_attempt(forks: Forks, memory: Path) -> None:
    found = []
    for left in deaths(forks, prepared, record, memory):
        folder = run(left)
        steps = [entry["step"] for entry in read_metrics(folder.path)]
        found.append(len(steps))
        assert steps == list(range(1, len(steps) + 1))  # none torn, none missing
        read_events(folder.events_file)
        record(left)
        assert [entry["step"] for entry in read_metrics(folder.path)] == [1, 2, 3, 4, 5]
        assert folder.run()["status"] == "completed"
        kinds = [event["kind"] for event in read_events(folder.events_file)]
        assert kinds[-2:] in (["start", "end"], ["resume", "end"])  # also behind a torn line
        folder.verify()
        assert not scratch(folder.path)
    assert list(dict.fromkeys(found)) == [0, 1, 2, 3, 4, 5]
