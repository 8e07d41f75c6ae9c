"""What the tests have in common: what a store can do, and small helpers."""

from __future__ import annotations

import hashlib
import io
import threading
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from tt_cloud.api import ObjectInfo, ObjectStore
from tt_cloud.errors import CloudError

UNSAFE_KEYS = (
    "",
    "/absolute",
    "trailing/",
    "two//slashes",
    ".",
    "..",
    "../above",
    "a/../../above",
    "a/./b",
    "back\\slash",
    "nul\0",
    "line\nbreak",
    "delete\x7f",
    "half\ud800",
    "x" * 1025,
    ".tt-cloud-0.part",
)

RACERS = 8
DIGITS = b"0123456789"
ATTRIBUTES: dict[str, Any] = {
    "metadata": {"experiment": "run 7, try 2", "two": "with  two spaces"},
    "content_type": "text/csv; charset=utf-8",
}


class Abilities:
    """What a store can do; see `tt_cloud.testing.StoreContract`."""

    presigns = True
    versioned = False
    checks_versions = True
    nests = True
    large = 20 << 20

    @pytest.fixture
    def store(self) -> Any:
        """An empty store; each provider gives its own."""
        pytest.fail(
            "a subclass of StoreContract needs a fixture 'store': this one has none; add it"
        )


class OneWay(io.RawIOBase):
    """A stream that cannot be read twice."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return int(self._file.readinto(buffer))


class Stop:
    """Cancels a call as soon as something was moved."""

    def __init__(self) -> None:
        self.cancel = threading.Event()

    def __call__(self, *_: object) -> None:
        self.cancel.set()


def race(call: Callable[[bytes], object], lost: type[CloudError]) -> list[bool]:
    """Who of several that begin at once got through."""
    start = Barrier(RACERS)

    def attempt(number: int) -> bool:
        start.wait()
        try:
            call(str(number).encode())
        except lost:
            return False
        return True

    with ThreadPoolExecutor(RACERS) as pool:
        return list(pool.map(attempt, range(RACERS)))


def known(store: ObjectStore, key: str) -> ObjectInfo:
    info = store.head(key)
    assert info is not None, key
    return info


def fetch(url: str, data: bytes | None = None) -> bytes:
    method = "GET" if data is None else "PUT"
    request = urllib.request.Request(url, data, method=method)  # noqa: S310 - the store's own
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - the store's own
        return bytes(answer.read())


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
