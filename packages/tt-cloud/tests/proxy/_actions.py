"""What can happen to an exchange. A position is counted in bytes of the body."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal

from ._http import Answer, Request, replaced, without

BREATH = threading.Event()  # never set: a wait that is no sleep for something to happen


class End(Enum):
    """How a connection ends."""

    RESET = auto()
    CLOSE = auto()
    STALL = auto()  # nothing more comes, until the client has hung up


class EndedError(Exception):
    """Thrown where the connection is to end."""

    def __init__(self, how: End) -> None:
        super().__init__(how)
        self.how = how


class Action:
    """Nothing happens; the base of what does."""

    early = False

    def request(self, request: Request) -> Request | Answer:
        """Before the server is asked: another request, or what the client gets instead."""
        return request

    def upward(self, body: Iterator[bytes]) -> Iterator[bytes]:
        """The request's body on its way to the server."""
        return body

    def answer(self, answer: Answer) -> Answer:
        """When the server has answered, and so has done its work."""
        return answer

    def downward(self, body: Iterator[bytes]) -> Iterator[bytes]:
        """The answer's body on its way to the client."""
        return body


@dataclass(frozen=True)
class Before(Action):
    """The connection ends when the request's head was read; the server never hears of it."""

    end: End

    def request(self, request: Request) -> Request | Answer:
        raise EndedError(self.end)


@dataclass(frozen=True)
class CutRequest(Action):
    """The server gets so many bytes of the body, and both connections end."""

    at: int
    end: End = End.RESET

    def upward(self, body: Iterator[bytes]) -> Iterator[bytes]:
        return _cut(body, self.at, self.end)


@dataclass(frozen=True)
class CutAnswer(Action):
    """The client gets so many bytes of the body (``None``: all), and the connection ends."""

    at: int | None
    end: End = End.RESET

    def downward(self, body: Iterator[bytes]) -> Iterator[bytes]:
        return _cut(body, self.at, self.end)


@dataclass(frozen=True)
class ShortAnswer(Action):
    """The body ends early, and the length in its headers says so too."""

    at: int

    def answer(self, answer: Answer) -> Answer:
        headers = replaced(answer.headers, "content-length", str(self.at))
        return Answer(answer.status, headers)

    def downward(self, body: Iterator[bytes]) -> Iterator[bytes]:
        yield from _first(body, self.at)
        deque(body, maxlen=0)  # the server sends all of it


@dataclass(frozen=True)
class Lost(Action):
    """The server does its work, and the client never hears of it."""

    end: End = End.RESET

    def answer(self, answer: Answer) -> Answer:
        raise EndedError(self.end)


@dataclass(frozen=True)
class Instead(Action):
    """The client gets this answer; the server hears of the request only where ``asked``.

    Where ``early``, the answer comes before the body was read, and nothing is read after it.
    """

    given: Answer
    asked: bool = False
    early: bool = False

    def request(self, request: Request) -> Request | Answer:
        return request if self.asked else self.given

    def answer(self, answer: Answer) -> Answer:
        return self.given


@dataclass(frozen=True)
class Without(Action):
    """Headers that begin so get lost, those of the request or those of the answer."""

    request_headers: tuple[str, ...] = ()
    answer_headers: tuple[str, ...] = ()

    def request(self, request: Request) -> Request | Answer:
        headers = without(request.headers, *self.request_headers)
        return Request(request.method, request.target, headers)

    def answer(self, answer: Answer) -> Answer:
        return Answer(answer.status, without(answer.headers, *self.answer_headers))


@dataclass(frozen=True)
class FlipRequest(Action):
    """One bit of the request's body changes."""

    at: int

    def upward(self, body: Iterator[bytes]) -> Iterator[bytes]:
        return _flipped(body, self.at)


@dataclass(frozen=True)
class FlipAnswer(Action):
    """One bit of the answer's body changes; headers that begin with ``strip`` get lost."""

    at: int
    strip: tuple[str, ...] = ()

    def answer(self, answer: Answer) -> Answer:
        return Answer(answer.status, without(answer.headers, *self.strip))

    def downward(self, body: Iterator[bytes]) -> Iterator[bytes]:
        return _flipped(body, self.at)


@dataclass(frozen=True)
class DripRequest(Action):
    """The request's body goes up so many bytes at a time, with a pause after each."""

    size: int
    every: float

    def upward(self, body: Iterator[bytes]) -> Iterator[bytes]:
        return _dripping(body, self.size, self.every)


@dataclass(frozen=True)
class DripAnswer(Action):
    """The answer's body comes so many bytes at a time, with a pause after each."""

    size: int
    every: float

    def downward(self, body: Iterator[bytes]) -> Iterator[bytes]:
        return _dripping(body, self.size, self.every)


@dataclass(frozen=True)
class Aside(Action):
    """Something else happens ``"before"`` the server is asked, or ``"after"`` it has answered."""

    when: Literal["before", "after"]
    what: Callable[[], object]

    def request(self, request: Request) -> Request | Answer:
        if self.when == "before":
            self.what()
        return request

    def answer(self, answer: Answer) -> Answer:
        if self.when == "after":
            self.what()
        return answer


def _first(body: Iterator[bytes], size: int) -> Iterator[bytes]:
    """So many bytes; it is a mistake in the test when there are fewer."""
    while size:
        chunk = next(body, None)
        if chunk is None:
            msg = f"a fault must lie inside the body: it ended {size} bytes before"
            raise ValueError(msg)
        yield chunk[:size]
        size -= min(size, len(chunk))


def _cut(body: Iterator[bytes], at: int | None, end: End) -> Iterator[bytes]:
    yield from body if at is None else _first(body, at)
    raise EndedError(end)


def _flipped(body: Iterator[bytes], at: int) -> Iterator[bytes]:
    position = 0
    for chunk in body:
        if position <= at < position + len(chunk):
            changed = bytearray(chunk)
            changed[at - position] ^= 1
            yield bytes(changed)
        else:
            yield chunk
        position += len(chunk)
    if at >= position:
        msg = f"a fault must lie inside the body: byte {at} of {position}"
        raise ValueError(msg)


def _dripping(body: Iterator[bytes], size: int, every: float) -> Iterator[bytes]:
    for chunk in body:
        for begin in range(0, len(chunk), size):
            yield chunk[begin : begin + size]
            BREATH.wait(every)
