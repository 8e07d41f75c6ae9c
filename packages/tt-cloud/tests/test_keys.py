from pathlib import PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tt_cloud import InvalidURL, UnsafeKey
from tt_cloud._keys import check_endpoint, check_key, check_prefix, split_bucket_url

SECRET = "hunter2"


@settings(deadline=None)
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


@settings(deadline=None)
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


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "s3:///key",
        f"s3://key:{SECRET}@bucket",
        f"s3://key:{SECRET}/and+more@bucket",
        "s3://bucket:80/key",
        "s3://bucket?versions/key",
        "s3://../key",
        "s3://-bucket",
        "s3://bück",
    ],
)
def test_an_address_needs_a_bucket_and_no_credentials(url: str) -> None:
    with pytest.raises(InvalidURL) as caught:
        split_bucket_url(url)
    assert SECRET not in str(caught.value)


def test_a_prefix_in_an_address_is_a_safe_key() -> None:
    with pytest.raises(UnsafeKey):
        split_bucket_url("s3://bucket/a/../b")


@pytest.mark.parametrize(
    "url",
    [
        None,
        "http://127.0.0.1:9000",
        "http://127.8.9.10",
        "http://LocalHost:80",
        "http://minio.localhost",
        "http://[::1]:9000/",
        "https://minio.example.org/path",
    ],
)
def test_endpoints_that_pass(url: str | None, caplog: pytest.LogCaptureFixture) -> None:
    check_endpoint(url)
    assert caplog.records == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://",
        "https://:9000",
        "https://host:port",
        "https://host:0",
        "https://host?query",
        "https://host#fragment",
        "https://ho st",
        "https://host\nname",
        "https://hóst",
        "minio.example.org",
        "ftp://host",
        f"https://me:{SECRET}@host",
        f"https://host/?password={SECRET}@",
    ],
)
def test_endpoints_that_do_not(url: str) -> None:
    with pytest.raises(InvalidURL) as caught:
        check_endpoint(url)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "host",
    ["minio.example.org:9000", "10.0.0.1", "127.0.0.1.example.org", "localhost.org", "[::2]"],
)
def test_who_listens_is_warned_of_once(host: str, caplog: pytest.LogCaptureFixture) -> None:
    check_endpoint(f"http://{host}", allow_http=True)
    assert caplog.records == []
    check_endpoint(f"http://{host}")
    check_endpoint(f"http://{host}/")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert host in caplog.text
