"""tt-loop, with nothing around it and as most people run it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from loops.job import BATCH, Contestant, Hits, Job, parts
from tt_loop.api import (
    Callback,
    EarlyStopping,
    GradNormClip,
    ModelPerformanceEvaluation,
    TensorLoader,
    TrainLoop,
)


class Watch(Callback):
    """A callback on each batch that does next to nothing."""

    def __init__(self) -> None:
        super().__init__("watch")
        self.seen = 0

    def on_batch_end(self) -> None:
        self.seen += 1


class Accuracy(Hits):
    """The counts as a mergeable metric of tt-loop."""

    @property
    def state(self) -> Mapping[str, Any]:
        return {"right": self.right, "seen": self.seen}

    def merge(self, state: Mapping[str, Any]) -> None:
        self.right += state["right"]
        self.seen += state["seen"]

    def compute(self) -> Mapping[str, float]:
        return {"accuracy": self.accuracy}


def lean(job: Job) -> Contestant:
    return trained(job)


def default(job: Job) -> Contestant:
    """Bar and lines, validation loss, early stopping, and two callbacks in each step."""
    patient = EarlyStopping("loss", patience=10**9)
    return trained(job, Watch(), Watch(), patient, whole=True)


def with_tensor_loader(job: Job) -> Contestant:
    return trained(replace(job, loader=tensor_loader(job)))


def with_tensor_loader_and_fused(job: Job) -> Contestant:
    return trained(replace(job, loader=tensor_loader(job)), fused=True)


def tensor_loader(job: Job) -> Any:
    data: Any = job.loader.dataset
    return TensorLoader(*data.tensors, batch_size=BATCH, shuffle=True)


def trained(job: Job, *callbacks: Callback, whole: bool = False, fused: bool = False) -> Contestant:
    model, optimizer, criterion = parts(fused=fused)
    loop = TrainLoop(
        model,
        job.loader,
        job.validation,
        None,
        optimizer,
        criterion,
        progress=whole,
        end_auto_eval=whole,
    )
    everything: Sequence[Callback] = callbacks
    if job.max_norm:
        everything = [*everything, GradNormClip(job.max_norm)]
    if job.validation is not None:
        everything = [*everything, ModelPerformanceEvaluation(Accuracy())]

    def run() -> float | None:
        loop.fit(num_epochs=job.epochs, callbacks=everything, grad_accumulation=job.accumulation)
        measured = loop.train_history
        return measured["val_accuracy"][-1] if job.validation is not None else None

    return model, run
