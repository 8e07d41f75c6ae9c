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
from tt_cloud.errors import AlreadyExists


def copy(line: Line, source: str, target: str, condition: Condition) -> Stored:
    """Copy with all attributes."""
    tries = 0

    def attempt() -> Stored | None:
        nonlocal tries
        tries += 1
        return line.remote.copy(source, target, condition)

    try:
        stored = line.retrying.run(attempt, Halt(target))
    except AlreadyExists:
        own = _copied(line, source, target) if tries > 1 else None
        if own is None:
            raise
        return own
    return _carried(line, source, target, condition) if stored is None else stored


def _copied(line: Line, source: str, target: str) -> Stored | None:
    """The target, if the try whose answer got lost has made it: a copy keeps the upload's token."""
    run, head = line.retrying.run, line.remote.head
    before, after = (run(partial(head, key), Halt(key)) for key in (source, target))
    if before is None or after is None or before.token is None:
        return None
    same = (before.token, before.size) == (after.token, after.size)
    return after if same else None


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
