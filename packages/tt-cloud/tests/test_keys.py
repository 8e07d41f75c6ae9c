from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_cloud import InvalidURL, UnsafeKey
from tt_cloud._keys import check_endpoint, check_key, check_prefix, split_bucket_url

SECRET = "hunter2"


@given(st.text(max_size=40))
def test_a_key_that_passes_stays_below_its_root(text: str) -> None:
    try:
        check_key(text)
    except UnsafeKey:
        return
    path = PurePosixPath("/base", text)
    assert path.is_relative_to("/base")
    assert str(path) == "/base/" + text  # nothing was dropped, so nothing was special
    assert ".." not in path.parts


@given(st.text(max_size=20), st.integers(0, 20))
def test_each_beginning_of_a_key_is_a_prefix(text: str, length: int) -> None:
    try:
        check_key(text)
    except UnsafeKey:
        return
    check_prefix(text[:length])


def test_a_key_is_measured_in_bytes() -> None:
    check_key("é" * 512)
    with pytest.raises(UnsafeKey, match="1024 bytes"):
        check_key("é" * 513)


@pytest.mark.parametrize(
    ("url", "bucket", "prefix", "shown"),
    [
        ("s3://bucket", "bucket", "", "s3://bucket"),
        ("s3://bucket/", "bucket", "", "s3://bucket"),
        ("s3://bucket/a/b", "bucket", "a/b/", "s3://bucket/a/b"),
        ("gs://bucket/a%20b/?#/", "bucket", "a%20b/?#/", "gs://bucket/a%20b/?#"),
    ],
)
def test_an_address_splits(url: str, bucket: str, prefix: str, shown: str) -> None:
    place = split_bucket_url(url)
    assert (place.bucket, place.prefix, str(place)) == (bucket, prefix, shown)


@pytest.mark.parametrize("url", ["s3://", "s3:///key", f"s3://key:{SECRET}@bucket"])
def test_an_address_needs_a_bucket_and_no_credentials(url: str) -> None:
    with pytest.raises(InvalidURL) as caught:
        split_bucket_url(url)
    assert SECRET not in str(caught.value)


def test_a_prefix_in_an_address_is_a_safe_key() -> None:
    with pytest.raises(UnsafeKey):
        split_bucket_url("s3://bucket/a/../b")


def test_endpoints_that_pass() -> None:
    check_endpoint(None)
    check_endpoint("http://127.0.0.1:9000")
    check_endpoint("https://minio.example.org/path")


@pytest.mark.parametrize(
    "url", ["", "https://", "minio.example.org", "ftp://host", f"https://me:{SECRET}@host"]
)
def test_endpoints_that_do_not(url: str) -> None:
    with pytest.raises(InvalidURL) as caught:
        check_endpoint(url)
    assert SECRET not in str(caught.value)
