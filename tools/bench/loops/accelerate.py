"""Hugging Face Accelerate."""

from importlib import import_module
from typing import Any

import torch

from loops.job import Contestant, Hits, Job, parts

hf: Any = import_module("accelerate")


def accelerate(job: Job) -> Contestant:
    own_model, own_optimizer, criterion = parts()
    accelerator = hf.Accelerator(cpu=True)
    model, optimizer, loader = accelerator.prepare(own_model, own_optimizer, job.loader)
    validation = job.validation and accelerator.prepare(job.validation)

    def epoch() -> None:
        for inputs, target in loader:
            loss = criterion(model(inputs), target)
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()

    def epoch_of_windows() -> None:
        for inputs, target in loader:
            with accelerator.accumulate(model):
                loss = criterion(model(inputs), target)
                accelerator.backward(loss)
                if job.max_norm and accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), job.max_norm)
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
        # one for the whole process: transformers' Trainer has set it to its own
        accelerator.gradient_accumulation_steps = job.accumulation
        model.train()
        for _ in range(job.epochs):
            epoch() if job.accumulation == 1 else epoch_of_windows()
            accuracy = validate()
        return accuracy

    return own_model, run
