"""Runs in an object store: which there are, whether one is whole, and how to get one back.

A run lies in a store as it does on the disk. Its ``MANIFEST.json`` and those of its checkpoints are
stored last, so what has one is whole.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tt_experiment import _manifest
from tt_experiment._durable import Digest, digest_file
from tt_experiment._manifest import Manifest
from tt_experiment._outbox.claim import read_object
from tt_experiment._outbox.fetch import Fetch
from tt_experiment.errors import CorruptCheckpoint
from tt_experiment.folder import RUN_FORMAT
from tt_experiment.ports import BlobStore

__all__ = ["RemoteRun", "Verified", "fetch_run", "find_runs", "verify_run"]

_log = logging.getLogger(__name__)
_RUN = "/run.json"


@dataclass(frozen=True)
class RemoteRun:
    """A run in a store.

    Attributes:
        prefix: Its key.
        run: What its ``run.json`` says.
        checkpoints: Names of its checkpoints that are whole.
        sealed: Whether it has ended and is wholly there.
        size: Bytes.
    """

    prefix: str
    run: Mapping[str, Any]
    checkpoints: tuple[str, ...]
    sealed: bool
    size: int


@dataclass(frozen=True)
class Verified:
    """What `verify_run` found.

    Attributes:
        files: How many files the run has.
        size: Their bytes.
        problems: Of files that are not as they were sealed, what is wrong; empty if it is whole.
    """

    files: int = 0
    size: int = 0
    problems: Mapping[str, str] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether every file is there as it was sealed."""
        return not self.problems


def find_runs(store: BlobStore, prefix: str = "") -> list[RemoteRun]:
    """The runs of a store, ordered by their keys; one whose ``run.json`` is damaged is left out.

    Args:
        store: Where to look.
        prefix: What their keys begin with, as ``"digits/"`` for those of a project.
    """
    sizes = {info.key: info.size for info in store.list(prefix)}
    tops: list[str] = []
    for top in sorted((key.removesuffix(_RUN) for key in sizes if key.endswith(_RUN)), key=len):
        if not any(top.startswith(f"{known}/") for known in tops):  # else it is a file of that run
            tops.append(top)
    found = (_remote_run(store, top, sizes) for top in sorted(tops))
    return [run for run in found if run is not None]


def _remote_run(store: BlobStore, top: str, sizes: Mapping[str, int]) -> RemoteRun | None:
    try:
        run = read_object(store, top + _RUN)
    except ValueError as error:
        _log.warning("%s/%s%s is skipped: %s", store.url, top, _RUN, error)
        return None
    below = f"{top}/checkpoint_model/"
    own = {key: size for key, size in sizes.items() if key.startswith(f"{top}/")}
    names = [key.removeprefix(below) for key in own if key.startswith(below)]
    whole = [name.split("/")[0] for name in names if name.endswith(f"/{_manifest.NAME}")]
    sealed = f"{top}/{_manifest.NAME}" in own
    return RemoteRun(top, run or {}, tuple(sorted(whole)), sealed, sum(own.values()))


def fetch_run(
    store: BlobStore,
    prefix: str,
    root: Path | str,
    *,
    what: Literal["resume", "all"] = "resume",
) -> Path:
    """Bring a run from a store into a folder of projects; it appears there at once, and whole.

    To go on with it needs what it says of itself, its history and its newest valid checkpoint: a
    damaged one is skipped with a warning for the next older. Who goes on with a run that was
    fetched becomes its writer in the store: see `tt_experiment.outbox.Outbox.claim`.

    Args:
        store: Where it is.
        prefix: Its key, ``<project>/<run>``.
        root: Folder of all projects.
        what: ``"all"`` brings every checkpoint that is whole, the model and the results, too.

    Returns:
        The run's folder.

    Raises:
        RunFolderError: There is no such run, it is in the folder already, or a key in the store
            would lead out of it.
        NoValidCheckpoint: It has checkpoints and none of them is valid.
        FormatVersionError: It was written by a newer version.
    """
    return Fetch(store, prefix.strip("/"), Path(root).expanduser().absolute(), what).bring()


def verify_run(store: BlobStore, prefix: str, *, read_back: bool = False) -> Verified:
    """Compare every file of a sealed run in a store with its size and digest.

    Args:
        store: Where it is.
        prefix: Its key.
        read_back: Fetch the files and digest them, instead of asking the store.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            manifest = _seal(store, prefix, Path(folder))
        except (FileNotFoundError, CorruptCheckpoint) as error:
            return Verified(problems={_manifest.NAME: f"the run is not sealed there: {error}"})
        problems = dict(_problems(store, prefix, manifest, Path(folder), read_back=read_back))
    size = sum(digest.bytes for digest in manifest.files.values())
    return Verified(len(manifest.files), size, problems)


def _seal(store: BlobStore, prefix: str, folder: Path) -> Manifest:
    store.get(f"{prefix}/{_manifest.NAME}", folder / _manifest.NAME)
    return Manifest.read(folder, RUN_FORMAT)


def _problems(
    store: BlobStore, prefix: str, manifest: Manifest, folder: Path, *, read_back: bool
) -> Iterator[tuple[str, str]]:
    for name, listed in manifest.files.items():
        found = _found(store, f"{prefix}/{name}", folder, read_back=read_back)
        if found is None:
            yield name, "missing"
        elif found != listed:
            yield name, f"has {found.bytes} bytes, sha256 {found.sha256}; {listed} was sealed"


def _found(store: BlobStore, key: str, folder: Path, *, read_back: bool) -> Digest | None:
    """What the store has under a key, by what it says or by looking."""
    info = store.head(key)
    if info is None:
        return None
    if info.sha256 is not None and not read_back:
        return Digest(info.size, info.sha256)
    target = folder / "file"
    try:
        store.get(key, target)
        return digest_file(target)
    except FileNotFoundError:
        return None
    except ValueError:  # the store noticed by itself
        return Digest(info.size, "of other content")
    finally:
        target.unlink(missing_ok=True)
