"""Uploads in parts to a server that keeps what Google says it keeps, which no emulator does."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("google.cloud.storage", reason="needs tt-cloud[gcs]")

import google_crc32c

from tt_cloud._gcs import GoogleRemote
from tt_cloud._gcs._checksums import crc32c
from tt_cloud._remote import Part, Upload
from tt_cloud._stored import Attributes, Condition
from tt_cloud.errors import (
    AlreadyExists,
    BucketNotFound,
    ChecksumMismatch,
    NotFound,
    ProtocolError,
    Unavailable,
)

from .conftest import said

Connect = Callable[..., GoogleRemote]
GRAIN = 262_144
ANY = Condition()
DATA = bytes(range(251)) * 4_000  # 1,004,000 bytes: four parts of a grain, the last is not whole


@dataclass
class Vault:
    """Resumable sessions as Google documents them.

    Attributes:
        objects: What is stored.
        mute: Requests with bytes whose answers get lost, counted from 0.
        greed: Most bytes of a request that are kept.
        checks: Whether a wrong checksum is refused.
        flip: A request with bytes of which one changes on the way.
        sizes: Bytes of each request with bytes.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    mute: set[int] = field(default_factory=set)
    greed: int = 1 << 40
    checks: bool = True
    flip: int | None = None
    taken: bool = False
    sizes: list[int] = field(default_factory=list)
    sessions: dict[str, tuple[str, bytearray]] = field(default_factory=dict)

    def answer(self, asked: Any) -> Any:
        url = urlsplit(asked.target)
        if asked.method == "GET":
            return self.say(404 if "/o/" in url.path else 200, "{}")
        session = parse_qs(url.query).get("upload_id", [""])[0]
        if asked.method == "POST":
            name = json.loads(asked.body)["name"]
            session = f"secret{len(self.sessions)}"
            self.sessions[session] = name, bytearray()
            return self.say(200, location=f"https://elsewhere{url.path}?upload_id={session}")
        if asked.method == "DELETE" and not session:
            self.objects.pop(url.path.rpartition("%2F")[2], None)
            return self.say(204)
        if session not in self.sessions:
            return self.say(410, "gone", content_type="text/html; charset=UTF-8")
        if asked.method == "DELETE":
            del self.sessions[session]
            return self.say(499)
        return self.take(asked, *self.sessions[session])

    def say(self, status: int, body: str = "", **headers: str) -> bytes:
        return said(status, body, **headers)

    def take(self, asked: Any, name: str, kept: bytearray) -> Any:
        span, total = asked.headers["content-range"].removeprefix("bytes ").split("/")
        if span != "*":
            number = len(self.sizes)
            self.sizes.append(len(asked.body))
            fault = self.keep(asked, int(span.split("-")[0]), int(total), kept, number)
            if fault:
                return fault
            if number in self.mute:
                return None
        key = name.rpartition("/")[2]
        if len(kept) < int(total):
            ranges = {"range": f"bytes=0-{len(kept) - 1}"} if kept else {}
            return self.say(308, **ranges)
        self.objects[key] = bytes(kept)
        checksum = google_crc32c.value(bytes(kept)).to_bytes(4, "big")
        found = {"size": str(len(kept)), "generation": "77"}
        found["crc32c"] = base64.b64encode(checksum).decode()
        return self.say(200, json.dumps(found))

    def keep(self, asked: Any, start: int, total: int, kept: bytearray, number: int) -> Any:
        """Take what can be taken, or answer what is wrong."""
        if start > len(kept):
            return self.say(503)
        body = bytearray(asked.body)
        if number == self.flip:
            body[0] ^= 1
        new = bytes(body)[len(kept) - start :][: self.greed]
        if len(kept) + len(new) < total:
            new = new[: len(new) // GRAIN * GRAIN]
        elif self.taken:
            return self.say(412, '{"error": {"errors": [{"reason": "conditionNotMet"}]}}')
        kept += new
        checksum = base64.b64encode(google_crc32c.value(bytes(kept)).to_bytes(4, "big")).decode()
        claimed = asked.headers.get("x-goog-hash")
        if self.checks and len(kept) == total and claimed != f"crc32c={checksum}":
            text = {"error": {"errors": [{"reason": "invalid"}], "message": "crc32c differs"}}
            return self.say(400, json.dumps(text))
        return None


@pytest.fixture
def vault(script: Any) -> Vault:
    vault = Vault()
    script.answer = vault.answer
    return vault


def test_all_bytes_arrive_once_and_the_object_last(vault: Vault, remote: GoogleRemote) -> None:
    upload = begin(remote)
    sent = [send(remote, upload, number) for number in range(1, 5)]
    assert vault.objects == {}
    stored = remote.finish(upload, sent, 0, ANY)
    assert vault.objects == {"key": DATA}
    assert vault.sizes == [GRAIN, GRAIN, GRAIN, len(DATA) - 3 * GRAIN]
    assert (stored.size, stored.etag) == (len(DATA), "77")
    assert stored.checksums["crc32c"] == f"{google_crc32c.value(DATA):08x}"


@pytest.mark.parametrize("lost", [{0}, {2}, {3}, {0, 1, 2}, {0, 1, 2, 3}])
def test_lost_answers_cost_a_question(vault: Vault, remote: GoogleRemote, lost: set[int]) -> None:
    vault.mute = lost
    upload = begin(remote)
    sent = [retried(send, remote, upload, number) for number in range(1, 5)]
    retried(remote.finish, upload, sent, 0, ANY)
    assert vault.objects == {"key": DATA}
    assert sum(vault.sizes) == len(DATA)  # nothing went twice


def test_what_the_service_did_not_keep_is_sent_again(vault: Vault, remote: GoogleRemote) -> None:
    vault.greed = 2 * GRAIN
    upload = begin(remote, part_size=3 * GRAIN)
    sent = [send(remote, upload, number) for number in (1, 2)]
    remote.finish(upload, sent, 0, ANY)
    assert vault.objects == {"key": DATA}
    assert vault.sizes == [3 * GRAIN, GRAIN, len(DATA) - 3 * GRAIN]


def test_a_service_that_keeps_nothing_is_unavailable(vault: Vault, remote: GoogleRemote) -> None:
    vault.greed = 0
    with pytest.raises(Unavailable, match="kept none"):
        send(remote, begin(remote), 1)


@pytest.mark.parametrize("done", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("noted", [0, 1, 4])
def test_another_process_goes_on(
    vault: Vault, remote: GoogleRemote, connect: Connect, script: Any, done: int, noted: int
) -> None:
    upload = begin(remote)
    notes = {number: send(remote, upload, number) for number in range(1, done + 1)}
    other = connect(script.url)
    known = other.sent(upload)
    assert known == {n: Part(n, GRAIN, "") for n in range(1, min(done, 3) + 1)}
    sent = [
        notes[n] if n in known and n <= min(noted, done) else send(other, upload, n)
        for n in range(1, 5)
    ]
    other.finish(upload, sent, 0, ANY)
    assert vault.objects == {"key": DATA}
    assert sum(vault.sizes) == len(DATA)


def test_a_finished_upload_is_recognised(
    vault: Vault, remote: GoogleRemote, connect: Connect, script: Any
) -> None:
    upload = begin(remote)
    sent = [send(remote, upload, number) for number in range(1, 5)]
    stored = remote.finish(upload, sent, 0, ANY)
    other = connect(script.url)
    sizes = {n: part.size for n, part in (other.sent(upload) or {}).items()}
    assert sizes == {1: GRAIN, 2: GRAIN, 3: GRAIN, 4: len(DATA) - 3 * GRAIN}
    assert other.finish(upload, sent, 0, ANY) == stored


def test_a_session_that_is_gone(vault: Vault, remote: GoogleRemote) -> None:
    upload = begin(remote)
    sent = [send(remote, upload, number) for number in range(1, 5)]
    vault.sessions.clear()
    for call in (lambda: remote.finish(upload, sent, 0, ANY), lambda: send(remote, upload, 1)):
        with pytest.raises(NotFound, match="begin again") as caught:
            call()
        assert not isinstance(caught.value, BucketNotFound)
    assert remote.sent(upload) is None
    remote.abandon(upload)


def test_parts_that_were_left_out_are_missed(vault: Vault, remote: GoogleRemote) -> None:
    upload = begin(remote)
    with pytest.raises(NotFound):
        send(remote, upload, 2)
    first = send(remote, upload, 1)
    with pytest.raises(NotFound):
        remote.finish(upload, [first], 0, ANY)
    assert vault.objects == {}


def test_the_service_is_asked_what_it_has(vault: Vault, remote: GoogleRemote) -> None:
    upload = begin(remote)
    send(remote, upload, 1)
    vault.sessions.clear()
    assert remote.sent(upload) is None


def test_a_service_that_loses_what_it_had(vault: Vault, remote: GoogleRemote) -> None:
    upload = begin(remote)
    sent = [send(remote, upload, number) for number in range(1, 5)]
    (kept,) = (kept for _, kept in vault.sessions.values())
    del kept[GRAIN:]
    with pytest.raises(Unavailable):
        remote.finish(upload, sent, 0, ANY)
    with pytest.raises(NotFound, match="begin again"):
        remote.finish(upload, sent, 0, ANY)
    assert vault.objects == {}


def test_an_abandoned_session_is_closed(vault: Vault, remote: GoogleRemote) -> None:
    upload = begin(remote)
    remote.abandon(upload)
    remote.abandon(upload)
    assert vault.sessions == {}


@pytest.mark.parametrize("checks", [True, False])
@pytest.mark.parametrize("flip", [0, 2, 3])
def test_a_flipped_bit_makes_no_object(
    vault: Vault, remote: GoogleRemote, checks: bool, flip: int
) -> None:
    vault.checks, vault.flip = checks, flip
    upload = begin(remote)
    sent = [send(remote, upload, number) for number in range(1, 5)]
    with pytest.raises(ChecksumMismatch, match="below/key"):
        remote.finish(upload, sent, 0, ANY)
    assert vault.objects == {}


def test_a_server_that_does_not_compare_is_asked_before(
    script: Any, vault: Vault, remote: GoogleRemote
) -> None:
    upload = begin(remote)
    sent = [send(remote, upload, number) for number in range(1, 5)]
    taken = said(200, '{"size": "1", "generation": "5"}')
    script.answer = lambda asked: taken if asked.method == "GET" else vault.answer(asked)
    with pytest.raises(AlreadyExists, match="gs://b/below/key"):
        remote.finish(upload, sent, 0, Condition(absent=True))
    assert vault.objects == {}


def test_a_key_that_was_taken_meanwhile(vault: Vault, remote: GoogleRemote) -> None:
    upload = begin(remote)
    sent = [send(remote, upload, number) for number in range(1, 5)]
    vault.taken = True
    with pytest.raises(AlreadyExists, match="gs://b/below/key"):
        remote.finish(upload, sent, 0, Condition(absent=True))


@pytest.mark.parametrize("location", [None, "", "https://elsewhere/upload"])
def test_a_session_without_address(script: Any, remote: GoogleRemote, location: str | None) -> None:
    script.says(200, **({} if location is None else {"location": location}))
    with pytest.raises(ProtocolError):
        begin(remote)


def test_the_description_goes_first(script: Any, vault: Vault, remote: GoogleRemote) -> None:
    begin(remote)
    asked = script.asked[0]
    expected = {"name": "below/key", "contentType": "a/b", "metadata": {"tt-upload": "token"}}
    assert json.loads(asked.body) == expected
    assert asked.headers["x-upload-content-type"] == "a/b"
    assert asked.headers["x-upload-content-length"] == str(len(DATA))


def test_the_sessions_address_is_not_told(
    vault: Vault, remote: GoogleRemote, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    upload = begin(remote)
    vault.mute = {0}
    texts = []
    for call in (lambda: send(remote, upload, 1), lambda: send(remote, upload, 3)):
        with pytest.raises((Unavailable, NotFound)) as caught:
            call()
        texts.append(str(caught.value))
    vault.sessions.clear()
    with pytest.raises(NotFound) as caught:
        send(remote, upload, 2)
    assert "secret" in upload.id
    assert "secret" not in "".join([*texts, str(caught.value), caplog.text, repr(remote)])


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(0, 3_000))
def test_checksums_are_those_of_googles_library(piece: bytes, repeats: int) -> None:
    data = piece * repeats
    assert crc32c(memoryview(bytearray(data))) == google_crc32c.value(data)


@pytest.mark.slow
@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    mute=st.sets(st.integers(0, 9), max_size=4),
    greed=st.integers(1, 4).map(lambda grains: grains * GRAIN),
    part=st.integers(1, 4 * GRAIN),
    processes=st.sets(st.integers(1, 4)),
)
def test_whatever_happens_the_object_is_right(
    script: Any, connect: Connect, mute: set[int], greed: int, part: int, processes: set[int]
) -> None:
    vault = Vault(mute=mute, greed=greed)
    script.answer = vault.answer
    remote = connect(script.url)
    upload = begin(remote, part)
    sent: dict[int, Part] = {}
    for number in range(1, -(-len(DATA) // upload.part_size) + 1):
        if number in processes:
            remote = connect(script.url)
            assert retried(remote.sent, upload) is not None
        sent[number] = retried(send, remote, upload, number)
    retried(remote.finish, upload, list(sent.values()), 0, ANY)
    assert vault.objects == {"key": DATA}


def begin(remote: GoogleRemote, part_size: int = GRAIN) -> Upload:
    attributes = Attributes({"tt-upload": "token"}, "a/b")
    return remote.begin("key", len(DATA), part_size, attributes, ANY)


def send(remote: GoogleRemote, upload: Upload, number: int) -> Part:
    start = (number - 1) * upload.part_size
    return remote.send(upload, number, memoryview(DATA)[start : start + upload.part_size], 0)


def retried(call: Callable[..., Any], *arguments: Any) -> Any:
    for _ in range(20):
        try:
            return call(*arguments)
        except Unavailable:
            pass
    raise AssertionError("unavailable for ever")
