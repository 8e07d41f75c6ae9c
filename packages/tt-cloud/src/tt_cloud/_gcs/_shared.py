"""What all stores of a bucket share inside one process."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from tt_cloud._gcs._addresses import Endpoint
from tt_cloud._gcs._line import Line
from tt_cloud._options import Access, RetryPolicy
from tt_cloud._stored import Stored


@dataclass
class Session:
    """What is known of an upload in this process.

    Attributes:
        kept: Bytes that the service has; ``None`` where only it knows.
        tail: The last bytes, once they came here.
        stored: The object, once it is there.
    """

    kept: int | None = None
    tail: bytes | None = None
    stored: Stored | None = None


class Shared:
    """Connections, and what was learnt over them; a copy in another process begins anew.

    Attributes:
        endpoint: The server.
        sessions: Uploads by their addresses.
        bucket_is_there: Whether it was seen.
    """

    def __init__(self, endpoint: Endpoint, access: Access, retry: RetryPolicy) -> None:
        self.endpoint = endpoint
        self._options = access, retry
        self._lines: dict[int, Line] = {}  # by process: a lock of the parent's may be held
        self.sessions: dict[str, Session] = {}
        self.bucket_is_there = False

    def line(self) -> Line:
        """The way to the service; connects on first use."""
        process = os.getpid()
        found = self._lines.get(process)
        if found is None:
            found = self._lines.setdefault(process, Line(self.endpoint, *self._options))
        return found

    def __reduce__(self) -> Any:
        return Shared, (self.endpoint, *self._options)
