"""One file for a model and all that belongs to it: tensors, structure, and proof that it is whole.

The file is a safetensors file, so every reader of that format sees the tensors. Its metadata has
``tt_format``, ``tree`` (the structure as JSON, see `tt_experiment._tree`) and ``sha256``: the
digest of the whole file as it would be with 64 zeros in that place.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tt_experiment import _json
from tt_experiment._durable import make_directories, replace_chunks
from tt_experiment._manifest import check_format
from tt_experiment._tensors import read_tensors, tensor_chunks
from tt_experiment._tree import decode, encode
from tt_experiment.errors import CorruptCheckpoint

__all__ = ["MODEL_FILE_FORMAT", "read_model_file", "write_model_file"]

MODEL_FILE_FORMAT = "tt-model-file/1"
_ZEROS = b"0" * 64
_BEFORE = b'"sha256":"'  # in a text within the header it would have backslashes
_MAX_HEADER = 100_000_000  # bytes, as the safetensors library has it
_CHUNK = 1 << 20


def write_model_file(path: Path | str, tree: Any) -> Path:
    """Write a state tree; a file that is there is replaced, at once and whole.

    Args:
        path: The file.
        tree: Tensors, arrays, numbers, strings, and dicts, lists and tuples of them.

    Raises:
        StateTreeError: The tree holds what cannot be written exactly.
    """
    path = Path(path).expanduser().absolute()
    tensors, structure = encode(tree)
    text = json.dumps(structure, separators=(",", ":"), allow_nan=False)
    metadata = {"tt_format": MODEL_FILE_FORMAT, "tree": text, "sha256": _ZEROS.decode()}
    header, *data = tensor_chunks(tensors, metadata)
    digest = hashlib.sha256(header)
    for chunk in data:
        digest.update(chunk)
    signed = bytes(header).replace(_BEFORE + _ZEROS, _BEFORE + digest.hexdigest().encode(), 1)
    make_directories(path.parent)
    replace_chunks(path, [signed, *data])
    return path


def read_model_file(path: Path | str) -> Any:
    """Read a state tree back, on the CPU, after the digest was checked.

    Raises:
        FileNotFoundError: There is no such file.
        CorruptCheckpoint: It is not what was written.
        FormatVersionError: It was written by a newer version.
    """
    path = Path(path).expanduser()
    metadata = _verified_metadata(path)
    check_format(path, metadata.get("tt_format"), MODEL_FILE_FORMAT)
    try:
        structure = _json.load_object(f'{{"tree":{metadata["tree"]}}}')["tree"]
    except (KeyError, ValueError) as error:
        msg = f"{path} must have its structure in its metadata: {error}"
        raise CorruptCheckpoint(msg) from error
    return decode(read_tensors(path), structure)


def _verified_metadata(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        length = file.read(8)
        size = int.from_bytes(length, "little")
        header = file.read(size) if size <= _MAX_HEADER else b""
        before, mark, rest = header.partition(_BEFORE)
        digest = hashlib.sha256(length + before + mark + _ZEROS + rest[64:])
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    if not mark or digest.hexdigest().encode() != rest[:64]:
        msg = f"{path} is not what was written: its sha256 is not the one in it"
        raise CorruptCheckpoint(msg)
    metadata: dict[str, Any] = _json.load_object(header)["__metadata__"]
    return metadata
