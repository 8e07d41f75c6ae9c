"""Hugging Face Accelerate."""

from importlib import import_module
from typing import Any

from parallel_runs.job import Contestant, Job

hf: Any = import_module("accelerate")


def accelerate(job: Job) -> Contestant:
    own_model, own_optimizer, criterion = job.parts()
    accelerator = hf.Accelerator(cpu=True)
    model, optimizer, loader = accelerator.prepare(own_model, own_optimizer, job.loader())

    def run() -> None:
        model.train()
        for _ in range(job.epochs):
            for inputs, target in loader:
                loss = criterion(model(inputs), target)
                accelerator.backward(loss)
                optimizer.step()
                optimizer.zero_grad()

    return own_model, run
