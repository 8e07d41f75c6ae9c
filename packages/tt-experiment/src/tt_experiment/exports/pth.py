"""A checkpoint as the ``.pth`` file that AIToolbox and ``torch.load`` read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tt_experiment import _json
from tt_experiment._checkpoint.entries import first_valid, scan
from tt_experiment._checkpoint.files import read_tree
from tt_experiment._durable import adopt_file, discard, make_directories, scratch_path
from tt_experiment.errors import CheckpointError
from tt_experiment.results import load_model

__all__ = ["export_pth"]


def export_pth(run: Path | str, file: Path | str, *, step: int | None = None) -> Path:
    """Write AIToolbox's dict of states; ``torch.load`` reads it with ``weights_only=True``.

    Its keys are ``model_state_dict``, ``optimizer_state_dict`` (a list of several), both as PyTorch
    has them, ``schedulers_state_dict``, ``epoch`` (the last that was done, from 0),
    ``iteration_idx``, ``hyperparams``, and ``amp`` if a gradient scaler was used.

    Args:
        run: The run's folder.
        file: It is replaced if it is there.
        step: Of the checkpoint; by default the newest valid one, or the final model if there is
            none.

    Returns:
        The file.

    Raises:
        CheckpointError: There is no such checkpoint, or it is damaged.
    """
    run, file = Path(run).absolute(), Path(file).expanduser().absolute()
    state = _state(_tree(run, step))
    state["hyperparams"] = _hyperparams(run)
    make_directories(file.parent)
    scratch = scratch_path(file.parent, "pth")
    try:
        with scratch.open("wb") as opened:  # by itself, PyTorch refuses the scratch name
            torch.save(state, opened)
        adopt_file(scratch, file)
    except BaseException:
        discard(scratch)
        raise
    return file


def _tree(run: Path, step: int | None) -> Mapping[str, Any]:
    folder = run / "checkpoint_model"
    entries, damaged = scan(folder)
    if step is None:
        newest = first_valid(folder, entries, damaged)
        if newest is not None:
            return read_tree(Path(newest.location))
        return {"model": _final_model(run)}
    entry = next((e for e in entries if e.step == step), None)
    if entry is None:
        steps = ", ".join(str(entry.step) for entry in entries) or "none"
        msg = f"{run} must have the checkpoint. Got step {step}, and there are: {steps}"
        raise CheckpointError(msg)
    return read_tree(entry.path)


def _final_model(run: Path) -> Mapping[str, Any]:
    if not any((run / "model").glob("*")):
        msg = f"{run} must have a checkpoint or a final model. It has neither"
        raise CheckpointError(msg)
    return load_model(run / "model")


def _state(tree: Mapping[str, Any]) -> dict[str, Any]:
    optimizers = [_numbered(state) for state in _listed(tree.get("optimizers"))]
    loop = tree.get("loop") or {}
    state = {
        "model_state_dict": _plain(tree.get("model", {})),
        "optimizer_state_dict": optimizers[0] if len(optimizers) == 1 else optimizers,
        "schedulers_state_dict": list(_schedules(tree.get("callbacks") or {})),
        "epoch": int(loop.get("epochs_done", 0)) - 1,
        "iteration_idx": int(loop.get("total_iteration_idx", -1)),
    }
    precision = _plain(tree.get("precision") or {})
    return {**state, "amp": precision} if precision else state


def _listed(value: Any) -> Sequence[Any]:
    if value is None:
        return []
    return [value] if isinstance(value, Mapping) else list(value)


def _numbered(state: Mapping[str, Any]) -> dict[str, Any]:
    """An optimizer's state by numbers of parameters, as PyTorch has it, instead of names."""
    names = [name for group in state["param_groups"] for name in group["params"]]
    numbers = {name: number for number, name in enumerate(names)}
    return {
        "state": {numbers[name]: _plain(value) for name, value in state["state"].items()},
        "param_groups": [
            {**_plain(group), "params": [numbers[name] for name in group["params"]]}
            for group in state["param_groups"]
        ],
    }


def _schedules(callbacks: Mapping[str, Any]) -> Iterator[Any]:
    """States of the schedulers of PyTorch, in the order of their callbacks."""
    for callback in callbacks.values():
        for schedule in callback.get("schedules", []) if isinstance(callback, Mapping) else []:
            yield _plain(schedule["scheduler"])


def _hyperparams(run: Path) -> dict[str, Any]:
    try:
        return _json.load_object((run / "hyperparams.json").read_bytes())
    except (OSError, ValueError):
        return {}


def _plain(value: Any) -> Any:
    """The same of types that ``weights_only=True`` loads."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(item) for item in value)
    return value
