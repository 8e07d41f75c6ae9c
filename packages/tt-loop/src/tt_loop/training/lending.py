"""Saves that still read the tensors that training uses, and when they must be done with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from tt_loop.protocols import Tree
from tt_loop.training.gradients import parameters_of

if TYPE_CHECKING:
    from tt_loop.loop import TrainLoop

__all__ = ["Lending", "to_lend"]


class Lending:
    """What reads parameters and optimizer states while training goes on.

    Whatever changes them calls `end` first: the next optimizer step, a rollback, averaged weights
    that are put in, a state that is loaded, a callback that may.

    Attributes:
        waits: Functions that return when their save has read everything.
    """

    def __init__(self) -> None:
        self.waits: list[Callable[[], object]] = []

    def begin(self, wait: Callable[[], object]) -> None:
        """Let a save read until ``wait`` returns."""
        self.waits.append(wait)

    def end(self) -> None:
        """Return when nothing is read any more."""
        waits, self.waits = self.waits, []
        for wait in waits:
            wait()


def to_lend(loop: TrainLoop, state: Tree) -> Tree:
    """A loop's state of which only trained parameters and optimizer states are the live ones.

    Everything else is copied: buffers, gradients, what callbacks keep, parameters that no optimizer
    trains, for those a forward pass or a callback may change at any moment.
    """
    trained = {
        id(parameter)
        for optimizer in loop.optimizers
        for parameter in parameters_of(optimizer)
        if parameter.requires_grad
    }
    named = loop.model.named_parameters(remove_duplicate=False)  # tied weights have two names
    live = {name for name, each in named if id(each) in trained}
    model = {
        name: value if name in live else copied(value) for name, value in state["model"].items()
    }
    optimizers = [
        {**copied({**each, "state": None}), "state": each["state"]} for each in state["optimizers"]
    ]
    rest = {name: value for name, value in state.items() if name not in ("model", "optimizers")}
    return {"model": model, "optimizers": optimizers, **copied(rest)}


def copied(tree: Any) -> Any:
    """A tree whose tensors, arrays, dicts and lists are new ones."""
    if isinstance(tree, Tensor):
        return tree.detach().clone()
    if isinstance(tree, np.ndarray):
        return tree.copy()
    if type(tree) in (list, tuple):
        return type(tree)(copied(each) for each in tree)
    if isinstance(tree, dict):
        return {key: copied(each) for key, each in tree.items()}
    return tree
