"""Lightning's Trainer and Fabric."""

import logging
from importlib import import_module
from typing import Any

import torch

from loops.job import Contestant, Hits, Job, parts

lightning: Any = import_module("lightning")
logging.getLogger("lightning").setLevel(logging.ERROR)


class Module(lightning.LightningModule):  # type: ignore[misc]  # a peer need not be installed
    def __init__(self) -> None:
        super().__init__()
        self.model, self.optimizer, self.criterion = parts()
        self.hits = Hits()

    def training_step(self, batch: Any) -> Any:
        inputs, target = batch
        return self.criterion(self.model(inputs), target)

    def on_validation_epoch_start(self) -> None:
        self.hits.reset()

    def validation_step(self, batch: Any) -> None:
        inputs, target = batch
        self.hits.update(target, self.model(inputs))

    def configure_optimizers(self) -> Any:
        return self.optimizer


def trainer(job: Job) -> Contestant:
    module = Module()
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=0,
        barebones=True,  # no bar, logger, checkpoints, summary nor sanity validation
        accumulate_grad_batches=job.accumulation,
        gradient_clip_val=job.max_norm,
    )

    def run() -> float | None:
        trainer.fit_loop.max_epochs += job.epochs
        trainer.fit(module, job.loader, job.validation)
        return module.hits.accuracy if job.validation is not None else None

    return module.model, run


def fabric(job: Job) -> Contestant:
    own_model, own_optimizer, criterion = parts()
    fabric = lightning.Fabric(accelerator="cpu", devices=1)
    model, optimizer = fabric.setup(own_model, own_optimizer)
    loader = fabric.setup_dataloaders(job.loader)
    validation = job.validation and fabric.setup_dataloaders(job.validation)

    def epoch() -> None:
        for inputs, target in loader:
            loss = criterion(model(inputs), target)
            fabric.backward(loss)
            optimizer.step()
            optimizer.zero_grad()

    def epoch_of_windows() -> None:
        for number, (inputs, target) in enumerate(loader, 1):
            update = number % job.accumulation == 0
            with fabric.no_backward_sync(model, enabled=not update):
                loss = criterion(model(inputs), target) / job.accumulation
                fabric.backward(loss)
            if update:
                if job.max_norm:
                    fabric.clip_gradients(model, optimizer, max_norm=job.max_norm)
                optimizer.step()
                optimizer.zero_grad()

    @torch.no_grad()
    def validate() -> float | None:
        if validation is None:
            return None
        model.eval()
        hits = Hits()
        for inputs, target in validation:
            hits.update(target, model(inputs))
        model.train()
        return hits.accuracy

    def run() -> float | None:
        model.train()
        for _ in range(job.epochs):
            epoch() if job.accumulation == 1 else epoch_of_windows()
            accuracy = validate()
        return accuracy

    return own_model, run
