from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("google.cloud.storage", reason="needs tt-cloud[gcs]")

import requests
from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.cloud.storage import exceptions as storage

from tt_cloud import (
    AccessDenied,
    AlreadyExists,
    BucketNotFound,
    ChecksumMismatch,
    CloudError,
    NotFound,
    ObjectInfo,
    Unavailable,
    UnsafeKey,
    _gcs,
    open_store,
)
from tt_cloud._gcs import GoogleStore
from tt_cloud._gcs_errors import translated


@pytest.fixture
def store(gcs_endpoint: str, gcs_bucket: str) -> GoogleStore:
    return GoogleStore(f"gs://{gcs_bucket}/below", endpoint_url=gcs_endpoint, anonymous=True)


@pytest.fixture
def bucket(gcs_client: Any, gcs_bucket: str) -> Any:
    """The store's bucket, without the store."""
    return gcs_client.bucket(gcs_bucket)


def test_the_environment_names_the_endpoint(
    gcs_endpoint: str, gcs_bucket: str, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_endpoint)
    open_store(f"gs://{gcs_bucket}/below/").put("key", b"data")
    assert bucket.blob("below/key").download_as_bytes() == b"data"


def test_the_project_reaches_the_client(gcs_endpoint: str) -> None:
    store = GoogleStore("gs://b", endpoint_url=gcs_endpoint, project="lab", anonymous=True)
    assert store.client.project == "lab"


def test_changed_bytes_are_not_accepted(store: GoogleStore, bucket: Any, tmp_path: Path) -> None:
    store.put("key", b"stored")
    blob = bucket.blob("below/key")
    blob.metadata = bucket.get_blob("below/key").metadata
    blob.upload_from_string(b"storeD")
    with pytest.raises(ChecksumMismatch, match="below/key"):
        store.get("key", tmp_path / "target")
    with pytest.raises(ChecksumMismatch, match="below/key"):
        store.read("key")
    assert list(tmp_path.iterdir()) == []


def test_what_arrived_wrong_is_removed(store: GoogleStore, monkeypatch: pytest.MonkeyPatch) -> None:
    real = storage_blob().upload_from_file

    def flipped(blob: Any, stream: Any, **options: Any) -> None:
        blob.crc32c = None  # as if the server did not look at it
        real(blob, type(stream)(b"Data"), **options)

    monkeypatch.setattr(storage_blob(), "upload_from_file", flipped)
    with pytest.raises(ChecksumMismatch, match="must arrive as it was sent"):
        store.put("key", b"data")
    assert store.head("key") is None


def test_foreign_objects_can_be_read(store: GoogleStore, bucket: Any) -> None:
    bucket.blob("below/key").upload_from_string(b"foreign")
    assert store.head("key") == ObjectInfo("key", 7, None)
    assert store.read("key") == b"foreign"


def test_foreign_keys_that_are_unsafe_stop_a_listing(store: GoogleStore, bucket: Any) -> None:
    bucket.blob("below/a\\b").upload_from_string(b"")
    with pytest.raises(UnsafeKey):
        list(store.list())


def test_a_large_file_is_resumable(store: GoogleStore, tmp_path: Path) -> None:
    data = bytes(range(251)) * 40_000
    source = tmp_path / "source"
    source.write_bytes(data)
    info = store.put("large", source, if_absent=True)
    assert info == store.get("large", tmp_path / "target") == store.head("large")
    assert (tmp_path / "target").read_bytes() == data


def test_a_create_whose_answer_got_lost_is_ours(
    store: GoogleStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = storage_blob().upload_from_file

    def resent(blob: Any, stream: Any, **options: Any) -> None:
        real(blob, stream, **options)
        real(blob, stream, **options, rewind=True)

    monkeypatch.setattr(storage_blob(), "upload_from_file", resent)
    assert store.put("key", b"data", if_absent=True).size == 4
    with pytest.raises(AlreadyExists):
        store.put("key", b"data", if_absent=True)


def test_an_object_that_goes_while_it_is_read(
    store: GoogleStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store.put("key", b"data")
    real = store._find

    def deleted(key: str) -> Any:
        blob = real(key)
        store.delete(key)
        return blob

    monkeypatch.setattr(store, "_find", deleted)
    with pytest.raises(Unavailable, match="must stay while it is read"):
        store.get("key", tmp_path / "target")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_bucket_is_not_a_missing_object(gcs_endpoint: str, tmp_path: Path) -> None:
    store = open_store("gs://no-such-bucket", endpoint_url=gcs_endpoint, anonymous=True)
    calls = [
        lambda: store.put("key", b""),
        lambda: store.get("key", tmp_path / "target"),
        lambda: store.head("key"),
        lambda: list(store.list()),
        lambda: store.delete("key"),
    ]
    for call in calls:
        with pytest.raises(BucketNotFound, match="no-such-bucket"):
            call()


def test_a_bucket_that_may_not_be_looked_at_is_there(
    store: GoogleStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*arguments: Any) -> bool:
        raise api.Forbidden("")

    monkeypatch.setattr(type(store.client.bucket("any")), "exists", forbidden)
    assert store.head("missing") is None


def test_missing_credentials_are_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(**options: Any) -> None:
        raise auth.DefaultCredentialsError("")  # not asked for: the search would use the network

    monkeypatch.setattr(_gcs.storage, "Client", nothing)
    with pytest.raises(AccessDenied, match="check the credentials"):
        open_store("gs://bucket").read("key")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (api.BadRequest("Provided CRC32C does not match"), ChecksumMismatch),
        (api.BadRequest("other"), CloudError),
        (api.Forbidden(""), AccessDenied),
        (api.NotFound(""), NotFound),
        (api.PreconditionFailed(""), AlreadyExists),
        (api.RetryError("", None), Unavailable),
        (api.ServiceUnavailable(""), Unavailable),
        (api.TooManyRequests(""), Unavailable),
        (auth.RefreshError(""), AccessDenied),
        (auth.TransportError(""), Unavailable),
        (requests.exceptions.ChunkedEncodingError(), Unavailable),
        (requests.exceptions.ConnectionError(), Unavailable),
        (requests.exceptions.ReadTimeout(), Unavailable),
        (storage.DataCorruption(None), ChecksumMismatch),
        (storage.InvalidResponse(SimpleNamespace(status_code=403)), AccessDenied),
        (storage.InvalidResponse(SimpleNamespace(status_code=502)), Unavailable),
    ],
)
def test_exceptions_become_errors(error: Exception, kind: type[CloudError]) -> None:
    with pytest.raises(CloudError, match="gs://b/key") as caught, translated("gs://b/key"):
        raise error
    assert type(caught.value) is kind


def storage_blob() -> Any:
    return _gcs.storage.Blob
