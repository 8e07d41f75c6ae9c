"""What is asked of a bucket."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from tt_cloud._s3._sign import EMPTY

_NONE: Mapping[str, str] = MappingProxyType({})


class Request(NamedTuple):
    """One call.

    Attributes:
        method: In capitals.
        key: Whole; ``None`` for the bucket itself.
        query: Unquoted.
        headers: In lower case.
        body: What is sent.
        digest: The body's sha256 in hex, or `UNSIGNED`.
        checks: Headers that only make the server verify more; left out where it refuses them.
        fine: Statuses that are answers too.
        slow: Whether the server may need minutes.
        once: Whether the caller must know when it has to be made again.
    """

    method: str
    key: str | None
    query: Mapping[str, str] = _NONE
    headers: Mapping[str, str] = _NONE
    body: memoryview | None = None
    digest: str = EMPTY
    checks: Mapping[str, str] = _NONE
    fine: tuple[int, ...] = ()
    slow: bool = False
    once: bool = False
