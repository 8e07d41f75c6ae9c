"""What every way of saving is given: the same model and optimizer, and steps to train."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

LAYERS, BATCH, DRAWN = 12, 8, 64


class Saver(Protocol):
    """A way of saving, in a loop that is written by hand."""

    def save(self, path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Save under a path; training goes on when this returns."""

    def before_update(self) -> None:
        """The parameters are about to change."""

    def finish(self) -> None:
        """Return when everything is where it belongs."""

    def load(self, path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Put what was saved under a path back."""


class InPlace:
    """A saver that is done when its ``save`` is."""

    def before_update(self) -> None:
        pass

    def finish(self) -> None:
        pass


class Training(Protocol):
    """Something that trains and counts for how long saving kept it waiting."""

    waited: float

    def steps(self, number: int, save_to: Path | None) -> None:
        """Train; with a path, save after the first step, and finish that by the end."""

    def load(self, path: Path) -> None:
        """Put what was saved back."""

    def fingerprint(self) -> float:
        """A number that another state would hardly have."""


def parts(parameters: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A model of about so many parameters, always with the same weights, and AdamW."""
    torch.manual_seed(0)
    width = round((parameters / LAYERS) ** 0.5)
    layers = [module for _ in range(LAYERS) for module in (nn.Linear(width, width), nn.GELU())]
    model = nn.Sequential(*layers)
    return model, torch.optim.AdamW(model.parameters(), lr=1e-4)


def batches(parameters: int) -> list[tuple[Tensor, Tensor]]:
    width = round((parameters / LAYERS) ** 0.5)
    draw = torch.Generator().manual_seed(1)
    pairs = [torch.randn(2, BATCH, width, generator=draw) for _ in range(DRAWN)]
    return [(pair[0], pair[1]) for pair in pairs]


class ByHand:
    """The loop that everybody writes, with a saver."""

    def __init__(self, saver: Saver, parameters: int) -> None:
        self.saver = saver
        self.model, self.optimizer = parts(parameters)
        self.batches = batches(parameters)
        self.waited = 0.0
        self.step = 0

    def steps(self, number: int, save_to: Path | None) -> None:
        for index in range(number):
            inputs, target = self.batches[self.step % DRAWN]
            loss = nn.functional.mse_loss(self.model(inputs), target)
            loss.backward()  # type: ignore[no-untyped-call]  # torch says nothing of it
            if save_to is not None:
                self._wait(self.saver.before_update)
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.step += 1
            if index == 0 and save_to is not None:
                self._wait(self.saver.save, save_to, self.model, self.optimizer)
        if save_to is not None:
            self._wait(self.saver.finish)

    def _wait(self, action: Callable[..., None], *args: Any) -> None:
        began = time.monotonic()
        action(*args)
        self.waited += time.monotonic() - began

    def load(self, path: Path) -> None:
        self.saver.load(path, self.model, self.optimizer)

    def fingerprint(self) -> float:
        return fingerprint(self.model, self.optimizer)


def fingerprint(model: nn.Module, optimizer: torch.optim.Optimizer) -> float:
    """Sums over all weights and moments."""
    moments = [value for state in optimizer.state.values() for value in state.values()]
    return sum(float(tensor.double().sum()) for tensor in (*model.parameters(), *moments))
