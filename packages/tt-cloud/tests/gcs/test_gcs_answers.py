"""Answers that no emulator gives."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

pytest.importorskip("google.cloud.storage", reason="needs tt-cloud[gcs]")

import google_crc32c

from tt_cloud._gcs import GoogleRemote
from tt_cloud._gcs._addresses import Addresses, Endpoint
from tt_cloud._keys import split_bucket_url
from tt_cloud._options import Encryption, Writing
from tt_cloud._stored import Attributes, Condition
from tt_cloud.errors import (
    AccessDenied,
    AlreadyExists,
    BucketNotFound,
    Changed,
    ChecksumMismatch,
    CloudError,
    ProtocolError,
    Throttled,
    Unavailable,
)

from .conftest import said

Connect = Callable[..., GoogleRemote]
ANY = Condition()
HTML = "<!DOCTYPE html><html><title>Log in</title></html>"
XML = "<?xml version='1.0'?><Error><Code>{}</Code><Message>m</Message></Error>"


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (400, ("invalid", "Provided CRC32C does not match"), ChecksumMismatch, "invalid"),
        (400, ("invalid", "other"), CloudError, "invalid"),
        (400, XML.format("BadDigest"), ChecksumMismatch, "BadDigest"),
        (400, ("userProjectMissing", ""), AccessDenied, "userProjectMissing"),
        (401, ("authError", ""), AccessDenied, "authError"),
        (403, ("forbidden", ""), AccessDenied, "forbidden"),
        (403, ("rateLimitExceeded", ""), Throttled, "rateLimitExceeded"),
        (403, "", AccessDenied, None),
        (404, XML.format("NoSuchBucket"), BucketNotFound, "NoSuchBucket"),
        (408, "", Unavailable, None),
        (409, ("conflict", ""), Unavailable, "conflict"),
        (412, ("conditionNotMet", ""), Changed, "conditionNotMet"),
        (413, "", CloudError, None),
        (429, ("rateLimitExceeded", ""), Throttled, "rateLimitExceeded"),
        (429, HTML, Throttled, None),
        (500, ("backendError", ""), Unavailable, "backendError"),
        (502, HTML, Unavailable, None),
        (503, "", Unavailable, None),
        (503, XML.format("SlowDown"), Throttled, "SlowDown"),
        (504, "{", Unavailable, None),
        (302, "", ProtocolError, None),
        (400, HTML, ProtocolError, None),
        (403, HTML, ProtocolError, None),
        (404, HTML, ProtocolError, None),
        (403, '{"error": "text"}', AccessDenied, None),
        (403, '{"error": {"errors": [{"reason": "Bearer\\nsecret"}]}}', AccessDenied, None),
    ],
)
def test_refusals_are_errors(
    script: Any, remote: GoogleRemote, status: int, body: Any, kind: type[CloudError], code: str
) -> None:
    text = refusal(*body) if isinstance(body, tuple) else body
    script.says(status, text, x_guploader_uploadid="support-id")
    with pytest.raises(CloudError, match="gs://b/below/key") as caught:
        read(remote)
    error = caught.value
    assert type(error) is kind
    assert (error.status, error.code, error.request_id) == (status, code, "support-id")
    assert "Bearer" not in str(error)


@pytest.mark.parametrize("status", [429, 503])
def test_the_service_says_how_long_to_wait(script: Any, remote: GoogleRemote, status: int) -> None:
    script.says(status, retry_after="7")
    assert throttled(remote) == 7
    script.says(status, retry_after=format_datetime(datetime.now(UTC) + timedelta(hours=1), True))
    assert 3500 < (throttled(remote) or 0) <= 3600
    script.says(status, retry_after="Thu, 01 Jan 1970 00:00:00 GMT")
    assert throttled(remote) == 0
    script.says(status, retry_after="soon")
    assert throttled(remote) is None


@pytest.mark.parametrize(
    "body", [HTML, "", "[]", "{}", '{"size": "x", "generation": "1"}', '{"size": null}', "\xff"]
)
def test_nonsense_is_no_object(script: Any, remote: GoogleRemote, body: str) -> None:
    for call in (
        lambda: remote.head("key"),
        lambda: put(remote),
        lambda: remote.copy("key", "other", ANY),
    ):
        script.says(200, body, content_type="text/html; charset=UTF-8")
        with pytest.raises(ProtocolError, match="gs://b/below/key"):
            call()


@pytest.mark.parametrize("body", [HTML, "[]", '{"items": [{}]}', '{"items": 3}', '{"items": [3]}'])
def test_nonsense_is_no_listing(script: Any, remote: GoogleRemote, body: str) -> None:
    script.says(200, body)
    with pytest.raises(ProtocolError, match="gs://b/below"):
        remote.page("", None)


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (200, HTML, {}),
        (200, "hello", {"x_goog_hash": "crc32c=***"}),
        (206, "ell", {"content_range": "bytes 1-3/5"}),
        (206, "hello", {}),
        (204, "", {}),
    ],
)
def test_nonsense_is_no_content(
    script: Any, remote: GoogleRemote, status: int, body: str, headers: dict[str, str]
) -> None:
    generation = {} if body == HTML else {"x_goog_generation": "5"}
    script.says(status, body, **generation, **headers)
    with pytest.raises(ProtocolError, match="gs://b/below/key"):
        read(remote)


def test_other_bytes_than_were_asked_for(script: Any, remote: GoogleRemote) -> None:
    script.says(200, "hello", x_goog_generation="5")
    script.says(200, "ello", x_goog_generation="5", x_goog_stored_content_length="5")
    script.says(206, "hell", x_goog_generation="5", content_range="bytes 0-3/5")
    for _ in range(3):
        with pytest.raises(ProtocolError):
            read(remote, start=1)


@pytest.mark.parametrize("size", ["4", "6"])
def test_content_of_another_length_may_come_right_later(
    script: Any, remote: GoogleRemote, size: str
) -> None:
    script.says(200, "hello", x_goog_generation="5", x_goog_stored_content_length=size)
    with pytest.raises(Unavailable, match="another length"):
        read(remote)
    lines = ["Transfer-Encoding: chunked", f"X-Goog-Stored-Content-Length: {size}"]
    head = "\r\n".join(["HTTP/1.1 200 OK", "X-Goog-Generation: 5", *lines])
    script.answers.append(f"{head}\r\n\r\n5\r\nhello\r\n0\r\n\r\n".encode())
    with pytest.raises(Unavailable, match="another length"):
        read(remote)


def test_a_lost_connection_may_work_later(script: Any, remote: GoogleRemote) -> None:
    script.answers.append(None)
    with pytest.raises(Unavailable):
        read(remote)


def test_pages_follow_one_another(script: Any, remote: GoogleRemote) -> None:
    script.says(200, listing("below/a/2", "below/a/3", nextPageToken="more?"))
    script.says(200, listing("below/a/4"))
    script.says(200, "{}")
    first = remote.page("a/", None, start_after="a/2")
    assert [key for key, _ in first.entries] == ["a/3"]
    assert first.next == "more?"
    second = remote.page("a/", first.next, start_after="a/2")
    assert ([key for key, _ in second.entries], second.next) == (["a/4"], None)
    assert remote.page("a/", None).entries == []
    queries = [query(asked) for asked in script.asked]
    assert [each["prefix"] for each in queries] == ["below/a/"] * 3
    assert [each.get("startOffset") for each in queries] == ["below/a/2", "below/a/2", None]
    assert [each.get("pageToken") for each in queries] == [None, "more?", None]


def test_versions_are_gathered_from_pages(script: Any, remote: GoogleRemote) -> None:
    script.says(200, listing("below/key", "below/key", nextPageToken="more", generation=7))
    script.says(200, listing("below/key", "below/key2", nextPageToken="more", generation=9))
    assert [stored.version for stored in remote.versions("key")] == ["9", "8", "7"]
    assert [query(asked)["versions"] for asked in script.asked] == ["true", "true"]


def test_a_bucket_that_may_not_be_listed_is_there(script: Any, remote: GoogleRemote) -> None:
    script.says(404, refusal("notFound"))
    script.says(403, refusal("forbidden"))
    script.says(404, refusal("notFound"))
    assert remote.head("key") is None
    assert remote.below("further").head("key") is None  # and is not looked for again
    assert len(script.asked) == 3


def test_a_checksum_that_the_server_finds_wrong(script: Any, remote: GoogleRemote) -> None:
    script.says(400, refusal("invalid", 'Provided CRC32C "AAAAAA==" doesn\'t match calculated'))
    with pytest.raises(ChecksumMismatch):
        put(remote)
    sent = json.loads(script.asked[0].body.split(b"\r\n")[3])
    assert base64.b64decode(sent["crc32c"]) == google_crc32c.value(b"data").to_bytes(4, "big")


def test_only_the_wrong_object_is_removed(script: Any, remote: GoogleRemote) -> None:
    script.says(200, json.dumps(resource("below/key", b"datA", 77)))
    script.says(412, refusal("conditionNotMet"))  # there is another by now
    with pytest.raises(ChecksumMismatch):
        put(remote)
    assert script.asked[1].method == "DELETE"
    assert query(script.asked[1]) == {"generation": "77", "ifGenerationMatch": "77"}


def test_a_withdrawal_that_fails_is_told(script: Any, remote: GoogleRemote) -> None:
    script.says(200, json.dumps(resource("below/key", b"datA", 77)))
    script.says(403, refusal("forbidden"))
    with pytest.raises(AccessDenied):
        put(remote)


def test_conditions_are_the_services(script: Any, remote: GoogleRemote) -> None:
    for condition, kind, asked in (
        (Condition(absent=True), AlreadyExists, "0"),
        (Condition(etag="123"), Changed, "123"),
    ):
        script.says(412, refusal("conditionNotMet"))
        with pytest.raises(kind) as caught:
            put(remote, condition)
        assert caught.value.code == "conditionNotMet"
        assert query(script.asked[-1])["ifGenerationMatch"] == asked


def test_a_copy_goes_on_until_it_is_done(script: Any, remote: GoogleRemote) -> None:
    script.says(404, refusal("notFound"))
    script.says(200, "{}")
    script.says(200, '{"done": false, "rewriteToken": "t1"}')
    script.says(200, '{"done": false, "rewriteToken": "t2"}')
    done = {"done": True, "resource": resource("below/new", b"data", 5)}
    script.says(200, json.dumps(done))
    copied = remote.copy("old", "new", Condition(absent=True))
    assert copied is not None
    assert copied.etag == "5"
    rewrites = [asked for asked in script.asked if asked.method == "POST"]
    assert [query(asked).get("rewriteToken") for asked in rewrites] == [None, "t1", "t2"]
    assert {query(asked)["ifGenerationMatch"] for asked in rewrites} == {"0"}
    path = "/storage/v1/b/b/o/below%2Fold/rewriteTo/b/b/o/below%2Fnew"
    assert {urlsplit(asked.target).path for asked in rewrites} == {path}


def test_a_copy_that_comes_too_late(script: Any, remote: GoogleRemote) -> None:
    script.says(404, refusal("notFound"))
    script.says(200, "{}")
    script.says(412, refusal("conditionNotMet"))
    with pytest.raises(AlreadyExists, match="gs://b/below/new"):
        remote.copy("old", "new", Condition(absent=True))


def test_a_copy_whose_answer_got_lost_is_not_made_again(script: Any, remote: GoogleRemote) -> None:
    script.says(200, json.dumps(resource("below/key", b"", 5)))  # over a connection that is kept
    script.answers.append(None)
    remote.head("key")
    with pytest.raises(Unavailable):  # whoever tries again knows that it may be done
        remote.copy("old", "new", ANY)
    assert len(script.asked) == 2


def test_a_copy_of_another_class_names_what_it_keeps(script: Any, connect: Connect) -> None:
    remote = connect(script.url, writing=Writing(storage_class="COLDLINE"))
    script.says(200, '{"metadata": {"a": "b"}, "contentType": "c/d", "cacheControl": "e", "id": 1}')
    script.says(200, json.dumps({"done": True, "resource": resource("below/new", b"", 5)}))
    remote.copy("old", "new", ANY)
    kept = {"metadata": {"a": "b"}, "contentType": "c/d", "cacheControl": "e"}
    assert json.loads(script.asked[1].body) == kept | {"storageClass": "COLDLINE"}


def test_writing_options_go_with_every_object(script: Any, connect: Connect) -> None:
    name = "projects/p/locations/l/keyRings/r/cryptoKeys/k"
    writing = Writing("COLDLINE", Encryption("kms", name))
    remote = connect(script.url, writing=writing, requester_pays=True, project="payer")
    script.says(200, json.dumps(resource("below/key", b"data", 5)))
    script.says(200, location="http://elsewhere/upload?session=1")
    script.says(200, "{}")
    script.says(200, json.dumps({"done": True, "resource": resource("below/new", b"", 5)}))
    put(remote)
    remote.begin("key", 9, 9, Attributes({}, "a/b"), ANY)
    remote.copy("old", "new", ANY)
    for asked in script.asked:
        assert query(asked)["userProject"] == "payer"
    assert query(script.asked[0])["kmsKeyName"] == query(script.asked[1])["kmsKeyName"] == name
    assert query(script.asked[3])["destinationKmsKeyName"] == name
    assert b'"storageClass": "COLDLINE"' in script.asked[0].body
    assert b'"storageClass": "COLDLINE"' in script.asked[1].body
    assert not any(b"acl" in asked.body.lower() for asked in script.asked)
    assert not any("predefinedAcl" in query(asked) for asked in script.asked)


def test_somebody_has_to_pay(script: Any, connect: Connect) -> None:
    with pytest.raises(AccessDenied, match="project"):
        connect(script.url, requester_pays=True).head("key")


def test_a_page_in_between_has_deleted_nothing(script: Any, remote: GoogleRemote) -> None:
    script.says(200, HTML)
    assert [type(error) for error in remote.delete(["key"]).values()] == [ProtocolError]


def test_a_delete_tells_what_failed(script: Any, remote: GoogleRemote) -> None:
    script.answer = lambda asked: said(503 if "bad" in asked.target else 204)
    failures = remote.delete(["good", "bad"])
    assert [(key, type(error)) for key, error in failures.items()] == [("bad", Unavailable)]
    assert remote.delete([]) == {}


def test_googles_own_host_tells_all_in_one_request() -> None:
    place = split_bucket_url("gs://my.bucket/below")
    asked = {"generation": "7", "ifGenerationMatch": "8", "userProject": "p", "x": None}
    google = Addresses(Endpoint("https://storage.googleapis.com", emulated=False), place)
    target, headers = google.media("a b/ключ?#%", asked)
    assert target == "/my.bucket/below/a%20b/%D0%BA%D0%BB%D1%8E%D1%87%3F%23%25?generation=7"
    assert headers == {"x-goog-if-generation-match": "8", "x-goog-user-project": "p"}
    other = Addresses(Endpoint("https://host/base", emulated=False), place)
    target, headers = other.media("a/b", asked)
    expected = "alt=media&generation=7&ifGenerationMatch=8&userProject=p"
    assert target == f"/base/storage/v1/b/my.bucket/o/below%2Fa%2Fb?{expected}"
    assert headers == {}


def test_a_download_of_googles_is_understood(script: Any, remote: GoogleRemote) -> None:
    script.says(
        206,
        "ell",
        content_range="bytes 1-3/5",
        x_goog_generation="1700000000000001",
        x_goog_hash="crc32c=mnG7TA==, md5=XUFAKrxLKna5cZ2REBfFkg==",  # two headers, joined
        x_goog_stored_content_length="5",
        x_goog_stored_content_encoding="identity",
        x_goog_meta_tt_sha256="s",
        x_goog_meta_colour="red",
        last_modified="Tue, 14 Nov 2023 22:13:20 GMT",
        content_type="text/plain",
    )
    with remote.get("key", start=1, end=4, etag="1700000000000001") as incoming:
        assert incoming.stored.size == 5
        assert incoming.stored.metadata == {"colour": "red"}
        assert incoming.stored.sha256 == "s"
        assert incoming.stored.modified == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
        md5 = "5d41402abc4b2a76b9719d911017c592"
        assert incoming.stored.checksums == {"crc32c": "9a71bb4c", "md5": md5}
        buffer = memoryview(bytearray(9))
        assert (incoming.readinto(buffer), bytes(buffer[:3])) == (3, b"ell")
        assert incoming.readinto(buffer) == 0
    assert script.asked[0].headers["range"] == "bytes=1-3"
    assert script.asked[0].headers["accept-encoding"] == "gzip"
    assert google_crc32c.value(b"hello") == 0x9A71BB4C


def put(remote: GoogleRemote, condition: Condition = ANY) -> None:
    remote.put("key", memoryview(b"data"), "", Attributes({}, "text/plain"), condition)


def read(remote: GoogleRemote, start: int = 0) -> None:
    with remote.get("key", start=start) as incoming:
        while incoming.readinto(memoryview(bytearray(99))):
            pass


def throttled(remote: GoogleRemote) -> float | None:
    with pytest.raises(Throttled) as caught:
        read(remote)
    return caught.value.retry_after


def refusal(reason: str, message: str = "") -> str:
    errors = [{"domain": "global", "reason": reason, "message": message}]
    return json.dumps({"error": {"code": 4, "message": message, "errors": errors}})


def resource(name: str, data: bytes, generation: int) -> dict[str, Any]:
    checksum = base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()
    size, number = str(len(data)), str(generation)
    return {"name": name, "size": size, "generation": number, "crc32c": checksum}


def listing(*names: str, generation: int = 1, **more: str) -> str:
    items = [resource(name, b"", generation + at) for at, name in enumerate(names)]
    return json.dumps({"items": items, **more})


def query(asked: Any) -> dict[str, str]:
    return {name: text for name, (text,) in parse_qs(urlsplit(asked.target).query).items()}
