"""Copying one object, by the service or else through this machine."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from tt_cloud._attributes import SHA256, TOKEN, guessed_type
from tt_cloud._content import opened
from tt_cloud._stored import Attributes, Condition, Stored, Watch
from tt_cloud._transfer.clock import Halt
from tt_cloud._transfer.download import Download
from tt_cloud._transfer.first import Wanted
from tt_cloud._transfer.line import Line
from tt_cloud._transfer.upload import upload


def copy(line: Line, source: str, target: str, condition: Condition) -> Stored:
    """Copy with all attributes.

    A create that was made again because its answer got lost may find its own copy, and fails with
    `AlreadyExists`: nothing tells that copy from another writer's of the same object, and both
    would think they had won.
    """
    attempt = partial(line.remote.copy, source, target, condition)
    stored = line.retrying.run(attempt, Halt(target))
    return _carried(line, source, target, condition) if stored is None else stored


def _carried(line: Line, source: str, target: str, condition: Condition) -> Stored:
    """Fetch and store, where the service cannot copy."""
    with TemporaryDirectory(prefix="tt-cloud-") as folder:
        file = Path(folder) / "object"
        stored = Download(line, Wanted(source)).to_file(file)
        with opened(file, stored.sha256, line.part_size) as content:
            own = {SHA256: content.sha256, TOKEN: content.token}
            kind = stored.content_type or guessed_type(target)
            attributes = Attributes({**stored.metadata, **own}, kind)
            return upload(line, target, content, attributes, condition, Watch())
