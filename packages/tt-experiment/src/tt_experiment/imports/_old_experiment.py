"""What is in the folder of an experiment of AIToolbox, and where it goes in a run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tt_experiment import _json
from tt_experiment._durable import make_directories, replace_chunks, replace_file
from tt_experiment.checkpoints import CheckpointFolder
from tt_experiment.errors import ExperimentError, ImportFormatError, StateTreeError
from tt_experiment.folder import ExperimentFolder
from tt_experiment.imports._old_files import copy, hyperparams_list, without_secrets
from tt_experiment.imports._old_results import OldResults
from tt_experiment.redact import redact_text
from tt_experiment.results import save_model, save_results
from tt_experiment.savers.old_files import read_old_checkpoint

__all__ = ["OldExperiment"]

_CHECKPOINT = re.compile(r".*_E(?P<epoch>\d+)(?:_ITER(?P<iteration>\d+))?\.pth")
_AS_THEY_ARE = frozenset((".png", ".pdf", ".svg", ".txt", ".tsv", ".csv", ".zip", ".log"))
_TIME = 0.0  # AIToolbox kept none


class OldExperiment:
    """Takes an experiment over into a run, and notes what it leaves out.

    Args:
        source: The experiment's folder.
        folder: The run.
    """

    def __init__(self, source: Path, folder: ExperimentFolder) -> None:
        self.source, self.folder = source, folder
        self.left_out: dict[str, str] = {}
        self._hyperparams: Mapping[str, Any] = {}
        self._seen: set[Path] = set()

    def keep(self) -> None:
        """Take over all that can be read safely."""
        results = OldResults(self.source / "results", self._leave_out)
        self._seen.update(results.read)
        self._keep_checkpoints(results)
        self._keep_model()
        self._keep_results(results)
        self._keep_metrics(results)
        self._keep_hyperparams(results)
        self._keep_sources()
        self._keep_other_files()

    @property
    def is_finished(self) -> bool:
        """Whether the training came to its end, where the model and results are saved."""
        return self.folder.model.is_dir() or self.folder.results_file.exists()

    def _leave_out(self, path: Path, reason: object) -> None:
        self._seen.add(path)
        self.left_out[path.relative_to(self.source).as_posix()] = str(reason)

    def _keep_checkpoints(self, results: OldResults) -> None:
        store = CheckpointFolder(self.folder.checkpoints)
        found = [(path, match) for path, match in self._named("checkpoint_model") if match]
        for path, match in sorted(found, key=_order):
            state = self._state(path)
            if state is not None:
                self._keep_checkpoint(store, path, state, results.values_of(int(match["epoch"])))
        store.close()

    def _named(self, folder: str) -> Iterator[tuple[Path, re.Match[str] | None]]:
        for path in sorted((self.source / folder).glob("*.pth")):
            yield path, _CHECKPOINT.fullmatch(path.name)

    def _state(self, path: Path) -> dict[str, Any] | None:
        """A file's states, if it can be read safely."""
        self._seen.add(path)
        try:
            state = read_old_checkpoint(path)
            if not isinstance(state.get("model_state_dict"), Mapping):
                msg = "it has no model_state_dict"
                raise ImportFormatError(msg)
        except (ImportFormatError, OSError) as error:
            self._leave_out(path, error)
            return None
        hyperparams = state.get("hyperparams")
        self._hyperparams = hyperparams if isinstance(hyperparams, Mapping) else self._hyperparams
        return state

    def _keep_checkpoint(
        self,
        store: CheckpointFolder,
        path: Path,
        state: Mapping[str, Any],
        scores: Mapping[str, float],
    ) -> None:
        epoch, step = _place(path, state)
        facts = {"epoch": epoch + 1, "file": path.name}
        tree = _tree(state)
        try:
            store.save(tree, step=step, scores=scores, facts=facts).wait_committed()
        except StateTreeError as error:
            self._leave_out(path, f"all but its weights: {error}")
            weights = {"model": tree["model"]}
            store.save(weights, step=step, scores=scores, facts=facts).wait_committed()

    def _keep_model(self) -> None:
        for path, _ in self._named("model"):
            state = self._state(path)
            if state is not None:
                try:
                    save_model(self.folder, state["model_state_dict"])
                except StateTreeError as error:
                    self._leave_out(path, error)

    def _keep_results(self, results: OldResults) -> None:
        if not results.results:
            return
        try:
            save_results(self.folder, results.results, results.predictions)
        except ExperimentError as error:
            self._leave_out(results.read[0], f"its predictions: {error}")
            save_results(self.folder, results.results)

    def _keep_metrics(self, results: OldResults) -> None:
        if not results.epochs:
            return
        head = {"format": "tt-metrics/1", "attempt": 1, "resumed_from_step": 0, "unit": "epoch"}
        lines = [_json.line(head)]
        for epoch in range(results.epochs):
            values, nonfinite = _json.finite(results.values_of(epoch))
            record = {"step": epoch + 1, "epoch": epoch, "time": _TIME, "values": values}
            lines.append(_json.line(record | ({"nonfinite": nonfinite} if nonfinite else {})))
        make_directories(self.folder.metrics)
        replace_file(self.folder.metrics / "0001.jsonl", ("\n".join(lines) + "\n").encode())

    def _keep_hyperparams(self, results: OldResults) -> None:
        """From the files that have them with their types, if there is one."""
        path = self.source / "hyperparams_list.txt"
        listed = hyperparams_list(path) if path.is_file() else {}
        self._seen.add(path)
        self.folder.write_hyperparams({**listed, **results.hyperparams, **self._hyperparams})

    def _keep_sources(self) -> None:
        archive = self.source / "source_code.zip"
        if archive.is_file():
            self._seen.add(archive)
            try:
                replace_file(self.folder.path / archive.name, without_secrets(archive))
            except ExperimentError as error:
                self._leave_out(archive, error)
        for script in sorted(self.source.glob("*.py")):
            self._seen.add(script)
            text = script.read_text("utf-8", "surrogateescape")
            content = redact_text(text).encode("utf-8", "surrogateescape")
            replace_chunks(self.folder.path / script.name, [content])

    def _keep_other_files(self) -> None:
        """Plots, tables and TensorBoard's files; the rest is told."""
        for path in sorted(self.source.rglob("*")):
            if path.is_symlink():
                self._leave_out(path, "it is a link")
            elif path.is_file() and path not in self._seen:
                if path.suffix in _AS_THEY_ARE or path.name.startswith("events.out.tfevents."):
                    copy(path, self.folder.path / path.relative_to(self.source))
                else:
                    self._leave_out(path, "it is no kind of file that is known to be harmless")


def _order(found: tuple[Path, re.Match[str]]) -> tuple[int, float]:
    """Within an epoch, that of its end comes last."""
    iteration = found[1]["iteration"]
    return int(found[1]["epoch"]), float("inf") if iteration is None else int(iteration)


def _place(path: Path, state: Mapping[str, Any]) -> tuple[int, int]:
    """Epoch from 0, and how many batches were done; epochs where nobody knows."""
    match = _CHECKPOINT.fullmatch(path.name)
    epoch = int(match["epoch"]) if match else 0
    iteration = match["iteration"] if match and match["iteration"] else state.get("iteration_idx")
    is_known = isinstance(iteration, str) or (type(iteration) is int and iteration >= 0)
    return epoch, int(iteration) + 1 if is_known and iteration is not None else epoch + 1


def _tree(state: Mapping[str, Any]) -> dict[str, Any]:
    optimizers = state.get("optimizer_state_dict")
    others = ("epoch", "iteration_idx", "schedulers_state_dict", "amp")
    return {
        "model": dict(state["model_state_dict"]),
        "optimizers": optimizers if isinstance(optimizers, list) else [optimizers],
        "aitoolbox": {name: state[name] for name in others if name in state},
    }
