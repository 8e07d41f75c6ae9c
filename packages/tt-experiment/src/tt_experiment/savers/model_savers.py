"""Models to files, one for each save."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from tt_experiment._durable import adopt_file, make_directories, remove_file, scratch_path
from tt_experiment.errors import ExperimentSetupError, MissingDependency
from tt_experiment.redact import redact
from tt_experiment.savers.folders import check_free, experiment_path, new_experiment_path
from tt_experiment.savers.model_file import write_model_file

__all__ = [
    "AbstractLocalModelSaver",
    "BaseLocalModelSaver",
    "KerasLocalModelSaver",
    "PyTorchLocalModelSaver",
]

_REQUIRED = ("model_state_dict", "optimizer_state_dict", "epoch", "hyperparams")


class AbstractLocalModelSaver(ABC):
    """Writes models to files."""

    @abstractmethod
    def save_model(
        self,
        model: Any,
        project_name: str,
        experiment_name: str,
        experiment_timestamp: str | None = None,
        epoch: int | None = None,
        iteration_idx: int | None = None,
        protect_existing_folder: bool = True,
    ) -> tuple[str, str]:
        """Write a model; the file appears whole or not at all.

        Args:
            model: The model.
            project_name: Folder of the project.
            experiment_name: Name of the experiment.
            experiment_timestamp: When it began; now, in a folder of its own, if left out.
            epoch: Part of the file's name, for checkpoints.
            iteration_idx: Likewise, after the epoch.
            protect_existing_folder: Do not replace a file that is there, unless this saver wrote
                it.

        Returns:
            The file's name and its path.

        Raises:
            RunFolderError: The file is there and protected.
        """


class BaseLocalModelSaver:
    """Knows where the files of models are.

    Args:
        local_model_result_folder_path: Folder of all projects.
        checkpoint_model: Whether models are checkpoints, which have a folder of their own.
    """

    file_ending: ClassVar[str] = ".safetensors"

    def __init__(
        self,
        local_model_result_folder_path: Path | str = "~/project/model_result",
        checkpoint_model: bool = False,
    ) -> None:
        self.local_model_result_folder_path = Path(local_model_result_folder_path).expanduser()
        self.checkpoint_model = checkpoint_model
        self._own: set[Path] = set()

    def create_experiment_local_models_folder(
        self, project_name: str, experiment_name: str, experiment_timestamp: str
    ) -> str:
        """Make the folder of an experiment's models and return its path."""
        path = experiment_path(
            self.local_model_result_folder_path, project_name, experiment_name, experiment_timestamp
        )
        return str(self._models_folder(path))

    def _models_folder(self, experiment: Path) -> Path:
        folder = experiment / ("checkpoint_model" if self.checkpoint_model else "model")
        make_directories(folder)
        return folder

    def _new_file(
        self,
        project_name: str,
        experiment_name: str,
        timestamp: str | None,
        epoch: int | None,
        iteration_idx: int | None,
        protect: bool,
    ) -> Path:
        """Path of a file that may be written."""
        root = self.local_model_result_folder_path
        if timestamp is None:
            experiment, _ = new_experiment_path(root, project_name, experiment_name)
        else:
            experiment = experiment_path(root, project_name, experiment_name, timestamp)
        numbers = "" if epoch is None else f"_E{epoch}"
        numbers += "" if iteration_idx is None else f"_ITER{iteration_idx}"
        name = f"model_{experiment.name}{numbers}{self.file_ending}"
        path = self._models_folder(experiment) / name
        check_free(path, protect=protect and path not in self._own)
        self._own.add(path)
        return path


class PyTorchLocalModelSaver(BaseLocalModelSaver, AbstractLocalModelSaver):
    """Writes models of PyTorch: one safetensors file with everything in it, without pickle.

    Example:
        >>> import tempfile, torch
        >>> saver = PyTorchLocalModelSaver(tempfile.mkdtemp())
        >>> name, path = saver.save_model(torch.nn.Linear(2, 1), "p", "e", "2026-11-28_08-00-00")
        >>> name
        'model_e_2026-11-28_08-00-00.safetensors'
    """

    def save_model(
        self,
        model: Any,
        project_name: str,
        experiment_name: str,
        experiment_timestamp: str | None = None,
        epoch: int | None = None,
        iteration_idx: int | None = None,
        protect_existing_folder: bool = True,
    ) -> tuple[str, str]:
        """Write a model; see `AbstractLocalModelSaver.save_model`.

        ``model`` is AIToolbox's dict of states, a module, or a module's ``state_dict()``. Of
        hyperparameters that JSON does not have, a description is kept, and no secrets.

        Raises:
            RunFolderError: The file is there and protected.
            ExperimentSetupError: The dict is not complete.
            StateTreeError: A state holds what cannot be written exactly.
        """
        tree = self._tree(model)
        path = self._new_file(
            project_name,
            experiment_name,
            experiment_timestamp,
            epoch,
            iteration_idx,
            protect_existing_folder,
        )
        write_model_file(path, tree)
        return path.name, str(path)

    def _tree(self, model: Any) -> dict[str, Any]:
        if isinstance(model, nn.Module):
            return {"model_state_dict": dict(model.state_dict())}
        if isinstance(model, Mapping) and model and _is_state_dict(model):
            return {"model_state_dict": dict(model)}
        self.check_model_dict_contents(model)
        return {**model, "hyperparams": redact(model["hyperparams"])}

    @staticmethod
    def check_model_dict_contents(model: Any) -> None:
        """Look whether AIToolbox's dict of states is complete.

        Raises:
            ExperimentSetupError: It is not; the message lists what is missing.
        """
        if not isinstance(model, Mapping):
            msg = (
                "a model is a dict of states, a module or its state_dict(). Got "
                f"{type(model).__name__}"
            )
            raise ExperimentSetupError(msg)
        if missing := [key for key in _REQUIRED if key not in model]:
            msg = f"a dict of states has {list(_REQUIRED)}. Missing: {missing}"
            raise ExperimentSetupError(msg)


def _is_state_dict(model: Mapping[Any, Any]) -> bool:
    return all(isinstance(key, str) for key in model) and all(
        isinstance(value, Tensor) for value in model.values()
    )


class KerasLocalModelSaver(BaseLocalModelSaver, AbstractLocalModelSaver):
    """Writes models of Keras 3 as ``.keras`` files; needs the extra ``keras``."""

    file_ending = ".keras"

    def save_model(
        self,
        model: Any,
        project_name: str,
        experiment_name: str,
        experiment_timestamp: str | None = None,
        epoch: int | None = None,
        iteration_idx: int | None = None,
        protect_existing_folder: bool = True,
    ) -> tuple[str, str]:
        """Write a model; see `AbstractLocalModelSaver.save_model`.

        Raises:
            RunFolderError: The file is there and protected.
            ExperimentSetupError: The model is none of Keras.
        """
        if not isinstance(model, keras().Model):
            msg = f"a model must be one of Keras. Got {type(model).__name__}"
            raise ExperimentSetupError(msg)
        path = self._new_file(
            project_name,
            experiment_name,
            experiment_timestamp,
            epoch,
            iteration_idx,
            protect_existing_folder,
        )
        scratch = scratch_path(path.parent, "model")
        scratch = scratch.with_name(f"{scratch.name}.keras")  # Keras goes by the ending
        try:
            model.save(scratch)
            adopt_file(scratch, path)
        except BaseException:
            remove_file(scratch)
            raise
        return path.name, str(path)


def keras() -> Any:
    """The library.

    Raises:
        MissingDependency: It is not installed.
    """
    try:
        return import_module("keras")
    except ImportError as error:
        msg = (
            f"models of Keras need keras 3 and its backend ({error}): "
            "pip install 'tt-experiment[keras]', and set KERAS_BACKEND to torch"
        )
        raise MissingDependency(msg) from error
