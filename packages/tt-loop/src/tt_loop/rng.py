"""The states of the random number generators that training draws from."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import torch

from tt_loop.protocols import Tree
from tt_loop.seeds import mixed_seed, seed_host

__all__ = [
    "OwnDraws",
    "preserved_host_rng",
    "preserved_rng",
    "rng_state",
    "seed_process",
    "set_rng_state",
]


def rng_state(device: torch.device) -> Tree:
    """Capture Python's, NumPy's, torch's CPU and the device's generator."""
    state: Tree = {
        "python": random.getstate(),
        "numpy": dict(np.random.get_state(legacy=False)),
        "torch": torch.get_rng_state(),
    }
    if device.type != "cpu":
        state["device"] = _device_module(device).get_rng_state(device)
    return state


def set_rng_state(state: Tree, device: torch.device) -> None:
    """Restore what `rng_state` captured."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if "device" in state and device.type != "cpu":
        _device_module(device).set_rng_state(state["device"].cpu(), device)


@contextmanager
def preserved_rng(device: torch.device) -> Iterator[None]:
    """Put every generator back afterwards: what happens inside leaves no trace in training."""
    state = rng_state(device)
    try:
        yield
    finally:
        set_rng_state(state, device)


class OwnDraws:
    """A sequence of draws of its own, which begins where the generators are now.

    Args:
        device: Whose generator is drawn from, beside those of the host.
        generators: Further ones that are drawn from.
    """

    def __init__(self, device: torch.device, generators: Sequence[torch.Generator] = ()) -> None:
        self._device, self._generators = device, generators
        self._state = rng_state(device)
        self._states = [generator.get_state() for generator in generators]

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Go on with the sequence; outside, the generators are as they were."""
        with preserved_rng(self._device):
            set_rng_state(self._state, self._device)
            self._exchange()
            try:
                yield
            finally:
                self._exchange()
                self._state = rng_state(self._device)

    def _exchange(self) -> None:
        present = [generator.get_state() for generator in self._generators]
        for generator, state in zip(self._generators, self._states, strict=True):
            generator.set_state(state)
        self._states = present


def preserved_host_rng() -> AbstractContextManager[None]:
    """As `preserved_rng`, for what draws on the CPU only."""
    return preserved_rng(torch.device("cpu"))


def _device_module(device: torch.device) -> Any:
    return torch.get_device_module(device)


def seed_process(seed: int, rank: int) -> None:
    """Seed every generator of one of several processes: from the run's seed, each differently."""
    own = mixed_seed(seed, rank)
    seed_host(own)
    torch.manual_seed(own)
