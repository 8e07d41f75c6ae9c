"""The base of callbacks that use a loop's run."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from tt_experiment.callbacks._run import HasExperiment, experiment_of, join_run
from tt_experiment.errors import ExperimentSetupError
from tt_experiment.experiment import Experiment
from tt_experiment.ports import BlobStore
from tt_experiment.redact import redact_text
from tt_experiment.stores import cloud_url, open_store
from tt_loop.api import Callback

__all__ = ["AbstractExperimentCallback"]

_log = logging.getLogger(__name__)


class AbstractExperimentCallback(Callback):
    """A callback that uses the run of the loop, or of its other callbacks.

    With all of the first three names it begins a run of its own where the loop has none; names
    that are given must be those of the run that there is.

    Args:
        callback_name: What the callback is called in lists and errors.
        project_name: Folder of the project; ``None`` takes that of the run.
        experiment_name: Name of the run; ``None`` takes that of the run.
        local_model_result_folder_path: Folder of all projects; ``None`` takes that of the run.
        cloud_save_mode: ``'s3'`` or ``'gcs'``; ``None`` takes what the run has; ``'local'`` none.
        bucket_name: Bucket of the copy; by default ``model-result``.
        cloud_dir_prefix: Folder in the bucket.
        execution_order: Callbacks run in ascending order.
        device_idx_execution: Run only in the process of this rank; ``None`` runs in all.

    Attributes:
        experiment: The run, as soon as it is known.
    """

    def __init__(
        self,
        callback_name: str,
        project_name: str | None = None,
        experiment_name: str | None = None,
        local_model_result_folder_path: Path | str | None = None,
        cloud_save_mode: str | None = None,
        bucket_name: str | None = None,
        cloud_dir_prefix: str | None = None,
        execution_order: int = 0,
        device_idx_execution: int | None = None,
    ) -> None:
        super().__init__(callback_name, execution_order, device_idx_execution)
        self.project_name = project_name
        self.experiment_name = experiment_name
        self.local_model_result_folder_path = local_model_result_folder_path
        self.cloud_save_mode = cloud_save_mode
        self.bucket_name = bucket_name
        self.cloud_dir_prefix = cloud_dir_prefix
        self.experiment: Experiment | None = None
        self._cloud_store: BlobStore | None = None

    def on_train_loop_registration(self) -> None:
        """Join the run that there is, or begin the one that is named."""
        loop = self.train_loop_obj
        known, own = experiment_of(loop), getattr(loop, "experiment", None)
        if known is not None:
            self._join(known)
        elif isinstance(own, Experiment):
            self._join(own)
        elif self.project_name and self.experiment_name and self.local_model_result_folder_path:
            self.experiment = Experiment(
                self.project_name,
                self.experiment_name,
                self.local_model_result_folder_path,
                store=self._cloud_url(),
            )
        if self.experiment is not None:
            join_run(cast("HasExperiment", self), loop)

    def on_train_begin(self) -> None:
        """Find the run, and the store if one was given.

        Raises:
            ExperimentSetupError: There is no run, or it is not the one that was named.
            StoreError: No installed package provides the store: better now than after training.
        """
        self.try_infer_experiment_details(infer_cloud_details=False)
        _ = self.store

    def try_infer_experiment_details(self, infer_cloud_details: bool) -> None:
        """Take the names that were not given from the run of the loop or its other callbacks.

        Args:
            infer_cloud_details: Also take the run's store, if no cloud was given.

        Raises:
            ExperimentSetupError: When there is no run, or it is not the one that was named.
        """
        run = self.run
        self.project_name = run.project_name
        self.experiment_name = run.experiment_name
        self.local_model_result_folder_path = run.root
        if infer_cloud_details and self.cloud_save_mode is None and run.store is not None:
            url = urlsplit(run.store.url)
            self.cloud_save_mode = {"gs": "gcs"}.get(url.scheme, url.scheme)
            self.bucket_name, self.cloud_dir_prefix = url.netloc, url.path.strip("/")

    @property
    def run(self) -> Experiment:
        """The run.

        Raises:
            ExperimentSetupError: When there is none, or it is not the one that was named.
        """
        if self.experiment is None or not self.experiment.is_started():
            known = experiment_of(self.train_loop_obj)
            if known is None:
                msg = (
                    f"{type(self).__name__} uses the run of a loop, and there is none: use a "
                    "tracking loop such as TrainLoopEndSave, add ModelCheckpoint, or give "
                    "project_name, experiment_name and local_model_result_folder_path."
                )
                raise ExperimentSetupError(msg)
            self._join(known)
            return known
        return self.experiment

    @property
    def store(self) -> BlobStore | None:
        """The store that was given, else the run's; ``None`` for local only.

        Raises:
            StoreError: When no installed package provides it.
        """
        if self.cloud_save_mode is None:
            return self.run.store
        known, url = self.run.store, self._cloud_url()
        if url is None or (known is not None and known.url.rstrip("/") == url):
            return None if url is None else known
        if self._cloud_store is None:
            self._cloud_store = open_store(url)
        return self._cloud_store

    def offer(self, paths: Iterable[Path]) -> None:
        """Have files of the run copied to the store, if there is one; a failure is logged."""
        try:
            run, store = self.run, self.store
            if store is None:
                return
            if store is run.store and run.outbox is not None:
                run.outbox.offer()
                return
            for path in paths:
                inside = path.relative_to(run.folder.path).as_posix()
                store.put(f"{run.prefix(run.folder)}/{inside}", path)
        except Exception as error:  # whatever a store raises
            _log.warning("%s: a copy failed: %s", self.callback_name, redact_text(str(error)))

    def _cloud_url(self) -> str | None:
        bucket = "model-result" if self.bucket_name is None else self.bucket_name
        return cloud_url(self.cloud_save_mode, bucket, self.cloud_dir_prefix or "")

    def _join(self, known: Experiment) -> None:
        folder = self.local_model_result_folder_path
        pairs = {
            "project_name": (self.project_name, known.project_name),
            "experiment_name": (self.experiment_name, known.experiment_name),
            "folder of all projects": (
                None if folder is None else Path(folder).expanduser().absolute(),
                known.root,
            ),
        }
        for what, (mine, theirs) in pairs.items():
            if mine is not None and mine != theirs:
                msg = (
                    f"A loop keeps one run, but {type(self).__name__} names another: {what} "
                    f"{mine!r}, and the run's is {theirs!r}. Leave names out, or give equal ones."
                )
                raise ExperimentSetupError(msg)
        self.experiment = known
