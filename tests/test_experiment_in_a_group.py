"""Processes that a launcher started, each of which runs the whole script, keep one run."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tt_experiment.api import Experiment, TrainLoopCheckpoint
from tt_parallel.api import Spawn, WorkerError


def keep(strategy: Any, *, folder: Path) -> tuple[str, int]:
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    loader = DataLoader(TensorDataset(torch.randn(12, 3), torch.randn(12, 1)), batch_size=3)
    loop = TrainLoopCheckpoint(
        model,
        loader,
        loader,
        None,
        torch.optim.SGD(model.parameters(), lr=0.1),
        nn.MSELoss(),
        project_name="project",
        experiment_name="run",
        local_model_result_folder_path=folder,
        hyperparams={"lr": 0.1},
        gpu_mode=strategy,
        progress=False,
    )
    loop.experiment_timestamp = f"2026-01-01_00-00-0{strategy.comm.rank}"  # a second later each
    loop.fit(num_epochs=2)
    return str(loop.experiment.folder.path), loop.total_iteration_idx


@pytest.mark.slow
def test_all_processes_keep_one_run(tmp_path: Path) -> None:
    found = Spawn(2).run(partial(keep, folder=tmp_path))
    (run,) = (tmp_path / "project").iterdir()
    assert run.name == "run_2026-01-01_00-00-00"
    assert [Path(path) for path, _ in found] == [run, run]
    latest = Experiment.open(run).latest()
    assert latest is not None
    assert latest.step == found[0][1] + 1 == 4
    (lines,) = (run / "metrics").iterdir()
    assert len(lines.read_text().splitlines()) > 2


@pytest.mark.slow
def test_what_keeps_the_first_from_starting_is_told(tmp_path: Path) -> None:
    (tmp_path / "project").write_text("a file where the folder has to be")
    with pytest.raises(WorkerError, match=r"RootError: .*made and written to.*File exists"):
        Spawn(2).run(partial(keep, folder=tmp_path))
