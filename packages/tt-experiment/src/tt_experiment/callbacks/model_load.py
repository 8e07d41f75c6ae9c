"""Training that begins from a checkpoint of an earlier run, as a run of its own."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tt_experiment.checkpoints import CheckpointFolder
from tt_experiment.errors import CheckpointMismatch, ExperimentSetupError, NoValidCheckpoint
from tt_experiment.experiment import Experiment
from tt_experiment.folder import ExperimentFolder
from tt_experiment.runs import is_run
from tt_experiment.savers.folders import experiment_path
from tt_experiment.savers.loaders import PyTorchLocalModelLoader
from tt_experiment.stores import cloud_url, open_store
from tt_loop.api import Callback, CheckpointRef, LoopStateError, TrainLoop, Tree

__all__ = ["ModelLoadContinueTraining"]

_log = logging.getLogger(__name__)

_EPOCH = re.compile(r"_E(\d+)\.pth$")


class ModelLoadContinueTraining(Callback):
    """Go on from a checkpoint of an earlier run; the number of epochs counts those it had.

    The loop goes on exactly where the state was saved, also inside an epoch, and keeps what comes
    as a new run, whose ``parent`` is the earlier one. To go on in the same run, use
    ``fit(resume=...)``. AIToolbox's ``.pth`` files have weights, optimizer and schedulers only.

    Args:
        saved_experiment_timestamp: When the earlier run began, as its folder says.
        saved_model_dir: ``'checkpoint_model'``; of AIToolbox's files also ``'model'``.
        epoch_num: The checkpoint after this epoch, counted from 0; ``None`` takes the newest.
        ignore_saved_schedulers: Begin all learning-rate schedules anew.
        ignore_missing_saved_schedulers: Begin those anew that nothing was saved of.
        used_data_parallel: Kept for AIToolbox's callers: prefixes of names are seen anyway.
        custom_local_loader_class: Reads files of another kind: made with the folder of all
            projects, with the methods of `PyTorchLocalModelLoader`.
        project_name: Folder of the project; ``None`` takes that of the loop's run.
        experiment_name: Name of the earlier run; ``None`` takes that of the loop's run.
        local_model_result_folder_path: Folder of all projects; ``None`` takes that of the run.
        cloud_save_mode: ``'s3'`` or ``'gcs'`` fetches the earlier run if it is not on this disk.
        bucket_name: Bucket of the copy.
        cloud_dir_prefix: Folder in the bucket.
        **kwargs: Passed to the loader, such as ``iteration_idx`` for an old file inside an epoch.

    Raises:
        NoValidCheckpoint: At registration: there is no such checkpoint, or it is damaged.
        CheckpointMismatch: It is of another model, optimizer or scheduler.
        ExperimentSetupError: The earlier run is not named, and the loop has none to name it.
    """

    may_change_weights = False

    def __init__(
        self,
        saved_experiment_timestamp: str,
        saved_model_dir: str = "checkpoint_model",
        epoch_num: int | None = None,
        ignore_saved_schedulers: bool = False,
        ignore_missing_saved_schedulers: bool = False,
        used_data_parallel: bool = False,
        custom_local_loader_class: Any = None,
        project_name: str | None = None,
        experiment_name: str | None = None,
        local_model_result_folder_path: Path | str | None = None,
        cloud_save_mode: str | None = None,
        bucket_name: str | None = None,
        cloud_dir_prefix: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__("Load a model and continue training", execution_order=-10)
        self.saved_experiment_timestamp = saved_experiment_timestamp
        self.saved_model_dir, self.epoch_num = saved_model_dir, epoch_num
        self.ignore_saved_schedulers = ignore_saved_schedulers
        self.ignore_missing_saved_schedulers = ignore_missing_saved_schedulers
        self.used_data_parallel = used_data_parallel
        self.custom_local_loader_class = custom_local_loader_class
        self.project_name, self.experiment_name = project_name, experiment_name
        self.local_model_result_folder_path = local_model_result_folder_path
        self.cloud_url = cloud_url(
            cloud_save_mode, bucket_name or "model-result", cloud_dir_prefix or ""
        )
        self.loader_arguments = kwargs
        self.model_loader: Any = None

    def on_train_loop_registration(self) -> None:
        """Find the checkpoint and load it."""
        loop = self.train_loop_obj
        root, project, experiment = self._names(loop)
        path = experiment_path(root, project, experiment, self.saved_experiment_timestamp)
        if self.cloud_url is not None and not path.exists() and loop.is_main_process():
            self._fetch(path, root)
        loop.comm.barrier()
        whole = (
            self.saved_model_dir == "checkpoint_model" and self.custom_local_loader_class is None
        )
        if whole and is_run(path):
            self._load_state(loop, ExperimentFolder(path))
        else:
            self._load_file(loop, root, project, experiment, path)

    def _names(self, loop: TrainLoop) -> tuple[Path, str, str]:
        owners = [loop, *loop.callbacks]
        found = [run for each in owners if isinstance(run := _experiment(each), Experiment)]
        run = found[0] if found else None
        root = self.local_model_result_folder_path or (run and run.root)
        project = self.project_name or (run and run.project_name)
        experiment = self.experiment_name or (run and run.experiment_name)
        if not (root and project and experiment):
            msg = (
                "ModelLoadContinueTraining needs to know which run it goes on from: use a tracking "
                "loop, or give project_name, experiment_name and local_model_result_folder_path."
            )
            raise ExperimentSetupError(msg)
        return Path(root).expanduser().absolute(), project, experiment

    def _fetch(self, path: Path, root: Path) -> None:
        from tt_experiment.remote import fetch_run

        assert self.cloud_url is not None  # noqa: S101  # whoever calls this has looked
        store, key = open_store(self.cloud_url), path.relative_to(root).as_posix()
        if store.head(f"{key}/run.json") is not None:
            fetch_run(store, key, root, what="all")
            return
        old = [info.key for info in store.list(f"{key}/{self.saved_model_dir}/")]
        for name in [name for name in old if name.endswith(".pth")]:
            target = path / self.saved_model_dir / name.rsplit("/", 1)[-1]
            target.parent.mkdir(parents=True, exist_ok=True)
            store.get(name, target)

    # A checkpoint of ours

    def _load_state(self, loop: TrainLoop, folder: ExperimentFolder) -> None:
        store = CheckpointFolder(folder.checkpoints)
        ref = store.latest() if self.epoch_num is None else self._after_epoch(store)
        if ref is None:
            msg = f"{folder.path} has no checkpoint to go on from."
            raise NoValidCheckpoint(msg)
        tree = self._without_schedulers(store.load(ref))
        try:
            loop.load_state_dict(tree)
        except LoopStateError as error:
            msg = f"{ref.location}: {error}"
            raise CheckpointMismatch(msg) from error
        if loop.is_main_process():
            for owner in (loop, *loop.callbacks):
                if (run := _experiment(owner)) is not None:
                    run.derive_from(folder.run()["id"])

    def _after_epoch(self, store: CheckpointFolder) -> CheckpointRef:
        ends = [entry for entry in store.entries() if not entry.facts.get("inside_epoch")]
        for entry in ends:
            if entry.epoch is not None and entry.epoch - 1 == self.epoch_num:
                store.verify(entry.ref)
                return entry.ref
        there = sorted({entry.epoch - 1 for entry in ends if entry.epoch})
        msg = f"{store.path} has no checkpoint after epoch {self.epoch_num}, but after {there}."
        raise NoValidCheckpoint(msg)

    def _without_schedulers(self, tree: Tree) -> Tree:
        """The state, without that of schedulers which are to begin anew or not to be compared."""
        kinds = {**tree.get("kinds", {})}
        saved = kinds.get("schedulers", [])
        if self.ignore_saved_schedulers or (self.ignore_missing_saved_schedulers and not saved):
            kinds.pop("schedulers", None)
        if not self.ignore_saved_schedulers:
            return {**tree, "kinds": kinds} if kinds else tree
        names = {name.partition("(")[0] for name in saved}
        callbacks = {
            key: state
            for key, state in tree["callbacks"].items()
            if key.rpartition(".")[0] not in names
        }
        return {**tree, "kinds": kinds, "callbacks": callbacks}

    # A file of states

    def _load_file(
        self, loop: TrainLoop, root: Path, project: str, experiment: str, path: Path
    ) -> None:
        loader = (self.custom_local_loader_class or PyTorchLocalModelLoader)(root)
        epoch = self.epoch_num
        if epoch is None and self.saved_model_dir == "checkpoint_model":
            epoch = _newest_epoch(path / self.saved_model_dir)
        state = loader.load_model(
            project,
            experiment,
            self.saved_experiment_timestamp,
            self.saved_model_dir,
            epoch,
            **self.loader_arguments,
        )
        _check_optimizers(loop, state)
        loader.init_model(loop.model, self.used_data_parallel)
        for optimizer, saved in zip(loop.optimizers, _optimizer_states(state), strict=True):
            optimizer.load_state_dict(saved)
        inside = self.loader_arguments.get("iteration_idx") is not None
        loop.epochs_done = loop.epoch = int(state.get("epoch", -1)) + (not inside)
        loop.total_iteration_idx = int(state.get("iteration_idx", -1))
        loop.fit_began = {"epochs_done": 0, "total_iteration_idx": -1}
        loop.fit_is_open = True
        self.model_loader = loader

    def on_train_begin(self) -> None:
        """Load what an old file has of schedulers and loss scaling: now they are there."""
        loader, self.model_loader = self.model_loader, None
        if loader is None:
            return
        loop = self.train_loop_obj
        loader.init_scheduler(
            loop.get_schedulers(),
            self.ignore_saved_schedulers,
            self.ignore_missing_saved_schedulers,
        )
        precision: Any = getattr(loop.ready()[0], "precision", None)
        own = {} if precision is None else precision.state_dict()
        saved = loader.model_representation.get("amp")
        if saved and own.get("scaler"):
            precision.load_state_dict({**own, "scaler": saved})


def _experiment(owner: Any) -> Experiment | None:
    found = getattr(owner, "experiment", None)
    return found if isinstance(found, Experiment) else None


def _newest_epoch(folder: Path) -> int | None:
    found = [match[1] for path in folder.glob("*.pth") if (match := _EPOCH.search(path.name))]
    return max(map(int, found), default=None)


def _optimizer_states(state: Mapping[str, Any]) -> list[Any]:
    saved = state.get("optimizer_state_dict", [])
    return saved if isinstance(saved, list) else [saved]


def _check_optimizers(loop: TrainLoop, state: Mapping[str, Any]) -> None:
    """Compare optimizers as well as an old file allows, before anything is loaded."""
    saved = [[len(g["params"]) for g in each["param_groups"]] for each in _optimizer_states(state)]
    own = [[len(group["params"]) for group in each.param_groups] for each in loop.optimizers]
    if saved != own:
        msg = (
            "The optimizers must be those that were saved. Parameters by optimizer and group: in "
            f"the file {saved}, in the program {own}; nothing was loaded."
        )
        raise CheckpointMismatch(msg)
