import base64
import os
import pickle
import random
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tt_cloud._http import Connections
from tt_cloud.errors import InvalidURL, ProtocolError, Unavailable

from .certificates import Certificate
from .scripted import Asked, Script, Scripted, answer

PATIENT = 60.0  # seconds: more than any answer here needs
QUICK = 0.2  # seconds in which nothing comes, where that is the point


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy", "curl_ca_bundle"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


def connect(
    url: str, *, read_timeout: float = PATIENT, rate: int = 0, ca_bundle: str | None = None
) -> Connections:
    return Connections(
        url,
        connect_timeout=PATIENT,
        read_timeout=read_timeout,
        minimum_rate=rate,
        ca_bundle=ca_bundle,
    )


def fetch(connections: Connections, method: str = "GET", **options: Any) -> tuple[int, bytes]:
    with connections.request(method, "/key", {}, **options) as found:
        return found.status, found.read()


def saying(*answers: bytes | None) -> Script:
    """A script of these answers, one after the other."""
    left = iter(answers)
    return lambda asked, connection: next(left)


def test_a_request_is_sent_as_it_is_given() -> None:
    with Scripted(saying(answer(body=b"answer", X_Name="text"))) as server:
        connections = connect(server.url)
        headers = {"x-amz-meta-a": "b c"}
        with connections.request("PUT", "/a%20b?c=d", headers, memoryview(b"body")) as found:
            assert (found.status, found.headers["x-name"], found.length) == (200, "text", 6)
            assert found.read() == b"answer"
    (asked,) = server.asked
    assert (asked.method, asked.target, asked.body) == ("PUT", "/a%20b?c=d", b"body")
    assert asked.headers["host"] == f"127.0.0.1:{server.port}" == connections.host
    assert asked.headers["x-amz-meta-a"] == "b c"
    assert asked.headers["content-length"] == "4"
    assert "expect" not in asked.headers


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 5_000_000])
def test_bodies_of_all_sizes_arrive(size: int) -> None:
    body = random.Random(size).randbytes(size)
    with Scripted(lambda asked, _: answer(body=asked.body)) as server:
        with connect(server.url).request("PUT", "/", {}, memoryview(body)) as found:
            assert found.read(size) == body
        assert server.asked[0].body == body


@st.composite
def framed(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A body, and one of the ways to send it."""
    pieces = draw(st.lists(st.binary(max_size=300), max_size=5))
    body = b"".join(pieces)
    form = draw(st.sampled_from(["length", "chunks", "end"]))
    if form == "length":
        return body, answer(body=body)
    if form == "end":
        return body, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body
    extension = draw(st.sampled_from([b"", b";a=b"]))
    trailer = draw(st.sampled_from([b"", b"X-Trailer: 1\r\n"]))
    chunks = b"".join(b"%x%s\r\n%s\r\n" % (len(each), extension, each) for each in pieces if each)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return body, head + chunks + b"0\r\n" + trailer + b"\r\n"


@settings(deadline=None)
@given(st.data())
def test_an_answer_is_read_in_whatever_pieces_it_comes(data: st.DataObject) -> None:
    body, sent = data.draw(framed())
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=6)))
    room = data.draw(st.integers(1, 400))

    def script(asked: Asked, connection: socket.socket) -> bytes | None:
        for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
            connection.sendall(sent[start:end])
        return None if b"Connection: close" in sent else b""

    with Scripted(script) as server:
        connections = connect(server.url)
        for _ in range(2):  # the second shows whether all of the first was taken
            with connections.request("GET", "/", {}) as found:
                assert taken(found.readinto, room) == body
        connections.close()


def taken(readinto: Callable[[memoryview], int], room: int) -> bytes:
    found, buffer = b"", memoryview(bytearray(room))
    while count := readinto(buffer):
        found += buffer[:count]
    return found


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.builds(bytes.__add__, st.just(b"HTTP/1.1 200 "), st.binary()))
def test_rubbish_is_an_answer_or_an_error_of_ours(sent: bytes) -> None:
    def script(asked: Asked, connection: socket.socket) -> None:
        connection.sendall(sent)

    with Scripted(script) as server, suppress(ProtocolError, Unavailable):
        status, body = fetch(connect(server.url))
        assert 200 <= status < 600
        assert body in sent


@pytest.mark.parametrize(
    "sent",
    [
        b"SSH-2.0-OpenSSH_9\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 99 Low\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nname : text\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nName: text\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nName: text\nOther: text\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0x10\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
        b"HTTP/1.1 200 OK\r\nName: " + b"x" * 100_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: b\r\n" * 1000,
    ],
    ids=lambda sent: sent[:60].decode("latin-1"),
)
def test_what_is_no_http_is_refused(sent: bytes) -> None:
    with Scripted(saying(sent)) as server, pytest.raises(ProtocolError, match=r"127\.0\.0\.1"):
        fetch(connect(server.url))


def test_repeated_headers_are_joined() -> None:
    sent = b"HTTP/1.1 200 OK\r\nA: 1\r\na:2 \r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok"
    with Scripted(saying(sent)) as server, connect(server.url).request("GET", "/", {}) as found:
        assert found.headers["a"] == "1, 2"
        assert found.read() == b"ok"


def test_provisional_answers_are_skipped() -> None:
    sent = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    with Scripted(saying(sent + answer(body=b"final"))) as server:
        assert fetch(connect(server.url)) == (200, b"final")


@pytest.mark.parametrize(
    ("method", "sent"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 None\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Same\r\nContent-Length: 1000\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ],
)
def test_answers_without_a_body_end_with_their_head(method: str, sent: bytes) -> None:
    with Scripted(saying(sent, answer(body=b"next"))) as server:
        connections = connect(server.url)
        assert fetch(connections, method)[1] == b""
        assert fetch(connections) == (200, b"next")
    assert server.connections == 1


def test_a_connection_serves_on_only_when_all_was_read() -> None:
    with Scripted(lambda *_: answer(body=bytes(100_000))) as server:
        connections = connect(server.url)
        fetch(connections)
        fetch(connections)
        assert server.connections == 1
        with connections.request("GET", "/", {}) as found:
            found.readinto(memoryview(bytearray(10)))
        fetch(connections)
        assert server.connections == 2
        with suppress(KeyError), connections.request("GET", "/", {}) as found:
            found.read()
            raise KeyError
        fetch(connections)
    assert server.connections == 3


def test_the_rest_of_a_body_is_never_taken_for_an_answer() -> None:
    """Not even when it has not come yet."""
    whole = answer(body=bytes(100))

    def script(asked: Asked, connection: socket.socket) -> bytes:
        return whole[:-50] if len(server.asked) == 1 else whole

    with Scripted(script) as server:
        connections = connect(server.url)
        with connections.request("GET", "/", {}) as found:
            taken = 0
            while taken < 50:
                taken += found.readinto(memoryview(bytearray(100)))
        assert fetch(connections) == (200, bytes(100))
    assert server.connections == 2


@pytest.mark.parametrize(
    "sent",
    [
        answer(body=b"a", Connection="close"),
        answer(body=b"a").replace(b"1.1", b"1.0"),
        answer(body=b"a") + b"HTTP/1.1 200 Forged\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=["closed", "HTTP/1.0", "more than asked for"],
)
def test_a_connection_that_ends_is_not_used_again(sent: bytes) -> None:
    with Scripted(saying(sent, sent)) as server:
        connections = connect(server.url)
        assert fetch(connections) == fetch(connections) == (200, b"a")
    assert server.connections == 2


def test_a_connection_closed_while_idle_is_replaced() -> None:
    gone = threading.Event()

    def script(asked: Asked, connection: socket.socket) -> bytes | None:
        if len(server.asked) % 2:
            connection.sendall(answer(body=b"first"))
            connection.shutdown(socket.SHUT_RDWR)
            gone.set()
            return None
        return answer(body=b"second")

    with Scripted(script) as server:
        connections = connect(server.url)
        fetch(connections)
        assert gone.wait(PATIENT)
        assert fetch(connections) == (200, b"second")


def test_a_kept_connection_that_hangs_up_is_replaced_once() -> None:
    """As when the server closes it in the moment in which the request is sent."""
    sent = saying(answer(body=b"first"), None, answer(body=b"second"), None, None)
    with Scripted(sent) as server:
        connections = connect(server.url)
        assert fetch(connections) == (200, b"first")
        assert fetch(connections) == (200, b"second")
        with pytest.raises(Unavailable, match="ended the connection"):
            fetch(connections)
    assert len(server.asked) == 5


def test_no_connection_is_replaced_for_who_wants_to_look_first() -> None:
    with Scripted(saying(answer(), None)) as server:
        connections = connect(server.url)
        fetch(connections)
        with pytest.raises(Unavailable):
            fetch(connections, once=True)
    assert len(server.asked) == 2


def test_a_new_connection_that_hangs_up_is_not_replaced() -> None:
    with Scripted(saying(None)) as server, pytest.raises(Unavailable):
        fetch(connect(server.url))
    assert len(server.asked) == 1


def test_an_answer_that_began_is_not_asked_for_again() -> None:
    def script(asked: Asked, connection: socket.socket) -> bytes | None:
        if len(server.asked) == 1:
            return answer()
        connection.sendall(b"HTTP/1.1 200")
        return None

    with Scripted(script) as server:
        connections = connect(server.url)
        fetch(connections)
        with pytest.raises(Unavailable):
            fetch(connections)
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n0\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1",
    ],
)
def test_a_body_that_ends_too_early_is_no_body(sent: bytes) -> None:
    def script(asked: Asked, connection: socket.socket) -> None:
        connection.sendall(sent)

    with Scripted(script) as server, pytest.raises(Unavailable, match="ended"):
        fetch(connect(server.url))


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 2", answer(body=bytes(100))[:-1]])
def test_a_stall_is_noticed(sent: bytes) -> None:
    def script(asked: Asked, connection: socket.socket) -> None:
        connection.sendall(sent)
        server.over.wait(PATIENT)

    with Scripted(script) as server, pytest.raises(Unavailable, match="moved nothing in 0 s"):
        fetch(connect(server.url, read_timeout=QUICK))


@pytest.mark.parametrize("begin", [b"HTTP/1.1 200 OK\r\nName: ", answer(body=bytes(999_999))[:99]])
def test_a_drip_is_noticed(begin: bytes) -> None:
    def script(asked: Asked, connection: socket.socket) -> None:
        connection.sendall(begin)
        while not server.over.wait(QUICK / 20):
            connection.sendall(b"x")

    with Scripted(script) as server, pytest.raises(Unavailable, match=r"moved .* bytes in"):
        fetch(connect(server.url, read_timeout=QUICK, rate=10_000))


def test_a_reader_that_takes_its_time_is_no_stall() -> None:
    with Scripted(lambda *_: answer(body=bytes(200_000))) as server:
        connections = connect(server.url, read_timeout=QUICK, rate=100_000)
        with connections.request("GET", "/", {}) as found:
            found.readinto(memoryview(bytearray(1)))
            server.over.wait(2 * QUICK)
            assert len(found.read(200_000)) == 199_999


def test_a_server_that_does_not_listen_is_noticed() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with listener, pytest.raises(Unavailable, match="moved nothing"):
        fetch(connect(url, read_timeout=QUICK), "PUT", body=memoryview(bytes(64 << 20)))


def test_slow_requests_may_take_longer() -> None:
    def script(asked: Asked, connection: socket.socket) -> bytes:
        server.over.wait(2 * QUICK)
        return answer(body=b"done")

    with Scripted(script) as server:
        connections = connect(server.url, read_timeout=QUICK, rate=1 << 20)
        assert fetch(connections, "POST", slow=True) == (200, b"done")


def test_an_answer_before_the_body_was_taken_is_heard() -> None:
    """A server that refuses a large body says why, and hangs up."""
    with hasty(answer(503, b"slow down")) as port:
        body = memoryview(bytes(64 << 20))
        connections = connect(f"http://127.0.0.1:{port}")
        assert fetch(connections, "PUT", body=body) == (503, b"slow down")


@contextmanager
def hasty(sent: bytes) -> Iterator[int]:
    """A server that answers once, before it knows what is wanted, and hangs up."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(100)
            connection.sendall(sent)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(PATIENT)


def test_nobody_there_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(Unavailable, match=url):
        fetch(connect(url))
    with pytest.raises(Unavailable, match=r"name\.invalid"):
        fetch(connect("http://name.invalid"))


def test_small_bodies_stay_small() -> None:
    with Scripted(lambda *_: answer(body=bytes(101))) as server:
        connections = connect(server.url)
        with connections.request("GET", "/", {}) as found:
            assert len(found.read(101)) == 101
        with (
            pytest.raises(ProtocolError, match="more than 100 bytes"),
            connections.request("GET", "/", {}) as found,
        ):
            found.read(100)


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/key", {"name": "text\r\nHost: other"}),
        ("/key", {"name\n": "text"}),
        ("/key HTTP/1.1\r\nX: y", {}),
        ("/a key", {}),
    ],
)
def test_nothing_can_be_slipped_into_a_request(target: str, headers: dict[str, str]) -> None:
    with (
        Scripted(saying()) as server,
        pytest.raises(ValueError, match="line break"),
        connect(server.url).request("GET", target, headers),
    ):
        pass
    assert server.connections == 0


def test_threads_do_not_get_each_others_answers() -> None:
    with Scripted(lambda asked, _: answer(body=asked.target.encode())) as server:
        connections = connect(server.url)

        def ask(number: int) -> bool:
            with connections.request("GET", f"/{number}", {}) as found:
                return found.read() == b"/%d" % number

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(ask, range(400)))
    assert server.connections <= 8


def test_another_process_has_other_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    with Scripted(lambda *_: answer()) as server:
        connections = connect(server.url)
        fetch(connections)
        fetch(pickle.loads(pickle.dumps(connections)))
        assert server.connections == 2
        monkeypatch.setattr(os, "getpid", lambda: -1)  # as in a forked child
        fetch(connections)
        assert server.connections == 3


def test_closed_connections_are_opened_again() -> None:
    with Scripted(lambda *_: answer()) as server:
        connections = connect(server.url)
        fetch(connections)
        connections.close()
        fetch(connections)
    assert server.connections == 2


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://example.org:80", "example.org"),
        ("https://example.org:443/path", "example.org"),
        ("https://example.org:9000", "example.org:9000"),
        ("http://[::1]:9000", "[::1]:9000"),
    ],
)
def test_the_host_header_leaves_out_what_is_usual(url: str, host: str) -> None:
    assert connect(url).host == host


# TLS


@pytest.fixture(scope="module")
def tls(certificate: Certificate | None) -> Iterator[Scripted]:
    if certificate is None:
        pytest.skip("needs cryptography or openssl")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.file, certificate.key)
    with Scripted(lambda asked, _: answer(body=asked.body), context) as server:
        yield server


def test_a_named_certificate_is_trusted(tls: Scripted, certificate: Certificate) -> None:
    connections = connect(tls.url, ca_bundle=str(certificate.file))
    body = os.urandom(1_000_000)
    for _ in range(2):
        with connections.request("PUT", "/", {}, memoryview(body)) as found:
            assert found.read(len(body)) == body


def test_the_environment_names_certificates(
    tls: Scripted, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        with monkeypatch.context() as patch:
            patch.setenv(name, str(certificate.file))
            assert fetch(connect(tls.url))[0] == 200


def test_unknown_certificates_are_not_trusted(tls: Scripted) -> None:
    with pytest.raises(ProtocolError, match=r"not trusted.*ca_bundle"):
        fetch(connect(tls.url))


def test_certificates_of_other_names_are_not_trusted(
    tls: Scripted, certificate: Certificate
) -> None:
    url = f"https://localhost:{tls.port}"
    with pytest.raises(ProtocolError, match="not trusted"):
        fetch(connect(url, ca_bundle=str(certificate.file)))


def test_a_server_without_tls_is_recognised() -> None:
    with hasty(answer(400)) as port, pytest.raises(ProtocolError, match="http://"):
        fetch(connect(f"https://127.0.0.1:{port}"))


def test_a_bundle_that_is_none_is_refused(tls: Scripted, tmp_path: Any) -> None:
    (tmp_path / "empty").touch()
    for name in ("missing", "empty"):
        with pytest.raises(InvalidURL, match=name):
            fetch(connect(tls.url, ca_bundle=str(tmp_path / name)))


# proxies


class Tunnel:
    """A proxy that lets through whom it knows."""

    def __init__(self, port: int, known: str | None = None) -> None:
        self._port = port
        self._known = known

    def __call__(self, asked: Asked, connection: socket.socket) -> bytes | None:
        if self._known and asked.headers.get("proxy-authorization") != self._known:
            return answer(407)
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with socket.create_connection(("127.0.0.1", self._port)) as server:
            back = threading.Thread(target=relay, args=(server, connection))
            back.start()
            relay(connection, server)
            back.join(PATIENT)
        return None


def relay(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    for each in (source, target):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def test_tls_goes_through_a_proxy(
    tls: Scripted, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = f"Basic {base64.b64encode(b'user:p@ss').decode()}"
    with Scripted(Tunnel(tls.port, known)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:p%40ss@127.0.0.1:{proxy.port}")
        connections = connect(tls.url, ca_bundle=str(certificate.file))
        assert fetch(connections, "PUT", body=memoryview(b"body")) == (200, b"body")
        assert (proxy.asked[0].method, proxy.asked[0].target) == ("CONNECT", connections.host)
        assert not {b"p@ss", b"p%40ss"} & set(re.findall(rb"p[@%]\w*ss", pickle.dumps(connections)))
        connections.close()
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:wrong@127.0.0.1:{proxy.port}")
        with pytest.raises(ProtocolError, match="407") as caught:
            fetch(connect(tls.url, ca_bundle=str(certificate.file)))
        assert "wrong" not in str(caught.value)


def test_a_proxy_is_told_the_address_of_plain_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    with Scripted(lambda *_: answer(body=b"by proxy")) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://user:pass@127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,.example.net")
        assert fetch(connect("http://server.example.org:9000")) == (200, b"by proxy")
    (asked,) = proxy.asked
    assert asked.target == "http://server.example.org:9000/key"
    assert asked.headers["host"] == "server.example.org:9000"
    assert asked.headers["proxy-authorization"] == "Basic dXNlcjpwYXNz"


def test_some_servers_need_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Scripted(lambda *_: answer(body=b"directly")) as server:
        assert fetch(connect(server.url)) == (200, b"directly")


@pytest.mark.parametrize(
    "address",
    ["socks5://user:pass@127.0.0.1:9", "http://user:pass/word@127.0.0.1:9", "http://u:pass@[::1:9"],
)
def test_other_kinds_of_proxies_are_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", address)
    with pytest.raises(InvalidURL, match="http://host:port") as caught:
        fetch(connect("https://server.example.org"))
    assert "pass" not in str(caught.value)


def test_a_proxy_that_is_not_there_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{listener.getsockname()[1]}")
    with pytest.raises(Unavailable, match=r"the proxy to https://server\.example.org"):
        fetch(connect("https://server.example.org"))


def test_a_proxy_is_told_numeric_addresses_as_urls_have_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Scripted(lambda *_: answer(502)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        for host in ("[::1]", "[::1]:9000", "server.example.org"):
            with pytest.raises(Unavailable, match="502"):
                fetch(connect(f"https://{host}"))
    wanted = ["[::1]:443", "[::1]:9000", "server.example.org:443"]
    assert [asked.target for asked in proxy.asked] == wanted


def test_success_before_all_was_sent_is_none() -> None:
    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(10)
            connection.sendall(answer())  # and hangs up, which resets: there is more to read

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(Unavailable):
            fetch(connect(url), "PUT", body=memoryview(bytes(64 << 20)))
        thread.join()
