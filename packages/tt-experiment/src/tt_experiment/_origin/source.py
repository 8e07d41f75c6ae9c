"""A zip of source folders, without what should not leave the machine.

Of a folder in a git repository, the tracked files go in; of any other, files whose names are those
of sources. Left out of both: links, files above 1 MB, names that hold keys (``.env*``, ``*.pem``,
``id_*``, ...), files in which something has the form of a secret, version control, caches, virtual
environments, runs. What was kept and what was not, and why, is told by ``source_manifest.json``
inside the zip.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

from tt_experiment import _json
from tt_experiment._origin.facts import tracked_files
from tt_experiment._origin.secrets import has_secret
from tt_experiment.errors import ExperimentSetupError

__all__ = ["source_zip"]

_CACHES = ("__pycache__", ".*_cache", "node_modules")
_FOLDERS = (".git", ".hg", ".svn", ".ssh", ".aws", ".gnupg", ".kube", *_CACHES)
_PRIVATE = (".env*", "*.pem", "*.key", "*.p12", "*.pfx", "id_*", ".netrc", ".pypirc", ".npmrc")
_NOISE = ("*.pyc",)
_ENDINGS = """
    py pyi pyx pxd ipynb toml yaml yml json cfg ini conf txt md rst sh bash bat ps1 sql proto
    c cc cpp cxx cu cuh h hh hpp rs go java jl lua m r js ts html css jinja j2 tf cmake
    gitignore dockerignore
"""
_SOURCES = frozenset(f".{ending}" for ending in _ENDINGS.split())
_SOURCE_NAMES = frozenset(("dockerfile", "makefile", "license", "notice", "readme", "justfile"))
_MARKS = ("run.json", "pyvenv.cfg")  # an experiment's folder, a virtual environment
_MAX_FILE = 1_000_000
_MAX_TOTAL = 50_000_000


def source_zip(directories: Sequence[Path]) -> bytes:
    """The zip's bytes: one folder in it for each directory; a file stands for itself.

    Raises:
        ExperimentSetupError: When there is no such folder or file.
    """
    for directory in directories:
        if not directory.exists():
            msg = f"source_dirs must name folders or files that exist; {directory} does not."
            raise ExperimentSetupError(msg)
    kept: dict[str, bytes] = {}
    left_out: dict[str, str] = {}
    total = 0
    for prefix, directory in _prefixes(directories):
        tracked = tracked_files(directory) if directory.is_dir() else None
        for path in _walk(directory):
            inside = path.relative_to(directory).as_posix() if directory.is_dir() else path.name
            name = f"{prefix}/{inside}"
            reason = "" if directory.is_file() else _foreign(path, inside, tracked)
            content = None
            if not reason:
                content, reason = _content(path, _MAX_TOTAL - total)
            if content is None:
                left_out[name] = reason
            else:
                kept[name] = content
                total += len(content)
    return _zip(kept, left_out)


def _foreign(path: Path, inside: str, tracked: frozenset[str] | None) -> str:
    """Why a file in a folder is no source of its; empty if it is one."""
    if tracked is not None:
        return "" if inside in tracked else "not tracked by git"
    known = path.suffix.lower() in _SOURCES or path.name.lower() in _SOURCE_NAMES | _SOURCES
    return "" if known or _matches(path.name, _PRIVATE) else "not a kind of source file"


def _prefixes(directories: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    taken: set[str] = set()
    for directory in directories:
        name = stem = directory.resolve().name or "root"
        number = 1
        while name in taken:
            number += 1
            name = f"{stem}_{number}"
        taken.add(name)
        yield name, directory


def _walk(directory: Path) -> Iterator[Path]:
    if directory.is_file():
        yield directory
    for folder, folders, files in os.walk(directory):
        here = Path(folder)
        folders[:] = sorted(name for name in folders if _enter(here / name))
        yield from (here / name for name in sorted(files) if not _matches(name, _NOISE))


def _enter(folder: Path) -> bool:
    return not _matches(folder.name, _FOLDERS) and not any(
        (folder / mark).exists() for mark in _MARKS
    )


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch(name.lower(), pattern) for pattern in patterns)


def _content(path: Path, room: int) -> tuple[bytes | None, str]:
    """A file's content, or None and why it stays outside."""
    if path.is_symlink() or not path.is_file():
        return None, "not a regular file"
    if _matches(path.name, _PRIVATE):
        return None, "a name that private keys have"
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= min(_MAX_FILE, room) else None
    except OSError as error:
        return None, f"not readable: {error.strerror}"
    if content is None:
        return None, f"{size} bytes are too many"
    if has_secret(content.decode("utf-8", "replace")):
        return None, "holds what looks like a secret"
    return content, ""


def _zip(kept: dict[str, bytes], left_out: dict[str, str]) -> bytes:
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in kept.items()}
    manifest = _json.dumps({"format": "tt-source/1", "files": digests, "left_out": left_out})
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**kept, "source_manifest.json": manifest}.items():
            # without a time: the same sources give the same bytes
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
