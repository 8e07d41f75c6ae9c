"""skorch."""

from importlib import import_module
from typing import Any

from torch import nn
from torch.optim import SGD

from loops.job import Contestant, Hits, Job, parts

library: Any = import_module("skorch")
callbacks: Any = import_module("skorch.callbacks")
helper: Any = import_module("skorch.helper")


class Lean(library.NeuralNet):  # type: ignore[misc]  # a peer need not be installed
    """Without the callbacks that skorch adds: timer, means of losses, printed table."""

    @property
    def _default_callbacks(self) -> list[Any]:
        return []


class Windows(Lean):
    """Accumulation as skorch's documentation shows it."""

    def __init__(self, *args: Any, job: Job, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.job = job

    def get_loss(self, *args: Any, **settings: Any) -> Any:
        return super().get_loss(*args, **settings) / self.job.accumulation

    def train_step(self, batch: Any, **settings: Any) -> Any:
        number = len(self.history[-1, "batches"])  # counts this one
        step = self.train_step_single(batch, **settings)
        if number % self.job.accumulation == 0:
            if self.job.max_norm:
                nn.utils.clip_grad_norm_(self.module_.parameters(), self.job.max_norm)
            self.optimizer_.step()
            self.optimizer_.zero_grad()
        return step


class Accuracy(callbacks.Callback):  # type: ignore[misc]  # a peer need not be installed
    def __init__(self) -> None:
        self.hits = Hits()

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        self.hits.reset()

    def on_batch_end(
        self, *_: Any, batch: Any, training: bool, y_pred: Any = None, **__: Any
    ) -> None:
        if not training:
            self.hits.update(batch[1], y_pred)


def skorch(job: Job) -> Contestant:
    model, _, criterion = parts()
    settings: dict[str, Any] = {
        "module": model,
        "criterion": criterion,
        "optimizer": SGD,
        "lr": 0.01,
        "max_epochs": job.epochs,
        "train_split": None,
        "iterator_train": lambda *_, **__: job.loader,
        "iterator_valid": lambda *_, **__: job.validation,
    }
    accuracy = Accuracy()
    if job.validation is not None:
        settings["train_split"] = helper.predefined_split(job.validation.dataset)
        settings["callbacks"] = [accuracy]
    net = Windows(job=job, **settings) if job.accumulation > 1 else Lean(**settings)
    net.initialize()

    def run() -> float | None:
        net.history_.clear()  # of former turns
        net.partial_fit(job.loader.dataset)
        return accuracy.hits.accuracy if job.validation is not None else None

    return model, run
