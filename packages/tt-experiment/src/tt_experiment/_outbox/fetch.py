"""Bringing a run from a store to a disk, beside its final name, and one rename at the end."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Literal

from tt_experiment import _manifest
from tt_experiment._checkpoint.entries import FORMAT
from tt_experiment._durable import (
    adopt_file,
    commit_directory,
    make_directories,
    remove_directory,
    remove_file,
    scratch_path,
    sweep_scratch,
)
from tt_experiment._manifest import Manifest
from tt_experiment._outbox.claim import Claim, next_number
from tt_experiment._outbox.plan import read_manifest
from tt_experiment.errors import (
    CorruptCheckpoint,
    ExperimentSetupError,
    FormatVersionError,
    NoValidCheckpoint,
    RunFolderError,
)
from tt_experiment.folder import RUN_FORMAT
from tt_experiment.outbox import claim_note
from tt_experiment.ports import BlobStore

__all__ = ["Fetch", "names_below"]

_log = logging.getLogger(__name__)
_CHECKPOINTS = "checkpoint_model"


class Fetch:
    """One run on its way from a store to a disk.

    Args:
        store: Where it is.
        prefix: Its key.
        root: Folder of all projects.
        what: Whether to bring all of it, or what going on with it needs.
    """

    def __init__(
        self, store: BlobStore, prefix: str, root: Path, what: Literal["resume", "all"]
    ) -> None:
        if what not in ("resume", "all"):
            msg = f"what is 'resume' or 'all'. Got {what!r}"
            raise ExperimentSetupError(msg)
        parts = PurePosixPath(prefix).parts
        self.store, self.prefix, self.what = store, prefix, what
        self.target = root.joinpath(*parts[-2:])
        self._check_target(parts)

    def bring(self) -> Path:
        """The run's folder, which was not there before.

        Raises:
            RunFolderError: There is no such run, or it cannot be brought here.
        """
        number = next_number(self.store, self.prefix)  # before the state that is gone on from
        names = names_below(self.store, self.prefix)
        if "run.json" not in names:
            msg = f"{self.store.url} must have {self.prefix}/run.json. It has no such run"
            raise RunFolderError(msg)
        make_directories(self.target.parent)
        sweep_scratch(self.target.parent)
        staging = scratch_path(self.target.parent, "fetch")
        make_directories(staging)
        try:
            self._fill(staging, names)
            claim = Claim(staging, self.store, self.prefix, self._note(staging))
            claim.prepare(number)
            commit_directory(staging, self.target)
        except BaseException:
            with contextlib.suppress(OSError):
                remove_directory(staging)
            raise
        return self.target

    def _check_target(self, parts: tuple[str, ...]) -> None:
        if len(parts) < 2 or not _is_safe(self.prefix):
            msg = f"a run's key is <project>/<run>. Got {self.prefix!r}"
            raise RunFolderError(msg)
        if self.target.exists():
            msg = f"a run is fetched to where none is. {self.target} is there: go on with that"
            raise RunFolderError(msg)

    def _note(self, run: Path) -> Path:
        return claim_note(run, self.store, self.prefix)

    def _fill(self, staging: Path, names: list[str]) -> None:
        sets = {str(PurePosixPath(name).parent) for name in names if _is_manifest(name)}
        seal, loose = [], []
        for name in names:
            if name == _manifest.NAME:
                seal.append(name)
            elif self._is_wanted(name) and not _parents(name) & sets:
                loose.append(name)
        self._get(staging, loose)
        self._checkpoints(staging, names, sets)
        if self.what == "all":
            for name in sorted(sets):
                if not name.startswith(f"{_CHECKPOINTS}/"):
                    self._get_set(staging, name, names)
            self._get(staging, seal)
            self._keep_seal(staging)

    def _is_wanted(self, name: str) -> bool:
        """Of files that belong to no set, which are brought; a part of a set never is."""
        top = PurePosixPath(name).parts[0]
        if top == _CHECKPOINTS or top == "model":
            return top == _CHECKPOINTS and name.count("/") == 1
        return self.what == "all" or "/" not in name or top == "metrics"

    def _get(self, staging: Path, names: Iterable[str]) -> None:
        for name in names:
            target = staging / name
            make_directories(target.parent)
            scratch = scratch_path(target.parent, "get")
            self.store.get(f"{self.prefix}/{name}", scratch)
            adopt_file(scratch, target)

    def _get_set(self, staging: Path, folder: str, names: list[str]) -> None:
        """A directory that has a manifest, verified.

        Raises:
            CorruptCheckpoint: It is not what was stored.
        """
        try:
            self._get(staging, [name for name in names if name.startswith(f"{folder}/")])
        except (FileNotFoundError, ValueError) as error:
            msg = f"{self.store.url}/{self.prefix}/{folder} cannot be read: {error}"
            raise CorruptCheckpoint(msg) from error
        read_manifest(staging / folder).verify(staging / folder)

    def _checkpoints(self, staging: Path, names: list[str], sets: set[str]) -> None:
        """The newest that is valid, or all that are."""
        problems: list[str] = []
        found = 0
        for folder in self._newest_first(staging, sets, problems):
            try:
                self._get_set(staging, folder, names)
            except CorruptCheckpoint as error:
                problems.append(str(error))
                _log.warning("skipping a damaged checkpoint: %s", error)
                remove_directory(staging / folder)
                continue
            found += 1
            if self.what == "resume":
                return
        if problems and not found:
            lines = "".join(f"\n  {problem}" for problem in problems)
            msg = f"{self.store.url}/{self.prefix} has no checkpoint that is whole:{lines}"
            raise NoValidCheckpoint(msg)

    def _newest_first(self, staging: Path, sets: set[str], problems: list[str]) -> list[str]:
        """By their manifests, as neither clocks nor steps would do."""
        serials: dict[str, int] = {}
        for folder in sorted(name for name in sets if name.startswith(f"{_CHECKPOINTS}/")):
            try:
                self._get(staging, [f"{folder}/{_manifest.NAME}"])
                facts = Manifest.read(staging / folder, FORMAT).facts
                serials[folder] = int(facts["serial"])
            except FormatVersionError:  # an older one instead would be a silent step back
                raise
            except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
                problems.append(f"{folder}: {error}")
                _log.warning("skipping a damaged checkpoint: %s: %s", folder, error)
            if (staging / folder).is_dir():
                remove_directory(staging / folder)
        return sorted(serials, key=lambda name: serials[name], reverse=True)

    def _keep_seal(self, staging: Path) -> None:
        """A seal stays if it is true."""
        path = staging / _manifest.NAME
        if not path.is_file():
            return
        try:
            Manifest.read(staging, RUN_FORMAT).verify(staging)
        except CorruptCheckpoint as error:
            _log.warning("%s is brought without its seal: %s", self.prefix, error)
            remove_file(path)


def names_below(store: BlobStore, prefix: str) -> list[str]:
    """Names of a run's files in a store, without what begins with a dot.

    Raises:
        RunFolderError: A name would lead out of the run's folder.
    """
    names = [info.key.removeprefix(f"{prefix}/") for info in store.list(f"{prefix}/")]
    if unsafe := [name for name in names if not _is_safe(name)]:
        msg = f"files of a run lie below its folder. {store.url}/{prefix} has {unsafe[0]!r}"
        raise RunFolderError(msg)
    return [name for name in names if not name.startswith(".")]


def _is_safe(name: str) -> bool:
    parts = name.split("/")
    return not any(part in ("", ".", "..") for part in parts) and not set(name) & set("\\:\0")


def _is_manifest(name: str) -> bool:
    return name.endswith(f"/{_manifest.NAME}")


def _parents(name: str) -> set[str]:
    return {str(parent) for parent in PurePosixPath(name).parents}
