"""Hyperparameters, sources, plots and tables of an experiment, by AIToolbox's names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tt_experiment._durable import make_directories, replace_file
from tt_experiment._gradient_plots import draw_gradients
from tt_experiment._origin.source import source_zip
from tt_experiment.errors import ExperimentSetupError, ResultsError
from tt_experiment.plots import plot_history
from tt_experiment.redact import redact, redact_text
from tt_experiment.savers.folders import experiment_path
from tt_experiment.savers.results_savers import curves_of, history_of
from tt_loop.api import GradientHistogram, HistoryTextFile

__all__ = [
    "GradientPlotter",
    "HyperParamSourceReporter",
    "TrainingHistoryPlotter",
    "TrainingHistoryWriter",
]

_BINS = 100


class HyperParamSourceReporter:
    """Writes down what an experiment was made with; secrets are left out.

    Args:
        project_name: Folder of the project.
        experiment_name: Name of the experiment.
        experiment_timestamp: When it began.
        local_model_result_folder_path: Folder of all projects.
    """

    def __init__(
        self,
        project_name: str,
        experiment_name: str,
        experiment_timestamp: str,
        local_model_result_folder_path: Path | str,
    ) -> None:
        self.project_name = project_name
        self.experiment_name = experiment_name
        self.experiment_timestamp = experiment_timestamp
        self.folder = experiment_path(
            local_model_result_folder_path, project_name, experiment_name, experiment_timestamp
        )

    def save_hyperparams_to_text_file(
        self, hyperparams: Mapping[str, Any], sort_names: bool = False
    ) -> str:
        """Write ``hyperparams_list.txt``, a line for each, and return its path."""
        values = redact(dict(hyperparams))
        names = sorted(values) if sort_names else values
        lines = "".join(f"{name}:\t{values[name]}\n" for name in names)
        return self._write("hyperparams_list.txt", lines.encode("utf-8", "replace"))

    def save_experiment_python_file(self, hyperparams: Mapping[str, Any]) -> str | None:
        """Copy the script that ``hyperparams["experiment_file_path"]`` names; returns the path.

        Raises:
            ExperimentSetupError: There is no such file.
        """
        said = hyperparams.get("experiment_file_path")
        if said is None:
            return None
        script = Path(said).expanduser()
        if not script.is_file():
            msg = f"experiment_file_path must be the training script. Got {str(script)!r}"
            raise ExperimentSetupError(msg)
        text = script.read_bytes().decode("utf-8", "surrogateescape")
        return self._write(script.name, redact_text(text).encode("utf-8", "surrogateescape"))

    def save_experiment_source_files(self, hyperparams: Mapping[str, Any]) -> str | None:
        """Zip what ``hyperparams["source_dirs_paths"]`` names, folders or files; returns the path.

        Raises:
            ExperimentSetupError: There is no such folder or file.
        """
        said = [Path(path).expanduser() for path in hyperparams.get("source_dirs_paths") or ()]
        return self._write("source_code.zip", source_zip(said)) if said else None

    def copy_to_cloud_storage(
        self,
        local_hyperparams_file_path: Path | str,
        cloud_saver: Any,
        file_name: str | None = None,
    ) -> str:
        """Copy a file to where the experiment is in a store, and return the key.

        Args:
            local_hyperparams_file_path: The file.
            cloud_saver: A `BlobStore`, or one of tt-cloud's savers, which has one as ``store``.
            file_name: Its name there.
        """
        path = Path(local_hyperparams_file_path).expanduser()
        store = getattr(cloud_saver, "store", cloud_saver)
        prefix = str(getattr(cloud_saver, "cloud_dir_prefix", "")).strip("/")
        inside = f"{self.folder.parent.name}/{self.folder.name}/{file_name or path.name}"
        key = f"{prefix}/{inside}" if prefix else inside
        store.put(key, path)
        return key

    def _write(self, name: str, content: bytes) -> str:
        make_directories(self.folder)
        replace_file(self.folder / name, content)
        return str(self.folder / name)


class TrainingHistoryPlotter:
    """Draws histories.

    Args:
        experiment_results_local_path: Folder of the experiment's results.
    """

    def __init__(self, experiment_results_local_path: Path | str) -> None:
        self.folder = Path(experiment_results_local_path).expanduser().absolute()

    def generate_report(
        self, training_history: Any, plots_folder_name: str = "plots", file_format: str = "png"
    ) -> list[tuple[str, str]]:
        """Draw each metric that has more than one value; names and paths of the files.

        Raises:
            ResultsError: There is no such format.
        """
        if file_format not in ("png", "pdf"):
            msg = f"plots are 'png' or 'pdf'. Got file_format={file_format!r}"
            raise ResultsError(msg)
        paths = plot_history(
            curves_of(history_of(training_history)),
            self.folder / plots_folder_name,
            file_format=file_format,  # type: ignore[arg-type]  # one of the two, as was looked at
        )
        return _named(paths, self.folder)


class TrainingHistoryWriter:
    """Writes histories as tables.

    Args:
        experiment_results_local_path: Folder of the experiment's results.
    """

    def __init__(self, experiment_results_local_path: Path | str) -> None:
        self.folder = Path(experiment_results_local_path).expanduser().absolute()

    def generate_report(
        self,
        training_history: Any,
        epoch: int,
        file_name: str,
        results_folder_name: str = "",
        file_format: str = "txt",
    ) -> list[tuple[str, str]]:
        """Write the whole history as it is now; name and path of the file.

        Args:
            training_history: Values by name.
            epoch: Number of the newest epoch, from 0.
            file_name: With its ending.
            results_folder_name: Folder below that of the results.
            file_format: ``'txt'``, ``'tsv'`` or ``'csv'``, if the name has no ending.
        """
        path = self.folder / results_folder_name / file_name
        if not path.suffix:
            path = path.with_name(f"{path.name}.{file_format}")
        paths = HistoryTextFile(path).write(history_of(training_history), "", epoch)
        return _named([Path(each) for each in paths], self.folder)


class GradientPlotter:
    """Draws distributions of gradients.

    Args:
        experiment_grad_results_local_path: Folder of the experiment's results.
    """

    def __init__(self, experiment_grad_results_local_path: Path | str) -> None:
        self.folder = Path(experiment_grad_results_local_path).expanduser().absolute()

    def generate_report(
        self,
        model_layer_gradients: Sequence[Any] | Mapping[str, Any],
        grad_plots_folder_name: str = "grad_plots",
        file_format: str = "png",
    ) -> list[tuple[str, str]]:
        """Draw each layer's gradient, given as tensors or arrays; names and paths of the files.

        Raises:
            ResultsError: There is no such format.
        """
        given = model_layer_gradients
        named = (
            given if isinstance(given, Mapping) else {f"layer {i}": g for i, g in enumerate(given)}
        )
        histograms = {name: _histogram(g) for name, g in named.items() if g is not None}
        paths = draw_gradients(histograms, self.folder / grad_plots_folder_name, file_format)
        return _named(paths, self.folder)


def _histogram(gradient: Any) -> GradientHistogram:
    values = torch.as_tensor(gradient).detach().cpu().double().numpy().ravel()
    counts, edges = np.histogram(values[np.isfinite(values)], bins=_BINS)
    return GradientHistogram(counts, edges)


def _named(paths: Sequence[Path], folder: Path) -> list[tuple[str, str]]:
    return [(path.relative_to(folder).as_posix(), str(path)) for path in paths]
