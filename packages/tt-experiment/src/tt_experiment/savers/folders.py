"""Where savers put files: the folder of an experiment, by its names and its time stamp."""

from __future__ import annotations

import re
from pathlib import Path

from tt_experiment._durable import make_directories
from tt_experiment.errors import ExperimentNameError, RunFolderError
from tt_experiment.folder import ExperimentFolder
from tt_experiment.names import folder_name

__all__ = ["SaverFolders", "check_free", "experiment_path", "new_experiment_path", "timestamp_of"]

_STAMP = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(_\d+)?")


class SaverFolders:
    """AIToolbox's ``ExperimentFolder``: finds ``<root>/<project>/<experiment>_<time stamp>``."""

    @staticmethod
    def create_base_folder(
        project_name: str,
        experiment_name: str,
        experiment_timestamp: str,
        local_model_result_folder_path: Path | str,
    ) -> str:
        """Make the folder, with the folders above it, and return its path."""
        path = experiment_path(
            local_model_result_folder_path, project_name, experiment_name, experiment_timestamp
        )
        make_directories(path)
        return str(path)

    @staticmethod
    def get_base_folder_paths(
        project_name: str,
        experiment_name: str,
        experiment_timestamp: str,
        local_model_result_folder_path: Path | str,
    ) -> tuple[str, str]:
        """The paths of the project's folder and of the experiment's; nothing is made."""
        path = experiment_path(
            local_model_result_folder_path, project_name, experiment_name, experiment_timestamp
        )
        return str(path.parent), str(path)


def experiment_path(root: Path | str, project: str, experiment: str, timestamp: str) -> Path:
    """The folder of an experiment.

    Raises:
        ExperimentNameError: A name cannot be a folder's, or the time stamp has another form.
    """
    if not _STAMP.fullmatch(timestamp):
        msg = f"a time stamp has the form YYYY-MM-DD_HH-MM-SS. Got {timestamp!r}"
        raise ExperimentNameError(msg)
    parent = Path(root).expanduser().absolute() / folder_name(project, "project name")
    return parent / f"{folder_name(experiment)}_{timestamp}"


def new_experiment_path(root: Path | str, project: str, experiment: str) -> tuple[Path, str]:
    """Make a folder that no other process gets; returns it and its time stamp."""
    path = ExperimentFolder.create(Path(root).expanduser(), project, experiment).path
    return path, path.name.removeprefix(f"{folder_name(experiment)}_")


def timestamp_of(folder: ExperimentFolder | Path | str) -> str:
    """The time stamp of a run's folder: what savers are told to write into that folder.

    Raises:
        RunFolderError: The folder's name has none.
    """
    path = folder.path if isinstance(folder, ExperimentFolder) else Path(folder)
    match = re.search(rf"_({_STAMP.pattern})$", path.name)
    if match is None:
        msg = f"a run's folder ends in a time stamp. Got {path.name!r}"
        raise RunFolderError(msg)
    return match[1]


def check_free(path: Path, *, protect: bool) -> None:
    """Look whether a file may be written.

    Raises:
        RunFolderError: There is one, and what is there is protected.
    """
    if protect and path.exists():
        msg = (
            f"{path} is there, and protect_existing_folder=True keeps what is there: give another "
            "experiment_timestamp, or protect_existing_folder=False to replace it"
        )
        raise RunFolderError(msg)
