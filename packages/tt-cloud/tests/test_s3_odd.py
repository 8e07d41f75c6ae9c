"""`S3Remote` before servers that do less than AWS, say no, or talk nonsense."""

from __future__ import annotations

import hashlib
import logging
import re
import socket
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

pytest.importorskip("boto3", reason="needs tt-cloud[s3]")

from tt_cloud._keys import split_bucket_url
from tt_cloud._options import Access, Encryption, RetryPolicy, Writing
from tt_cloud._remote import Part, Upload
from tt_cloud._s3 import S3Remote
from tt_cloud._stored import Attributes, Condition
from tt_cloud.errors import (
    AccessDenied,
    AlreadyExists,
    BucketNotFound,
    Changed,
    ChecksumMismatch,
    CloudError,
    CredentialsExpired,
    InvalidURL,
    NotFound,
    ProtocolError,
    Throttled,
    Unavailable,
    Unsupported,
)

from .scripted import Asked, Script, Scripted, answer

ANYHOW = Condition()
DATA = memoryview(b"data")
DIGEST = hashlib.sha256(DATA).hexdigest()
CRC = zlib.crc32(DATA)
CRC_TEXT = "rfPzYw=="
ABOUT = Attributes({"tt-sha256": DIGEST}, "text/plain")
PLAIN = Writing()
OBJECT = answer(body=b"data", ETag='"etag"')
PAGE = b"<!DOCTYPE html><html><body>Sign in</body></html>"
UPLOAD = Upload("key", "upload", 4, 4)
PART = Part(1, 4, "etag", CRC)


def opened(server: Scripted, writing: Writing = PLAIN, **access: Any) -> S3Remote:
    options = {"endpoint_url": server.url, "region": "us-east-1", **access}
    retry = RetryPolicy(connect_timeout=60, read_timeout=60)
    return S3Remote(split_bucket_url("s3://bucket"), Access(**options), writing, retry)


def error(status: int, code: str = "", *, more: str = "", **headers: str) -> bytes:
    said = f"<Error><Code>{code}</Code><Message>secret</Message>{more}</Error>" if code else ""
    return answer(status, said.encode(), **headers)


def always(sent: bytes) -> Script:
    return lambda asked, _: (
        sent if asked.method != "HEAD" else sent.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    )


def in_turn(*sent: bytes) -> Script:
    left = iter(sent)
    return lambda asked, _: next(left)


def put(remote: S3Remote, condition: Condition = ANYHOW) -> object:
    return remote.put("key", DATA, DIGEST, ABOUT, condition)


def get(remote: S3Remote, **options: Any) -> bytes:
    buffer, found = memoryview(bytearray(100)), b""
    with remote.get("key", **options) as incoming:
        while count := incoming.readinto(buffer):
            found += buffer[:count]
    return found


CALLS: Mapping[str, Callable[[S3Remote], object]] = {
    "put": put,
    "get": get,
    "head": lambda remote: remote.head("key"),
    "page": lambda remote: remote.page("", None),
    "versions": lambda remote: remote.versions("key"),
    "delete": lambda remote: remote.delete(["key"]),
    "delete many": lambda remote: remote.delete(["key", "other"]),
    "copy": lambda remote: remote._copied(remote.head("key"), "key", "other", ANYHOW),
    "begin": lambda remote: remote.begin("key", 4, 4, ABOUT, ANYHOW),
    "send": lambda remote: remote.send(UPLOAD, 1, DATA, CRC),
    "sent": lambda remote: remote.sent(UPLOAD),
    "finish": lambda remote: remote.finish(UPLOAD, [PART], CRC, ANYHOW),
    "abandon": lambda remote: remote.abandon(UPLOAD),
    "unfinished": lambda remote: list(remote.unfinished("")),
}


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "BadDigest", ChecksumMismatch),
        (400, "ExpiredToken", CredentialsExpired),
        (400, "InvalidDigest", ChecksumMismatch),
        (400, "InvalidStorageClass", CloudError),
        (400, "InvalidToken", AccessDenied),
        (400, "RequestTimeout", Unavailable),
        (400, "XAmzContentSHA256Mismatch", ChecksumMismatch),
        (403, "AccessDenied", AccessDenied),
        (403, "InvalidAccessKeyId", AccessDenied),
        (403, "InvalidObjectState", AccessDenied),
        (404, "NoSuchBucket", BucketNotFound),
        (404, "NoSuchKey", NotFound),
        (404, "NoSuchUpload", NotFound),
        (409, "ConditionalRequestConflict", Unavailable),
        (409, "OperationAborted", Unavailable),
        (412, "PreconditionFailed", Changed),
        (429, "TooManyRequests", Throttled),
        (429, "", Throttled),
        (500, "InternalError", Unavailable),
        (501, "NotImplemented", Unsupported),
        (502, "", Unavailable),
        (503, "ServiceUnavailable", Unavailable),
        (503, "SlowDown", Throttled),
        (302, "", ProtocolError),
    ],
)
def test_answers_become_errors(status: int, code: str, kind: type[CloudError]) -> None:
    sent = error(status, code, x_amz_request_id="ID7")
    with Scripted(always(sent)) as server, pytest.raises(CloudError) as caught:
        put(opened(server))
    raised = caught.value
    assert type(raised) is kind
    assert (raised.status, raised.code, raised.request_id) == (status, code or None, "ID7")
    assert "s3://bucket/key" in str(raised)
    assert "secret" not in str(raised)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (403, "AccessDenied")])
def test_every_call_tells_who_says_no(name: str, status: int, code: str) -> None:
    with Scripted(always(error(status, code))) as server, pytest.raises((Throttled, AccessDenied)):
        CALLS[name](opened(server))


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("status", [200, 403, 404])
def test_every_call_knows_a_page_of_a_proxy(name: str, status: int) -> None:
    page = answer(status, PAGE, Content_Type="text/html")
    if name in ("copy", "head") and status != 200:
        pytest.skip("nothing in an answer to HEAD shows what it is")
    with Scripted(always(page)) as server, pytest.raises(ProtocolError, match="proxy"):
        CALLS[name](opened(server))


def test_throttling_tells_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    for status, code in ((429, "TooManyRequests"), (503, "SlowDown"), (503, "")):
        sent = error(status, code, Retry_After="7")
        with Scripted(always(sent)) as server, pytest.raises(Throttled) as caught:
            put(opened(server))
        assert caught.value.retry_after == 7


def test_texts_of_servers_are_not_taken_for_codes() -> None:
    sent = error(400, "AWS4-HMAC secret\nsignature")
    with Scripted(always(sent)) as server, pytest.raises(CloudError) as caught:
        put(opened(server))
    assert "HMAC" not in str(caught.value)
    assert caught.value.code is None


def test_entities_are_not_expanded() -> None:
    entity = '<!DOCTYPE x [<!ENTITY a "aaaa">]>'
    bomb = f"{entity}<ListBucketResult><IsTruncated>&a;</IsTruncated></ListBucketResult>"
    for body in (bomb.encode(), bomb.encode("utf-16")):
        with Scripted(always(answer(body=body))) as server, pytest.raises(ProtocolError):
            opened(server).page("", None)


# checksums


def part_server(*, echo: bool) -> Script:
    headers = {"ETag": '"etag"'} | ({"x_amz_checksum_crc32": CRC_TEXT} if echo else {})
    return always(answer(**headers))


def test_a_server_that_computes_checksums_needs_no_digest_of_parts() -> None:
    with Scripted(part_server(echo=True)) as server:
        remote = opened(server)
        parts = [remote.send(UPLOAD, number, DATA, CRC) for number in (1, 2)]
    digests = [asked.headers["x-amz-content-sha256"] for asked in server.asked]
    assert digests == [DIGEST, "UNSIGNED-PAYLOAD"]
    assert {asked.headers["x-amz-checksum-crc32"] for asked in server.asked} == {CRC_TEXT}
    assert [part.crc32 for part in parts] == [CRC, CRC]


def test_a_server_that_ignores_checksums_gets_digests_of_parts() -> None:
    with Scripted(part_server(echo=False)) as server:
        remote = opened(server)
        parts = [remote.send(UPLOAD, number, DATA, CRC) for number in (1, 2)]
    assert {asked.headers["x-amz-content-sha256"] for asked in server.asked} == {DIGEST}
    assert [part.crc32 for part in parts] == [None, None]


def test_a_part_that_nobody_verified_is_sent_again() -> None:
    echoing = iter([CRC_TEXT, None, None])

    def script(*_: object) -> bytes:
        echoed = next(echoing)
        return answer(ETag='"etag"', **({"x_amz_checksum_crc32": echoed} if echoed else {}))

    with Scripted(script) as server:
        remote = opened(server)
        remote.send(UPLOAD, 1, DATA, CRC)
        with pytest.raises(ChecksumMismatch, match="without a CRC"):
            remote.send(UPLOAD, 2, DATA, CRC)
        remote.send(UPLOAD, 2, DATA, CRC)
    digests = [asked.headers["x-amz-content-sha256"] for asked in server.asked]
    assert digests == [DIGEST, "UNSIGNED-PAYLOAD", DIGEST]


def test_a_server_that_computes_another_checksum_has_other_bytes() -> None:
    with Scripted(part_server(echo=True)) as server, pytest.raises(ChecksumMismatch, match="key"):
        opened(server).send(UPLOAD, 1, DATA, CRC + 1)


@pytest.mark.parametrize(
    ("status", "code"), [(400, "InvalidArgument"), (400, "InvalidRequest"), (501, "NotImplemented")]
)
def test_a_server_that_refuses_checksums_gets_none(status: int, code: str) -> None:
    def script(asked: Asked, connection: socket.socket) -> bytes:
        if any(name.startswith("x-amz-checksum") for name in asked.headers):
            return error(status, code)
        return begun if asked.method == "POST" else OBJECT

    begun = xml("InitiateMultipartUploadResult", "<UploadId>upload</UploadId>")
    with Scripted(script) as server:
        remote = opened(server)
        put(remote)
        assert len(server.asked) == 2
        put(remote)
        remote.begin("key", 4, 4, ABOUT, ANYHOW)
        opened(server).send(UPLOAD, 1, DATA, CRC)  # what is known of a server is known to all
        assert len(server.asked) == 5
    for asked in server.asked[1:]:
        digest = DIGEST if asked.body else hashlib.sha256(b"").hexdigest()
        assert asked.headers["x-amz-content-sha256"] == digest


def test_a_refusal_with_and_without_checksums_is_one() -> None:
    with Scripted(always(error(400, "InvalidArgument"))) as server:
        for _ in range(2):
            with pytest.raises(CloudError, match="InvalidArgument"):
                put(opened(server))
        assert ["x-amz-checksum-sha256" in asked.headers for asked in server.asked] == [
            True,
            False,
            True,
            False,
        ]


def test_the_whole_is_checked_only_where_the_server_says_so() -> None:
    joined = xml("CompleteMultipartUploadResult", "<ETag>&quot;etag-1&quot;</ETag>")

    def script(asked: Asked, connection: socket.socket) -> bytes:
        begun = "<UploadId>upload</UploadId>"
        if "uploads" in asked.target:
            return xml("InitiateMultipartUploadResult", begun, **headers)
        return joined

    headers: dict[str, str] = {}
    with Scripted(script) as server:
        for _ in range(2):
            remote = opened(server)
            upload = remote.begin("key", 4, 4, ABOUT, ANYHOW)
            assert remote.finish(upload, [PART], CRC, ANYHOW).etag == "etag-1"
            headers["x_amz_checksum_type"] = "FULL_OBJECT"
    first, second = server.asked[1], server.asked[3]
    assert "x-amz-checksum-crc32" not in first.headers
    assert second.headers["x-amz-checksum-crc32"] == CRC_TEXT
    assert second.headers["x-amz-checksum-type"] == "FULL_OBJECT"
    assert CRC_TEXT in second.body.decode()


def xml(name: str, content: str, **headers: str) -> bytes:
    space = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<{name} {space}>{content}</{name}>'
    return answer(body=body.encode(), **headers)


def test_encrypted_objects_have_no_md5() -> None:
    etag = f'"{hashlib.md5(b"data").hexdigest()}"'
    for headers, known in (
        ({}, True),
        ({"x_amz_server_side_encryption": "AES256"}, True),
        ({"x_amz_server_side_encryption": "aws:kms"}, False),
        ({"x_amz_server_side_encryption_customer_algorithm": "AES256"}, False),
    ):
        with Scripted(always(answer(body=b"data", ETag=etag, **headers))) as server:
            stored = opened(server).head("key")
            assert stored is not None
            assert ("md5" in stored.checksums) is known


@pytest.mark.parametrize(
    ("headers", "known"),
    [
        ({"x_amz_checksum_crc32": CRC_TEXT}, {"crc32": f"{CRC:08x}"}),
        ({"x_amz_checksum_crc32": CRC_TEXT, "x_amz_checksum_type": "COMPOSITE"}, {}),
        ({"x_amz_checksum_crc32": f"{CRC_TEXT}-2"}, {}),
        ({"x_amz_checksum_crc32": "nonsense"}, {}),
        (
            {"x_amz_meta_tt_crc32": "00000001", "x_amz_checksum_crc32": CRC_TEXT},
            {"crc32": "00000001"},
        ),
    ],
)
def test_checksums_are_those_of_the_whole(headers: dict[str, str], known: dict[str, str]) -> None:
    with Scripted(always(answer(body=b"data", ETag='"etag"', **headers))) as server:
        stored = opened(server).head("key")
        assert stored is not None
        assert stored.checksums == known


def test_a_checksum_beside_a_part_is_none_of_the_whole() -> None:
    headers = {"Content_Range": "bytes 1-2/4", "x_amz_checksum_crc32": CRC_TEXT}
    sent = answer(206, b"at", ETag='"etag"', **headers)
    with Scripted(always(sent)) as server, opened(server).get("key", start=1, end=3) as incoming:
        assert incoming.stored.checksums == {}
        assert incoming.stored.size == 4


# batches


@pytest.mark.parametrize(
    "refusal",
    [
        error(400, "MissingContentMD5"),
        error(400, "InvalidRequest"),
        error(400, "MalformedXML"),
        error(405, "MethodNotAllowed"),
        error(501, "NotImplemented"),
        answer(405),
    ],
)
def test_a_server_that_takes_no_batches_is_asked_singly(refusal: bytes) -> None:
    def script(asked: Asked, connection: socket.socket) -> bytes:
        return refusal if asked.method == "POST" else answer(204)

    with Scripted(script) as server:
        remote = opened(server)
        assert remote.delete(["a", "b"]) == {}
        assert opened(server).delete(["c", "d"]) == {}
    asked = [(each.method, each.target) for each in server.asked]
    assert asked.count(("POST", "/bucket?delete=")) == len(asked) - 4 == 1
    assert {target for method, target in asked if method == "DELETE"} == {
        f"/bucket/{key}" for key in "abcd"
    }
    assert asked[-1][0] == asked[-2][0] == "DELETE"


def test_of_a_batch_those_that_failed_are_told() -> None:
    failed = (
        "<Error><Key>a</Key><Code>AccessDenied</Code></Error>"
        "<Error><Key>b</Key><Code>InternalError</Code></Error>"
        "<Error><Key>c</Key><Code>SlowDown</Code></Error>"
        "<Error><Key>d</Key><Code>NoSuchKey</Code></Error>"
    )
    with Scripted(always(xml("DeleteResult", failed))) as server:
        errors = opened(server).delete(list("abcde"))
    kinds = {key: type(each) for key, each in errors.items()}
    assert kinds == {"a": AccessDenied, "b": Unavailable, "c": Throttled}
    (asked,) = server.asked
    assert asked.headers["content-md5"]


def test_of_single_deletions_those_that_failed_are_told() -> None:
    def script(asked: Asked, connection: socket.socket) -> bytes:
        if asked.method == "POST":
            return error(501, "NotImplemented")
        if asked.target.endswith("b"):
            return error(403, "AccessDenied")
        return error(404, "NoSuchKey")

    with Scripted(script) as server:
        errors = opened(server).delete(["a", "b"])
    assert {key: type(each) for key, each in errors.items()} == {"b": AccessDenied}


def test_keys_that_no_xml_holds_are_deleted_singly() -> None:
    with Scripted(always(answer(204))) as server:
        assert opened(server).delete(["a\ufffe", "b"]) == {}
    assert {asked.method for asked in server.asked} == {"DELETE"}


def test_objects_can_be_deleted_when_the_program_ends() -> None:
    program = """
import atexit, sys
from tt_cloud._s3._deletion import _at_once
atexit.register(lambda: print(*_at_once(str.upper, ["a", "b"])))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.split() == [b"A", b"B"]


# conditions


class Careless:
    """A server that does not heed conditions."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def __call__(self, asked: Asked, connection: socket.socket) -> bytes:
        key = urlsplit(asked.target).path
        with self._lock:
            if asked.method == "PUT":
                self.objects[key] = asked.body
            found = self.objects.get(key)
        if found is None:
            return error(404, "" if asked.method == "HEAD" else "NoSuchKey")
        sent = answer(body=found, ETag=f'"{hashlib.md5(found).hexdigest()}"')
        return (
            answer(ETag='"x"') if asked.method == "PUT" else always(sent)(asked, connection) or b""
        )


def test_conditions_are_looked_at_where_the_server_may_not() -> None:
    with Scripted(Careless()) as server:
        remote = opened(server)
        put(remote, Condition(absent=True))
        for condition, kind in (
            (Condition(absent=True), AlreadyExists),
            (Condition(etag="other"), Changed),
        ):
            for call in (
                lambda condition=condition: put(remote, condition),
                lambda condition=condition: remote.begin("key", 4, 4, ABOUT, condition),
                lambda condition=condition: remote.finish(UPLOAD, [PART], CRC, condition),
            ):
                with pytest.raises(kind, match="s3://bucket/key"):
                    call()
        head = remote.head("key")
        assert head is not None
        put(remote, Condition(etag=head.etag))


def test_conditions_are_left_to_a_server_that_heeds_them() -> None:
    with Scripted(in_turn(error(404), error(412, "PreconditionFailed"), error(412))) as server:
        remote = opened(server)
        for _ in range(2):
            with pytest.raises(AlreadyExists):
                put(remote, Condition(absent=True))
    assert [asked.method for asked in server.asked] == ["HEAD", "PUT", "PUT"]


class Uploads(Careless):
    """Heeds conditions of uploads alone, and has another writer who is always faster."""

    def __call__(self, asked: Asked, connection: socket.socket) -> bytes:
        key = urlsplit(asked.target).path
        if "x-amz-copy-source" in asked.headers:
            self.objects[key] = b"copied"
            return answer(body=b'<CopyObjectResult><ETag>"x"</ETag></CopyObjectResult>')
        if asked.method == "PUT" and "if-none-match" in asked.headers:
            self.objects[key] = b"faster"
            return error(412, "PreconditionFailed")
        return super().__call__(asked, connection)


def test_a_server_that_heeds_conditions_of_uploads_may_overlook_those_of_copies() -> None:
    with Scripted(script := Uploads()) as server:
        remote = opened(server)
        put(remote, ANYHOW)
        remote.put("other", DATA, DIGEST, ABOUT, ANYHOW)
        script.objects.pop("/bucket/key")
        with pytest.raises(AlreadyExists):
            put(remote, Condition(absent=True))
        with pytest.raises(AlreadyExists):
            remote.copy("other", "key", Condition(absent=True))
    assert script.objects["/bucket/key"] == b"faster"


def test_what_is_gone_is_changed() -> None:
    sent = in_turn(OBJECT.partition(b"data")[0], error(404, "NoSuchKey"))
    with Scripted(sent) as server, pytest.raises(Changed):
        put(opened(server), Condition(etag="etag"))


# corrections


def test_a_bucket_is_followed_to_its_region() -> None:
    for first in (
        error(400, "AuthorizationHeaderMalformed", more="<Region>eu-west-1</Region>"),
        error(301, "PermanentRedirect", x_amz_bucket_region="eu-west-1"),
        error(307, "TemporaryRedirect", x_amz_bucket_region="eu-west-1"),
    ):
        with Scripted(in_turn(first, OBJECT, OBJECT)) as server:
            remote = opened(server)
            assert get(remote) == get(remote) == b"data"
        regions = [scope(asked).split("/")[2] for asked in server.asked]
        assert regions == ["us-east-1", "eu-west-1", "eu-west-1"]


def scope(asked: Asked) -> str:
    found = re.search(r"Credential=([^,]+)", asked.headers["authorization"])
    assert found is not None
    return found[1]


def test_a_region_that_is_not_told_is_asked_for() -> None:
    def script(asked: Asked, connection: socket.socket) -> bytes:
        if asked.method == "HEAD":
            return error(301, x_amz_bucket_region="eu-west-1")
        return OBJECT if "eu-west-1" in scope(asked) else error(301, "PermanentRedirect")

    with Scripted(script) as server:
        assert get(opened(server)) == b"data"
    assert [asked.method for asked in server.asked] == ["GET", "HEAD", "GET"]


def test_a_bucket_that_is_there_already_is_not_followed() -> None:
    same = error(400, "AuthorizationHeaderMalformed", more="<Region>us-east-1</Region>")
    with Scripted(always(same)) as server, pytest.raises(CloudError, match="Malformed"):
        get(opened(server))
    assert len(server.asked) == 1


def test_a_bucket_is_followed_once() -> None:
    regions = iter(["eu-west-1", "eu-west-2", "eu-west-3"])

    def script(*_: object) -> bytes:
        return error(301, "PermanentRedirect", x_amz_bucket_region=next(regions))

    with Scripted(script) as server, pytest.raises(ProtocolError, match="PermanentRedirect"):
        get(opened(server))
    assert len(server.asked) == 2


def test_a_wrong_clock_is_corrected_and_told(caplog: pytest.LogCaptureFixture) -> None:
    theirs = datetime.now(UTC) + timedelta(days=3)

    def script(asked: Asked, connection: socket.socket) -> bytes:
        signed = datetime.strptime(asked.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(
            tzinfo=UTC
        )
        if abs(signed - theirs) > timedelta(minutes=15):
            return error(403, "RequestTimeTooSkewed", Date=format_datetime(theirs, usegmt=True))
        return OBJECT

    with Scripted(script) as server, caplog.at_level(logging.WARNING):
        remote = opened(server)
        assert get(remote) == get(remote) == b"data"
    assert len(server.asked) == 3
    (record,) = caplog.records
    assert "clock" in record.message


def test_a_clock_that_stays_wrong_is_an_error() -> None:
    sent = error(403, "RequestTimeTooSkewed", Date="Sat, 28 Nov 2026 06:26:43 GMT")
    with Scripted(always(sent)) as server, pytest.raises(AccessDenied, match="TimeTooSkewed"):
        get(opened(server))
    assert len(server.asked) == 2


def test_expired_credentials_are_looked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def script(asked: Asked, connection: socket.socket) -> bytes:
        if "OLD" not in scope(asked):
            return always(OBJECT)(asked, connection) or b""
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "NEW")  # as a tool that renews them would
        return error(400, "" if asked.method == "HEAD" else "ExpiredToken")

    for call in (get, CALLS["head"]):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "OLD")
        with Scripted(script) as server:
            call(opened(server))
        assert scope(server.asked[-1]).startswith("NEW/")


def test_credentials_that_stay_expired_are_an_error() -> None:
    with Scripted(always(error(400, "ExpiredToken"))) as server:
        with pytest.raises(CredentialsExpired, match="get new credentials"):
            put(opened(server))
        assert len(server.asked) == 1


def test_a_refused_head_tells_why() -> None:
    sent = always(error(403, "InvalidAccessKeyId"))
    with Scripted(sent) as server, pytest.raises(AccessDenied) as caught:
        opened(server).head("key")
    assert caught.value.code == "InvalidAccessKeyId"


def test_a_bucket_that_may_not_be_looked_at_is_there() -> None:
    def script(asked: Asked, _: object) -> bytes:
        return error(403 if asked.target == "/bucket" else 404)

    with Scripted(script) as server:
        assert opened(server).head("key") is None


# answers that are not what was asked for


@pytest.mark.parametrize("name", ["copy", "finish"])
def test_an_error_behind_a_good_status_is_one(name: str) -> None:
    def script(asked: Asked, connection: socket.socket) -> bytes:
        if asked.method == "HEAD":
            return answer(ETag='"etag"')
        return answer(body=b"\n \n<Error><Code>InternalError</Code></Error>")

    with Scripted(script) as server, pytest.raises(Unavailable) as caught:
        CALLS[name](opened(server))
    assert caught.value.code == "InternalError"


@pytest.mark.parametrize(
    "sent",
    [
        OBJECT,
        answer(206, b"da", ETag='"etag"'),
        answer(206, b"da", ETag='"etag"', Content_Range="bytes 0-1/4"),
        answer(206, b"ata", ETag='"etag"', Content_Range="bytes 1-2/4"),
        answer(206, b"ata", ETag='"etag"', Content_Range="bytes 1-3/*"),
        answer(206, b"at", Content_Range="bytes 1-2/4"),
    ],
)
def test_another_range_is_refused(sent: bytes) -> None:
    with Scripted(always(sent)) as server, pytest.raises(ProtocolError):
        get(opened(server), start=1, end=3)


def test_a_refused_range_within_the_object_is_no_end() -> None:
    def script(asked: Asked, connection: socket.socket) -> bytes:
        return (
            error(416, "InvalidRange") if asked.method == "GET" else answer(ETag='"etag"', **size)
        )

    size: dict[str, str] = {}
    with Scripted(script) as server:
        assert get(opened(server), start=1) == b""

    def lying(asked: Asked, connection: socket.socket) -> bytes:
        if asked.method == "GET":
            return error(416, "InvalidRange")
        return b'HTTP/1.1 200 OK\r\nContent-Length: 4\r\nETag: "etag"\r\n\r\n'

    with Scripted(lying) as server, pytest.raises(ProtocolError, match="range"):
        get(opened(server), start=1)


def test_an_object_without_a_length_is_refused() -> None:
    sent = b'HTTP/1.1 200 OK\r\nETag: "etag"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'
    with Scripted(always(sent)) as server, pytest.raises(ProtocolError, match="Content-Length"):
        get(opened(server))


@pytest.mark.parametrize(
    "content",
    [
        "<IsTruncated>true</IsTruncated>",
        "<IsTruncated>true</IsTruncated><NextContinuationToken>a</NextContinuationToken>",
        "<Contents><Key>elsewhere</Key><Size>1</Size></Contents>",
        "<Contents><Key>pre</Key><Size>many</Size></Contents>",
        "<Contents><Key>pre</Key></Contents>",
    ],
)
def test_listings_that_make_no_sense_are_refused(content: str) -> None:
    sent = always(xml("ListBucketResult", content))
    with Scripted(sent) as server, pytest.raises(ProtocolError):
        opened(server).page("pre", "a")


@pytest.mark.parametrize(
    ("name", "root", "markers"),
    [
        ("versions", "ListVersionsResult", "<NextKeyMarker>a</NextKeyMarker>"),
        ("unfinished", "ListMultipartUploadsResult", "<NextKeyMarker>a</NextKeyMarker>"),
        ("sent", "ListPartsResult", "<NextPartNumberMarker>1</NextPartNumberMarker>"),
    ],
)
def test_listings_that_do_not_go_on_are_refused(name: str, root: str, markers: str) -> None:
    sent = xml(root, f"<IsTruncated>true</IsTruncated>{markers}")
    with Scripted(always(sent)) as server, pytest.raises(ProtocolError, match="go on"):
        CALLS[name](opened(server))
    assert len(server.asked) == 2


def test_listings_go_on_behind_their_markers() -> None:
    def script(asked: Asked, connection: socket.socket) -> bytes:
        query = parse_qs(urlsplit(asked.target).query)
        if "versions" in asked.target:
            entry = "<Version><Key>key</Key><VersionId>{}</VersionId><Size>1</Size></Version>"
            first = (
                "<NextKeyMarker>key</NextKeyMarker><NextVersionIdMarker>v1</NextVersionIdMarker>"
            )
            root, second = "ListVersionsResult", query.get("version-id-marker") == ["v1"]
        else:
            entry = "<Part><PartNumber>{}</PartNumber><Size>1</Size><ETag>x</ETag></Part>".replace(
                "v", ""
            )
            first = "<NextPartNumberMarker>1</NextPartNumberMarker>"
            root, second = "ListPartsResult", query.get("part-number-marker") == ["1"]
        name = "2" if second else "1"
        name = f"v{name}" if "versions" in asked.target else name
        going = "" if second else f"<IsTruncated>true</IsTruncated>{first}"
        return xml(root, entry.format(name) + going)

    with Scripted(script) as server:
        remote = opened(server)
        assert [each.version for each in remote.versions("key")] == ["v1", "v2"]
        sent = remote.sent(UPLOAD)
        assert sent is not None
        assert sorted(sent) == [1, 2]


def test_a_server_without_versions_has_the_object_alone() -> None:
    def script(asked: Asked, connection: socket.socket) -> bytes:
        return answer(ETag='"etag"') if asked.method == "HEAD" else error(501, "NotImplemented")

    with Scripted(script) as server:
        (only,) = opened(server).versions("key")
        assert only.etag == "etag"


def test_a_server_that_cannot_copy_is_left_alone() -> None:
    def script(asked: Asked, connection: socket.socket) -> bytes:
        return answer(ETag='"etag"') if asked.method == "HEAD" else error(501, "NotImplemented")

    with Scripted(script) as server:
        assert opened(server).copy("key", "other", ANYHOW) is None


def test_a_source_that_was_replaced_does_not_pass_for_a_taken_target() -> None:
    refused = error(
        412, "PreconditionFailed", more="<Condition>x-amz-copy-source-If-Match</Condition>"
    )

    def script(asked: Asked, _: object) -> bytes:
        if asked.method == "HEAD":
            return answer(404) if "target" in asked.target else answer(ETag='"e"')
        return refused

    with Scripted(script) as server, pytest.raises(Changed):
        opened(server).copy("source", "target", Condition(absent=True))


def test_what_is_copied_is_what_was_looked_at() -> None:
    copied = xml("CopyObjectResult", "<ETag>&quot;new&quot;</ETag>")

    def script(asked: Asked, _: object) -> bytes:
        return answer(ETag='"e"') if asked.method == "HEAD" else copied

    with Scripted(script) as server:
        stored = opened(server).copy("a b", "other", ANYHOW)
    assert stored is not None
    assert stored.etag == "new"
    asked = server.asked[-1]
    assert asked.headers["x-amz-copy-source"] == "bucket/a%20b"
    assert asked.headers["x-amz-copy-source-if-match"] == '"e"'


def test_more_than_servers_copy_is_left_alone() -> None:
    sent = b'HTTP/1.1 200 OK\r\nContent-Length: 5368709121\r\nETag: "etag"\r\n\r\n'
    with Scripted(always(sent)) as server:
        assert opened(server).copy("key", "other", ANYHOW) is None
    assert {asked.method for asked in server.asked} == {"HEAD"}


@pytest.mark.parametrize("sent", [error(405, "MethodNotAllowed"), error(400, "InvalidArgument")])
def test_a_version_that_is_none_is_not_found(sent: bytes) -> None:
    def script(asked: Asked, connection: socket.socket) -> bytes:
        return always(answer() if asked.target == "/bucket" else sent)(asked, connection) or b""

    with Scripted(script) as server:
        with pytest.raises(NotFound):
            get(opened(server), version="marker")
        assert opened(server).head("key", version="marker") is None


# what is sent


def test_options_become_headers() -> None:
    begun = xml("InitiateMultipartUploadResult", "<UploadId>upload</UploadId>")

    def script(asked: Asked, _: object) -> bytes:
        return begun if asked.method == "POST" else OBJECT

    writing = Writing("GLACIER_IR", Encryption("kms", "key-name"))
    with Scripted(script) as server:
        remote = opened(server, writing, requester_pays=True, expected_owner="123456789012")
        put(remote)
        remote.begin("key", 4, 4, ABOUT, ANYHOW)
        get(remote)
        put(opened(server, Writing(encryption=Encryption("managed"))))
    for asked in server.asked[:3]:
        assert asked.headers["x-amz-request-payer"] == "requester"
        assert asked.headers["x-amz-expected-bucket-owner"] == "123456789012"
    for asked in server.asked[:2]:
        assert asked.headers["x-amz-storage-class"] == "GLACIER_IR"
        assert asked.headers["x-amz-server-side-encryption"] == "aws:kms"
        assert asked.headers["x-amz-server-side-encryption-aws-kms-key-id"] == "key-name"
    assert server.asked[3].headers["x-amz-server-side-encryption"] == "AES256"
    assert not any("acl" in name for asked in server.asked for name in asked.headers)
    assert "x-amz-request-payer=requester" in remote.presign("k", "GET", timedelta(1)).reveal()


def test_everything_that_matters_is_signed() -> None:
    with Scripted(always(OBJECT)) as server:
        put(opened(server), Condition())
        get(opened(server), etag="etag")
    for asked in server.asked:
        signed = re.search(r"SignedHeaders=([^,]+)", asked.headers["authorization"])
        assert signed is not None
        unsigned = asked.headers.keys() - set(signed[1].split(";"))
        assert unsigned == {"authorization", *(["content-length"] if asked.body else [])}


def test_anonymous_requests_are_not_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    with Scripted(always(OBJECT)) as server:
        remote = opened(server, anonymous=True)
        assert get(remote) == b"data"
        put(remote)
        with pytest.raises(Unsupported, match="anonymous"):
            remote.presign("key", "GET", timedelta(1))
    for asked in server.asked:
        assert "authorization" not in asked.headers


def test_session_tokens_are_sent_and_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    with Scripted(always(OBJECT)) as server:
        get(opened(server))
    (asked,) = server.asked
    assert asked.headers["x-amz-security-token"] == "token"
    assert "x-amz-security-token" in asked.headers["authorization"]


def test_keys_are_quoted_once() -> None:
    key = "a b/ü+%~*'()&=?#:@$,;!"
    with Scripted(always(OBJECT)) as server, opened(server).get(key):
        pass
    assert unquote(server.asked[0].target) == f"/bucket/{key}"


def test_an_endpoint_with_a_password_is_refused() -> None:
    with pytest.raises(InvalidURL) as caught:
        S3Remote(
            split_bucket_url("s3://bucket"),
            Access("https://user:hunter2@host"),
            PLAIN,
            RetryPolicy(),
        )
    assert "hunter2" not in str(caught.value)
