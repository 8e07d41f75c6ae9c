"""What comes out of a run: results, predictions and the final model, all without pickle."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
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
from tt_experiment._predictions import arrays_of, predictions_in
from tt_experiment._tensors import read_tensors, tensor_chunks
from tt_experiment._tree import decode, encode
from tt_experiment.errors import ResultsError
from tt_experiment.folder import ExperimentFolder

__all__ = [
    "MODEL_FORMAT",
    "RESULTS_FORMAT",
    "load_model",
    "plain_results",
    "read_predictions",
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
    *,
    about: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``results/results.json`` and ``results/predictions.npz``.

    Args:
        folder: The run.
        results: By package (``"classification_VAL"``), the numbers by name; arrays, data classes
            and nested mappings are fine. NaN is written as null and listed under ``nonfinite``.
        predictions: By package, targets and predictions, for `read_predictions`. Without any there
            is no such file.
        about: What else to keep in ``results.json``, by name.

    Raises:
        ResultsError: A value would need pickle.
    """
    content = _results_json(results, about or {})
    arrays = arrays_of(predictions or {})
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


def read_predictions(folder: ExperimentFolder) -> dict[str, tuple[Any, Any]]:
    """Read ``results/predictions.npz``: by package, targets and predictions.

    Arrays and tensors come back as arrays; lists of texts, dicts or sequences of different lengths
    as they were.

    Raises:
        ResultsError: The file is not one that `save_results` wrote.
        FileNotFoundError: No predictions were kept.
    """
    return predictions_in(folder.predictions_file)


def _results_json(results: Mapping[str, Mapping[str, Any]], about: Mapping[str, Any]) -> bytes:
    try:
        values, nonfinite = _json.finite(plain_results(results))
        other, flags = _json.finite(plain_results(about))
        flags = {f"/{path}": text for path, text in flags.items()}
        document = {"format": RESULTS_FORMAT, **other, "results": values}
        return _json.dumps({**document, "nonfinite": nonfinite | flags})
    except (TypeError, ValueError, RecursionError) as error:
        msg = f"results are numbers, strings, arrays, and lists and mappings of them: {error}"
        raise ResultsError(msg) from error


def plain_results(value: Any) -> Any:
    """Values that JSON has; data classes and named tuples keep the names of their fields."""
    if is_dataclass(value) and not isinstance(value, type):
        value = {item.name: getattr(value, item.name) for item in fields(value)}
    elif isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {str(key): plain_results(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_results(item) for item in value]
    return _json.plain(value)


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
