"""PyTorch-Ignite."""

import logging
from importlib import import_module
from typing import Any

from parallel_runs.job import Contestant, Job

engine: Any = import_module("ignite.engine")
distributed: Any = import_module("ignite.distributed")


def ignite(job: Job) -> Contestant:
    own_model, own_optimizer, criterion = job.parts()
    distributed.sync()
    model = distributed.auto_model(own_model)
    optimizer = distributed.auto_optim(own_optimizer)
    trainer = engine.create_supervised_trainer(
        model, optimizer, criterion, output_transform=lambda *found: found[-1].detach()
    )
    loader = job.own_loader()
    logging.getLogger("ignite").setLevel(logging.ERROR)

    def run() -> None:
        trainer.run(loader, max_epochs=job.epochs)

    return own_model, run
