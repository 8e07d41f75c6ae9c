"""Whatever is written into a run goes through `_durable`, so that the tests here can break it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tt_experiment import _durable, _lock
from tt_experiment.api import TrainLoopCheckpoint, save_model, save_results

from .forks import Forks

CHANGES = ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink", "os.truncate")
MODULES = {_durable.__file__, _lock.__file__}  # the lock's note is nothing to keep


def writes_at(event: str, args: tuple[Any, ...]) -> str | None:
    """The path that an audit event changes."""
    if event == "open" and isinstance(args[0], str | bytes | os.PathLike):
        flags = args[2] or 0
        writing = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        return os.fsdecode(args[0]) if writing else None
    is_named = event in CHANGES and not isinstance(args[0], int)  # or it was opened before
    return os.fsdecode(args[0]) if is_named else None


def is_by(modules: set[str], frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename in modules:
            return True
        frame = frame.f_back
    return False


def train(root: Path) -> None:
    """A run with everything in it, under an audit of what is written where."""
    others: list[str] = []

    def audit(event: str, args: tuple[Any, ...]) -> None:
        path = writes_at(event, args)
        if path is not None and path.startswith(str(root)) and not is_by(MODULES, sys._getframe(1)):
            others.append(f"{event} {path}")

    sys.addaudithook(audit)
    model = nn.Linear(2, 1)
    loader = DataLoader(TensorDataset(torch.randn(8, 2), torch.randn(8, 1)), 4)
    optimizer = torch.optim.Adam(model.parameters())
    loop = TrainLoopCheckpoint(
        *(model, loader, loader, None, optimizer, nn.MSELoss(), "p", "e", root, {"lr": 0.1}),
        rm_subopt_local_models=True,
        progress=False,
    )
    loop.fit(2)
    folder = loop.experiment.folder
    save_model(folder, model.state_dict())
    save_results(folder, {"package": {"a": 1}}, {"package": ([1, 2], [1, 3])})
    loop.experiment.finish("completed")
    assert not others, "\n".join(others)


@pytest.mark.slow
def test_no_other_module_writes_into_a_run(forks: Forks, memory: Path) -> None:
    assert forks.run(train, memory / "root") == 0
    assert forks.run(write_elsewhere, memory / "root") == 1  # it would be noticed


def write_elsewhere(root: Path) -> None:
    def finish(*_: Any) -> None:
        (root / "p" / "stray.txt").write_text("not through the module")

    from tt_experiment.experiment import Experiment

    Experiment.finish = finish  # type: ignore[method-assign]  # what a careless change would do
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)  # the failure is expected
    train(root)
