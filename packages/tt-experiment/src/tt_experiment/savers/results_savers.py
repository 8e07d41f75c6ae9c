"""Results to files: what a result package says, the history, targets and predictions."""

from __future__ import annotations

import functools
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tt_experiment import _json
from tt_experiment._durable import make_directories, replace_file
from tt_experiment._intervals import intervals_of
from tt_experiment.errors import ExperimentSetupError, ResultsError
from tt_experiment.folder import ExperimentFolder
from tt_experiment.names import folder_name
from tt_experiment.plots import plot_history
from tt_experiment.redact import redact
from tt_experiment.results import plain_results, save_results
from tt_experiment.savers.folders import check_free, experiment_path, new_experiment_path

__all__ = [
    "AbstractLocalResultsSaver",
    "BaseLocalResultsSaver",
    "LocalResultsSaver",
    "history_of",
]

_log = logging.getLogger(__name__)
SavedFiles = list[tuple[str, str]]


class AbstractLocalResultsSaver(ABC):
    """Writes results to files."""

    @abstractmethod
    def save_experiment_results(
        self,
        result_package: Any,
        training_history: Any,
        project_name: str,
        experiment_name: str,
        experiment_timestamp: str | None = None,
        save_true_pred_labels: bool = False,
        protect_existing_folder: bool = True,
    ) -> SavedFiles:
        """Write everything into one file, and predictions beside it.

        Args:
            result_package: An evaluated result package.
            training_history: Values by name: a `TrainingHistory` or a dict of lists.
            project_name: Folder of the project.
            experiment_name: Name of the experiment.
            experiment_timestamp: When it began; now, in a folder of its own, if left out.
            save_true_pred_labels: Keep targets and predictions.
            protect_existing_folder: Do not replace results that are there, unless this saver wrote
                them.

        Returns:
            Name, below the folder of results, and path of each file.

        Raises:
            RunFolderError: There are results, and they are protected.
            ResultsError: A value would need pickle.
        """

    @abstractmethod
    def save_experiment_results_separate_files(
        self,
        result_package: Any,
        training_history: Any,
        project_name: str,
        experiment_name: str,
        experiment_timestamp: str | None = None,
        save_true_pred_labels: bool = False,
        protect_existing_folder: bool = True,
    ) -> SavedFiles:
        """The same with a file for each: results, hyperparameters, history."""


class BaseLocalResultsSaver:
    """Knows where the files of results are.

    Args:
        local_model_result_folder_path: Folder of all projects.
        file_format: ``'json'``. AIToolbox's ``'pickle'`` is understood, and JSON is written.
    """

    def __init__(
        self,
        local_model_result_folder_path: Path | str = "~/project/model_result",
        file_format: str = "json",
    ) -> None:
        if file_format not in ("json", "pickle"):
            msg = f"file_format must be 'json'. Got {file_format!r}"
            raise ExperimentSetupError(msg)
        if file_format == "pickle":
            _warn_of_json()
        self.local_model_result_folder_path = Path(local_model_result_folder_path).expanduser()
        self.file_format = "json"
        self._own: set[Path] = set()

    def create_experiment_local_folder_structure(
        self, project_name: str, experiment_name: str, experiment_timestamp: str
    ) -> str:
        """Make the folder of an experiment's results and return its path."""
        return self.create_experiment_local_results_folder(
            project_name,
            experiment_name,
            experiment_timestamp,
            self.local_model_result_folder_path,
        )

    @staticmethod
    def create_experiment_local_results_folder(
        project_name: str,
        experiment_name: str,
        experiment_timestamp: str,
        local_model_result_folder_path: Path | str,
    ) -> str:
        """Make the folder of an experiment's results and return its path."""
        path = experiment_path(
            local_model_result_folder_path, project_name, experiment_name, experiment_timestamp
        )
        make_directories(path / "results")
        return str(path / "results")

    @staticmethod
    def get_experiment_local_results_folder_paths(
        project_name: str,
        experiment_name: str,
        experiment_timestamp: str,
        local_model_result_folder_path: Path | str,
    ) -> tuple[str, str, str]:
        """Paths of the project's folder, the experiment's, and that of its results."""
        path = experiment_path(
            local_model_result_folder_path, project_name, experiment_name, experiment_timestamp
        )
        return str(path.parent), str(path), str(path / "results")

    @staticmethod
    def save_file(
        result_dict: Mapping[str, Any], file_name_w_type: str, file_local_path_w_type: Path | str
    ) -> tuple[str, str]:
        """Write a dict as JSON.

        Raises:
            ResultsError: A value is none of JSON.
        """
        path = Path(file_local_path_w_type).expanduser()
        replace_file(path, _json_of(result_dict))
        return file_name_w_type, str(path)

    def _folder(self, project: str, experiment: str, timestamp: str | None) -> ExperimentFolder:
        root = self.local_model_result_folder_path
        if timestamp is None:
            return ExperimentFolder(new_experiment_path(root, project, experiment)[0])
        path = experiment_path(root, project, experiment, timestamp)
        make_directories(path)
        return ExperimentFolder(path)

    def _check_free(self, folder: ExperimentFolder, protect: bool) -> None:
        path = folder.results_file
        check_free(path, protect=protect and path not in self._own)
        self._own.add(path)


@functools.cache  # once is enough
def _warn_of_json() -> None:
    _log.warning("results are written as JSON and .npz, which run no code when they are read")


class LocalResultsSaver(BaseLocalResultsSaver, AbstractLocalResultsSaver):
    """Writes ``results/results.json``, ``results/predictions.npz`` and plots of the history."""

    def save_experiment_results(
        self,
        result_package: Any,
        training_history: Any,
        project_name: str,
        experiment_name: str,
        experiment_timestamp: str | None = None,
        save_true_pred_labels: bool = False,
        protect_existing_folder: bool = True,
    ) -> SavedFiles:
        """See `AbstractLocalResultsSaver.save_experiment_results`."""
        content = Content.of(result_package, training_history)
        folder = self._folder(project_name, experiment_name, experiment_timestamp)
        self._check_free(folder, protect_existing_folder)
        about = {
            "experiment_name": experiment_name,
            "hyperparameters": content.hyperparameters,
            "training_history": content.history,
            **content.about,
        }
        predictions = content.predictions if save_true_pred_labels else None
        save_results(folder, content.results, predictions, about=about)
        return self._saved(folder, content)

    def save_experiment_results_separate_files(
        self,
        result_package: Any,
        training_history: Any,
        project_name: str,
        experiment_name: str,
        experiment_timestamp: str | None = None,
        save_true_pred_labels: bool = False,
        protect_existing_folder: bool = True,
    ) -> SavedFiles:
        """See `AbstractLocalResultsSaver.save_experiment_results_separate_files`."""
        content = Content.of(result_package, training_history)
        folder = self._folder(project_name, experiment_name, experiment_timestamp)
        self._check_free(folder, protect_existing_folder)
        predictions = content.predictions if save_true_pred_labels else None
        about = {"experiment_name": experiment_name}
        save_results(folder, content.results, predictions, about={**about, **content.about})
        for kind in ("hyperparameters", "training_history"):
            values = content.history if kind == "training_history" else content.hyperparameters
            name = f"{kind}.json"
            self.save_file({**about, kind: values}, name, folder.results / name)
        return self._saved(folder, content)

    def _saved(self, folder: ExperimentFolder, content: Content) -> SavedFiles:
        _copy_others(folder.results, content.files)
        plot_history(curves_of(content.history), folder.plots)
        return [
            (path.relative_to(folder.results).as_posix(), str(path))
            for path in sorted(folder.results.rglob("*"))
            if path.is_file() and not path.name.startswith(".")
        ]


class Content(NamedTuple):
    """What there is to keep."""

    results: dict[str, Mapping[str, Any]]
    predictions: dict[str, tuple[Any, Any]]
    hyperparameters: Any
    history: dict[str, list[Any]]
    files: list[tuple[str, str]]
    """Name and path of further files that the package wrote."""
    about: dict[str, Any]
    """What else the package says of its numbers: their intervals."""

    @classmethod
    def of(cls, package: Any, history: Any) -> Content:
        """Look at an evaluated result package.

        Raises:
            ExperimentSetupError: It is none.
        """
        if not callable(getattr(package, "get_results", None)):
            msg = f"a result package has get_results(). Got {type(package).__name__}"
            raise ExperimentSetupError(msg)
        results = package.get_results()
        true: Any = getattr(package, "y_true", None)
        predicted: Any = getattr(package, "y_predicted", None)
        several = isinstance(true, Mapping) and isinstance(predicted, Mapping)
        intervals: dict[str, Any] = {}
        if several and set(true) == set(results):  # packages side by side
            pairs = {name: (true[name], predicted[name]) for name in true}
        else:
            name = getattr(package, "pkg_name", None) or type(package).__name__
            results, pairs = {name: results}, {name: (true, predicted)}
            if found := intervals_of(package):
                intervals = {name: found}
        there = {
            name: pair for name, pair in pairs.items() if pair[0] is not None or pair[1] is not None
        }
        given: Any = getattr(package, "get_hyperparameters", dict)()
        files: Any = getattr(package, "get_additional_results_dump_paths", list)()
        about = {"intervals": intervals} if intervals else {}
        kept = redact(given), history_of(history), list(files or ())
        return cls(dict(results), there, *kept, about)


def history_of(history: Any) -> dict[str, list[Any]]:
    """A history as a dict of lists.

    Raises:
        ExperimentSetupError: It is none.
    """
    if history is None:
        return {}
    values = history.get_train_history() if hasattr(history, "get_train_history") else history
    if not isinstance(values, Mapping):
        msg = f"a training history is a dict of lists. Got {type(history).__name__}"
        raise ExperimentSetupError(msg)
    return {str(name): list(plain_results(list(series))) for name, series in values.items()}


def curves_of(history: Mapping[str, list[Any]]) -> dict[str, list[float]]:
    """The series of a history that are numbers."""
    return {
        name: [float(value) for value in series]
        for name, series in history.items()
        if all(isinstance(value, int | float) for value in series)
    }


def _copy_others(results: Path, files: list[tuple[str, str]]) -> None:
    for name, where in files:
        path = Path(where).expanduser().absolute()
        if path.is_file() and not path.is_relative_to(results.parent):
            replace_file(results / folder_name(Path(name).name or path.name), path.read_bytes())


def _json_of(values: Mapping[str, Any]) -> bytes:
    plain, nonfinite = _json.finite(plain_results(values))
    try:
        return _json.dumps({**plain, "nonfinite": nonfinite})
    except (TypeError, ValueError) as error:
        msg = f"results are numbers, strings, arrays, and lists and mappings of them: {error}"
        raise ResultsError(msg) from error
