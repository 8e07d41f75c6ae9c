"""Whether a saved state is that of such a loop: looked at before anything of it is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from tt_loop.errors import LoopStateError
from tt_loop.protocols import Tree
from tt_loop.schedulers.basic import AbstractScheduler
from tt_loop.training.gradients import parameters_of

if TYPE_CHECKING:
    from tt_loop.loop import TrainLoop

__all__ = ["check_all", "check_matches", "check_schedulers", "kinds_of", "renamed"]

_NONE = "-"
_MOST_ROWS = 20
Row = tuple[str, str, str]


def kinds_of(loop: TrainLoop) -> Tree:
    """The classes of what a loop's state is of."""
    return {
        "model": type(_plain_model(loop.model)).__name__,
        "optimizers": [type(optimizer).__name__ for optimizer in loop.optimizers],
        "schedulers": _schedulers(loop),
    }


def check_matches(loop: TrainLoop, state: Tree) -> None:
    """Compare classes, names, shapes and types of a state with those of a loop.

    Raises:
        LoopStateError: With a table of all that differs.
    """
    _refuse(_state_rows(loop, state))


def check_all(loop: TrainLoop, state: Tree) -> None:
    """Compare a state with a loop whose callbacks are all there and whose precision is known.

    Raises:
        LoopStateError: With a table of all that differs.
    """
    kinds = state.get("kinds") or {}
    rows = _state_rows(loop, renamed(loop, state))
    if "schedulers" in kinds:
        rows += _differences("scheduler", kinds["schedulers"], _schedulers(loop))
    precision = getattr(loop.ready()[0], "precision", None)
    if precision is not None:
        own, saved = precision.state_dict(), state.get("precision") or {}
        if bool(own) != bool(saved):
            rows.append(("precision", _precision(saved), _precision(own)))
    _refuse(rows)


def _precision(state: Tree) -> str:
    plain = [str(value) for value in state.values() if isinstance(value, str)]
    return " ".join(["mixed", *plain]) if state else "full"


def check_schedulers(loop: TrainLoop, kinds: Tree) -> None:
    """Compare the schedulers of a loaded state with those of a loop whose callbacks are all there.

    Raises:
        LoopStateError: With a table of all that differs.
    """
    rows = _differences("scheduler", kinds.get("schedulers", _schedulers(loop)), _schedulers(loop))
    _refuse(rows, "The fit cannot go on")


def renamed(loop: TrainLoop, state: Tree) -> Tree:
    """A state whose parameter names have the prefixes that the loop's model has.

    Wrapping a model for several devices or compiling it puts ``module.`` or ``_orig_mod.`` before
    names.
    """
    own = {_bare(name): name for name in loop.model.state_dict()}
    saved = list(state["model"])
    names = {name: own[_bare(name)] for name in saved if _bare(name) in own}
    if len(set(names.values())) < len(names) or all(a == b for a, b in names.items()):
        return state
    result: Tree = _with_names(state, names)
    return result


def _with_names(tree: Any, names: Mapping[str, str]) -> Any:
    if isinstance(tree, dict):
        return {
            names.get(key, key): (
                [names.get(name, name) for name in each]
                if key == "params" and isinstance(each, list)
                else _with_names(each, names)
            )
            for key, each in tree.items()
        }
    if type(tree) in (list, tuple):
        return type(tree)(_with_names(each, names) for each in tree)
    return tree


def _bare(name: str) -> str:
    return name.replace("_orig_mod.", "").removeprefix("module.")


def _plain_model(model: nn.Module) -> nn.Module:
    return getattr(model, "_orig_mod", model)


def _schedulers(loop: TrainLoop) -> list[str]:
    found = [each for each in loop.callbacks if isinstance(each, AbstractScheduler)]
    made_by = [getattr(each, "scheduler_class", None) for each in found]
    return [
        type(each).__name__ + (f"({getattr(of, '__name__', '?')})" if callable(of) else "")
        for each, of in zip(found, made_by, strict=True)
    ]


def _state_rows(loop: TrainLoop, state: Tree) -> list[Row]:
    kinds = state.get("kinds") or {}  # older states have none
    rows = [*_model_rows(loop.model, state["model"], kinds.get("model"))]
    if loop.optimizers:  # a loop without only evaluates
        rows += _optimizer_rows(loop, state["optimizers"], kinds.get("optimizers"))
    return rows


def _model_rows(model: nn.Module, saved: Tree, kind: str | None) -> Iterator[Row]:
    own_kind = type(_plain_model(model)).__name__
    if kind is not None and kind != own_kind:
        yield "class of the model", kind, own_kind
    if not saved:  # of a sharded model, only some processes have the state
        return
    own = model.state_dict()
    for name in [*own, *(name for name in saved if name not in own)]:
        in_file, in_model = saved.get(name, _NONE), own.get(name, _NONE)
        if isinstance(in_model, Tensor) and is_lazy(in_model):
            continue  # it gets its shape from what is loaded
        said = _described(in_file), _described(in_model)
        if said[0] != said[1]:
            yield name, *said


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    return value if value is _NONE else type(value).__name__


def _optimizer_rows(
    loop: TrainLoop, saved: Sequence[Tree], kinds: Sequence[str] | None
) -> list[Row]:
    own = [type(optimizer).__name__ for optimizer in loop.optimizers]
    rows = _differences("optimizer", kinds or own[: len(saved)], own)
    if len(saved) != len(own):
        return [("number of optimizers", str(len(saved)), str(len(own))), *rows]
    names = {id(parameter): name for name, parameter in loop.model.named_parameters()}
    for number, (optimizer, state) in enumerate(zip(loop.optimizers, saved, strict=True)):
        numbered = enumerate(parameters_of(optimizer))
        known = {id(p): names.get(id(p), f"outside_the_model.{n}") for n, p in numbered}
        groups = [[known[id(p)] for p in group["params"]] for group in optimizer.param_groups]
        in_file = [_parameters(group["params"]) for group in state["param_groups"]]
        what = f"optimizer {number}, parameters of group"
        rows += _differences(what, in_file, [_parameters(group) for group in groups])
    return rows


def _parameters(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _differences(what: str, saved: Sequence[str], own: Sequence[str]) -> list[Row]:
    pairs = enumerate(zip_longest(saved, own, fillvalue=_NONE))
    return [(f"{what} {number}", *pair) for number, pair in pairs if pair[0] != pair[1]]


def _refuse(rows: Sequence[Row], said: str = "Nothing was loaded") -> None:
    if not rows:
        return
    shown = [("", "in the state", "in the program"), *rows[:_MOST_ROWS]]
    cells = [tuple(_short(cell) for cell in row) for row in shown]
    first, second, _ = (max(map(len, column)) for column in zip(*cells, strict=True))
    lines = [f"  {a:{first}}  {b:{second}}  {c}".rstrip() for a, b, c in cells]
    more = len(rows) - _MOST_ROWS
    lines += [f"  and {more} more"] if more > 0 else []
    msg = (
        f"A state goes into the model, optimizers and schedulers that it was taken from. {said}, "
        "for these differ:\n" + "\n".join(lines)
    )
    raise LoopStateError(msg)


def _short(cell: str) -> str:
    return cell if len(cell) <= 60 else f"{cell[:57]}..."
