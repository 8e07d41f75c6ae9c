"""Where a loader is between two epochs, if its order is not of our making."""

from __future__ import annotations

from typing import Any

import torch

from tt_loop.data.batches import is_driven
from tt_loop.data.torch_loader import generator_states, set_generator_states
from tt_loop.protocols import Tree
from tt_loop.rng import preserved_rng

__all__ = ["go_to_position", "position_of"]


def position_of(loader: Any) -> Tree | None:
    """What a loader that has been read needs to begin its next epoch as it would have.

    Its own state, where it tells one (torchdata's ``StatefulDataLoader``), and the states of its
    and its samplers' generators.
    """
    if loader is None or is_driven(loader):
        return None
    get = getattr(loader, "state_dict", None)
    return {"own": get() if callable(get) else None, "generators": generator_states(loader)}


def go_to_position(loader: Any, position: Tree, device: torch.device) -> None:
    """Have a loader begin its next epoch as the saved one would have.

    To be at the end of its old epoch, torchdata's loader makes an iterator, which draws once more
    than the saved loader did: that leaves no trace.
    """
    set_generator_states(loader, position["generators"])
    if position["own"] is not None:
        with preserved_rng(device):
            loader.load_state_dict(position["own"])
            loader.state_dict()
