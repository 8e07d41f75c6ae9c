"""The loop that one writes by hand: what all others are compared with."""

import torch
from torch import nn

from loops.job import Contestant, Hits, Job, parts


def bare(job: Job) -> Contestant:
    model, optimizer, criterion = parts()

    def epoch() -> None:
        for inputs, target in job.loader:
            loss = criterion(model(inputs), target)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    def epoch_of_windows() -> None:
        for number, (inputs, target) in enumerate(job.loader, 1):
            loss = criterion(model(inputs), target) / job.accumulation
            loss.backward()
            if number % job.accumulation == 0:
                if job.max_norm:
                    nn.utils.clip_grad_norm_(model.parameters(), job.max_norm)
                optimizer.step()
                optimizer.zero_grad()

    @torch.no_grad()
    def validate() -> float | None:
        if job.validation is None:
            return None
        model.eval()
        hits = Hits()
        for inputs, target in job.validation:
            hits.update(target, model(inputs))
        model.train()
        return hits.accuracy

    def run() -> float | None:
        model.train()
        for _ in range(job.epochs):
            epoch() if job.accumulation == 1 else epoch_of_windows()
            accuracy = validate()
        return accuracy

    return model, run
