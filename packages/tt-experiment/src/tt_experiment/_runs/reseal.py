"""Changing a sealed run without vouching anew for what was not changed."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from tt_experiment._durable import digest_file, replace_file
from tt_experiment._manifest import Manifest
from tt_experiment.folder import RUN_FORMAT, ExperimentFolder

__all__ = ["changing"]


@contextmanager
def changing(run: Path, names: Collection[str]) -> Iterator[None]:
    """While files or folders of a run are changed, a seal that it has is open for them.

    Digests of all other files stay what they were, so that damage is still found. Killed meanwhile,
    the run is sealed without them.

    Args:
        run: The run's folder.
        names: Relative to it.

    Raises:
        CorruptCheckpoint: The seal is damaged.
    """
    folder = ExperimentFolder(run)
    if not folder.manifest_file.exists():
        yield
        return
    manifest = Manifest.read(run, RUN_FORMAT)
    named = {PurePosixPath(name) for name in names}
    kept = {
        name: digest
        for name, digest in manifest.files.items()
        if named.isdisjoint([PurePosixPath(name), *PurePosixPath(name).parents])
    }
    replace_file(folder.manifest_file, Manifest(manifest.format, manifest.facts, kept).dumps())
    try:
        yield
    finally:
        now = {name: digest_file(run / name) for name in names if (run / name).is_file()}
        files = dict(sorted((kept | now).items()))
        replace_file(folder.manifest_file, Manifest(manifest.format, manifest.facts, files).dumps())
