"""Models from files, and what is in them to where it belongs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tt_experiment import _manifest
from tt_experiment._checkpoint.files import read_tree
from tt_experiment.errors import (
    CheckpointMismatch,
    CorruptCheckpoint,
    ExperimentSetupError,
    ImportFormatError,
    NoValidCheckpoint,
)
from tt_experiment.results import load_model
from tt_experiment.savers.folders import experiment_path
from tt_experiment.savers.model_file import read_model_file
from tt_experiment.savers.model_savers import keras
from tt_experiment.savers.old_files import read_old_checkpoint, without_parallel_prefix

__all__ = ["AbstractLocalModelLoader", "KerasLocalModelLoader", "PyTorchLocalModelLoader"]


class AbstractLocalModelLoader(ABC):
    """Reads models from where savers write them."""

    @abstractmethod
    def load_model(
        self,
        project_name: str,
        experiment_name: str,
        experiment_timestamp: str,
        model_save_dir: str = "checkpoint_model",
        epoch_num: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """Read a model.

        Args:
            project_name: Folder of the project.
            experiment_name: Name of the experiment.
            experiment_timestamp: When it began.
            model_save_dir: ``'checkpoint_model'`` or ``'model'``.
            epoch_num: Which checkpoint.
            **kwargs: Of the loader.

        Raises:
            NoValidCheckpoint: There is no such file.
        """


class PyTorchLocalModelLoader(AbstractLocalModelLoader):
    """Loads models of PyTorch: files of our savers, models of runs, and AIToolbox's ``.pth`` files.

    Args:
        local_model_result_folder_path: Folder of all projects.

    Attributes:
        model_representation: What was loaded, as a dict of states; ``None`` before.
    """

    file_endings = (".safetensors", ".pth")

    def __init__(self, local_model_result_folder_path: Path | str) -> None:
        self.local_model_result_folder_path = Path(local_model_result_folder_path).expanduser()
        self.model_representation: dict[str, Any] | None = None

    def load_model(
        self,
        project_name: str,
        experiment_name: str,
        experiment_timestamp: str,
        model_save_dir: str = "checkpoint_model",
        epoch_num: int | None = None,
        map_location: Any = None,
        *,
        iteration_idx: int | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Read a model; see `AbstractLocalModelLoader.load_model`.

        ``map_location`` is a device for the tensors, by default the CPU; ``iteration_idx`` names a
        checkpoint inside the epoch.

        Raises:
            NoValidCheckpoint: There is no such file; the message lists those that there are.
            CorruptCheckpoint: It is not what was written.
            ImportFormatError: An old file cannot be read safely.
        """
        if kwargs:
            msg = f"load_model takes map_location and iteration_idx. Got {sorted(kwargs)}"
            raise ExperimentSetupError(msg)
        root = self.local_model_result_folder_path
        experiment = experiment_path(root, project_name, experiment_name, experiment_timestamp)
        numbers = "" if epoch_num is None else f"_E{epoch_num}"
        numbers += "" if iteration_idx is None else f"_ITER{iteration_idx}"
        folder = experiment / model_save_dir
        path = _found(folder, f"model_{experiment.name}{numbers}", self.file_endings)
        return self.load_model_from_path(path, map_location)

    def load_model_from_path(
        self, model_path: Path | str, map_location: Any = None
    ) -> dict[str, Any]:
        """Read a file, or the folder of a run's final model or of one of its checkpoints.

        Raises:
            FileNotFoundError: There is none.
            CorruptCheckpoint: It is not what was written.
            ImportFormatError: An old file cannot be read safely.
        """
        device = _device(map_location)
        state = _read(Path(model_path).expanduser().absolute())
        self.model_representation = _moved(state, device)
        return self.model_representation

    def check_if_model_loaded(self) -> None:
        """Look whether a model was loaded.

        Raises:
            ExperimentSetupError: None was.
        """
        if self.model_representation is None:
            msg = "load_model or load_model_from_path comes before what was loaded is used."
            raise ExperimentSetupError(msg)

    def init_model(self, model: Any, used_data_parallel: bool = False) -> Any:
        """Give a model the weights; nothing is loaded if a name or a shape differs.

        Args:
            model: The module, wrapped for parallel training or not.
            used_data_parallel: The weights were saved from a wrapped model. It is seen anyway.

        Returns:
            The model.

        Raises:
            CheckpointMismatch: The weights are another model's.
        """
        saved, own = self._part("model_state_dict"), model.state_dict()
        if used_data_parallel or set(saved) != set(own):
            saved = without_parallel_prefix(saved)
        if set(saved) != set(own) and set(without_parallel_prefix(own)) == set(saved):
            saved = {f"module.{name}": value for name, value in saved.items()}
        check_weights(saved, own)
        model.load_state_dict(saved)
        return model

    def init_optimizer(
        self,
        optimizer: Any,
        device: str = "cuda",  # noqa: ARG002 - AIToolbox's callers give it
    ) -> Any:
        """Give an optimizer, or several in one object, its state.

        Args:
            optimizer: Of the model.
            device: Kept for AIToolbox's callers: the state goes to where the optimizer's parameters
                are, the only place where a step can use it.

        Returns:
            The optimizer.

        Raises:
            CheckpointMismatch: The state is another optimizer's.
        """
        state = self._part("optimizer_state_dict")
        try:
            optimizer.load_state_dict(state)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            msg = f"the saved state must be one of this {type(optimizer).__name__}: {error}"
            raise CheckpointMismatch(msg) from error
        return optimizer

    def init_scheduler(
        self,
        scheduler_callbacks_list: Sequence[Any],
        ignore_saved: bool = False,
        ignore_missing_saved: bool = False,
    ) -> Sequence[Any]:
        """Give schedulers their states, in the order in which they were saved.

        Args:
            scheduler_callbacks_list: Schedulers, or callbacks that have one.
            ignore_saved: Leave them as they are.
            ignore_missing_saved: Leave those as they are that nothing was saved of.

        Returns:
            The list.

        Raises:
            CheckpointMismatch: Of another number of schedulers something was saved.
        """
        self.check_if_model_loaded()
        if ignore_saved:
            return scheduler_callbacks_list
        saved = (self.model_representation or {}).get("schedulers_state_dict", [])
        missing = len(scheduler_callbacks_list) - len(saved)
        if missing < 0 or (missing > 0 and not ignore_missing_saved):
            msg = (
                f"states of {len(saved)} schedulers were saved. Got {len(saved) + missing}: give "
                "as many, or say ignore_saved=True, or ignore_missing_saved=True for new ones"
            )
            raise CheckpointMismatch(msg)
        for scheduler, state in zip(scheduler_callbacks_list, saved, strict=False):
            _load_schedule(scheduler, state)
        return scheduler_callbacks_list

    def init_amp(self, amp_scaler: Any) -> Any:
        """Give a gradient scaler its state.

        Returns:
            The scaler.

        Raises:
            CheckpointMismatch: The model was saved without one.
        """
        amp_scaler.load_state_dict(self._part("amp"))
        return amp_scaler

    def _part(self, key: str) -> Any:
        self.check_if_model_loaded()
        state = self.model_representation or {}
        if key not in state:
            msg = f"the model was saved without {key!r}; it has {sorted(state)}"
            raise CheckpointMismatch(msg)
        return state[key]


class KerasLocalModelLoader(AbstractLocalModelLoader):
    """Loads ``.keras`` files, refusing code in them; needs the extra ``keras``.

    Args:
        local_model_result_folder_path: Folder of all projects.
    """

    file_endings = (".keras",)

    def __init__(self, local_model_result_folder_path: Path | str) -> None:
        self.local_model_result_folder_path = Path(local_model_result_folder_path).expanduser()

    def load_model(
        self,
        project_name: str,
        experiment_name: str,
        experiment_timestamp: str,
        model_save_dir: str = "checkpoint_model",
        epoch_num: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """Read a model; see `AbstractLocalModelLoader.load_model`. Keras gets ``kwargs``.

        Raises:
            NoValidCheckpoint: There is no such file.
            ImportFormatError: It cannot be read without running code.
        """
        root = self.local_model_result_folder_path
        experiment = experiment_path(root, project_name, experiment_name, experiment_timestamp)
        numbers = "" if epoch_num is None else f"_E{epoch_num}"
        name = f"model_{experiment.name}{numbers}"
        path = _found(experiment / model_save_dir, name, self.file_endings)
        try:
            return keras().models.load_model(path, **{**kwargs, "safe_mode": True})
        except (ValueError, TypeError, OSError) as error:
            msg = f"{path} cannot be read by keras without running code in it: {error}"
            raise ImportFormatError(msg) from error


def check_weights(saved: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Compare names and shapes.

    Raises:
        CheckpointMismatch: With a table of what differs.
    """
    shapes = {
        name: (_shape(saved.get(name)), _shape(own.get(name))) for name in sorted({*saved, *own})
    }
    rows = [
        f"\n  {name}: {a} in the file, {b} in the model"
        for name, (a, b) in shapes.items()
        if a != b
    ]
    if rows:
        more = f"\n  and {len(rows) - 20} more" if len(rows) > 20 else ""
        msg = f"the weights must be this model's; nothing was loaded:{''.join(rows[:20])}{more}"
        raise CheckpointMismatch(msg)


def _shape(value: Any) -> str:
    return "not" if value is None else str(tuple(getattr(value, "shape", ())))


def _found(folder: Path, stem: str, endings: Sequence[str]) -> Path:
    for ending in endings:
        if (folder / f"{stem}{ending}").is_file():
            return folder / f"{stem}{ending}"
    if (folder / _manifest.NAME).is_file():  # the final model of a run
        return folder
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    msg = f"{folder} has no {' or '.join(f'{stem}{ending}' for ending in endings)}; it has {there}"
    raise NoValidCheckpoint(msg)


def _read(path: Path) -> dict[str, Any]:
    if path.is_dir():
        if path.parent.name == "checkpoint_model":
            return {"model_state_dict": read_tree(path)["model"]}
        return {"model_state_dict": load_model(path)}
    state = read_model_file(path) if path.suffix == ".safetensors" else read_old_checkpoint(path)
    if not isinstance(state, dict) or "model_state_dict" not in state:
        msg = f"{path} must hold a dict of states with 'model_state_dict'"
        raise CorruptCheckpoint(msg)
    return state


def _device(map_location: Any) -> torch.device:
    if map_location is None:
        return torch.device("cpu")
    if isinstance(map_location, str | torch.device | int):
        return torch.device(map_location)
    msg = f"map_location is a device. Got {type(map_location).__name__}: give 'cpu' or 'cuda:0'"
    raise ExperimentSetupError(msg)


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {key: _moved(item, device) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_moved(item, device) for item in value)
    return value


def _load_schedule(scheduler: Any, state: Any) -> None:
    """A callback takes its own state; of AIToolbox's, what it has is the scheduler's state."""
    inner = getattr(scheduler, "schedulers", None)
    if inner and isinstance(state, Mapping) and "schedules" not in state:
        inner[0].load_state_dict({**inner[0].state_dict(), **state})
    else:
        scheduler.load_state_dict(state)
