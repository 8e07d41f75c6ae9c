"""Objects on a real server, through our remote and through Google's client."""

from __future__ import annotations

import hashlib
import pickle
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

pytest.importorskip("google.cloud.storage", reason="needs tt-cloud[gcs]")

import google_crc32c

from tt_cloud._gcs import GoogleRemote
from tt_cloud._gcs._addresses import Endpoint
from tt_cloud._options import Writing
from tt_cloud._stored import Attributes, Condition, Stored
from tt_cloud.errors import (
    AlreadyExists,
    BucketNotFound,
    Changed,
    ChecksumMismatch,
    NotFound,
    Unsupported,
)

from .conftest import said

Connect = Callable[..., GoogleRemote]
Copied = Callable[[GoogleRemote], GoogleRemote]
ODD_KEYS = ["ключ/鍵/🔑.txt", "with space/and+plus%20", "a=b&c?d#e;f:g@h", "~/$HOME/*'()!"]
ANY = Condition()
FREE = Condition(absent=True)


@pytest.fixture
def remote(connect: Connect, gcs_endpoint: str, gcs_bucket: str) -> GoogleRemote:
    return connect(gcs_endpoint, f"gs://{gcs_bucket}/below")


@pytest.fixture
def copied() -> Iterator[Copied]:
    """What another process makes of a remote; closed after the test."""
    made: list[GoogleRemote] = []

    def copy(remote: GoogleRemote) -> GoogleRemote:
        made.append(pickle.loads(pickle.dumps(remote)))
        return made[-1]

    yield copy
    for remote in made:
        remote.close()


@pytest.fixture
def bucket(gcs_client: Any, gcs_bucket: str) -> Any:
    """The remote's bucket, without the remote."""
    return gcs_client.bucket(gcs_bucket)


@pytest.mark.parametrize("key", ["plain", *ODD_KEYS])
def test_what_is_put_is_there_for_googles_client(
    remote: GoogleRemote, bucket: Any, key: str
) -> None:
    stored = put(remote, key, b"content")
    blob = bucket.get_blob(f"below/{key}")
    assert blob.download_as_bytes() == b"content"
    assert blob.metadata == {"tt-sha256": sha256(b"content"), "tt-upload": "token", "colour": "red"}
    assert blob.content_type == "text/plain"
    assert (str(blob.generation), blob.size) == (stored.etag, stored.size)


@pytest.mark.parametrize("key", ["plain", *ODD_KEYS])
def test_what_googles_client_stored_is_read(remote: GoogleRemote, bucket: Any, key: str) -> None:
    blob = bucket.blob(f"below/{key}")
    blob.metadata = {"tt-sha256": "0" * 64, "tt-upload": "token", "tt-crc32": "01234567", "x": "y"}
    blob.upload_from_string(b"content", content_type="text/css")
    expected = Stored(
        size=7,
        etag=str(blob.generation),
        sha256="0" * 64,
        token="token",
        version=str(blob.generation),
        modified=blob.time_created,
        content_type="text/css",
        metadata={"x": "y"},
        checksums={
            "md5": hashlib.md5(b"content").hexdigest(),
            "crc32c": f"{google_crc32c.value(b'content'):08x}",
            "crc32": "01234567",
        },
    )
    assert remote.head(key) == expected
    assert remote.page(key, None).entries == [(key, expected)]
    assert remote.versions(key) == (expected,)
    stored, content = get(remote, key)
    assert content == b"content"
    assert stored.modified is not None  # the headers have whole seconds
    assert stored == replace(expected, modified=stored.modified)
    assert abs(stored.modified - blob.time_created) < timedelta(seconds=1)


@pytest.mark.parametrize("key", ["plain", *ODD_KEYS])
def test_the_way_to_read_from_google(
    connect: Connect,
    remote: GoogleRemote,
    gcs_endpoint: str,
    monkeypatch: pytest.MonkeyPatch,
    key: str,
) -> None:
    stored = put(remote, key, b"0123456789")
    expected = get(remote, key)
    monkeypatch.setattr(Endpoint, "is_google", True)  # the emulator has that too, for this host
    google = connect(gcs_endpoint, remote.url)
    found, content = get(google, key, start=2, end=5, etag=stored.etag)
    assert (found.sha256, found.size, content) == (stored.sha256, 10, b"234")
    assert get(google, key) == expected
    assert get(google, key, start=10)[1] == b""
    with pytest.raises(Changed):
        get(google, key, etag="7")


def test_metadata_of_others_may_be_any_text(remote: GoogleRemote, bucket: Any) -> None:
    blob = bucket.blob("below/key")
    blob.metadata = {"Name": "Köln 鍵"}
    blob.upload_from_string(b"")
    assert get(remote, "key")[0].metadata == {"name": "Köln 鍵"}


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, None, b"0123456789"),
        (0, 10, b"0123456789"),
        (0, 99, b"0123456789"),
        (3, None, b"3456789"),
        (3, 5, b"34"),
        (9, 10, b"9"),
        (3, 3, b""),
        (5, 3, b""),
        (10, None, b""),
        (10, 12, b""),
        (99, None, b""),
    ],
)
def test_ranges_are_slices(
    remote: GoogleRemote, start: int, end: int | None, expected: bytes
) -> None:
    put(remote, "key", b"0123456789")
    stored, content = get(remote, "key", start=start, end=end)
    assert content == expected
    assert (stored.size, stored.sha256) == (10, sha256(b"0123456789"))


@pytest.mark.parametrize("end", [None, 0, 100])
def test_an_empty_object_is_read(remote: GoogleRemote, end: int | None) -> None:
    put(remote, "key", b"")
    stored, content = get(remote, "key", end=end)
    assert (stored.size, content) == (0, b"")


def test_what_is_stored_compressed_stays_so(remote: GoogleRemote, bucket: Any) -> None:
    blob = bucket.blob("below/key")
    blob.content_encoding = "gzip"
    blob.upload_from_string(b"as it is")
    stored, content = get(remote, "key")
    assert (stored.size, content) == (8, b"as it is")


def test_a_taken_key_is_not_created(remote: GoogleRemote) -> None:
    first = put(remote, "key", b"first", FREE)
    with pytest.raises(AlreadyExists, match="below/key") as caught:
        put(remote, "key", b"second", FREE)
    assert caught.value.status == 412
    assert remote.head("key") == first


def test_only_the_named_object_is_replaced(remote: GoogleRemote) -> None:
    first = put(remote, "key", b"first")
    second = put(remote, "key", b"second", Condition(etag=first.etag))
    assert second.etag != first.etag
    for etag in (first.etag, "1", "0", "no number", "9" * 30, ""):
        with pytest.raises(Changed, match="below/key"):
            put(remote, "key", b"third", Condition(etag=etag))
    with pytest.raises(Changed):
        put(remote, "missing", b"", Condition(etag=first.etag))
    assert get(remote, "key")[1] == b"second"


@pytest.mark.parametrize("span", [{}, {"start": 1}, {"start": 9}, {"start": 2, "end": 1}])
def test_a_replaced_object_is_not_read(remote: GoogleRemote, span: dict[str, int]) -> None:
    old = put(remote, "key", b"old").etag
    new = put(remote, "key", b"new").etag
    assert get(remote, "key", etag=new, **span)[0].etag == new
    for etag in (old, "no number"):
        with pytest.raises(Changed, match="below/key"):
            get(remote, "key", etag=etag, **span)


def test_versions_are_read_by_their_name(remote: GoogleRemote) -> None:
    stored = put(remote, "key", b"data")
    assert stored.version is not None
    assert get(remote, "key", version=stored.version)[1] == b"data"
    assert remote.head("key", version=stored.version) == stored
    for version in ("1234", "no number"):
        assert remote.head("key", version=version) is None
        for span in ({}, {"end": 0}):
            with pytest.raises(NotFound, match="below/key"):
                get(remote, "key", version=version, **span)
    assert remote.versions("missing") == remote.versions("ke") == ()


def test_a_missing_object(remote: GoogleRemote) -> None:
    assert remote.head("missing") is None
    assert remote.delete(["missing"]) == {}
    for span in ({}, {"start": 5}, {"end": 0}):
        with pytest.raises(NotFound, match="below/missing") as caught:
            get(remote, "missing", **span)
        assert type(caught.value) is NotFound
    with pytest.raises(NotFound, match="below/missing"):
        remote.copy("missing", "target", ANY)


def test_a_missing_bucket_is_told_from_a_missing_object(
    connect: Connect, gcs_endpoint: str
) -> None:
    calls: list[Callable[[GoogleRemote], object]] = [
        lambda remote: put(remote, "key", b""),
        lambda remote: get(remote, "key"),
        lambda remote: remote.head("key"),
        lambda remote: remote.page("", None),
        lambda remote: remote.versions("key"),
        lambda remote: remote.copy("key", "other", ANY),
        lambda remote: remote.begin("key", 9, 1, Attributes({}, "a/b"), ANY),
    ]
    for call in calls:
        with pytest.raises(BucketNotFound, match="no-such-bucket"):
            call(connect(gcs_endpoint, "gs://no-such-bucket"))
    failures = connect(gcs_endpoint, "gs://no-such-bucket").delete(["a", "b"])
    assert [type(failures[key]) for key in ("a", "b")] == [BucketNotFound] * 2


def test_what_arrived_wrong_is_removed(remote: GoogleRemote, script: Any, connect: Connect) -> None:
    # the emulator does not compare, so a relay that flips a bit shows who does
    def flipped(asked: Any) -> bytes:
        return relay(remote, asked._replace(body=asked.body.replace(b"content", b"contenT")))

    script.answer = flipped
    place = remote.url
    with pytest.raises(ChecksumMismatch, match="must arrive as it was sent"):
        put(connect(script.url, place), "key", b"content")
    assert remote.head("key") is None


def test_a_listing_is_ordered_and_below_the_prefix(remote: GoogleRemote, bucket: Any) -> None:
    keys = ["Z", "a-b", "a.b", "a/b", "a/é", "a0", "aa/b", "b", "￿", "🔑"]
    for key in keys:
        put(remote, key, key.encode())
    bucket.blob("beside").upload_from_string(b"")
    page = remote.page("", None)
    assert page.next is None
    assert [key for key, _ in page.entries] == sorted(keys)
    assert [stored.sha256 for _, stored in page.entries] == [
        sha256(key.encode()) for key in sorted(keys)
    ]
    below_a = ["a-b", "a.b", "a/b", "a/é", "a0", "aa/b"]
    assert [key for key, _ in remote.page("a", None).entries] == below_a
    assert [key for key, _ in remote.page("", None, start_after="a0").entries] == sorted(keys)[6:]
    after = remote.page("a", None, start_after="a.c").entries
    assert [key for key, _ in after] == ["a/b", "a/é", "a0", "aa/b"]


def test_copies_keep_everything(remote: GoogleRemote, bucket: Any) -> None:
    put(remote, "one", b"1")
    put(remote, "two", b"2")
    copied = remote.copy("one", "new/ключ", FREE)
    assert copied == remote.head("new/ключ")
    assert bucket.blob("below/new/ключ").download_as_bytes() == b"1"
    assert bucket.get_blob("below/new/ключ").metadata["colour"] == "red"
    with pytest.raises(AlreadyExists, match="below/two"):
        remote.copy("one", "two", FREE)
    with pytest.raises(Changed, match="below/two"):
        remote.copy("one", "two", Condition(etag="77"))
    assert remote.copy("one", "two", ANY) is not None
    assert get(remote, "two")[1] == b"1"


def test_many_are_deleted_at_once(remote: GoogleRemote, bucket: Any) -> None:
    keys = [f"key/{number}" for number in range(40)]
    for key in keys:
        bucket.blob(f"below/{key}").upload_from_string(b"")
    assert remote.delete([*keys, "missing"]) == {}
    assert list(bucket.list_blobs()) == []


@pytest.mark.parametrize("size", [1, 262_144, 262_145, 524_288, 1_000_000, 1_048_576])
def test_uploads_in_parts_are_whole(remote: GoogleRemote, bucket: Any, size: int) -> None:
    data = bytes(range(251)) * (size // 251 + 1)
    data = data[:size]
    upload = remote.begin("large", size, 300_000, attributes(data), ANY)
    assert (upload.part_size, upload.size) == (524_288, size)
    parts = [remote.send(upload, *part, crc32=0) for part in split(data, upload.part_size)]
    assert remote.head("large") is None
    stored = remote.finish(upload, parts, 0, ANY)
    assert stored == remote.head("large")
    assert bucket.blob("below/large").download_as_bytes() == data
    assert bucket.get_blob("below/large").content_type == "text/plain"


def test_an_abandoned_upload_leaves_nothing(remote: GoogleRemote) -> None:
    upload = remote.begin("key", 600_000, 262_144, attributes(b""), ANY)
    remote.send(upload, 1, memoryview(bytes(262_144)), 0)
    remote.abandon(upload)
    remote.abandon(upload._replace(id=f"{upload.id}0"))  # nobody knows that one
    assert remote.head("key") is None
    assert list(remote.unfinished("")) == []


def test_an_emulator_that_publishes_a_half_is_corrected(
    copied: Copied, remote: GoogleRemote
) -> None:
    data = bytes(600_000)
    upload = remote.begin("key", len(data), 262_144, attributes(data), ANY)
    remote.send(upload, 1, memoryview(data)[:262_144], 0)
    assert copied(remote).sent(upload) is None  # the emulator answers with an object
    assert remote.head("key") is None
    with pytest.raises(NotFound):
        remote.send(upload, 2, memoryview(data)[262_144:524_288], 0)


def test_stores_further_down_share_their_bucket(remote: GoogleRemote, copied: Copied) -> None:
    further = remote.below("a/b")
    put(further, "key", b"data")
    assert further.url == f"{remote.url}/a/b"
    assert get(remote, "a/b/key")[1] == b"data"
    assert get(copied(further), "key")[1] == b"data"


def test_the_storage_class_is_googles(
    connect: Connect, gcs_endpoint: str, remote: GoogleRemote, bucket: Any
) -> None:
    cold = connect(gcs_endpoint, remote.url, Writing(storage_class="NEARLINE"))
    put(cold, "key", b"data")
    assert bucket.get_blob("below/key").storage_class == "NEARLINE"


def test_the_environment_names_an_emulator(
    connect: Connect,
    copied: Copied,
    gcs_endpoint: str,
    remote: GoogleRemote,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put(remote, "key", b"data")
    for address in (gcs_endpoint, gcs_endpoint.removeprefix("http://")):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        named = connect(None, remote.url, anonymous=False)
        monkeypatch.delenv("STORAGE_EMULATOR_HOST")
        assert get(copied(named), "key")[1] == get(named, "key")[1] == b"data"


def test_without_credentials_nothing_is_signed(remote: GoogleRemote) -> None:
    with pytest.raises(Unsupported, match="credentials"):
        remote.presign("key", "GET", timedelta(minutes=1))


def put(remote: GoogleRemote, key: str, data: bytes, condition: Condition = ANY) -> Stored:
    return remote.put(key, memoryview(data), sha256(data), attributes(data), condition)


def get(remote: GoogleRemote, key: str, **asked: Any) -> tuple[Stored, bytes]:
    found, buffer = bytearray(), memoryview(bytearray(7))
    with remote.get(key, **asked) as incoming:
        while count := incoming.readinto(buffer):
            found += buffer[:count]
    return incoming.stored, bytes(found)


def attributes(data: bytes) -> Attributes:
    own = {"tt-sha256": sha256(data), "tt-upload": "token"}
    return Attributes(own | {"colour": "red"}, "text/plain")


def split(data: bytes, size: int) -> list[tuple[int, memoryview]]:
    starts = range(0, len(data), size)
    return [(number, memoryview(data)[at : at + size]) for number, at in enumerate(starts, 1)]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def relay(remote: GoogleRemote, asked: Any) -> bytes:
    """Pass a request on to the server behind another remote."""
    url = remote._shared.endpoint.url + asked.target
    headers = {name: text for name, text in asked.headers.items() if name == "content-type"}
    request = urllib.request.Request(url, asked.body or None, headers, method=asked.method)
    with urllib.request.urlopen(request) as answer:
        return said(answer.status, answer.read())
