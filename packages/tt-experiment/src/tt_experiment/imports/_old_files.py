"""Files of an experiment of AIToolbox that are taken as they are, but for secrets."""

from __future__ import annotations

import ast
import lzma
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tt_experiment._durable import make_directories, replace_chunks
from tt_experiment._origin.source import source_zip
from tt_experiment.errors import ImportFormatError

__all__ = ["copy", "hyperparams_list", "without_secrets"]

_MAX_SOURCES = 200_000_000  # bytes, unpacked
_MAX_FILES = 20_000
_MAX_TEXT = 10_000_000
_CHUNK = 1 << 20
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError),
    *(OSError, ValueError, RuntimeError, NotImplementedError),
)


def copy(source: Path, target: Path) -> None:
    """Copy a file."""
    make_directories(target.parent)
    replace_chunks(target, _chunks(source))


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def hyperparams_list(path: Path) -> dict[str, Any]:
    """Read ``hyperparams_list.txt``: a name, a colon, a tab and a value as Python shows it.

    Numbers, booleans, None, and lists, tuples and dicts of them are what they were; the rest is
    text, and a line without a name belongs to the value before it.
    """
    texts: dict[str, str] = {}
    last = ""
    for line in path.read_text("utf-8", "replace")[:_MAX_TEXT].splitlines():
        name, found, value = line.partition(":\t")
        if found:
            last = name
            texts[name] = value
        elif last:
            texts[last] += f"\n{line}"
    return {name: _typed(text) for name, text in texts.items()}


def _typed(text: str) -> Any:
    if len(text) > 1000:
        return text
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return text
    return value if isinstance(value, bool | int | float | list | tuple | dict | None) else text


def without_secrets(archive: Path) -> bytes:
    """A zip of sources as a run keeps them: unpacked with care, scanned, and zipped again.

    Raises:
        ImportFormatError: It is damaged, or unpacks to more than sources are.
    """
    try:
        with zipfile.ZipFile(archive) as opened, tempfile.TemporaryDirectory() as folder:
            _check_size(archive, opened.infolist())
            opened.extractall(folder)  # it keeps what it unpacks inside the folder
            return source_zip(sorted(Path(folder).iterdir()))
    except _DAMAGE as error:
        if isinstance(error, ImportFormatError):
            raise
        msg = f"{archive} must be a zip archive: {error}"
        raise ImportFormatError(msg) from error


def _check_size(archive: Path, members: list[zipfile.ZipInfo]) -> None:
    size = sum(member.file_size for member in members)
    if size > _MAX_SOURCES or len(members) > _MAX_FILES:
        msg = (
            f"{archive} unpacks to {size} bytes in {len(members)} files: no sources are that large"
        )
        raise ImportFormatError(msg)
