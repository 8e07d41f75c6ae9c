"""A small training in which everything has a state, and what is left of it in the end."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tt_experiment import folder
from tt_experiment._checkpoint import staging
from tt_experiment.api import (
    CheckpointFolder,
    ExperimentFolder,
    TrainLoopCheckpoint,
    read_metrics,
)
from tt_loop.api import Callback, LinearWithWarmupScheduler

__all__ = ["EPOCHS", "STEPS", "Hook", "outcome", "runs", "train"]

EPOCHS, SAMPLES, BATCH = 3, 44, 4
STEPS = EPOCHS * SAMPLES // BATCH
EVERY = 3  # batches between saves


class Hook(Callback):
    """Calls something before a batch's forward pass, with how many have begun in this process."""

    def __init__(self, action: Callable[[int], None]) -> None:
        super().__init__("hook")
        self.action, self.begun = action, 0

    def on_batch_begin(self) -> None:
        self.begun += 1
        self.action(self.begun)


def make_loop(root: Path) -> TrainLoopCheckpoint:
    draw = torch.Generator().manual_seed(3)
    inputs = torch.randn(SAMPLES, 6, generator=draw)
    target = (inputs.sum(1) > 0).long()
    data = TensorDataset(inputs, target)
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Linear(6, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 2)
    )
    return TrainLoopCheckpoint(
        model,
        DataLoader(data, BATCH, shuffle=True),
        DataLoader(data, 8),
        None,
        torch.optim.AdamW(model.parameters(), lr=0.01),
        nn.CrossEntropyLoss(),
        *("project", "run", root, {"lr": 0.01}),
        iteration_save_freq=EVERY,
        seed=5,
        progress=False,
    )


def train(root: Path, *callbacks: Callback, late: bool = True) -> None:
    """Begin the training, or go on with it, and note how it came out.

    Args:
        root: Folder of all projects.
        callbacks: Further ones.
        late: Copy even what is small behind the training.
    """
    os.chdir(root.parent)  # which no git repository holds
    folder.environment = dict  # asking what is installed takes long
    if late:
        staging._SMALL = staging._SHORT = 0
    loop = make_loop(root)
    together = [LinearWithWarmupScheduler(2, 30), *callbacks]
    loop.fit(EPOCHS, callbacks=together, grad_accumulation=2, resume="auto")
    known = {"weights": sha(loop.model.state_dict()), "history": loop.train_history.state_dict()}
    (root / "known").write_bytes(pickle.dumps(known))


def sha(state: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in state.items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def runs(root: Path) -> list[ExperimentFolder]:
    """The runs that were started; a folder that a kill left without ``run.json`` is none."""
    paths = sorted((root / "project").glob("run_*/run.json"))
    return [ExperimentFolder(path.parent) for path in paths]


def outcome(root: Path) -> dict[str, Any]:
    """Everything that must not depend on how often the training was interrupted."""
    known: dict[str, Any] = pickle.loads((root / "known").read_bytes())
    run = runs(root)[-1]
    run.verify()
    records = [(r["step"], r["epoch"], sorted(r["values"].items())) for r in read_metrics(run.path)]
    saved = sorted({entry.step for entry in CheckpointFolder(run.checkpoints).entries()})
    return {**known, "records": records, "status": run.run()["status"], "saved": saved}
