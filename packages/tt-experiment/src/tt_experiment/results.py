"""What comes out of a run: results, predictions and the final model, all without pickle."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tt_experiment import _json, _manifest
from tt_experiment._durable import (
    commit_directory,
    make_directories,
    make_directory,
    remove_directory,
    remove_file,
    rename,
    replace_file,
    scratch_path,
    write_file,
)
from tt_experiment._manifest import Manifest
from tt_experiment._tensors import read_tensors, tensor_chunks
from tt_experiment._tree import decode, encode
from tt_experiment.errors import ResultsError
from tt_experiment.folder import ExperimentFolder

__all__ = [
    "MODEL_FORMAT",
    "RESULTS_FORMAT",
    "load_model",
    "read_results",
    "save_model",
    "save_results",
]

MODEL_FORMAT = "tt-model/1"
RESULTS_FORMAT = "tt-results/1"


def save_results(
    folder: ExperimentFolder,
    results: Mapping[str, Mapping[str, Any]],
    predictions: Mapping[str, tuple[Any, Any]] | None = None,
) -> Path:
    """Write ``results/results.json`` and ``results/predictions.npz``.

    Args:
        folder: The run.
        results: By package (``"classification_VAL"``), the numbers by name; arrays and nested
            mappings are fine. NaN is written as null and listed under ``nonfinite``.
        predictions: By package, targets and predictions: arrays, tensors, or lists that make one.
            Read them with ``numpy.load(path)["classification_VAL/y_true"]``. Without any there is
            no such file.

    Raises:
        ResultsError: A value is not one of JSON, or an array would need pickle.
    """
    content = _results_json(results)
    arrays = _arrays(predictions or {})
    make_directories(folder.results)
    if arrays:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # our names have slashes
        replace_file(folder.predictions_file, buffer.getvalue())
    elif folder.predictions_file.exists():
        remove_file(folder.predictions_file)  # of an earlier fit
    replace_file(folder.results_file, content)
    return folder.results_file


def read_results(folder: ExperimentFolder) -> dict[str, dict[str, Any]]:
    """Read ``results/results.json``; where a number was not finite there is None."""
    packages: dict[str, dict[str, Any]] = _json.load_object(folder.results_file.read_bytes())[
        "results"
    ]
    return packages


def _results_json(results: Mapping[str, Mapping[str, Any]]) -> bytes:
    values, nonfinite = _json.finite(_json.plain(results))
    try:
        return _json.dumps({"format": RESULTS_FORMAT, "results": values, "nonfinite": nonfinite})
    except (TypeError, ValueError) as error:
        msg = f"results are numbers, strings, arrays, and lists and mappings of them: {error}"
        raise ResultsError(msg) from error


def _arrays(predictions: Mapping[str, tuple[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
    arrays = {}
    for name, (y_true, y_predicted) in predictions.items():
        arrays[f"{name}/y_true"] = _array(f"y_true of {name!r}", y_true)
        arrays[f"{name}/y_predicted"] = _array(f"y_predicted of {name!r}", y_predicted)
    return arrays


def _array(what: str, values: Any) -> np.ndarray[Any, Any]:
    rule = f"{what} must make an array of numbers, booleans or strings"
    advice = "pad sequences of different lengths to one length, or keep them in a file of your own"
    try:
        array = np.asarray(_host(values))
    except (TypeError, ValueError) as error:
        msg = f"{rule}: {error}. {advice}"
        raise ResultsError(msg) from error
    if array.dtype.hasobject:
        msg = f"{rule}, because objects would need pickle. Got {array.dtype}: {advice}"
        raise ResultsError(msg)
    return array


def _host(values: Any) -> Any:
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        return values.float() if values.dtype is torch.bfloat16 else values  # NumPy has none
    return values


def save_model(folder: ExperimentFolder, state_dict: Mapping[str, Any]) -> Path:
    """Write the final model to ``model/``, in place of the one that may be there.

    Args:
        folder: The run.
        state_dict: A module's ``state_dict()``.

    Raises:
        StateTreeError: It holds what cannot be written exactly.
    """
    tensors, structure = encode(dict(state_dict))
    staging = scratch_path(folder.path, "model")
    make_directory(staging)
    try:
        files = {
            "model.safetensors": write_file(staging / "model.safetensors", tensor_chunks(tensors)),
            "state.json": write_file(
                staging / "state.json",
                [_json.dumps({"format": MODEL_FORMAT, "tree": structure})],
            ),
        }
        manifest = Manifest(MODEL_FORMAT, {"torch": str(torch.__version__)}, files)
        write_file(staging / _manifest.NAME, [manifest.dumps()])
        _put_in_place(staging, folder.model)
    except BaseException:
        if staging.exists():
            remove_directory(staging)
        raise
    return folder.model


def _put_in_place(staging: Path, target: Path) -> None:
    """Commit; a model that is there steps aside, where `load_model` finds it after a crash."""
    previous = _previous(target)
    if target.exists():
        if previous.exists():
            remove_directory(previous)
        rename(target, previous)
    commit_directory(staging, target)
    if previous.exists():
        remove_directory(previous)


def _previous(path: Path) -> Path:
    return path.with_name(f"{path.name}.previous")


def load_model(path: Path | str) -> dict[str, Tensor]:
    """Read a ``model`` folder that `save_model` wrote, after its digests were checked.

    Returns:
        The ``state_dict``, for ``module.load_state_dict``.

    Raises:
        CorruptCheckpoint: It is missing, or is not what was written.
        FormatVersionError: It was written by a newer version.
    """
    path = Path(path)
    if not path.exists() and _previous(path).exists():  # killed while one replaced the other
        path = _previous(path)
    manifest = Manifest.read(path, MODEL_FORMAT)
    manifest.verify(path)
    structure = _json.load_object((path / "state.json").read_bytes())["tree"]
    state: dict[str, Tensor] = decode(read_tensors(path / "model.safetensors"), structure)
    return state
