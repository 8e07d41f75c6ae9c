"""PyTorch-Ignite."""

from importlib import import_module
from typing import Any

import torch
from torch import nn

from loops.job import Contestant, Hits, Job, parts

engine: Any = import_module("ignite.engine")


def ignite(job: Job) -> Contestant:
    model, optimizer, criterion = parts()
    hits = Hits()

    def update_of_windows(trainer: Any, batch: Any) -> None:
        """Ignite's own step cannot clip."""
        model.train()
        inputs, target = batch
        loss = criterion(model(inputs), target) / job.accumulation
        loss.backward()
        if trainer.state.iteration % job.accumulation == 0:
            if job.max_norm:
                nn.utils.clip_grad_norm_(model.parameters(), job.max_norm)
            optimizer.step()
            optimizer.zero_grad()

    @torch.no_grad()
    def predict(_: Any, batch: Any) -> None:
        model.eval()
        inputs, target = batch
        hits.update(target, model(inputs))

    if job.accumulation > 1:
        trainer = engine.Engine(update_of_windows)
    else:
        trainer = engine.create_supervised_trainer(
            model, optimizer, criterion, output_transform=lambda *found: found[-1].detach()
        )
    evaluator = engine.Engine(predict)

    @trainer.on(engine.Events.EPOCH_COMPLETED)  # type: ignore[untyped-decorator]  # a peer's
    def validate() -> None:
        if job.validation is not None:
            hits.reset()
            evaluator.run(job.validation)

    def run() -> float | None:
        trainer.run(job.loader, max_epochs=job.epochs)
        return hits.accuracy if job.validation is not None else None

    return model, run
