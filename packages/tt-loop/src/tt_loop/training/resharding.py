"""Going on inside an epoch with another number of processes than the saved run had.

What each process knew for itself (sums of losses, gradients of an open window) is put together and
given to the first one; the others begin with nothing, and the next message between them adds up to
the same. The order of samples does not depend on processes, and the global batches stay.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tt_loop.errors import LoopStateError
from tt_loop.protocols import Tree
from tt_loop.training.losses import merged_losses

__all__ = ["for_processes"]


def for_processes(inside: Tree, world_size: int) -> Tree:
    """A state inside an epoch for so many processes.

    Raises:
        LoopStateError: When its loader can only be gone on from by as many processes as saved it.
    """
    ranks: Sequence[Tree] = inside["ranks"]
    if len(ranks) == world_size:
        return inside
    if any(rank["began_epoch"] is not None or rank["loader"] is not None for rank in ranks):
        msg = (
            "A state inside an epoch of a loader whose order is its own belongs to as many "
            f"processes as saved it: {len(ranks)}, not {world_size}. Go on with {len(ranks)}, or "
            "from a state at an epoch's end."
        )
        raise LoopStateError(msg)
    first = {
        **ranks[0],
        "losses": merged_losses([rank["losses"] for rank in ranks]),
        "window": _merged_windows([rank["window"] for rank in ranks]),
    }
    other = {**ranks[0], "losses": {}, "window": _empty(ranks[0]["window"])}
    return {**inside, "ranks": [first, *[other] * (world_size - 1)]}


def _merged_windows(windows: Sequence[Tree]) -> Tree:
    """One window with the gradients and weights of all."""
    gradients: dict[str, torch.Tensor] = {}
    for window in windows:
        for name, gradient in window["gradients"].items():
            here = gradient.to("cpu")
            gradients[name] = gradients[name] + here if name in gradients else here
    columns = zip(*(window["weights"] for window in windows), strict=True)
    weights = [[each for each in column if each is not None] for column in columns]
    return {
        **windows[0],
        "gradients": gradients,
        "weight": sum(window["weight"] for window in windows),
        "weights": [sum(column) if column else None for column in weights],
    }


def _empty(window: Tree) -> Tree:
    return {**window, "gradients": {}, "weight": 0, "weights": [None] * len(window["weights"])}
