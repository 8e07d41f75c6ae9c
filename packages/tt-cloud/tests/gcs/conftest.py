"""Remotes of real and of scripted servers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tt_cloud._keys import split_bucket_url
from tt_cloud._options import Access, RetryPolicy, Writing

from ..scripted import Asked, Scripted, answer  # noqa: TID252 - tests have no other name

if TYPE_CHECKING:
    from tt_cloud._gcs import GoogleRemote

PLAIN = Writing()


class Script:
    """What a server was told to answer, one after the other, and what it was asked."""

    url: str

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answers: deque[bytes | None] = deque()
        self.answer: Callable[[Asked], bytes | None] = lambda asked: self.answers.popleft()

    def says(self, status: int, body: bytes | str = b"", **headers: str) -> None:
        self.answers.append(said(status, body, **headers))

    def handle(self, asked: Asked) -> bytes | None:
        self.asked.append(asked)
        try:
            return self.answer(asked)
        except IndexError:
            return answer(500, b"there is nothing to say")


def said(status: int, body: bytes | str = b"", **headers: str) -> bytes:
    return answer(status, body if isinstance(body, bytes) else body.encode(), **headers)


@pytest.fixture
def script() -> Iterator[Script]:
    script = Script()
    with Scripted(lambda asked, connection: script.handle(asked)) as server:
        script.url = server.url
        yield script


@pytest.fixture
def connect() -> Iterator[Callable[..., GoogleRemote]]:
    """Make a remote; closed after the test."""
    from tt_cloud._gcs import GoogleRemote

    made: list[GoogleRemote] = []

    def make(
        url: str | None, address: str = "gs://b/below", writing: Writing = PLAIN, **access: Any
    ) -> GoogleRemote:
        options = Access(endpoint_url=url, **{"anonymous": True} | access)
        retry = RetryPolicy(connect_timeout=5, read_timeout=20)
        made.append(GoogleRemote(split_bucket_url(address), options, writing, retry))
        return made[-1]

    yield make
    for remote in made:
        remote.close()


@pytest.fixture
def remote(script: Script, connect: Callable[..., GoogleRemote]) -> GoogleRemote:
    """A remote of the scripted server."""
    return connect(script.url)
