"""Loops take turns; their times become a table."""

import gc
import os
import statistics
import time
import warnings
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from loops.job import Run


class Racer:
    """A loop that is set up, and its times."""

    def __init__(self, model: nn.Module, run: Run) -> None:
        self.model, self.run = model, run
        self.times: list[float] = []
        self.accuracy: float | None = None

    def turn(self, units: int) -> None:
        """Add the microseconds per unit of one turn."""
        gc.collect()
        start = time.process_time()
        self.accuracy = self.run()
        self.times.append((time.process_time() - start) / units * 1e6)

    @property
    def weights(self) -> Tensor:
        return nn.utils.parameters_to_vector(self.model.parameters()).detach()


@contextmanager
def silence() -> Iterator[None]:
    """Nothing reaches the terminal, and files that somebody writes go away."""
    with (
        TemporaryDirectory() as folder,
        Path(os.devnull).open("w") as nowhere,
        chdir(folder),
        redirect_stdout(nowhere),
        redirect_stderr(nowhere),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


def race(racers: dict[str, Racer], units: int, rounds: int) -> None:
    entrants = list(racers.values())
    gc.collect()
    gc.freeze()
    for number in range(rounds + 1):
        for racer in entrants if number % 2 else reversed(entrants):
            racer.turn(units)
    for racer in entrants:
        del racer.times[0]  # the first turn warms up


def table(racers: dict[str, Racer], unit: str, references: list[str]) -> None:
    columns = ["loop", f"median us per {unit}", "min us"]
    for name in references:
        columns += [f"above {name}, us", "ratio of medians", "ratio of minima"]
    heading(*columns, "weights")
    for name, racer in racers.items():
        cells = [name, f"{statistics.median(racer.times):.1f}", f"{min(racer.times):.1f}"]
        for reference in references:
            cells += beside(racer.times, racers[reference].times)
        row(*cells, alike(racer, racers[references[0]]))


def beside(own: list[float], bare: list[float]) -> list[str]:
    above = statistics.median(a - b for a, b in zip(own, bare, strict=True))
    of_medians = statistics.median(own) / statistics.median(bare)
    return [f"{above:+.1f}", f"{of_medians:.3f}", f"{min(own) / min(bare):.3f}"]


def alike(racer: Racer, bare: Racer) -> str:
    off = float((racer.weights - bare.weights).abs().max())
    words = "equal" if torch.equal(racer.weights, bare.weights) else f"DIFFERENT, up to {off:.0e}"
    if racer.accuracy != bare.accuracy:
        words += f"; accuracy {racer.accuracy}, not {bare.accuracy}"
    return words


def heading(*names: str) -> None:
    print()
    row(*names)
    row(*["---"] * len(names))


def row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)
