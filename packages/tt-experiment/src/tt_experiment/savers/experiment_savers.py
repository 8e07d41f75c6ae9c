"""Whole experiments of a training loop of your own: the model, the results, and a report.

The folder becomes a run like those of tt-experiment's loops, with ``report.html`` in it; one that
is a run already, because an `Experiment` kept its checkpoints, stays that run.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any, ClassVar

from tt_experiment._durable import make_directories
from tt_experiment.experiment import Experiment
from tt_experiment.folder import ExperimentFolder
from tt_experiment.ports import BlobStore
from tt_experiment.recorder import JsonLinesRecorder
from tt_experiment.savers.folders import experiment_path, new_experiment_path
from tt_experiment.savers.model_savers import (
    AbstractLocalModelSaver,
    KerasLocalModelSaver,
    PyTorchLocalModelSaver,
)
from tt_experiment.savers.results_savers import (
    AbstractLocalResultsSaver,
    LocalResultsSaver,
    curves_of,
    history_of,
)
from tt_experiment.stores import cloud_url, open_store
from tt_loop.api import RunInfo

__all__ = [
    "AbstractExperimentSaver",
    "BaseFullExperimentGoogleStorageSaver",
    "BaseFullExperimentLocalSaver",
    "BaseFullExperimentS3Saver",
    "BaseFullExperimentSaver",
    "FullKerasExperimentGoogleStorageSaver",
    "FullKerasExperimentLocalSaver",
    "FullKerasExperimentS3Saver",
    "FullPyTorchExperimentGoogleStorageSaver",
    "FullPyTorchExperimentLocalSaver",
    "FullPyTorchExperimentS3Saver",
]

_FOLDER = "~/project/model_result"


class AbstractExperimentSaver(ABC):
    """Saves what comes out of an experiment."""

    @abstractmethod
    def save_experiment(
        self,
        model: Any,
        result_package: Any,
        training_history: Any,
        experiment_timestamp: str | None = None,
        save_true_pred_labels: bool = False,
        separate_files: bool = False,
        protect_existing_folder: bool = True,
    ) -> tuple[str, str]:
        """Save the model, its results and the history.

        Args:
            model: The model, as the model saver takes it.
            result_package: An evaluated result package.
            training_history: Values by name: a `TrainingHistory` or a dict of lists.
            experiment_timestamp: When the experiment began; now, in a folder of its own, if left
                out.
            save_true_pred_labels: Keep targets and predictions.
            separate_files: Write results, hyperparameters and history into a file each.
            protect_existing_folder: Do not replace files that are there.

        Returns:
            Where the model is, and where the results are.

        Raises:
            RunFolderError: A file is there and protected.
            UploadError: Everything is on disk, and something of it did not reach the store.
        """


class BaseFullExperimentSaver(AbstractExperimentSaver):
    """Saves by a model saver and a results saver, which write into one folder.

    Args:
        model_saver: Writes the model.
        results_saver: Writes the results.
        project_name: Folder of the project.
        experiment_name: Name of the experiment.
        local_model_result_folder_path: Folder of all projects, the one that both savers have.
        store: Where to copy everything; ``None`` stays local.
    """

    def __init__(
        self,
        model_saver: AbstractLocalModelSaver,
        results_saver: AbstractLocalResultsSaver,
        project_name: str,
        experiment_name: str,
        local_model_result_folder_path: Path | str = _FOLDER,
        *,
        store: BlobStore | None = None,
    ) -> None:
        self.model_saver, self.results_saver = model_saver, results_saver
        self.project_name, self.experiment_name = project_name, experiment_name
        self.local_model_result_folder_path = Path(local_model_result_folder_path).expanduser()
        self.store = store

    def save_experiment(
        self,
        model: Any,
        result_package: Any,
        training_history: Any,
        experiment_timestamp: str | None = None,
        save_true_pred_labels: bool = False,
        separate_files: bool = False,
        protect_existing_folder: bool = True,
    ) -> tuple[str, str]:
        """See `AbstractExperimentSaver.save_experiment`."""
        path, timestamp = self._place(experiment_timestamp)
        run = _Run(path, self.store, _hyperparams(model, result_package))
        save_results = (
            self.results_saver.save_experiment_results_separate_files
            if separate_files
            else self.results_saver.save_experiment_results
        )
        where = (self.project_name, self.experiment_name, timestamp)
        try:
            _, model_path = self.model_saver.save_model(
                model, *where, protect_existing_folder=protect_existing_folder
            )
            save_results(
                result_package,
                training_history,
                *where,
                save_true_pred_labels=save_true_pred_labels,
                protect_existing_folder=protect_existing_folder,
            )
        except BaseException:
            run.fail()
            raise
        run.complete(training_history)
        return run.told(Path(model_path)), run.told(path / "results" / "results.json")

    def _place(self, timestamp: str | None) -> tuple[Path, str]:
        root, names = self.local_model_result_folder_path, (self.project_name, self.experiment_name)
        if timestamp is None:
            return new_experiment_path(root, *names)
        path = experiment_path(root, *names, timestamp)
        make_directories(path)
        return path, timestamp


class _Run:
    """The folder as a run: a new one of its own, or the one that somebody keeps."""

    def __init__(self, path: Path, store: BlobStore | None, hyperparams: Mapping[str, Any]) -> None:
        self.folder = ExperimentFolder(path)
        self.is_new = not self.folder.run_file.exists()
        if self.is_new:
            self.folder.write_start(hyperparams)
        else:
            self.folder.unseal()  # before what the seal lists changes
        self.experiment = Experiment.open(path, store=store)
        if self.is_new:
            self.experiment.lock.acquire()

    def complete(self, history: Any) -> None:
        """Finish a new run, seal one that had ended again, and copy it."""
        if self.is_new:
            _record(self.folder, history)
            self.experiment.finish("completed")
        elif not self.experiment.is_running():
            self.folder.seal()
        self.experiment.upload()

    def fail(self) -> None:
        """Note that a new run failed; seal one that had ended again, as it is."""
        if self.is_new:
            self.folder.finish("failed")
            self.experiment.lock.release()
        elif not self.experiment.is_running():
            self.folder.seal()

    def told(self, path: Path) -> str:
        """Where a file is: in the store, if there is one."""
        store = self.experiment.store
        if store is None:
            return str(path)
        inside = path.relative_to(self.folder.path).as_posix()
        base = store.url.partition("://")[2].rstrip("/")
        return f"{base}/{self.experiment.prefix(self.folder)}/{inside}"


def _hyperparams(model: Any, package: Any) -> Mapping[str, Any]:
    found = model.get("hyperparams") if isinstance(model, Mapping) else None
    found = found or getattr(package, "get_hyperparameters", dict)()
    return found if isinstance(found, Mapping) else {}


def _record(folder: ExperimentFolder, history: Any) -> None:
    """The history as the metrics of a run: the n-th values are those of epoch n."""
    curves = curves_of(history_of(history))
    recorder = JsonLinesRecorder(folder)
    recorder.open(RunInfo(step=0, epoch=0, world_size=1, strategy="own loop"))
    for epoch, values in enumerate(zip_longest(*curves.values())):
        known = {name: v for name, v in zip(curves, values, strict=True) if v is not None}
        recorder.scalars(epoch + 1, known, epoch=epoch)
    recorder.close("completed")


class BaseFullExperimentLocalSaver(BaseFullExperimentSaver):
    """Saves into a folder.

    Args:
        model_saver: Writes the model.
        project_name: Folder of the project.
        experiment_name: Name of the experiment.
        local_model_result_folder_path: Folder of all projects.
    """

    def __init__(
        self,
        model_saver: AbstractLocalModelSaver,
        project_name: str,
        experiment_name: str,
        local_model_result_folder_path: Path | str = _FOLDER,
    ) -> None:
        folder = local_model_result_folder_path
        results = LocalResultsSaver(folder)
        super().__init__(model_saver, results, project_name, experiment_name, folder)


class FullPyTorchExperimentLocalSaver(BaseFullExperimentLocalSaver):
    """Saves experiments of PyTorch into a folder.

    Args:
        project_name: Folder of the project.
        experiment_name: Name of the experiment.
        local_model_result_folder_path: Folder of all projects.
    """

    def __init__(
        self,
        project_name: str,
        experiment_name: str,
        local_model_result_folder_path: Path | str = _FOLDER,
    ) -> None:
        saver = PyTorchLocalModelSaver(local_model_result_folder_path)
        super().__init__(saver, project_name, experiment_name, local_model_result_folder_path)


class FullKerasExperimentLocalSaver(BaseFullExperimentLocalSaver):
    """Saves experiments of Keras into a folder; see `FullPyTorchExperimentLocalSaver`."""

    def __init__(
        self,
        project_name: str,
        experiment_name: str,
        local_model_result_folder_path: Path | str = _FOLDER,
    ) -> None:
        saver = KerasLocalModelSaver(local_model_result_folder_path)
        super().__init__(saver, project_name, experiment_name, local_model_result_folder_path)


class BaseFullExperimentS3Saver(BaseFullExperimentSaver):
    """Saves into a folder and copies that to S3; the folder stays.

    Args:
        model_saver: Writes the model.
        project_name: Folder of the project.
        experiment_name: Name of the experiment.
        bucket_name: The bucket.
        cloud_dir_prefix: Folder in the bucket.
        local_model_result_folder_path: Folder of all projects.
        store: A store to use instead of the bucket.

    Raises:
        StoreError: No package is installed that provides S3; the message tells which one does.
    """

    cloud_save_mode: ClassVar[str] = "s3"

    def __init__(
        self,
        model_saver: AbstractLocalModelSaver,
        project_name: str,
        experiment_name: str,
        bucket_name: str = "model-result",
        cloud_dir_prefix: str = "",
        local_model_result_folder_path: Path | str = _FOLDER,
        *,
        store: BlobStore | None = None,
    ) -> None:
        if store is None:
            url = cloud_url(self.cloud_save_mode, bucket_name, cloud_dir_prefix)
            store = open_store(str(url))
        folder = local_model_result_folder_path
        results = LocalResultsSaver(folder)
        super().__init__(model_saver, results, project_name, experiment_name, folder, store=store)


class BaseFullExperimentGoogleStorageSaver(BaseFullExperimentS3Saver):
    """Copies to Google Cloud Storage, with the arguments of `BaseFullExperimentS3Saver`."""

    cloud_save_mode = "gcs"


class _WithModelSaver(BaseFullExperimentS3Saver):
    """Makes its model saver.

    Args:
        project_name: Folder of the project.
        experiment_name: Name of the experiment.
        bucket_name: The bucket.
        cloud_dir_prefix: Folder in the bucket.
        local_model_result_folder_path: Folder of all projects.
        store: A store to use instead of the bucket.
    """

    saver_class: ClassVar[type[PyTorchLocalModelSaver | KerasLocalModelSaver]]

    def __init__(
        self,
        project_name: str,
        experiment_name: str,
        bucket_name: str = "model-result",
        cloud_dir_prefix: str = "",
        local_model_result_folder_path: Path | str = _FOLDER,
        *,
        store: BlobStore | None = None,
    ) -> None:
        super().__init__(
            self.saver_class(local_model_result_folder_path),
            project_name,
            experiment_name,
            bucket_name,
            cloud_dir_prefix,
            local_model_result_folder_path,
            store=store,
        )


class FullPyTorchExperimentS3Saver(_WithModelSaver):
    """Saves experiments of PyTorch into a folder and copies that to S3.

    Args:
        project_name: Folder of the project.
        experiment_name: Name of the experiment.
        bucket_name: The bucket.
        cloud_dir_prefix: Folder in the bucket.
        local_model_result_folder_path: Folder of all projects.
        store: A store to use instead of the bucket.
    """

    saver_class = PyTorchLocalModelSaver


class FullKerasExperimentS3Saver(_WithModelSaver):
    """Saves experiments of Keras; has the arguments of `FullPyTorchExperimentS3Saver`."""

    saver_class = KerasLocalModelSaver


class FullPyTorchExperimentGoogleStorageSaver(
    _WithModelSaver, BaseFullExperimentGoogleStorageSaver
):
    """Copies to Google Cloud Storage; has the arguments of `FullPyTorchExperimentS3Saver`."""

    saver_class = PyTorchLocalModelSaver


class FullKerasExperimentGoogleStorageSaver(_WithModelSaver, BaseFullExperimentGoogleStorageSaver):
    """Saves experiments of Keras; has the arguments of `FullPyTorchExperimentS3Saver`."""

    saver_class = KerasLocalModelSaver
