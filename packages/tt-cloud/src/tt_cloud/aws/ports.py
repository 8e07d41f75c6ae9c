"""What the savers and loaders need of their local counterparts.

They make and read files; the classes here move these to and from a bucket. tt-experiment brings
some, registered as entry points in the group ``tt_cloud.local_savers``:

======================  ===================================================================
name                    called with
======================  ===================================================================
``pytorch_model_saver``  ``(local_model_result_folder_path, checkpoint_model=...)``
``keras_model_saver``    ``(local_model_result_folder_path, checkpoint_model=...)``
``pytorch_model_loader`` ``(local_model_result_folder_path)``
``results_saver``        ``(local_model_result_folder_path)``
======================  ===================================================================
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, TypeAlias

__all__ = [
    "LocalModelLoader",
    "LocalModelSaver",
    "LocalPyTorchModelLoader",
    "LocalResultsSaver",
    "SavedFile",
]

SavedFile: TypeAlias = "tuple[str, str | Path]"
"""A file's name, below the folder of its kind (``plots/loss.png``), and its path."""


class LocalModelSaver(Protocol):
    """Writes a model to a file."""

    def save_model(
        self,
        model: Any,
        project_name: str,
        experiment_name: str,
        experiment_timestamp: str | None = None,
        epoch: int | None = None,
        iteration_idx: int | None = None,
        protect_existing_folder: bool = True,
    ) -> SavedFile:
        """The file that was written."""
        ...


class LocalModelLoader(Protocol):
    """Reads a model from where a `LocalModelSaver` with the same folder would write it."""

    def load_model(
        self,
        project_name: str,
        experiment_name: str,
        experiment_timestamp: str,
        model_save_dir: str = "checkpoint_model",
        epoch_num: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """What was saved."""
        ...


class LocalPyTorchModelLoader(LocalModelLoader, Protocol):
    """Also puts what it read where it belongs."""

    def init_model(self, model: Any, used_data_parallel: bool = False) -> Any:
        """Give a model its weights."""
        ...

    def init_optimizer(self, optimizer: Any, device: str = "cuda") -> Any:
        """Give an optimizer its state."""
        ...

    def init_scheduler(
        self,
        scheduler_callbacks_list: list[Any],
        ignore_saved: bool = False,
        ignore_missing_saved: bool = False,
    ) -> Any:
        """Give schedulers their states."""
        ...

    def init_amp(self, amp_scaler: Any) -> Any:
        """Give a gradient scaler its state."""
        ...


class LocalResultsSaver(Protocol):
    """Writes results to files."""

    def save_experiment_results(
        self,
        result_package: Any,
        training_history: Any,
        project_name: str,
        experiment_name: str,
        experiment_timestamp: str | None = None,
        save_true_pred_labels: bool = False,
        protect_existing_folder: bool = True,
    ) -> Iterable[SavedFile]:
        """All in one file, and what belongs to it."""
        ...

    def save_experiment_results_separate_files(
        self,
        result_package: Any,
        training_history: Any,
        project_name: str,
        experiment_name: str,
        experiment_timestamp: str | None = None,
        save_true_pred_labels: bool = False,
        protect_existing_folder: bool = True,
    ) -> Iterable[SavedFile]:
        """One file for each kind of result."""
        ...
