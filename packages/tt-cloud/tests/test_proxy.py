"""The proxy that the fault tests trust, seen by a client that hides nothing."""

import http.client
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic
from urllib.parse import urlsplit

import pytest

from .proxy import (
    Action,
    Aside,
    Before,
    CutAnswer,
    CutRequest,
    DripAnswer,
    DripRequest,
    End,
    FaultProxy,
    FlipAnswer,
    FlipRequest,
    Instead,
    Lost,
    ShortAnswer,
    Without,
    reply,
)

BODY = bytes(range(256)) * 1024


class Upstream(ThreadingHTTPServer):
    """Stores what is put; counts what it was asked."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.stored: dict[str, bytes] = {}
        self.asked: list[tuple[str, str, dict[str, str]]] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Upstream

    def do_PUT(self) -> None:
        self._note()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if len(body) == int(self.headers["Content-Length"]):
            self.server.stored[self.path] = body
            self._answer(200, b"", ("Location", f"{self.server.url}/next"))

    def do_GET(self) -> None:
        self._note()
        if self.path == "/chunked":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for piece in (b"one", b"three"):
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
        elif self.path == "/unframed":
            self.close_connection = True
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"until the end")
        else:
            self._answer(200, self.server.stored[self.path], ("x-sum-a", "1"), ("x-keep", "2"))

    def do_HEAD(self) -> None:
        self._note()
        self._answer(200, self.server.stored[self.path])

    def do_DELETE(self) -> None:
        self._note()
        self.send_response(204)
        self.end_headers()

    def _note(self) -> None:
        self.server.asked.append((self.command, self.path, dict(self.headers)))

    def _answer(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, content in (*headers, ("Content-Length", str(len(body)))):
            self.send_header(name, content)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        server.stored["/a"] = BODY
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(upstream: Upstream) -> Iterator[FaultProxy]:
    with FaultProxy(upstream.url) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(urlsplit(proxy.url).netloc, timeout=20)
    yield connection
    connection.close()


def ask(
    client: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None
) -> tuple[int, bytes]:
    client.request(method, path, body)
    with client.getresponse() as answer:
        return answer.status, answer.read()


def test_passes_everything_on_over_one_connection(client, proxy, upstream):
    assert ask(client, "PUT", "/b?c=d", BODY) == (200, b"")
    own = client.sock
    assert ask(client, "GET", "/b?c=d") == (200, BODY)
    assert ask(client, "HEAD", "/a") == (200, b"")
    assert ask(client, "DELETE", "/a") == (204, b"")
    assert ask(client, "GET", "/chunked") == (200, b"onethree")
    assert client.sock is own
    assert [(e.method, e.target, e.up, e.down, e.whole, e.status) for e in proxy.log] == [
        ("PUT", "/b?c=d", len(BODY), 0, True, 200),
        ("GET", "/b?c=d", 0, len(BODY), True, 200),
        ("HEAD", "/a", 0, 0, True, 200),
        ("DELETE", "/a", 0, 0, True, 204),
        ("GET", "/chunked", 0, 8, True, 200),
    ]


def test_passes_a_body_without_a_length_and_closes(client):
    assert ask(client, "GET", "/unframed") == (200, b"until the end")


def test_keeps_the_host_and_every_other_header(client, proxy, upstream):
    client.request("GET", "/a", headers={"X-Odd-CASE": "1 2", "Range": "bytes=0-9"})
    client.getresponse().read()
    headers = upstream.asked[0][2]
    assert headers["Host"] == urlsplit(proxy.url).netloc
    assert headers["X-Odd-CASE"] == "1 2"
    assert proxy.log[0].range == "bytes=0-9"


def test_redirections_lead_to_the_proxy(client, proxy):
    client.request("PUT", "/b", b"x")
    with client.getresponse() as answer:
        assert answer.headers["Location"] == f"{proxy.url}/next"


def test_answers_who_waits_before_sending_the_body(client, upstream):
    client.putrequest("PUT", "/b")
    client.putheader("Content-Length", "3")
    client.putheader("Expect", "100-continue")
    client.endheaders()
    assert client.sock.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"abc")
    assert client.getresponse().status == 200
    assert "Expect" not in upstream.asked[0][2]


def test_rules_count_what_fits_and_the_first_that_is_not_used_up_takes_it(client, proxy):
    proxy.inject("GET", r"^/a\?x", Instead(reply(500)), skip=1, times=2)
    rest = proxy.inject("GET", "/a", Instead(reply(503)), times=None)
    proxy.inject("PUT", "/a", Instead(reply(507)))
    answers = [ask(client, "GET", "/a?x=1")[0] for _ in range(5)]
    assert answers == [503, 500, 500, 503, 503]
    assert rest.fired == 3
    proxy.forget()
    assert ask(client, "GET", "/a")[0] == 200


def test_rules_may_ask_for_a_header(client, proxy):
    proxy.inject("GET", "/a", Instead(reply(500)), header=("x-a", "^1"), times=None)
    answers = []
    for headers in ({}, {"X-A": "21"}, {"X-A": "12"}):
        client.request("GET", "/a", headers=headers)
        with client.getresponse() as answer:
            answers.append(answer.status)
            answer.read()
    assert answers == [200, 200, 500]


def test_an_early_answer_leaves_the_body_unread(client, proxy, upstream):
    proxy.inject("PUT", "/b", Instead(reply(503, b"busy"), early=True))
    client.putrequest("PUT", "/b")
    client.putheader("Content-Length", "1000")
    client.endheaders()
    with client.getresponse() as answer:
        assert (answer.status, answer.read()) == (503, b"busy")
    assert client.sock is None or client.sock.recv(1) == b""
    assert upstream.asked == []


def test_own_answers_come_with_their_headers_and_nobody_else_hears(client, proxy, upstream):
    proxy.inject("GET", "/a", Instead(reply(429, b"later", Retry_After="7")))
    client.request("GET", "/a")
    with client.getresponse() as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (429, "7")
        assert answer.read() == b"later"
    proxy.inject("HEAD", "/a", Instead(reply(404, b"no body")))
    assert ask(client, "HEAD", "/a") == (404, b"")
    assert upstream.asked == []
    assert [entry.whole for entry in proxy.log] == [False, False]


def test_own_answers_after_the_server_did_its_work(client, proxy, upstream):
    proxy.inject("PUT", "/b", Instead(reply(200, b"<Error/>"), asked=True))
    assert ask(client, "PUT", "/b", BODY) == (200, b"<Error/>")
    assert upstream.stored["/b"] == BODY


@pytest.mark.parametrize(
    ("end", "error"),
    [(End.RESET, ConnectionResetError), (End.CLOSE, http.client.RemoteDisconnected)],
)
@pytest.mark.parametrize("action", [Before, Lost])
def test_the_connection_ends_before_or_after_the_work(action, end, error, client, proxy, upstream):
    rule = proxy.inject("PUT", "/b", action(end))
    with pytest.raises(error):
        ask(client, "PUT", "/b", BODY)
    assert upstream.stored.get("/b") == (None if action is Before else BODY)
    assert rule.reached.is_set()
    assert proxy.log[0].status is None
    client.close()
    assert ask(client, "PUT", "/b", BODY)[0] == 200


@pytest.mark.parametrize("end", [End.RESET, End.CLOSE])
@pytest.mark.parametrize("at", [0, 1, 100_001])
def test_the_server_gets_so_much_of_the_body(at, end, client, proxy, upstream):
    proxy.inject("PUT", "/b", CutRequest(at, end))
    with pytest.raises(ConnectionError):
        ask(client, "PUT", "/b", BODY)
    assert (proxy.log[0].up, proxy.log[0].whole) == (at, False)
    assert "/b" not in upstream.stored


@pytest.mark.parametrize("at", [0, 1, 100_001])
def test_the_client_gets_so_much_of_the_body(at, client, proxy):
    proxy.inject("GET", "/a", CutAnswer(at, End.CLOSE))
    with pytest.raises(http.client.IncompleteRead) as caught:
        ask(client, "GET", "/a")
    assert caught.value.partial == BODY[:at]
    assert proxy.log[0].down == at


def test_the_answer_is_reset_in_the_middle(client, proxy):
    proxy.inject("GET", "/a", CutAnswer(10, End.RESET))
    with pytest.raises(ConnectionResetError):
        ask(client, "GET", "/a")
    assert proxy.log[0].down == 10


def test_a_connection_that_was_fine_is_closed_while_idle(client, proxy):
    proxy.inject("GET", "/a", CutAnswer(None, End.CLOSE))
    assert ask(client, "GET", "/a") == (200, BODY)
    assert client.sock.recv(1) == b""


@pytest.mark.parametrize("action", [Before(End.STALL), Lost(End.STALL), CutAnswer(5, End.STALL)])
def test_nothing_more_comes_until_the_client_hangs_up(action, client, proxy):
    rule = proxy.inject("GET", "/a", action)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, client, "GET", "/a")
        assert rule.reached.wait(20)
        assert not answer.done()
        proxy.close()
        with pytest.raises((ConnectionError, http.client.IncompleteRead)):
            answer.result()


def test_a_stalled_exchange_is_over_when_the_client_has_gone(client, proxy):
    rule = proxy.inject("PUT", "/b", CutRequest(5, End.STALL))
    client.request("PUT", "/b", b"a body")
    assert rule.reached.wait(20)
    client.close()
    assert proxy.log[0].up == 5


def test_a_short_body_says_that_it_is_whole(client, proxy):
    proxy.inject("GET", "/a", ShortAnswer(1000))
    own = ask(client, "GET", "/a")
    assert own == (200, BODY[:1000])
    assert ask(client, "GET", "/a") == (200, BODY)


@pytest.mark.parametrize("at", [0, 70_000, len(BODY) - 1])
def test_one_bit_changes_on_either_way(at, client, proxy, upstream):
    changed = BODY[:at] + bytes([BODY[at] ^ 1]) + BODY[at + 1 :]
    proxy.inject("GET", "/a", FlipAnswer(at))
    assert ask(client, "GET", "/a") == (200, changed)
    proxy.inject("PUT", "/b", FlipRequest(at))
    ask(client, "PUT", "/b", BODY)
    assert upstream.stored["/b"] == changed


def test_headers_that_tell_of_a_flip_get_lost_where_asked(client, proxy):
    proxy.inject("GET", "/a", FlipAnswer(0, strip=("x-sum-",)))
    client.request("GET", "/a")
    with client.getresponse() as answer:
        answer.read()
        assert ("x-sum-a" in answer.headers, "x-keep" in answer.headers) == (False, True)


def test_headers_get_lost_on_either_way(client, proxy, upstream):
    proxy.inject("GET", "/a", Without(("range", "x-b"), ("x-sum-",)))
    client.request("GET", "/a", headers={"Range": "bytes=0-9", "X-A": "1", "X-Bc": "2"})
    with client.getresponse() as answer:
        assert answer.read() == BODY
        assert ("x-sum-a" in answer.headers, "x-keep" in answer.headers) == (False, True)
    assert {"Range", "X-A", "X-Bc"} & upstream.asked[0][2].keys() == {"X-A"}


def test_bodies_drip(client, proxy, upstream):
    proxy.inject("GET", "/c", DripAnswer(1, 0.005))
    proxy.inject("PUT", "/c", DripRequest(1, 0.005))
    began = monotonic()
    ask(client, "PUT", "/c", b"drop by drop")
    assert monotonic() - began > 12 * 0.005
    began = monotonic()
    assert ask(client, "GET", "/c") == (200, b"drop by drop")
    assert monotonic() - began > 11 * 0.005  # the last pause comes behind the last byte
    assert upstream.stored["/c"] == b"drop by drop"


@pytest.mark.parametrize(("when", "known"), [("before", False), ("after", True)])
def test_something_else_happens_beside(when, known, client, proxy, upstream):
    seen = []
    proxy.inject("PUT", "/b", Aside(when, lambda: seen.append("/b" in upstream.stored)))
    assert ask(client, "PUT", "/b", BODY)[0] == 200
    assert seen == [known]


@pytest.mark.parametrize("action", [CutAnswer(10**6), FlipAnswer(10**6), ShortAnswer(10**6)])
def test_a_fault_beyond_the_body_is_a_mistake_of_the_test(action, upstream):
    proxy = FaultProxy(upstream.url)
    proxy.inject("GET", "/a", action)
    client = http.client.HTTPConnection(urlsplit(proxy.url).netloc, timeout=20)
    with closing(client), suppress(http.client.IncompleteRead):
        ask(client, "GET", "/a")
    with pytest.raises(ValueError, match="inside the body"), proxy:
        pass


def test_many_clients_at_once(proxy, upstream):
    def work(number: int) -> None:
        connection = http.client.HTTPConnection(urlsplit(proxy.url).netloc, timeout=20)
        for turn in range(5):
            assert ask(connection, "PUT", f"/{number}/{turn}", BODY)[0] == 200
            assert ask(connection, "GET", f"/{number}/{turn}")[1] == BODY
        connection.close()

    rule = proxy.inject("PUT", "/4", Action(), times=3)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert rule.fired == 3
    assert len(proxy.log) == 80
