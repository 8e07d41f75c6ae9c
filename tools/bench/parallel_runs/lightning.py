"""Lightning's Trainer and Fabric."""

import logging
from importlib import import_module
from typing import Any

from parallel_runs.job import PROCESSES, Contestant, Job

lightning: Any = import_module("lightning")
logging.getLogger("lightning").setLevel(logging.ERROR)


class Module(lightning.LightningModule):  # type: ignore[misc]  # a peer need not be installed
    def __init__(self, job: Job) -> None:
        super().__init__()
        self.model, self.optimizer, self.criterion = job.parts()

    def training_step(self, batch: Any) -> Any:
        inputs, target = batch
        return self.criterion(self.model(inputs), target)

    def configure_optimizers(self) -> Any:
        return self.optimizer


def trainer(job: Job) -> Contestant:
    module, loader = Module(job), job.loader()
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=PROCESSES,
        strategy="ddp",
        max_epochs=0,
        barebones=True,  # no bar, logger, checkpoints, summary nor sanity validation
    )

    def run() -> None:
        trainer.fit_loop.max_epochs += job.epochs
        trainer.fit(module, loader)

    return module.model, run


def fabric(job: Job) -> Contestant:
    own_model, own_optimizer, criterion = job.parts()
    fabric = lightning.Fabric(accelerator="cpu", devices=PROCESSES, strategy="ddp")
    fabric.launch()
    model, optimizer = fabric.setup(own_model, own_optimizer)
    loader = fabric.setup_dataloaders(job.loader())

    def run() -> None:
        model.train()
        for _ in range(job.epochs):
            for inputs, target in loader:
                loss = criterion(model(inputs), target)
                fabric.backward(loss)
                optimizer.step()
                optimizer.zero_grad()

    return own_model, run
