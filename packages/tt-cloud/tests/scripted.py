"""A server that answers what a test tells it to, byte for byte."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, Self


class Asked(NamedTuple):
    """One request; names of headers are lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Script = Callable[[Asked, socket.socket], "bytes | None"]
"""Gives the answer, or ``None`` to hang up after what it sent by itself."""


class Scripted:
    """The server; a context manager.

    Attributes:
        port: Where it listens.
        asked: All requests so far.
        connections: How many were opened.
        over: Set when the server is being stopped, for scripts that wait.
    """

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        self.connections = 0
        self.over = threading.Event()
        self._script = script
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    @property
    def url(self) -> str:
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(30)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._open.append(connection)
                self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection, connection.makefile("rb") as stream:
                while (asked := read_request(stream)) is not None:
                    self.asked.append(asked)
                    answer = self._script(asked, connection)
                    if answer is None:
                        return
                    connection.sendall(answer)


def read_request(stream: socket.SocketIO) -> Asked | None:
    """The next request of a connection; ``None`` at its end."""
    first = stream.readline().decode("latin-1").split()
    if len(first) != 3:
        return None
    headers = {}
    while line := stream.readline().strip().decode("latin-1"):
        name, _, text = line.partition(":")
        headers[name.lower()] = text.strip()
    body = b"" if first[0] == "CONNECT" else stream.read(int(headers.get("content-length", 0)))
    return Asked(first[0], first[1], headers, body)


def answer(status: int = 200, body: bytes = b"", **headers: str) -> bytes:
    """A whole answer; underscores in names of headers stand for ``-``."""
    lines = [f"{name.replace('_', '-')}: {text}" for name, text in headers.items()]
    head = "\r\n".join([f"HTTP/1.1 {status} Told", f"Content-Length: {len(body)}", *lines])
    return f"{head}\r\n\r\n".encode() + body
