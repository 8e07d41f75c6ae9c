"""Copying a run to an object store, so that a partial copy never looks like a whole one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from tt_experiment import _manifest
from tt_experiment._durable import digest_file
from tt_experiment.errors import UploadError
from tt_experiment.folder import run_files
from tt_experiment.ports import BlobStore

__all__ = ["mirror"]

_SNAPSHOT = 32 << 20


def mirror(folder_path: Path | str, store: BlobStore, prefix: str = "") -> int:
    """Upload every file of a run that the store does not have yet.

    A file that is gone here stays in the store. Only a seal is removed there: that of a run which
    has no seal here, because it goes on. A directory's ``MANIFEST.json`` goes after its other
    files, the run's own last of all, and only when nothing that it lists has failed: who finds a
    manifest in the store finds its files.

    Args:
        folder_path: The run; it may still be written to.
        store: Where to.
        prefix: Key of the run in the store, without a slash at the end.

    Returns:
        How many files were uploaded.

    Raises:
        UploadError: Some files failed, after all were tried; calling again goes on from there.
    """
    root = Path(folder_path).absolute()
    failures: dict[Path, Exception] = {}
    uploaded = 0
    seal = root / _manifest.NAME
    if not seal.exists():
        try:
            store.delete(_key(root, seal, prefix))
        except Exception as error:  # as for any file below
            failures[root] = error
    for path in _in_order(root):
        if path.name == _manifest.NAME and any(path.parent in p.parents for p in failures):
            continue
        try:
            uploaded += _upload(store, _key(root, path, prefix), path)
        except Exception as error:  # whatever a store raises, the other files are tried
            failures[path] = error
    failures = {path: error for path, error in failures.items() if path.exists()}
    if failures:
        raise UploadError(_message(root, store, failures))
    return uploaded


def _in_order(root: Path) -> Iterator[Path]:
    """Files, each directory's manifest after everything below that directory."""
    files = run_files(root)
    manifests = [path for path in files if path.name == _manifest.NAME]
    yield from (path for path in files if path.name != _manifest.NAME)
    yield from sorted(manifests, key=lambda path: -len(path.parts))


def _key(root: Path, path: Path, prefix: str) -> str:
    name = path.relative_to(root).as_posix()
    return f"{prefix.rstrip('/')}/{name}" if prefix else name


def _upload(store: BlobStore, key: str, path: Path) -> bool:
    content, sha256 = _snapshot(path)
    known = store.head(key)
    if known is not None and known.sha256 == sha256:
        return False
    store.put(key, content, sha256=sha256)
    return True


def _snapshot(path: Path) -> tuple[Path | bytes, str]:
    """What to upload and its digest: bytes where the file may grow between the two."""
    if path.stat().st_size > _SNAPSHOT:
        return path, digest_file(path).sha256
    content = path.read_bytes()
    return content, hashlib.sha256(content).hexdigest()


def _message(root: Path, store: BlobStore, failures: dict[Path, Exception]) -> str:
    lines = "".join(f"\n  {path.relative_to(root)}: {error}" for path, error in failures.items())
    return f"{len(failures)} files of {root.name} did not reach {store.url}; call again:{lines}"
