"""Addresses that are credentials."""

from __future__ import annotations

from datetime import datetime
from typing import Any


class PresignedURL:
    """An address that whoever has it may use: shown without its query unless asked for.

    Attributes:
        method: The HTTP method it is for.
        expires: Until when it works.
    """

    __slots__ = ("_url", "expires", "method")

    def __init__(self, url: str, method: str, expires: datetime) -> None:
        self._url = url
        self.method = method
        self.expires = expires

    def reveal(self) -> str:
        """The whole address, signature and all."""
        return self._url

    def __repr__(self) -> str:
        return f"<{self.method} {self._url.partition('?')[0]}?... until {self.expires:%FT%TZ}>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __reduce__(self) -> Any:
        msg = "a presigned address is not pickled: it is a credential; send what reveal() gives"
        raise TypeError(msg)
