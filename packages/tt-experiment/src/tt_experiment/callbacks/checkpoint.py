"""Checkpoints of a loop in a run."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tt_experiment.callbacks._run import best_policy, join_run
from tt_experiment.checkpoints import BestPolicy, Retention
from tt_experiment.errors import ExperimentSetupError
from tt_experiment.experiment import Experiment
from tt_experiment.preemption import ending
from tt_experiment.stores import cloud_url
from tt_loop.api import Checkpoint

__all__ = ["ExperimentCheckpoint", "ModelCheckpoint", "ModelIterationCheckpoint"]


class ExperimentCheckpoint(Checkpoint):
    """Keep the loop's state in an experiment, every n epochs, batches or minutes.

    After SIGTERM or Ctrl-C the fit finishes its step, saves, and raises `Preempted` when the state
    is safe: exit status 75 says that the same command may be started again. In an interactive
    session Ctrl-C stays a ``KeyboardInterrupt``. A second signal stops at once.

    Args:
        experiment: The run.
        every_epochs: As for `Checkpoint`, and so are the others.
        every_batches: Save after every so many batches.
        every_minutes: Save after the first batch that ends so many minutes after the last save.
        at_end: Save after the last batch of a fit, too.
        on_exception: Save the state after the last step when reading the next batch fails.
        overlap: Let training go on while the state is copied.
    """

    def __init__(
        self,
        experiment: Experiment,
        every_epochs: int | None = 1,
        *,
        every_batches: int | None = None,
        every_minutes: float | None = None,
        at_end: bool = True,
        on_exception: bool = True,
        overlap: bool = True,
    ) -> None:
        super().__init__(
            experiment,
            every_epochs,
            every_batches=every_batches,
            every_minutes=every_minutes,
            at_end=at_end,
            on_exception=on_exception,
            overlap=overlap,
        )
        self.experiment = experiment

    def on_train_loop_registration(self) -> None:
        """Start the run, or join it."""
        join_run(self, self.train_loop_obj)
        self.store = self.experiment
        self.train_loop_obj.exception_for_signal = ending

    def on_interrupt(self, number: int) -> None:
        """Note it, save, and return when the state is safe."""
        loop = self.train_loop_obj
        facts = {"signal": signal.Signals(number).name, "step": loop.total_iteration_idx + 1}
        loop.measured.event("preempt", facts)
        super().on_interrupt(number)

    def save(self) -> None:
        """Save now, if it can be told which checkpoints are the best.

        Raises:
            ExperimentSetupError: When a metric that tells it is not measured.
        """
        loop = self.train_loop_obj
        later = loop.inside_epoch or loop.callbacks_handler.may_measure_later()
        if loop.is_main_process() and not later:
            for policy in _policies(self.experiment):
                self._check_is_measured(policy.metric)
        super().save()

    def _check_is_measured(self, metric: str) -> None:
        history = self.train_loop_obj.train_history
        if metric not in history:
            msg = (
                f"The best checkpoints are kept by {metric!r}, which nobody measures; the "
                f"history has {sorted(history)}. Name one, or add its evaluation."
            )
            raise ExperimentSetupError(msg)


class ModelCheckpoint(ExperimentCheckpoint):
    """AIToolbox's checkpoint callback: the state after every epoch.

    Args:
        project_name: Folder of the project.
        experiment_name: Name of the run.
        local_model_result_folder_path: Folder of all projects.
        hyperparams: What the run was made with.
        cloud_save_mode: ``'s3'`` or ``'gcs'`` copies the run there; ``None`` stays local.
        bucket_name: Bucket of the copy.
        cloud_dir_prefix: Folder in the bucket.
        rm_subopt_local_models: ``True``, the name of a metric, or a `BestPolicy`: keep only the
            best checkpoints and the newest.
        num_best_checkpoints_kept: How many of the best.
    """

    def __init__(
        self,
        project_name: str,
        experiment_name: str,
        local_model_result_folder_path: Path | str,
        hyperparams: Mapping[str, Any],
        cloud_save_mode: str | None = None,
        bucket_name: str = "model-result",
        cloud_dir_prefix: str = "",
        rm_subopt_local_models: bool | str | BestPolicy = False,
        num_best_checkpoints_kept: int = 2,
    ) -> None:
        experiment = Experiment(
            project_name,
            experiment_name,
            local_model_result_folder_path,
            hyperparams=hyperparams,
            store=cloud_url(cloud_save_mode, bucket_name, cloud_dir_prefix),
            retention=best_policy(rm_subopt_local_models, num_best_checkpoints_kept),
        )
        super().__init__(experiment)


class ModelIterationCheckpoint(ModelCheckpoint):
    """AIToolbox's checkpoint callback: the state after every so many batches and every epoch.

    A checkpoint inside an epoch is judged by the metrics that its epoch has by then: those of
    ``fit(eval_every=n)``, for example.

    Args:
        save_frequency: Number of batches between two checkpoints, from 1.
        project_name: As for `ModelCheckpoint`, and so are the others.
        experiment_name: Name of the run.
        local_model_result_folder_path: Folder of all projects.
        hyperparams: What the run was made with.
        cloud_save_mode: ``'s3'`` or ``'gcs'`` copies the run there; ``None`` stays local.
        bucket_name: Bucket of the copy.
        cloud_dir_prefix: Folder in the bucket.
        rm_subopt_local_models: ``True``, the name of a metric, or a `BestPolicy`: keep only the
            best checkpoints and the newest.
        num_best_checkpoints_kept: How many of the best.

    Raises:
        ExperimentSetupError: When ``save_frequency`` is not a number from 1.
    """

    def __init__(
        self,
        save_frequency: int,
        project_name: str,
        experiment_name: str,
        local_model_result_folder_path: Path | str,
        hyperparams: Mapping[str, Any],
        cloud_save_mode: str | None = None,
        bucket_name: str = "model-result",
        cloud_dir_prefix: str = "",
        rm_subopt_local_models: bool | str | BestPolicy = False,
        num_best_checkpoints_kept: int = 2,
    ) -> None:
        is_number = isinstance(save_frequency, int) and not isinstance(save_frequency, bool)
        if not is_number or save_frequency < 1:
            msg = f"save_frequency must be a number of batches from 1, got {save_frequency!r}."
            raise ExperimentSetupError(msg)
        super().__init__(
            project_name,
            experiment_name,
            local_model_result_folder_path,
            hyperparams,
            cloud_save_mode,
            bucket_name,
            cloud_dir_prefix,
            rm_subopt_local_models,
            num_best_checkpoints_kept,
        )
        self.every_batches = save_frequency


def _policies(experiment: Experiment) -> tuple[BestPolicy, ...]:
    """The rules that keep the best."""
    rule = experiment.retention
    if isinstance(rule, BestPolicy):
        return (rule,)
    return rule.policies if isinstance(rule, Retention) else ()
