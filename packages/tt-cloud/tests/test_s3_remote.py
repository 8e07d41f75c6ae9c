"""`S3Remote` on a real server, with boto3 as the other side."""

from __future__ import annotations

import hashlib
import itertools
import os
import pickle
import zlib
from base64 import b64decode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.request import Request, urlopen

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("boto3", reason="needs tt-cloud[s3]")

import boto3

from tt_cloud._keys import check_key, split_bucket_url
from tt_cloud._options import Access, RetryPolicy, Writing
from tt_cloud._remote import Upload
from tt_cloud._s3 import S3Remote
from tt_cloud._stored import Attributes, Condition, Stored
from tt_cloud.errors import (
    AccessDenied,
    AlreadyExists,
    BucketNotFound,
    Changed,
    ChecksumMismatch,
    NotFound,
    ProtocolError,
    UnsafeKey,
)

from .conftest import TLSEndpoint

PART = 5 << 20  # the least that S3 takes
ANYHOW = Condition()
PLAIN = Writing()


def opened(url: str, writing: Writing = PLAIN, **access: Any) -> S3Remote:
    return S3Remote(split_bucket_url(url), Access(**access), writing, RetryPolicy())


@pytest.fixture
def remote(s3_endpoint: str, s3_bucket: str) -> S3Remote:
    return opened(f"s3://{s3_bucket}/below", endpoint_url=s3_endpoint)


def attributes(data: bytes, **metadata: str) -> Attributes:
    own = {"tt-sha256": sha256(data), "tt-upload": "ab" * 16, "tt-crc32": f"{zlib.crc32(data):08x}"}
    return Attributes(metadata | own, "text/plain")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def put(
    remote: S3Remote, key: str, data: bytes, condition: Condition = ANYHOW, **metadata: str
) -> Stored:
    return remote.put(key, memoryview(data), sha256(data), attributes(data, **metadata), condition)


def read(remote: S3Remote, key: str, **options: Any) -> bytes:
    found, buffer = b"", memoryview(bytearray(1 << 20))
    with remote.get(key, **options) as incoming:
        while count := incoming.readinto(buffer):
            found += buffer[:count]
    return found


def send(remote: S3Remote, key: str, data: bytes, condition: Condition = ANYHOW) -> Stored:
    """Upload in parts."""
    upload = remote.begin(key, len(data), PART, attributes(data, a="b"), condition)
    view = memoryview(data)
    pieces = [view[start : start + PART] for start in range(0, len(data), PART)]
    parts = [
        remote.send(upload, number, piece, zlib.crc32(piece))
        for number, piece in enumerate(pieces, 1)
    ]
    return remote.finish(upload, parts, zlib.crc32(data), condition)


def test_boto3_reads_and_verifies_what_was_put(
    remote: S3Remote, s3_bucket: str, s3_client: Any
) -> None:
    data = os.urandom(100_000)
    stored = put(remote, "key", data, name="some  text")
    answer = s3_client.get_object(Bucket=s3_bucket, Key="below/key", ChecksumMode="ENABLED")
    assert answer["Body"].read() == data  # raises when the checksum is wrong
    assert answer["Metadata"]["name"] == "some  text"
    assert answer["ContentType"] == "text/plain"
    assert answer["ETag"] == f'"{stored.etag}"'
    head = s3_client.head_object(Bucket=s3_bucket, Key="below/key", ChecksumMode="ENABLED")
    assert bytes.fromhex(stored.checksums["sha256"]) == b64decode(head["ChecksumSHA256"])


def test_boto3_reads_and_verifies_what_came_in_parts(
    remote: S3Remote, s3_bucket: str, s3_client: Any
) -> None:
    data = os.urandom(2 * PART + 1000)
    stored = send(remote, "key", data)
    answer = s3_client.get_object(Bucket=s3_bucket, Key="below/key", ChecksumMode="ENABLED")
    assert answer["Body"].read() == data
    assert answer["ChecksumType"] == "FULL_OBJECT"
    assert int.from_bytes(b64decode(answer["ChecksumCRC32"]), "big") == zlib.crc32(data)
    assert (stored.size, stored.checksums) == (len(data), {"crc32": f"{zlib.crc32(data):08x}"})
    head = remote.head("key")
    assert head is not None
    assert (head.etag, head.sha256, head.metadata) == (stored.etag, sha256(data), {"a": "b"})


def test_what_boto3_puts_is_read_with_its_checksum(
    remote: S3Remote, s3_bucket: str, s3_client: Any
) -> None:
    data = os.urandom(10_000)
    s3_client.put_object(Bucket=s3_bucket, Key="below/key", Body=data, Metadata={"a": "b"})
    stored = remote.head("key")
    assert stored is not None
    expected = {"crc32": f"{zlib.crc32(data):08x}", "md5": hashlib.md5(data).hexdigest()}
    assert stored.checksums == expected
    assert (stored.sha256, stored.token, stored.metadata) == (None, None, {"a": "b"})
    assert read(remote, "key") == data
    with remote.get("key") as incoming:
        assert incoming.stored == stored


def test_checksums_of_checksums_are_none_of_the_object(
    remote: S3Remote, s3_bucket: str, s3_client: Any
) -> None:
    place = {"Bucket": s3_bucket, "Key": "below/key"}
    upload = s3_client.create_multipart_upload(
        **place, ChecksumAlgorithm="SHA256", ChecksumType="COMPOSITE"
    )["UploadId"]
    part = s3_client.upload_part(
        **place, UploadId=upload, PartNumber=1, Body=b"data", ChecksumAlgorithm="SHA256"
    )
    parts = {"PartNumber": 1, "ETag": part["ETag"], "ChecksumSHA256": part["ChecksumSHA256"]}
    s3_client.complete_multipart_upload(
        **place, UploadId=upload, MultipartUpload={"Parts": [parts]}
    )
    stored = remote.head("key")
    assert stored is not None
    assert stored.checksums == {}


def test_put_head_and_get_say_the_same(remote: S3Remote) -> None:
    stored = put(remote, "key", b"data", a="b")
    head = remote.head("key")
    with remote.get("key") as incoming:
        assert incoming.stored == head
    assert head is not None
    assert head.modified is not None
    assert abs(head.modified - datetime.now(UTC)) < timedelta(days=1)
    assert (head.size, head.etag, head.sha256, head.token) == (
        4,
        stored.etag,
        sha256(b"data"),
        "ab" * 16,
    )
    assert (head.metadata, head.content_type) == ({"a": "b"}, "text/plain")
    assert (
        stored.checksums
        == head.checksums
        == {
            "crc32": f"{zlib.crc32(b'data'):08x}",
            "md5": hashlib.md5(b"data").hexdigest(),
            "sha256": sha256(b"data"),
        }
    )


letters = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\\/")
keys = st.lists(st.text(letters, min_size=1, max_size=12), min_size=1, max_size=3).map("/".join)


def is_key(key: str) -> bool:
    try:
        check_key(key)
    except UnsafeKey:
        return False
    return True


@settings(max_examples=40, deadline=None)
@given(key=keys.filter(is_key))
def test_every_key_leads_to_its_object(remote_for_keys: S3Remote, key: str) -> None:
    place = {"Bucket": remote_for_keys._place.bucket, "Key": f"below/{key}"}
    data = key.encode()
    put(remote_for_keys, key, data)
    client = boto3.session.Session().client(
        "s3", "us-east-1", endpoint_url=remote_for_keys._bucket.way.location.origin
    )
    assert client.get_object(**place)["Body"].read() == data
    assert read(remote_for_keys, key) == data
    assert [name for name, _ in remote_for_keys.page("", None).entries] == [key]
    put(remote_for_keys, "other", b"")
    assert remote_for_keys.delete([key, "other"]) == {}
    assert remote_for_keys.head(key) is None


@pytest.fixture(scope="module")
def remote_for_keys(s3_endpoint: str) -> S3Remote:
    boto3.session.Session().client("s3", "us-east-1", endpoint_url=s3_endpoint).create_bucket(
        Bucket="keys"
    )
    return opened("s3://keys/below", endpoint_url=s3_endpoint)


def test_ranges_are_slices(remote: S3Remote) -> None:
    data = b"0123456789"
    stored = put(remote, "key", data)
    put(remote, "empty", b"")
    places = [0, 1, 4, 9, 10, 11]
    for start, end in itertools.product(places, [None, *places]):
        assert read(remote, "key", start=start, end=end, etag=stored.etag) == data[start:end]
        assert read(remote, "empty", start=start, end=end) == b""
        with remote.get("key", start=start, end=end) as incoming:
            assert (incoming.stored.size, incoming.stored.etag) == (10, stored.etag)
        with pytest.raises(Changed):
            read(remote, "empty", start=start, end=end, etag=stored.etag)
        with pytest.raises(NotFound):
            read(remote, "missing", start=start, end=end)


def test_a_download_that_is_left_leaves_nothing_behind(remote: S3Remote) -> None:
    put(remote, "key", bytes(1 << 20))
    with remote.get("key") as incoming:
        incoming.readinto(memoryview(bytearray(10)))
    assert len(read(remote, "key")) == 1 << 20


def test_other_bytes_than_announced_are_not_stored(remote: S3Remote) -> None:
    with pytest.raises(ChecksumMismatch, match="below/key"):
        remote.put("key", memoryview(b"datA"), sha256(b"data"), attributes(b"data"), ANYHOW)
    assert remote.head("key") is None


def test_a_part_with_other_bytes_is_refused(remote: S3Remote) -> None:
    upload = remote.begin("key", 4, PART, attributes(b"data"), ANYHOW)
    for _ in range(2):  # the first shows the server's ways, the second uses them
        with pytest.raises(ChecksumMismatch, match="below/key"):
            remote.send(upload, 1, memoryview(b"datA"), zlib.crc32(b"data"))
        remote.send(upload, 1, memoryview(b"data"), zlib.crc32(b"data"))
    remote.abandon(upload)


def test_a_whole_with_other_bytes_is_refused(remote: S3Remote) -> None:
    upload = remote.begin("key", 4, PART, attributes(b"data"), ANYHOW)
    part = remote.send(upload, 1, memoryview(b"data"), zlib.crc32(b"data"))
    with pytest.raises(ChecksumMismatch, match="below/key"):
        remote.finish(upload, [part], zlib.crc32(b"datA"), ANYHOW)
    assert remote.head("key") is None
    remote.abandon(upload)


def test_conditions_are_heeded(remote: S3Remote) -> None:
    for store in (put, send):
        key = store.__name__
        first = store(remote, key, b"first", Condition(absent=True))
        with pytest.raises(AlreadyExists, match=key):
            store(remote, key, b"second", Condition(absent=True))
        second = store(remote, key, b"second", Condition(etag=first.etag))
        with pytest.raises(Changed, match=key):
            store(remote, key, b"third", Condition(etag=first.etag))
        with pytest.raises(Changed, match="missing"):
            store(remote, "missing", b"third", Condition(etag=first.etag))
        assert read(remote, key, etag=second.etag) == b"second"
        with pytest.raises(Changed, match=key):
            read(remote, key, etag=first.etag)


def test_of_several_creators_one_succeeds(remote: S3Remote) -> None:
    def create(number: int) -> bool:
        try:
            put(remote, "key", b"%d" % number, Condition(absent=True))
        except AlreadyExists:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(create, range(8)))
    assert won.count(True) == 1
    assert read(remote, "key") == b"%d" % won.index(True)


def test_unfinished_uploads_are_found_and_dropped(remote: S3Remote) -> None:
    upload = remote.begin("a/key", PART + 4, PART, attributes(b""), ANYHOW)
    remote.begin("b/key", PART + 4, PART, attributes(b""), ANYHOW)
    assert remote.sent(upload) == {}
    part = remote.send(upload, 2, memoryview(b"data"), zlib.crc32(b"data"))
    sent = remote.sent(upload)
    assert sent is not None
    assert [(each.number, each.size, each.etag) for each in sent.values()] == [(2, 4, part.etag)]
    (found,) = remote.unfinished("a/")
    assert (found.upload.key, found.upload.id) == ("a/key", upload.id)
    assert abs(found.begun - datetime.now(UTC)) < timedelta(days=1)
    remote.abandon(upload)
    remote.abandon(upload)
    assert remote.sent(upload) is None
    assert [each.upload.key for each in remote.unfinished("")] == ["b/key"]
    with pytest.raises(NotFound):
        remote.finish(upload, [part], 0, ANYHOW)


def test_an_upload_goes_on_in_another_process(remote: S3Remote) -> None:
    data = os.urandom(PART + 4)
    begun = remote.begin("key", len(data), PART, attributes(data), ANYHOW)
    first, second = memoryview(data)[:PART], memoryview(data)[PART:]
    remote.send(begun, 1, first, zlib.crc32(first))
    later, upload = pickle.loads(pickle.dumps((remote, Upload(*begun))))
    sent = later.sent(upload)
    parts = [sent[1], later.send(upload, 2, second, zlib.crc32(second))]
    later.finish(upload, parts, zlib.crc32(data), Condition(absent=True))
    assert read(remote, "key") == data


@pytest.mark.slow
def test_listings_have_pages(remote: S3Remote, s3_bucket: str, s3_client: Any) -> None:
    names = [f"a/{number:04}" for number in range(1003)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: put(remote, name, b"data"), names))
    put(remote, "b", b"")
    s3_client.put_object(Bucket=s3_bucket, Key="outside", Body=b"")

    def listed(prefix: str, after: str | None = None) -> list[str]:
        found, token = [], None
        while True:
            page = remote.page(prefix, token, start_after=after)
            found += [key for key, _ in page.entries]
            if (token := page.next) is None:
                return found

    assert sorted(listed("")) == [*names, "b"]
    assert sorted(listed("a/")) == names
    assert sorted(listed("a/100")) == names[1000:]
    assert sorted(listed("a/", names[1000])) == names[1001:]
    assert listed("missing") == []
    stored = dict(remote.page("a/0000", None).entries)["a/0000"]
    assert (stored.size, stored.checksums) == (4, {"md5": hashlib.md5(b"data").hexdigest()})
    assert stored.modified is not None
    assert remote.delete(names[:1000]) == {}
    assert sorted(listed("")) == [*names[1000:], "b"]


def test_versions_are_kept_apart(remote: S3Remote, s3_bucket: str, s3_client: Any) -> None:
    assert remote.versions("key") == ()
    put(remote, "key", b"0")
    (only,) = remote.versions("key")
    assert only.version is None
    enabled = {"Status": "Enabled"}
    s3_client.put_bucket_versioning(Bucket=s3_bucket, VersioningConfiguration=enabled)
    put(remote, "versioned/other", b"")
    stored = [put(remote, "versioned", b"%d" % number) for number in range(3)]
    remote.delete(["versioned"])
    assert remote.head("versioned") is None
    found = remote.versions("versioned")
    assert [each.version for each in found] == [each.version for each in reversed(stored)]
    assert [each.etag for each in found] == [each.etag for each in reversed(stored)]
    assert None not in {each.version for each in found}
    for number, each in enumerate(stored):
        assert read(remote, "versioned", version=each.version) == b"%d" % number
        assert remote.head("versioned", version=each.version) is not None
    with pytest.raises(NotFound):
        read(remote, "versioned", version=only.version or "f" * 32)
    assert remote.head("versioned", version="f" * 32) is None


def test_copies_have_all_attributes(remote: S3Remote) -> None:
    stored = put(remote, "a b/ü+%", b"data", name="text")
    copied = remote.copy("a b/ü+%", "copy", ANYHOW)
    head = remote.head("copy")
    assert copied is not None
    assert head is not None
    for each in (copied, head):
        assert (each.size, each.metadata, each.content_type) == (4, {"name": "text"}, "text/plain")
        assert (each.sha256, each.token, each.etag) == (stored.sha256, stored.token, head.etag)
    assert read(remote, "copy") == b"data"
    with pytest.raises(AlreadyExists, match="copy"):
        remote.copy("a b/ü+%", "copy", Condition(absent=True))
    with pytest.raises(NotFound, match="missing"):
        remote.copy("missing", "copy", ANYHOW)


def test_deleting_what_is_not_there_is_no_error(remote: S3Remote) -> None:
    put(remote, "a", b"")
    put(remote, "b", b"")
    assert remote.delete(["missing"]) == {}
    assert remote.delete(["a", "missing", "b"]) == {}
    assert remote.page("", None).entries == []


def test_presigned_addresses_work(remote: S3Remote) -> None:
    signed = remote.presign("a b/ü", "PUT", timedelta(minutes=1))
    with urlopen(Request(signed.reveal(), b"data", method="PUT")) as answer:
        assert answer.status == 200
    assert read(remote, "a b/ü") == b"data"
    signed = remote.presign("a b/ü", "GET", timedelta(minutes=1))
    with urlopen(signed.reveal()) as answer:
        assert answer.read() == b"data"
    assert "Signature" not in repr(signed)
    assert abs(signed.expires - datetime.now(UTC) - timedelta(minutes=1)) < timedelta(minutes=5)


def test_below_is_further_down(remote: S3Remote) -> None:
    inner = remote.below("a/b")
    put(inner, "key", b"data")
    assert inner.url == f"{remote.url}/a/b"
    assert read(remote, "a/b/key") == b"data"
    assert [key for key, _ in inner.page("", None).entries] == ["key"]
    assert inner._bucket is remote._bucket


def test_a_missing_bucket_is_not_a_missing_object(s3_endpoint: str) -> None:
    remote = opened("s3://no-such-bucket/below", endpoint_url=s3_endpoint)
    calls: list[Callable[[], object]] = [
        lambda: put(remote, "key", b""),
        lambda: put(remote, "key", b"", Condition(absent=True)),
        lambda: put(remote, "key", b"", Condition(etag="etag")),
        lambda: read(remote, "key"),
        lambda: read(remote, "key", start=1, end=1),
        lambda: remote.head("key"),
        lambda: remote.page("", None),
        lambda: remote.versions("key"),
        lambda: remote.copy("key", "other", ANYHOW),
        lambda: remote.begin("key", 1, 1, attributes(b""), ANYHOW),
        lambda: list(remote.unfinished("")),
    ]
    for number, call in enumerate(calls):
        if number == 2:  # what has an etag cannot be there: either is right
            with pytest.raises((BucketNotFound, Changed)):
                call()
            continue
        with pytest.raises(BucketNotFound, match="no-such-bucket"):
            call()


def test_wrong_credentials_are_denied_and_not_shown(
    s3_endpoint: str, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    remote = opened(f"s3://{s3_bucket}", endpoint_url=s3_endpoint)
    for call in (lambda: put(remote, "key", b""), lambda: remote.head("key")):
        with pytest.raises(AccessDenied, match="check the credentials") as caught:
            call()
        assert caught.value.code == "SignatureDoesNotMatch"
        assert caught.value.status == 403
        assert caught.value.request_id
        assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r}"
        assert "TESTKEY" not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_everything_works_behind_tls(s3_tls_endpoint: TLSEndpoint, s3_bucket: str) -> None:
    url, bundle = s3_tls_endpoint
    remote = opened(f"s3://{s3_bucket}", endpoint_url=url, ca_bundle=bundle)
    data = os.urandom(PART + 100)
    put(remote, "key", data)
    send(remote, "parts", data)
    assert read(remote, "key") == read(remote, "parts") == data
    untrusting = opened(
        f"s3://{s3_bucket}", endpoint_url=url, ca_bundle=os.environ.get("SSL_CERT_FILE")
    )
    with pytest.raises(ProtocolError, match="ca_bundle"):
        untrusting.head("key")


def test_the_configuration_names_certificates(
    s3_tls_endpoint: TLSEndpoint, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", s3_tls_endpoint.ca_bundle)
    assert opened(f"s3://{s3_bucket}", endpoint_url=s3_tls_endpoint.url).head("key") is None


def test_objects_are_stored_as_the_options_say(
    s3_endpoint: str, s3_bucket: str, s3_client: Any
) -> None:
    writing = Writing("REDUCED_REDUNDANCY")
    remote = opened(f"s3://{s3_bucket}", writing, endpoint_url=s3_endpoint)
    put(remote, "put", b"data")
    send(remote, "parts", b"data")
    remote.copy("put", "copy", ANYHOW)
    for key in ("put", "parts"):
        head = s3_client.head_object(Bucket=s3_bucket, Key=key)
        assert head["StorageClass"] == "REDUCED_REDUNDANCY"


def test_another_process_connects_anew(remote: S3Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    put(remote, "key", b"data")
    way = remote._bucket.way
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: remote._bucket.way, range(8))) == {way}
    assert read(pickle.loads(pickle.dumps(remote)), "key") == b"data"
    monkeypatch.setattr(os, "getpid", lambda: -1)  # as in a forked child
    assert read(remote, "key") == b"data"
    assert remote._bucket.way is not way


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_can_go_on(remote: S3Remote) -> None:
    put(remote, "key", b"data")
    if (child := os.fork()) == 0:
        status = 1
        try:
            status = 0 if read(remote, "key") == b"data" else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert read(remote, "key") == b"data"


def test_closed_connections_are_opened_again(remote: S3Remote) -> None:
    remote.close()
    put(remote, "key", b"data")
    remote.close()
    assert read(remote, "key") == b"data"
