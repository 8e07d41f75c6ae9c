"""Which parts of a model are sharded as units of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator

from torch import nn

from tt_parallel.errors import ParallelValueError

__all__ = ["ShardModules", "blocks_of", "chosen_units"]

Named = type[nn.Module] | str
ShardModules = Named | Collection[Named] | Callable[[nn.Module], bool]
"""A class or its name, or several, or a function that tells of a module whether it is a unit."""

_SMALLEST = 1_000_000  # parameters; to gather less costs more time than its memory is worth
_LISTS = (nn.ModuleList, nn.Sequential)


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """The blocks that a model repeats, as the layers of a transformer.

    A block is an element of a ``ModuleList`` or ``Sequential`` beside another of its class, with a
    million parameters or more that no other part of the model shares; the outermost of them.
    Elements of a ``ModuleDict`` are none: not every batch may use each.
    """
    whole = _occurrences(model)
    return [
        block
        for block in _repeated(model)
        if all(whole[key] == count for key, count in _occurrences(block).items())
    ]


def chosen_units(model: nn.Module, chosen: ShardModules | None) -> list[nn.Module]:
    """The units of a model, inner ones first.

    Raises:
        ParallelValueError: When the model has none of those that were chosen.
    """
    if chosen is None:
        return blocks_of(model)
    if isinstance(chosen, type | str):
        chosen = (chosen,)
    is_unit = _one_of(chosen) if isinstance(chosen, Collection) else chosen
    parts = [part for part in model.modules() if part is not model]
    units = [part for part in reversed(parts) if is_unit(part)]
    if not units:
        known = sorted({type(part).__name__ for part in parts})
        msg = (
            f"shard_modules must choose parts of the model, and chooses none of {known}: name "
            "some of these, or leave it out."
        )
        raise ParallelValueError(msg)
    return units


def _one_of(classes: Collection[Named]) -> Callable[[nn.Module], bool]:
    names = {each for each in classes if isinstance(each, str)}
    types = tuple(each for each in classes if isinstance(each, type))
    return lambda part: isinstance(part, types) or type(part).__name__ in names


def _repeated(module: nn.Module) -> Iterator[nn.Module]:
    classes = Counter(map(type, module.children())) if isinstance(module, _LISTS) else Counter()
    for child in module.children():
        is_block = classes[type(child)] > 1 and type(child) not in _LISTS
        if is_block and sum(p.numel() for p in child.parameters()) >= _SMALLEST:
            yield child
        else:
            yield from _repeated(child)


def _occurrences(module: nn.Module) -> Counter[int]:
    """How often each parameter is in a module."""
    return Counter(id(p) for _, p in module.named_parameters(remove_duplicate=False))
