"""Sending one object."""

from __future__ import annotations

import zlib
from functools import partial

from tt_cloud._content import Content
from tt_cloud._stored import Attributes, Condition, Stored, Watch
from tt_cloud._transfer.clock import Halt
from tt_cloud._transfer.line import Line
from tt_cloud._transfer.parts import PartsUpload
from tt_cloud._transfer.prepass import changed
from tt_cloud.errors import AlreadyExists, Changed


def upload(
    line: Line,
    key: str,
    content: Content,
    attributes: Attributes,
    condition: Condition,
    watch: Watch,
) -> Stored:
    """Store an object whole or not at all, in parts if it is large."""
    if content.size > line.largest_put:
        return PartsUpload(line, key, content, attributes, condition, watch).run()
    halt = Halt(key, watch.cancel)
    send = partial(line.remote.put, key, _whole(content), content.sha256, attributes, condition)
    try:
        stored = line.retrying.run(send, halt)
    except (AlreadyExists, Changed):
        own = line.written(key, content.token, content.size, halt)
        if own is None:
            raise
        stored = own
    if watch.progress is not None:
        watch.progress(key, content.size, content.size)
    return stored


def _whole(content: Content) -> memoryview:
    """All of a content, as it was digested."""
    if content.data is not None:
        return content.data
    data = memoryview(bytearray(content.size))
    content.read_into(data, 0)
    if [zlib.crc32(data)] != content.crcs:
        raise changed()
    return data
