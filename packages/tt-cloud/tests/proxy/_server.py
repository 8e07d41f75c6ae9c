"""The proxy: a thread per connection, and a connection to the server per exchange."""

from __future__ import annotations

import re
import socket
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from ._actions import Action, End, EndedError
from ._http import Answer, Headers, Peer, RefusedError, Request, moved, value, without

HOP = ("connection", "keep-alive", "proxy-connection", "expect")
BODILESS = (204, 304)
NOTHING = Action()


@dataclass(slots=True)
class Entry:
    """One exchange, as far as it went.

    ``up`` and ``down`` are bytes of the bodies that were passed on; ``whole`` says that the server
    got all of the request; ``answered`` is its status, and ``status`` what the client was told.
    """

    method: str
    target: str
    headers: Headers = field(repr=False)
    action: Action
    up: int = 0
    down: int = 0
    whole: bool = False
    answered: int | None = None
    status: int | None = None

    @property
    def range(self) -> str:
        """The part of the object that was asked for; empty when all of it was."""
        return value(self.headers, "range")


@dataclass(slots=True, eq=False)
class Rule:
    """Which requests something happens to. ``reached`` is set when a connection was ended by it."""

    method: re.Pattern[str]
    pattern: re.Pattern[str]
    action: Action
    header: tuple[str, re.Pattern[str]] | None
    skip: int
    times: int | None
    seen: int = 0
    reached: threading.Event = field(default_factory=threading.Event)

    def takes(self, request: Request) -> bool:
        """Count a request that fits, and say whether it is one of those meant."""
        if not self._fits(request):
            return False
        self.seen += 1
        late = self.times is not None and self.seen > self.skip + self.times
        return self.seen > self.skip and not late

    def _fits(self, request: Request) -> bool:
        if not self.method.fullmatch(request.method) or not self.pattern.search(request.target):
            return False
        return self.header is None or (
            self.header[1].search(value(request.headers, self.header[0])) is not None
        )

    @property
    def fired(self) -> int:
        """How often it happened."""
        after = max(self.seen - self.skip, 0)
        return after if self.times is None else min(after, self.times)


class FaultProxy:
    """Stands before a server, at ``url``, and passes everything on but where a rule forbids it.

    Attributes:
        url: The proxy's own address.
        log: What was asked since `forget`.
        history: What was ever asked.
        usual: What happens to requests that no rule takes.
    """

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._server = (parts.hostname or "", parts.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._address = self._listener.getsockname()
        self.url = "http://{}:{}".format(*self._address)
        self.log: list[Entry] = []
        self.history: list[Entry] = []
        self.usual = NOTHING
        self._upstream = upstream
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self._peers: set[Peer] = set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._mistakes: list[BaseException] = []
        self._closed = False
        self._threads[0].start()

    def inject(
        self,
        method: str,
        pattern: str,
        action: Action,
        *,
        header: tuple[str, str] | None = None,
        skip: int = 0,
        times: int | None = 1,
    ) -> Rule:
        """From now on do that to ``times`` requests of the kind, after ``skip`` of them.

        Both are patterns: for the method as a whole, and for some of path and query. With
        ``header``, a name and a pattern, only those whose header matches too. Of several rules
        that fit, the first that is not used up takes a request.
        """
        wanted = None if header is None else (header[0], re.compile(header[1]))
        rule = Rule(re.compile(method), re.compile(pattern), action, wanted, skip, times)
        with self._lock:
            self._rules.append(rule)
        return rule

    def forget(self) -> list[Entry]:
        """Drop all rules and the log; gives what was in it."""
        with self._lock:
            log, self.log = self.log, []
            self._rules.clear()
        return log

    def close(self) -> None:
        """End every connection and wait for the threads."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            peers = list(self._peers)
        socket.create_connection(self._address).close()  # wakes the thread that accepts
        for peer in peers:
            peer.shut()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        if self._mistakes and error is None:
            raise self._mistakes[0]

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with self._lock:
                if self._closed:
                    connection.close()
                    return
                thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        """Answer a client until one of us ends the connection."""
        with self._known(connection) as client, suppress(OSError):  # when the client hangs up
            try:
                while self._exchange(client):
                    pass
            except EndedError as end:
                if end.how is End.CLOSE:
                    client.finish()
                client.close(reset=end.how is End.RESET)
            except (ValueError, RuntimeError) as error:  # the test hears of it in the end
                self._mistakes.append(error)

    @contextmanager
    def _known(self, connection: socket.socket) -> Iterator[Peer]:
        """A connection that `close` can end, and that is closed after the block."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = Peer(connection)
        with self._lock:
            self._peers.add(peer)
            late = self._closed
        if late:
            peer.shut()
        try:
            yield peer
        finally:
            with self._lock:
                self._peers.discard(peer)
            peer.close()

    def _exchange(self, client: Peer) -> bool:
        """One request and its answer; whether another may follow."""
        head = client.head()
        if head is None:
            return False
        method, target, _ = head[0].split(" ")
        request = Request(method, target, head[1])
        rule, entry = self._note(request)
        try:
            return self._answer(client, request, entry)
        except EndedError as end:
            if rule is not None:
                rule.reached.set()
            if end.how is End.STALL:
                client.wait_gone()
            raise

    def _note(self, request: Request) -> tuple[Rule | None, Entry]:
        with self._lock:
            rule = next((rule for rule in self._rules if rule.takes(request)), None)
            action = self.usual if rule is None else rule.action
            entry = Entry(request.method, request.target, request.headers, action)
            self.log.append(entry)
            self.history.append(entry)
        return rule, entry

    def _answer(self, client: Peer, request: Request, entry: Entry) -> bool:
        """Ask the server, unless the action has the answer; whether another request may follow."""
        changed = entry.action.request(request)
        if isinstance(changed, Answer) and entry.action.early:
            self._give(client, changed, self._own(request, changed), entry)
            raise EndedError(End.CLOSE)
        if value(request.headers, "expect"):
            client.send_head("HTTP/1.1 100 Continue", ())
        body = client.body(request.headers)
        if isinstance(changed, Answer):
            deque(body, maxlen=0)
            return self._give(client, changed, self._own(request, changed), entry)
        with self._known(socket.create_connection(self._server)) as server:
            self._ask(server, changed, body, entry)
            came, rest = self._answered(server, request)
            entry.answered = came.status
            answer = entry.action.answer(came)
            rest = rest if answer.body is None else self._own(request, answer)
            return self._give(client, answer, entry.action.downward(rest), entry)

    def _ask(self, server: Peer, request: Request, body: Iterator[bytes], entry: Entry) -> None:
        headers = (*without(request.headers, *HOP), ("Connection", "close"))
        server.send_head(f"{request.method} {request.target} HTTP/1.1", headers)
        changed = entry.action.upward(body)
        try:
            for sent in server.send_body(changed, headers):
                entry.up += sent
        except RefusedError:  # the server has answered without reading to the end
            deque(body, maxlen=0)
        else:
            entry.whole = True

    def _answered(self, server: Peer, request: Request) -> tuple[Answer, Iterator[bytes]]:
        """What the server says, and its body."""
        head = server.head()
        if head is None:
            msg = f"the server must answer: it closed the connection on {request}"
            raise RuntimeError(msg)
        status = int(head[0].split(" ")[1])
        headers = moved(without(head[1], *HOP), self._upstream, self.url)
        if request.method == "HEAD" or status in BODILESS:
            return Answer(status, headers), iter(())
        return Answer(status, headers), server.body(headers, to_the_end=True)

    @staticmethod
    def _own(request: Request, answer: Answer) -> Iterator[bytes]:
        return iter(() if request.method == "HEAD" or not answer.body else (answer.body,))

    @staticmethod
    def _give(client: Peer, answer: Answer, body: Iterator[bytes], entry: Entry) -> bool:
        """Answer the client; whether it can tell where the answer ends."""
        entry.status = answer.status
        client.send_head(f"HTTP/1.1 {answer.status} Whatever", answer.headers)
        for sent in client.send_body(body, answer.headers):
            entry.down += sent
        framing = (value(answer.headers, name) for name in ("content-length", "transfer-encoding"))
        return any(framing) or answer.status in BODILESS
