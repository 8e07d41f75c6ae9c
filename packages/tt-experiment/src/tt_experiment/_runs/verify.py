"""Proof that a run is what was written: every file that a manifest lists, read through."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from tt_experiment import _json, _manifest
from tt_experiment._durable import Digest, digest_file
from tt_experiment._manifest import Manifest
from tt_experiment._records.reading import metrics_problems
from tt_experiment.errors import CorruptCheckpoint, FormatVersionError, RunFolderError
from tt_experiment.folder import RUN_FORMAT, ExperimentFolder, run_files

__all__ = ["Finding", "Kind", "verify_run"]

Kind = Literal["corrupt", "missing", "newer", "extra", "torn"]
_DOCUMENTS = ("hyperparams.json", "environment.json", "git.json", "results/results.json")


class Finding(NamedTuple):
    """Something that is not as it was written."""

    kind: Kind
    """``extra`` files, and ``torn`` lines that a kill leaves behind, harm nothing."""
    file: str
    """Relative to the run."""
    message: str

    @property
    def is_damage(self) -> bool:
        """Whether something is lost or cannot be trusted."""
        return self.kind not in ("extra", "torn")


def verify_run(path: Path) -> list[Finding]:
    """Read everything that a run's manifests list, and tell what is not as it was written.

    Nothing is changed, and no link is followed.
    """
    check = _Check(path)
    return list(dict.fromkeys([*check.facts(), *check.sets(), *check.lines()]))


class _Check:
    def __init__(self, run: Path) -> None:
        self._run = run
        self._digests: dict[Path, Digest] = {}  # a sealed run lists what its checkpoints list

    def facts(self) -> Iterator[Finding]:
        """What the run says of itself."""
        try:
            ExperimentFolder(self._run).run()
        except RunFolderError as error:
            is_there = (self._run / "run.json").exists()
            yield Finding("corrupt" if is_there else "missing", "run.json", str(error))
        for name in _DOCUMENTS:
            try:
                _json.load_object((self._run / name).read_bytes())
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                yield Finding("corrupt", name, str(error))

    def sets(self) -> Iterator[Finding]:
        """The sealed run, each checkpoint and the model, against the manifest of each."""
        if (self._run / _manifest.NAME).exists():
            yield from self._set(self._run, RUN_FORMAT)
        for folder in sorted((self._run / "checkpoint_model").glob("step-*")):
            if folder.is_dir() and not folder.is_symlink():
                yield from self._set(folder, "tt-checkpoint/1")
        if (self._run / "model" / "model.safetensors").exists():
            yield from self._set(self._run / "model", "tt-model/1")

    def lines(self) -> Iterator[Finding]:
        """Lines of metrics and events that readers leave out."""
        for problem in metrics_problems(self._run):
            yield Finding("torn", self._name(problem.path), f"line {problem.line}: {problem.text}")

    def _set(self, folder: Path, newest: str) -> Iterator[Finding]:
        manifest = folder / _manifest.NAME
        try:
            files = Manifest.read(folder, newest).files
        except FormatVersionError as error:
            yield Finding("newer", self._name(manifest), str(error))
        except (CorruptCheckpoint, TypeError, KeyError, AttributeError) as error:
            kind: Kind = "corrupt" if manifest.exists() else "missing"
            yield Finding(kind, self._name(manifest), str(error))
        else:
            for name, digest in files.items():
                yield from self._file(folder, name, digest)
            names = (path.relative_to(folder).as_posix() for path in run_files(folder))
            for name in sorted({*names} - {*files, _manifest.NAME}):
                yield Finding("extra", self._name(folder / name), "is not in the manifest")

    def _file(self, folder: Path, name: str, expected: Digest) -> Iterator[Finding]:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            yield Finding("corrupt", self._name(folder / _manifest.NAME), f"lists {name!r}")
            return
        path = folder / name
        try:
            found = self._digest(path)
        except FileNotFoundError:
            yield Finding("missing", self._name(path), f"{expected.bytes} bytes are gone")
        except OSError as error:
            yield Finding("corrupt", self._name(path), f"cannot be read: {error}")
        else:
            if found.bytes != expected.bytes:
                message = f"has {found.bytes} bytes, and {expected.bytes} were written"
                yield Finding("corrupt", self._name(path), message)
            elif found != expected:
                yield Finding("corrupt", self._name(path), "its sha256 is not what was written")

    def _digest(self, path: Path) -> Digest:
        if path not in self._digests:
            places = [path, *path.parents]
            if any(place.is_symlink() for place in places[: places.index(self._run)]):
                msg = "there is a link in its place"
                raise OSError(msg)
            self._digests[path] = digest_file(path)
        return self._digests[path]

    def _name(self, path: Path) -> str:
        return path.relative_to(self._run).as_posix()
