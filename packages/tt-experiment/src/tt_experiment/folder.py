"""The folder of one run: what is where, what it says about itself, and its seal.

::

    <root>/<project>/<experiment>_<YYYY-MM-DD_HH-MM-SS>[_<n>]/
        run.json  hyperparams.json  hyperparams_list.txt  environment.json  data.json  git.json
        git.diff  <script>.py  source_code.zip  events.jsonl  metrics/  checkpoint_model/  model/
        results/  logs/  MANIFEST.json
"""

from __future__ import annotations

import contextlib
import logging
import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from tt_experiment import _json, _manifest
from tt_experiment._checkpoint.entries import scan
from tt_experiment._clock import now
from tt_experiment._durable import (
    Digest,
    digest_file,
    make_directories,
    make_directory,
    remove_file,
    replace_file,
    sweep_scratch,
)
from tt_experiment._manifest import Manifest
from tt_experiment._origin.facts import environment, git_state, versions, whereabouts
from tt_experiment._origin.source import source_zip
from tt_experiment.errors import ExperimentNameError, FormatVersionError, RootError, RunFolderError
from tt_experiment.names import folder_name
from tt_experiment.provenance import Provenance, fingerprints, training_script
from tt_experiment.redact import redact, redact_text

__all__ = ["RUN_FORMAT", "ExperimentFolder", "Status", "run_files"]

RUN_FORMAT = "tt-run/1"
Status = Literal["running", "completed", "failed", "interrupted"]
_STAMP = "%Y-%m-%d_%H-%M-%S"
_FOLDER = re.compile(r"_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(_\d+)?$")  # what follows the name
_log = logging.getLogger(__name__)


class ExperimentFolder:
    """The folder of a run that was made by `create`; opening one changes nothing.

    Args:
        path: The run's own folder.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).absolute()
        self._names = (self.path.parent.name, _FOLDER.sub("", self.path.name))
        if not self.path.is_dir():
            msg = f"a run is a folder. Got {self.path}: make a new one by ExperimentFolder.create"
            raise RunFolderError(msg)

    @classmethod
    def create(
        cls, root: Path | str, project: str, experiment: str, *, timestamp: str | None = None
    ) -> ExperimentFolder:
        """Make the folder of a new run, which no other process gets.

        Args:
            root: Folder of all projects; it is made if it is missing.
            project: Name of the project; its folder is `names.folder_name` of it.
            experiment: Name of the experiment, likewise.
            timestamp: Start of the run as ``YYYY-MM-DD_HH-MM-SS``; now, in UTC, if left out.

        Raises:
            ExperimentNameError: A name is empty or no text, or the time stamp has another form.
            RootError: The root cannot be made or written to.
        """
        parent = Path(root).absolute() / folder_name(project, "project name")
        stem = f"{folder_name(experiment)}_{_check_stamp(timestamp)}"
        try:
            made = cls(_make_own(parent, stem))
        except OSError as error:
            msg = (
                f"the folder of all projects must be one that can be made and written to. Got "
                f"{root}: {error}"
            )
            raise RootError(msg) from error
        made._names = (project, experiment)
        return made

    @property
    def run_file(self) -> Path:
        """``run.json``."""
        return self.path / "run.json"

    @property
    def hyperparams_file(self) -> Path:
        """``hyperparams.json``."""
        return self.path / "hyperparams.json"

    @property
    def environment_file(self) -> Path:
        """``environment.json``."""
        return self.path / "environment.json"

    @property
    def git_file(self) -> Path:
        """``git.json``, where the sources are in a git repository."""
        return self.path / "git.json"

    @property
    def data_file(self) -> Path:
        """``data.json``, where data were told: their fingerprints by name."""
        return self.path / "data.json"

    @property
    def events_file(self) -> Path:
        """``events.jsonl``."""
        return self.path / "events.jsonl"

    @property
    def metrics(self) -> Path:
        """``metrics/``: one segment per attempt."""
        return self.path / "metrics"

    @property
    def checkpoints(self) -> Path:
        """``checkpoint_model/``: what a `CheckpointFolder` of this run is opened on."""
        return self.path / "checkpoint_model"

    @property
    def model(self) -> Path:
        """``model/``: the final model."""
        return self.path / "model"

    @property
    def results(self) -> Path:
        """``results/``."""
        return self.path / "results"

    @property
    def results_file(self) -> Path:
        """``results/results.json``."""
        return self.results / "results.json"

    @property
    def predictions_file(self) -> Path:
        """``results/predictions.npz``."""
        return self.results / "predictions.npz"

    @property
    def plots(self) -> Path:
        """``results/plots/``."""
        return self.results / "plots"

    @property
    def report_file(self) -> Path:
        """``results/report.html``."""
        return self.results / "report.html"

    @property
    def logs(self) -> Path:
        """``logs/``."""
        return self.path / "logs"

    @property
    def manifest_file(self) -> Path:
        """``MANIFEST.json``: there when the run is sealed."""
        return self.path / _manifest.NAME

    def run(self) -> dict[str, Any]:
        """What ``run.json`` says.

        Raises:
            RunFolderError: It is missing, damaged, or of another format.
        """
        try:
            run = _json.load_object(self.run_file.read_bytes())
        except (OSError, ValueError) as error:
            msg = f"{self.run_file} must be what write_start wrote: {error}"
            raise RunFolderError(msg) from error
        if run.get("format") != RUN_FORMAT:
            msg = f"{self.run_file} must have format {RUN_FORMAT}. Got {run.get('format')!r}"
            raise RunFolderError(msg)
        return run

    def write_hyperparams(self, hyperparams: Mapping[str, Any]) -> None:
        """Write what the run was made with, without secrets; of objects, a description is kept."""
        values = redact(dict(hyperparams))
        replace_file(self.hyperparams_file, _json.dumps(values))
        lines = "".join(f"{key}:\t{value}\n" for key, value in values.items())
        replace_file(self.path / "hyperparams_list.txt", lines.encode("utf-8", "replace"))

    def write_start(
        self,
        hyperparams: Mapping[str, Any],
        provenance: Provenance | None = None,
        *,
        parent: str | None = None,
        store: str | None = None,
    ) -> None:
        """Write what is known when a new run starts; secrets are left out everywhere.

        Args:
            hyperparams: Any values; of those that JSON does not have, a description is kept.
            provenance: What to keep of code and data.
            parent: ``id`` of the run whose checkpoint this one starts from.
            store: URL of the store that the run is copied to.
        """
        provenance = provenance or Provenance()
        script = training_script(provenance, hyperparams)
        self._write_run(parent, store)
        self.write_hyperparams(hyperparams)
        replace_file(self.environment_file, _json.dumps(environment()))
        if provenance.data:
            replace_file(self.data_file, _json.dumps(redact(fingerprints(provenance.data))))
        self._write_git(script, diff=provenance.diff)
        if script is not None:
            self._copy_script(script)
        if provenance.source_dirs:
            content = source_zip([Path(directory) for directory in provenance.source_dirs])
            replace_file(self.path / "source_code.zip", content)

    def _write_run(self, parent: str | None, store: str | None) -> None:
        run: dict[str, Any] = {
            "format": RUN_FORMAT,
            "id": str(uuid.uuid4()),
            "project": self._names[0],
            "experiment": self._names[1],
            "created": now(),
            "status": "running",
            "attempts": [],
            "parent": parent,
            "store": store,
            "versions": versions(),
        }
        replace_file(self.run_file, _json.dumps(run))

    def _write_git(self, script: Path | None, *, diff: bool) -> None:
        state = git_state(script.absolute().parent if script else Path.cwd())
        if state is not None:
            facts, changes = state
            replace_file(self.git_file, _json.dumps(facts))
            if diff and changes:
                replace_file(self.path / "git.diff", changes.encode())

    def _copy_script(self, script: Path) -> None:
        try:
            text = script.read_bytes().decode("utf-8", "surrogateescape")
        except OSError as error:  # e.g. a notebook, whose code is in no file
            _log.warning("the training script is not kept: %s", error)
            return
        replace_file(self.path / script.name, redact_text(text).encode("utf-8", "surrogateescape"))

    def begin_attempt(self, number: int, from_step: int) -> None:
        """Note in ``run.json`` that training goes on, from a step; breaks the seal of the run."""
        self.unseal()
        for place in (self.path, self.results):
            if place.is_dir():
                sweep_scratch(place)
        attempt = {"number": number, "from_step": from_step, "started": now(), **whereabouts()}
        run = self.run()
        for earlier in run["attempts"]:
            earlier.setdefault("status", "died")  # without a farewell: killed, or out of memory
        run.update(status="running", attempts=[*run["attempts"], attempt])
        replace_file(self.run_file, _json.dumps(run))

    def finish(self, status: Status) -> None:
        """Note in ``run.json`` how the run, and its last attempt, ended."""
        run = self.run()
        run["status"] = status
        if run["attempts"]:
            run["attempts"][-1] |= {"ended": now(), "status": status}
        replace_file(self.run_file, _json.dumps(run))

    def note_store(self, url: str) -> None:
        """Note in ``run.json`` the URL of the store that the run is copied to as it goes on."""
        run = self.run()
        if run.get("store") != url:
            self.unseal()
            replace_file(self.run_file, _json.dumps({**run, "store": url}))

    def note_data(self, facts: Mapping[str, Any]) -> None:
        """Note in ``data.json`` what is known of data that nobody has told of yet, by name."""
        told = _json.load_object(self.data_file.read_bytes()) if self.data_file.exists() else {}
        if not set(facts) <= set(told):
            replace_file(self.data_file, _json.dumps({**redact(dict(facts)), **told}))

    def note_parent(self, parent: str) -> None:
        """Note in ``run.json`` the ``id`` of the run whose state this one starts from."""
        replace_file(self.run_file, _json.dumps({**self.run(), "parent": parent}))

    def abandon(self, reason: str) -> None:
        """Note that the run could not be started, as well as the disk allows."""
        with contextlib.suppress(OSError, RunFolderError):
            run = {**self.run(), "status": "failed", "reason": redact_text(reason)[:1000]}
            replace_file(self.run_file, _json.dumps(run))

    def seal(self) -> Path:
        """Write ``MANIFEST.json``: every file of the run with its size and digest.

        Of a checkpoint's files they are those that were written: they may be large.
        """
        known = self._written()
        files = {
            path.relative_to(self.path).as_posix(): known.get(path) or digest_file(path)
            for path in run_files(self.path)
            if path != self.manifest_file
        }
        manifest = Manifest(RUN_FORMAT, {"sealed": now()}, files)
        replace_file(self.manifest_file, manifest.dumps())
        return self.manifest_file

    def _written(self) -> dict[Path, Digest]:
        """What the manifests of the checkpoints tell of their files."""
        try:
            entries, _ = scan(self.checkpoints)
        except FormatVersionError:
            return {}
        return {
            entry.path / name: digest
            for entry in entries
            for name, digest in entry.manifest.files.items()
        }

    def unseal(self) -> None:
        """Remove the seal: the run goes on."""
        if self.manifest_file.exists():  # where nothing can be written, nothing need be removed
            remove_file(self.manifest_file)

    def verify(self) -> None:
        """Compare a sealed run with its manifest.

        Raises:
            CorruptCheckpoint: A file is missing or is not what was sealed.
        """
        Manifest.read(self.path, RUN_FORMAT).verify(self.path)


def _make_own(parent: Path, stem: str) -> Path:
    """Make a folder that no other process gets: the next number, where one is taken."""
    make_directories(parent)
    path, number = parent / stem, 1
    while True:
        try:
            make_directory(path)
        except FileExistsError:  # started in the same second
            number += 1
            path = parent / f"{stem}_{number}"
        else:
            return path


def run_files(path: Path) -> list[Path]:
    """Files of a run, without links and what begins with a dot, in order of their names."""
    found: list[Path] = []
    for item in sorted(path.iterdir()):
        if item.name.startswith(".") or item.is_symlink():
            continue
        found += run_files(item) if item.is_dir() else [item]
    return found


def _check_stamp(timestamp: str | None) -> str:
    if timestamp is None:
        return datetime.now(UTC).strftime(_STAMP)
    try:
        datetime.strptime(timestamp, _STAMP).replace(tzinfo=UTC)
    except ValueError:
        msg = f"a time stamp has the form YYYY-MM-DD_HH-MM-SS. Got {timestamp!r}"
        raise ExperimentNameError(msg) from None
    return timestamp
