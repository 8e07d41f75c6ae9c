"""Train loops that keep what comes out: checkpoints, the final model, results, a report."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from tt_experiment.callbacks._run import best_policy
from tt_experiment.callbacks.checkpoint import ExperimentCheckpoint
from tt_experiment.callbacks.end_save import ExperimentEndSave, check_loaders
from tt_experiment.checkpoints import BestPolicy
from tt_experiment.errors import ExperimentSetupError, UploadError, UploadPending
from tt_experiment.experiment import Experiment
from tt_experiment.ports import BlobStore
from tt_experiment.provenance import Provenance
from tt_experiment.resume import asked_for, resuming
from tt_experiment.stores import cloud_url
from tt_loop.api import Callback, ResultPackage, TrainLoop

_log = logging.getLogger(__name__)

__all__ = ["TrainLoopCheckpoint", "TrainLoopCheckpointEndSave", "TrainLoopEndSave"]


class _TrackedTrainLoop(TrainLoop):
    """A train loop with an experiment; it begins with the first fit.

    Args:
        loop_arguments: Positional arguments of `TrainLoop`.
        experiment: The run.
        tracking: Callbacks that keep it.
        options: Keyword arguments of `TrainLoop`.
    """

    def __init__(
        self,
        loop_arguments: Sequence[Any],
        experiment: Experiment,
        tracking: Sequence[Callback],
        options: Mapping[str, Any],
    ) -> None:
        if "recorder" in options:
            msg = "A tracking loop records into its run; use TrainLoop with a recorder of your own."
            raise ExperimentSetupError(msg)
        super().__init__(*loop_arguments, recorder=experiment.recorder, **options)
        self.experiment = experiment
        self.project_name = experiment.project_name
        self.experiment_name = experiment.experiment_name
        self.local_model_result_folder_path = experiment.root
        self.hyperparams = experiment.hyperparams
        self._tracking = list(tracking)

    def fit(
        self,
        num_epochs: int = 0,
        num_iterations: int = 0,
        callbacks: Sequence[Callback] | None = None,
        grad_accumulation: int = 1,
        *,
        resume: str | Path | None = None,
        **options: Any,
    ) -> Any:
        """Train, keep what comes out, and return the trained model; see `TrainLoop.fit`.

        Args:
            num_epochs: As for `TrainLoop.fit`, and so are the next three. Of a run that is gone on
                with, the epochs it had count.
            num_iterations: Number of batches, instead of epochs.
            callbacks: Added to those that the loop has.
            grad_accumulation: Number of batches whose gradients make one step.
            resume: Go on with a run, in its own folder and to the same bits: ``"auto"`` with the
                newest unfinished one of the same names and hyperparameters, if there is one; or
                the folder of a run or of one of its checkpoints, its ``id``, its folder's name, or
                its URL in a store. See `resume_from`.
            **options: Further options of `TrainLoop.fit`.

        Raises:
            Preempted: A signal asked to end, and the state is safe: start the program again.
            UploadPending: The run is complete on disk, but not yet wholly in the store.
            NoValidCheckpoint: The run to resume has checkpoints and none of them is valid.
            CheckpointMismatch: Its state is that of another model, optimizer or scheduler.
        """
        together = [*self._tracking, *(callbacks or ())]
        resume = asked_for(resume)
        if resume is not None:
            first, last = resuming(self.experiment, resume)
            together = [first, *together, last]
        try:
            model = super().fit(num_epochs, num_iterations, together, grad_accumulation, **options)
        except BaseException:
            self._note_failure()
            raise
        finally:
            if self.experiment.is_started():  # also where other processes have done the work
                self.experiment.lock.release()
        if self.is_main_process():
            self._upload()
        return model

    def _upload(self) -> None:
        try:
            self.experiment.upload()
        except UploadError as error:
            raise UploadPending(str(error)) from error

    def _note_failure(self) -> None:
        """Finish the run if whoever recorded it is dead; the failure itself is what is told."""
        try:
            if self.is_main_process() and self.experiment.is_running():
                self.experiment.finish("failed")
        except Exception:
            _log.exception("the end of the run could not be noted")


def _store(
    store: BlobStore | str | None, mode: str | None, bucket: str, prefix: str
) -> BlobStore | str | None:
    url = cloud_url(mode, bucket, prefix)
    if store is not None and url is not None:
        msg = f"Say where to copy the run once: store={store!r}, or cloud_save_mode={mode!r}."
        raise ExperimentSetupError(msg)
    return url if store is None else store


def _checkpoint(experiment: Experiment, iteration_save_freq: int) -> ExperimentCheckpoint:
    if iteration_save_freq < 0:
        msg = f"iteration_save_freq is a number of batches, or 0, got {iteration_save_freq}."
        raise ExperimentSetupError(msg)
    return ExperimentCheckpoint(experiment, every_batches=iteration_save_freq or None)


class TrainLoopCheckpoint(_TrackedTrainLoop):
    """Train and keep the loop's state after every epoch.

    Args:
        model: As for `TrainLoop`, and so are the next five.
        train_loader: Batches to train with.
        validation_loader: Batches to validate with.
        test_loader: Batches to test with.
        optimizer: The optimizer.
        criterion: The loss function.
        project_name: Folder of the project.
        experiment_name: Name of the run.
        local_model_result_folder_path: Folder of all projects.
        hyperparams: What the run was made with; it is copied, not changed.
        cloud_save_mode: ``'s3'`` or ``'gcs'`` copies the run there; ``None`` stays local.
        bucket_name: Bucket of the copy.
        cloud_dir_prefix: Folder in the bucket.
        source_dirs: Folders of source code to keep.
        rm_subopt_local_models: ``True``, the name of a metric, or a `BestPolicy`: keep only the
            best checkpoints and the newest.
        num_best_checkpoints_kept: How many of the best.
        iteration_save_freq: Keep the state after every so many batches, too; 0 does not.
        store: A `BlobStore` or its URL to copy the run to, instead of ``cloud_save_mode``.
        **options: Keyword arguments of `TrainLoop`.
    """

    def __init__(
        self,
        model: Any,
        train_loader: Iterable[Any] | None,
        validation_loader: Iterable[Any] | None,
        test_loader: Iterable[Any] | None,
        optimizer: Optimizer | None,
        criterion: Any,
        project_name: str,
        experiment_name: str,
        local_model_result_folder_path: Path | str,
        hyperparams: Mapping[str, Any],
        cloud_save_mode: str | None = None,
        bucket_name: str = "model-result",
        cloud_dir_prefix: str = "",
        source_dirs: Sequence[Path | str] = (),
        rm_subopt_local_models: bool | str | BestPolicy = False,
        num_best_checkpoints_kept: int = 2,
        iteration_save_freq: int = 0,
        *,
        store: BlobStore | str | None = None,
        **options: Any,
    ) -> None:
        experiment = Experiment(
            project_name,
            experiment_name,
            local_model_result_folder_path,
            hyperparams=hyperparams,
            store=_store(store, cloud_save_mode, bucket_name, cloud_dir_prefix),
            provenance=Provenance(source_dirs=source_dirs),
            retention=best_policy(rm_subopt_local_models, num_best_checkpoints_kept),
        )
        loop = (model, train_loader, validation_loader, test_loader, optimizer, criterion)
        super().__init__(loop, experiment, [_checkpoint(experiment, iteration_save_freq)], options)


class TrainLoopEndSave(_TrackedTrainLoop):
    """Train, and at the end keep the model, its results and its predictions.

    Args:
        model: As for `TrainLoop`, and so are the next five.
        train_loader: Batches to train with.
        validation_loader: Batches to validate with.
        test_loader: Batches to test with.
        optimizer: The optimizer.
        criterion: The loss function.
        project_name: Folder of the project.
        experiment_name: Name of the run.
        local_model_result_folder_path: Folder of all projects.
        hyperparams: What the run was made with; it is copied, not changed.
        val_result_package: Evaluated on the validation set at the end.
        test_result_package: Evaluated on the test set at the end; one of the two is needed.
        cloud_save_mode: ``'s3'`` or ``'gcs'`` copies the run there; ``None`` stays local.
        bucket_name: Bucket of the copy.
        cloud_dir_prefix: Folder in the bucket.
        source_dirs: Folders of source code to keep.
        store: A `BlobStore` or its URL to copy the run to, instead of ``cloud_save_mode``.
        **options: Keyword arguments of `TrainLoop`.

    Raises:
        ExperimentSetupError: Without a result package, or with one whose loader is missing.
    """

    def __init__(
        self,
        model: Any,
        train_loader: Iterable[Any] | None,
        validation_loader: Iterable[Any] | None,
        test_loader: Iterable[Any] | None,
        optimizer: Optimizer | None,
        criterion: Any,
        project_name: str,
        experiment_name: str,
        local_model_result_folder_path: Path | str,
        hyperparams: Mapping[str, Any],
        val_result_package: ResultPackage | None = None,
        test_result_package: ResultPackage | None = None,
        cloud_save_mode: str | None = None,
        bucket_name: str = "model-result",
        cloud_dir_prefix: str = "",
        source_dirs: Sequence[Path | str] = (),
        *,
        store: BlobStore | str | None = None,
        **options: Any,
    ) -> None:
        experiment = Experiment(
            project_name,
            experiment_name,
            local_model_result_folder_path,
            hyperparams=hyperparams,
            store=_store(store, cloud_save_mode, bucket_name, cloud_dir_prefix),
            provenance=Provenance(source_dirs=source_dirs),
        )
        loop = (model, train_loader, validation_loader, test_loader, optimizer, criterion)
        end_save = ExperimentEndSave(experiment, val_result_package, test_result_package)
        super().__init__(loop, experiment, [end_save], options)
        check_loaders(self, end_save.packages)


class TrainLoopCheckpointEndSave(_TrackedTrainLoop):
    """Train with full tracking: checkpoints after every epoch, model and results at the end.

    Args:
        model: As for `TrainLoop`, and so are the next five.
        train_loader: Batches to train with.
        validation_loader: Batches to validate with.
        test_loader: Batches to test with.
        optimizer: The optimizer.
        criterion: The loss function.
        project_name: Folder of the project.
        experiment_name: Name of the run.
        local_model_result_folder_path: Folder of all projects.
        hyperparams: What the run was made with; it is copied, not changed.
        val_result_package: Evaluated on the validation set at the end.
        test_result_package: Evaluated on the test set at the end; one of the two is needed.
        cloud_save_mode: ``'s3'`` or ``'gcs'`` copies the run there; ``None`` stays local.
        bucket_name: Bucket of the copy.
        cloud_dir_prefix: Folder in the bucket.
        source_dirs: Folders of source code to keep.
        rm_subopt_local_models: ``True``, the name of a metric, or a `BestPolicy`: keep only the
            best checkpoints and the newest.
        num_best_checkpoints_kept: How many of the best.
        iteration_save_freq: Keep the state after every so many batches, too; 0 does not.
        store: A `BlobStore` or its URL to copy the run to, instead of ``cloud_save_mode``.
        **options: Keyword arguments of `TrainLoop`.

    Raises:
        ExperimentSetupError: Without a result package, or with one whose loader is missing.
    """

    def __init__(
        self,
        model: Any,
        train_loader: Iterable[Any] | None,
        validation_loader: Iterable[Any] | None,
        test_loader: Iterable[Any] | None,
        optimizer: Optimizer | None,
        criterion: Any,
        project_name: str,
        experiment_name: str,
        local_model_result_folder_path: Path | str,
        hyperparams: Mapping[str, Any],
        val_result_package: ResultPackage | None = None,
        test_result_package: ResultPackage | None = None,
        cloud_save_mode: str | None = None,
        bucket_name: str = "model-result",
        cloud_dir_prefix: str = "",
        source_dirs: Sequence[Path | str] = (),
        rm_subopt_local_models: bool | str | BestPolicy = False,
        num_best_checkpoints_kept: int = 2,
        iteration_save_freq: int = 0,
        *,
        store: BlobStore | str | None = None,
        **options: Any,
    ) -> None:
        experiment = Experiment(
            project_name,
            experiment_name,
            local_model_result_folder_path,
            hyperparams=hyperparams,
            store=_store(store, cloud_save_mode, bucket_name, cloud_dir_prefix),
            provenance=Provenance(source_dirs=source_dirs),
            retention=best_policy(rm_subopt_local_models, num_best_checkpoints_kept),
        )
        loop = (model, train_loader, validation_loader, test_loader, optimizer, criterion)
        end_save = ExperimentEndSave(experiment, val_result_package, test_result_package)
        checkpoint = _checkpoint(experiment, iteration_save_freq)
        super().__init__(loop, experiment, [checkpoint, end_save], options)
        check_loaders(self, end_save.packages)
