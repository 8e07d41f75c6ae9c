"""tt-experiment, in a loop that is written by hand and as tt-loop's callback."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from experiments.job import BATCH, ByHand, batches, fingerprint, parts
from tt_experiment.api import CheckpointFolder, Retention
from tt_loop.api import Checkpoint, CheckpointRef, Ticket, TrainLoop


def newest_only(path: Path) -> CheckpointFolder:
    return CheckpointFolder(path.parent / "checkpoint_model", retention=Retention(last=1))


class Folder:
    """Saves behind the next forward and backward."""

    def __init__(self) -> None:
        self.folder: CheckpointFolder | None = None
        self.ticket: Ticket | None = None
        self.step = 0

    def save(self, path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.step += 1
        self.folder = self.folder or newest_only(path)
        state = {"model": model.state_dict(), "optimizers": [optimizer.state_dict()]}
        self.ticket = self.folder.save(state, step=self.step, scores={})

    def before_update(self) -> None:
        if self.ticket is not None:
            self.ticket.wait_staged()

    def finish(self) -> None:
        if self.ticket is not None:
            self.ticket.wait_committed()

    def load(self, path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        folder = newest_only(path)
        newest = folder.latest()
        if newest is None:
            msg = f"nothing is saved in {folder.path}"
            raise FileNotFoundError(msg)
        state = folder.load(newest)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizers"][0])


def by_hand(parameters: int) -> ByHand:
    return ByHand(Folder(), parameters)


class FirstBatch(Checkpoint):
    """The loop's own callback, after the first batch of a fit, with a stopwatch around it."""

    def __init__(self, folder: CheckpointFolder) -> None:
        super().__init__(TimedStore(folder, self._wait), every_epochs=None, at_end=False)
        self.waited = 0.0
        self._begun = self._inside = False

    def on_train_begin(self) -> None:
        self._begun = False

    def on_batch_end(self) -> None:
        if not self._begun:
            self._begun = True
            self._wait(self.save)

    def _wait(self, action: Any, *args: Any, **options: Any) -> Any:
        if self._inside:
            return action(*args, **options)
        began, self._inside = time.monotonic(), True
        try:
            return action(*args, **options)
        finally:
            self._inside = False
            self.waited += time.monotonic() - began


class TimedTicket:
    def __init__(self, ticket: Ticket, wait: Any) -> None:
        self.ticket, self.wait = ticket, wait

    def wait_staged(self) -> None:
        self.wait(self.ticket.wait_staged)

    def wait_committed(self, timeout: float | None = None, /) -> CheckpointRef:
        ref: CheckpointRef = self.wait(self.ticket.wait_committed, timeout)
        return ref


class TimedStore:
    def __init__(self, folder: CheckpointFolder, wait: Any) -> None:
        self.folder, self.wait = folder, wait
        self.latest, self.best, self.load = folder.latest, folder.best, folder.load

    def save(self, tree: Any, /, *, step: int, scores: Mapping[str, float]) -> TimedTicket:
        return TimedTicket(self.wait(self.folder.save, tree, step=step, scores=scores), self.wait)


class InLoop:
    """A `TrainLoop` that trains some batches at a time."""

    def __init__(self, parameters: int) -> None:
        self.model, self.optimizer = parts(parameters)
        pairs = batches(parameters)
        inputs, targets = (torch.cat(column) for column in zip(*pairs, strict=True))
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(inputs, targets), BATCH, generator=torch.Generator()
        )
        self.loop = TrainLoop(
            *(self.model, loader, None, None, self.optimizer, nn.MSELoss()),
            progress=False,
            end_auto_eval=False,
        )
        self.checkpoint: FirstBatch | None = None

    @property
    def waited(self) -> float:
        return self.checkpoint.waited if self.checkpoint else 0.0

    def steps(self, number: int, save_to: Path | None) -> None:
        if save_to is None:
            self.loop.fit(num_iterations=number)
            return
        if self.checkpoint is None:
            self.checkpoint = FirstBatch(newest_only(save_to))
        self.loop.callbacks_handler.callbacks.clear()
        self.loop.fit(num_iterations=number, callbacks=[self.checkpoint])
        self.loop.callbacks_handler.callbacks.clear()

    def load(self, path: Path) -> None:
        folder = newest_only(path)
        newest = folder.latest()
        if newest is None:
            msg = f"nothing is saved in {folder.path}"
            raise FileNotFoundError(msg)
        self.loop.load_state_dict(folder.load(newest))

    def fingerprint(self) -> float:
        return fingerprint(self.model, self.optimizer)


def in_loop(parameters: int) -> InLoop:
    return InLoop(parameters)
