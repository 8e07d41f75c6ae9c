"""The state of a run as one tree, and going on from it.

A state can be taken between steps: in ``on_batch_end`` and ``on_epoch_end``, after a fit, and
wherever no step is under way. It holds what every process must know for itself under ``rng``,
``loader`` and ``inside["ranks"]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.optim import Optimizer

from tt_loop.data.positions import position_of
from tt_loop.errors import LoopStateError
from tt_loop.protocols import Tree
from tt_loop.rng import rng_state
from tt_loop.training.gradients import parameters_of
from tt_loop.training.matching import check_matches, kinds_of, renamed

if TYPE_CHECKING:
    from tt_loop.loop import TrainLoop

__all__ = ["capture", "parameter_names", "restore"]

_PARTS = {"model", "optimizers", "precision", "loop", "fit", "seed", "rng", "callbacks", "history"}
_COUNTERS = ("epochs_done", "total_iteration_idx", "epoch", "iteration", "updates_done")
_LATER = ("precision", "rng", "callbacks", "inside", "loader", "kinds")  # needs a prepared fit


def capture(loop: TrainLoop) -> Tree:
    """Everything that an exact resume needs; tensors are those that training uses, not copies.

    Raises:
        LoopStateError: When a step is under way.
    """
    if loop.inside_step:
        msg = (
            "A loop's state can be taken between steps, not inside one nor after a fit that was "
            "cut short inside an epoch: call state_dict in on_batch_end or on_epoch_end, or after "
            "fit."
        )
        raise LoopStateError(msg)
    strategy, _ = loop.ready()
    if not loop.inside_epoch:  # else it is part of the state, and recorded when it always is
        loop.measured.record(loop.total_iteration_idx + 1, loop.epoch)
    fit = loop.fit_under_way if loop.inside_epoch else None
    own = {
        "rng": rng_state(strategy.device),
        "inside": fit.state_dict() if fit else None,
        "loader": _position(loop),
    }
    ranks = strategy.comm.gather_objects(own) or []
    inside = fit.position_of_all([rank["inside"] or {} for rank in ranks]) if fit else None
    state = {
        **strategy.state_dict(loop.model, loop.optimizers),
        "kinds": kinds_of(loop),
        "loop": {name: getattr(loop, name) for name in _COUNTERS},
        "fit": {
            **loop.fit_began,
            "open": loop.fit_is_open,
            "early_stop": loop.early_stop,
            "elapsed": loop.settings.total_elapsed(),
        },
        "criterion": _criterion_state(loop),
        "inside": inside,
        "loader": [rank["loader"] for rank in ranks if rank["loader"]] or None,
        "shared": loop.shared,
        "seed": loop.seed,
        "rng": [rank["rng"] for rank in ranks],
        "callbacks": loop.callbacks_handler.state_dict(),
        "history": loop.train_history.state_dict(),
        "recorded": loop.measured.position(),
    }
    return {**state, **loop.pending}  # what was loaded and waits for the next fit


def restore(loop: TrainLoop, state: Tree) -> None:
    """Load what can be loaded now and leave the rest to the next fit.

    Raises:
        LoopStateError: When the state is not that of such a loop; nothing is loaded then.
    """
    missing = sorted(_PARTS - set(state))
    if missing:
        msg = f"A loop's state must come from TrainLoop.state_dict; this one lacks {missing}."
        raise LoopStateError(msg)
    strategy, _ = loop.ready()
    loop.lending.end()
    state = renamed(loop, state)
    check_matches(loop, state)
    parts = {"model": state["model"]}
    if loop.optimizers:
        parts["optimizers"] = state["optimizers"]
    strategy.load_state_dict(loop.model, loop.optimizers, parts)
    if state.get("criterion") is not None:
        loop.criterion.load_state_dict(state["criterion"])
    for name in _COUNTERS:
        setattr(loop, name, state["loop"][name])
    fit = state["fit"]
    loop.fit_began = {name: fit[name] for name in ("epochs_done", "total_iteration_idx")}
    loop.fit_is_open = fit["open"]
    loop.early_stop = fit["early_stop"]
    loop.settings.elapsed = fit["elapsed"]
    loop.seed = state["seed"]
    loop.inside_epoch = loop.inside_step = False
    loop.train_history.load_state_dict(state["history"])
    loop.measured.go_to(state.get("recorded", (0, 0)))
    loop.shared = state.get("shared")
    loop.pending = {name: state[name] for name in _LATER if state.get(name) is not None}


def _criterion_state(loop: TrainLoop) -> Tree | None:
    """Parameters and buffers of a criterion that has some."""
    state = loop.criterion.state_dict() if isinstance(loop.criterion, nn.Module) else None
    return dict(state) if state else None


def _position(loop: TrainLoop) -> Tree | None:
    """Where the training loader is, if it was read and no epoch is under way."""
    if loop.inside_epoch or loop.pending or loop.total_iteration_idx < 0:
        return None
    return position_of(loop.train_loader)


def parameter_names(model: nn.Module, optimizers: Sequence[Optimizer]) -> dict[int, str]:
    """Names of all trained parameters by identity; those outside the model get numbers."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    trained: list[Any] = [p for optimizer in optimizers for p in parameters_of(optimizer)]
    for number, parameter in enumerate(trained):
        names.setdefault(id(parameter), f"outside_the_model.{number}")
    return names
