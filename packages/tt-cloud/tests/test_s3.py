import hashlib
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("boto3", reason="needs tt-cloud[s3]")

from botocore import exceptions as boto

from tt_cloud import (
    AccessDenied,
    AlreadyExists,
    BucketNotFound,
    ChecksumMismatch,
    CloudError,
    NotFound,
    ObjectInfo,
    Unavailable,
    open_store,
)
from tt_cloud._content import Content
from tt_cloud._s3 import S3Store
from tt_cloud._s3_errors import translated

MIB = 1 << 20


@pytest.fixture
def store(s3_endpoint: str, s3_bucket: str) -> S3Store:
    return S3Store(f"s3://{s3_bucket}/below", endpoint_url=s3_endpoint)


@pytest.fixture
def in_parts(store: S3Store) -> S3Store:
    store.part_size = 5 * MIB  # the least that S3 takes
    return store


def test_the_environment_names_the_endpoint(
    s3_endpoint: str, s3_bucket: str, s3_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_endpoint)
    open_store(f"s3://{s3_bucket}/below/").put("key", b"data")
    assert s3_client.get_object(Bucket=s3_bucket, Key="below/key")["Body"].read() == b"data"


def test_the_region_reaches_the_client(s3_endpoint: str) -> None:
    store = S3Store("s3://bucket", endpoint_url=s3_endpoint, region="eu-west-1")
    assert store.client.meta.region_name == "eu-west-1"


def test_the_profile_gives_the_credentials(
    s3_endpoint: str, s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "credentials"
    file.write_text("[lab]\naws_access_key_id = TESTKEY\naws_secret_access_key = TESTSECRET\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    store = open_store(f"s3://{s3_bucket}", endpoint_url=s3_endpoint, profile="lab")
    assert store.put("key", b"data").size == 4


def test_changed_bytes_are_not_accepted(
    store: S3Store, s3_bucket: str, s3_client: Any, tmp_path: Path
) -> None:
    store.put("key", b"stored")
    metadata = s3_client.head_object(Bucket=s3_bucket, Key="below/key")["Metadata"]
    s3_client.put_object(Bucket=s3_bucket, Key="below/key", Body=b"storeD", Metadata=metadata)
    with pytest.raises(ChecksumMismatch, match="below/key"):
        store.get("key", tmp_path / "target")
    with pytest.raises(ChecksumMismatch, match="below/key"):
        store.read("key")
    assert list(tmp_path.iterdir()) == []


def test_the_server_compares_what_arrives(store: S3Store) -> None:
    digest = hashlib.sha256(b"what was digested").hexdigest()
    with pytest.raises(ChecksumMismatch, match="changed on their way"):
        store._upload("key", Content(BytesIO(b"what is sent"), 12, digest), if_absent=False)
    assert store.head("key") is None


def test_foreign_objects_can_be_read(store: S3Store, s3_bucket: str, s3_client: Any) -> None:
    s3_client.put_object(Bucket=s3_bucket, Key="below/key", Body=b"foreign")
    assert store.head("key") == ObjectInfo("key", 7, None)
    assert store.read("key") == b"foreign"


def test_many_pages_make_one_listing(store: S3Store) -> None:
    for number in range(5):
        store.put(f"key-{number}", b"")
    store.client.meta.events.register(
        "before-parameter-build.s3.ListObjectsV2", lambda params, **_: params.update(MaxKeys=2)
    )
    assert [info.key for info in store.list()] == [f"key-{number}" for number in range(5)]


def test_folders_made_by_a_console_are_not_listed(
    store: S3Store, s3_bucket: str, s3_client: Any
) -> None:
    store.put("folder/key", b"")
    s3_client.put_object(Bucket=s3_bucket, Key="below/folder/", Body=b"")
    assert [info.key for info in store.list()] == ["folder/key"]


def test_a_large_file_goes_in_parts(in_parts: S3Store, tmp_path: Path) -> None:
    data = bytes(range(251)) * (11 * MIB // 251)
    source = tmp_path / "source"
    source.write_bytes(data)
    info = in_parts.put("large", source, if_absent=True)
    assert info == in_parts.get("large", tmp_path / "target") == in_parts.head("large")
    assert (tmp_path / "target").read_bytes() == data


def test_a_large_create_that_loses_leaves_no_parts(in_parts: S3Store, s3_bucket: str) -> None:
    in_parts.put("large", b"first")
    with pytest.raises(AlreadyExists):
        in_parts.put("large", bytes(6 * MIB), if_absent=True)
    assert in_parts.read("large") == b"first"
    assert "Uploads" not in in_parts.client.list_multipart_uploads(Bucket=s3_bucket)


def test_a_large_source_that_changes_leaves_no_parts(in_parts: S3Store, s3_bucket: str) -> None:
    content = Content(BytesIO(bytes(6 * MIB)), 6 * MIB, hashlib.sha256(b"other").hexdigest())
    with pytest.raises(ChecksumMismatch, match="must not change"):
        in_parts._upload("large", content, if_absent=False)
    assert in_parts.head("large") is None
    assert "Uploads" not in in_parts.client.list_multipart_uploads(Bucket=s3_bucket)


def test_a_create_whose_answer_got_lost_is_ours(
    store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = store.client.put_object

    def resent(**request: Any) -> Any:
        real(**request)
        request["Body"].seek(0)
        return real(**request)

    monkeypatch.setattr(store.client, "put_object", resent)
    assert store.put("key", b"data", if_absent=True).size == 4
    with pytest.raises(AlreadyExists):
        store.put("key", b"data", if_absent=True)


def test_a_missing_bucket_is_not_a_missing_object(s3_endpoint: str, tmp_path: Path) -> None:
    store = open_store("s3://no-such-bucket", endpoint_url=s3_endpoint)
    calls = [
        lambda: store.put("key", b""),
        lambda: store.get("key", tmp_path / "target"),
        lambda: store.head("key"),
        lambda: list(store.list()),
    ]
    for call in calls:
        with pytest.raises(BucketNotFound, match="no-such-bucket"):
            call()


def test_a_bucket_that_may_not_be_looked_at_is_there(
    store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store.client, "head_bucket", raising(answer(403, "AccessDenied")))
    assert store.head("missing") is None


def test_wrong_credentials_are_denied_and_not_shown(
    s3_endpoint: str, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    store = open_store(f"s3://{s3_bucket}", endpoint_url=s3_endpoint)
    with pytest.raises(AccessDenied, match="check the credentials") as caught:
        store.put("key", b"")
    assert "hunter2" not in str(caught.value)
    assert "TESTKEY" not in str(caught.value)


def test_missing_credentials_are_denied(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(AccessDenied, match="NoCredentialsError"):
        open_store("s3://bucket", endpoint_url=s3_endpoint).read("key")
    with pytest.raises(AccessDenied, match="ProfileNotFound"):
        open_store("s3://bucket", endpoint_url=s3_endpoint, profile="nobody").read("key")


def test_no_server_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(Unavailable, match="later"):
        open_store("s3://bucket", endpoint_url="http://127.0.0.1:9").read("key")


def test_threads_and_processes_have_their_client(
    store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ThreadPoolExecutor(8) as pool:
        clients = set(pool.map(lambda _: store.client, range(8)))
    assert clients == {store.client}
    assert pickle.loads(pickle.dumps(store)).client not in clients
    monkeypatch.setattr(os, "getpid", lambda: -1)  # as in a forked child
    assert store.client not in clients


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "BadDigest", ChecksumMismatch),
        (400, "ExpiredToken", AccessDenied),
        (400, "InvalidArgument", CloudError),
        (400, "RequestTimeout", Unavailable),
        (403, "AccessDenied", AccessDenied),
        (404, "NoSuchBucket", BucketNotFound),
        (404, "NoSuchKey", NotFound),
        (404, "NoSuchUpload", Unavailable),
        (409, "ConditionalRequestConflict", Unavailable),
        (412, "PreconditionFailed", AlreadyExists),
        (429, "TooManyRequests", Unavailable),
        (503, "SlowDown", Unavailable),
    ],
)
def test_answers_become_errors(status: int, code: str, kind: type[CloudError]) -> None:
    with pytest.raises(CloudError, match=f"{code}.*{status}") as caught, translated("s3://b/key"):
        raise answer(status, code)
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (boto.FlexibleChecksumError(error_msg=""), ChecksumMismatch),
        (boto.IncompleteReadError(actual_bytes=1, expected_bytes=2), Unavailable),
        (boto.ReadTimeoutError(endpoint_url=""), Unavailable),
        (boto.ResponseStreamingError(error=""), Unavailable),
        (boto.ParamValidationError(report=""), CloudError),
    ],
)
def test_exceptions_become_errors(error: Exception, kind: type[CloudError]) -> None:
    with pytest.raises(CloudError, match="s3://b/key") as caught, translated("s3://b/key"):
        raise error
    assert type(caught.value) is kind


def answer(status: int, code: str) -> boto.ClientError:
    response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return boto.ClientError(response, "Operation")


def raising(error: Exception) -> Any:
    def call(**request: Any) -> Any:
        raise error

    return call
