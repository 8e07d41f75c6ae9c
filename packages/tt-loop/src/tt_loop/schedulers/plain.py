"""The state of torch's schedulers as plain values, and back.

`LRScheduler.state_dict` gives every attribute as it is: counters beside functions, and containers
that are more than a dict. A checkpoint takes plain values only.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from tt_loop.errors import LoopStateError
from tt_loop.protocols import Tree

__all__ = ["restore_schedule", "schedule_state"]

_LEFT_OUT = object()  # None is a value


def schedule_state(scheduler: LRScheduler) -> Tree:
    """A copy of what a scheduler counts, and of the numbers that it sets in its optimizer."""
    return {
        "class": type(scheduler).__name__,
        "scheduler": _plain(scheduler.state_dict()),
        "groups": [_numbers(group) for group in scheduler.optimizer.param_groups],
    }


def restore_schedule(scheduler: LRScheduler, state: Tree) -> None:
    """Put a scheduler and its optimizer's groups where `schedule_state` found them.

    What could not be saved, such as functions, stays as the scheduler was made with.

    Raises:
        LoopStateError: When the state is another scheduler's.
    """
    groups, saved_groups = scheduler.optimizer.param_groups, state["groups"]
    own = (type(scheduler).__name__, len(groups))
    saved = (state["class"], len(saved_groups))
    if own != saved:
        msg = (
            "A scheduler's state must be loaded into the same scheduler; the saved one is a "
            f"{saved[0]} of {saved[1]} parameter groups, this one a {own[0]} of {own[1]}."
        )
        raise LoopStateError(msg)
    scheduler.load_state_dict(_overlaid(scheduler.state_dict(), state["scheduler"]))
    # The optimizer stepped before the state was saved: torch need not warn that it never did.
    vars(scheduler.optimizer)["_opt_called"] = True
    for group, values in zip(groups, saved_groups, strict=True):
        group.update(_overlaid({key: group.get(key) for key in values}, values))


def _numbers(group: dict[str, Any]) -> Tree:
    """A group's numbers: schedulers set rates and momenta, never switches or parameters."""
    return {
        key: _plain(value)
        for key, value in group.items()
        if key != "params" and all(map(_is_number, value if _is_sequence(value) else [value]))
    }


def _is_sequence(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number | Tensor) and not isinstance(value, bool)


def _plain(value: Any) -> Any:
    """A copy made of dicts, lists and plain leaves; other leaves are left out of their dicts."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        items = {key: _plain(item) for key, item in value.items() if type(key) in (str, int)}
        return {key: item for key, item in items.items() if item is not _LEFT_OUT}
    if _is_sequence(value):
        return _all_or_nothing(map(_plain, value))
    return value if value is None or type(value) in (bool, int, float, str) else _LEFT_OUT


def _all_or_nothing(items: Iterable[Any]) -> Any:
    """A list; one without some of its items would have the others in wrong places."""
    found = list(items)
    return _LEFT_OUT if any(item is _LEFT_OUT for item in found) else found


def _overlaid(own: Any, saved: Any) -> Any:
    """A saved value in the containers of the present one, which fills in what was left out."""
    if isinstance(own, Tensor) and _is_number(saved):
        return own.copy_(torch.as_tensor(saved))  # in place: a compiled step may hold it
    if isinstance(saved, dict):
        box = own.copy() if isinstance(own, dict) else {}
        items = {key: _overlaid(box.get(key), value) for key, value in saved.items()}
        if type(box) is not dict:  # a Counter and its like hold plain values: none was left out
            box.clear()
        box.update(items)
        return box
    if isinstance(saved, list):
        known = own if _is_sequence(own) and len(own) == len(saved) else [None] * len(saved)
        values = [_overlaid(*pair) for pair in zip(known, saved, strict=True)]
        return tuple(values) if isinstance(own, tuple) else values
    return saved.clone() if isinstance(saved, Tensor) else saved
