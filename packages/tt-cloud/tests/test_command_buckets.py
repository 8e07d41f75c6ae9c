"""The command on real servers, beside the services' own clients."""

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tt_cloud._command.main import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def run(*words: str | Path) -> tuple[int, str, str]:
        status = main([str(word) for word in words])
        return (status, *capsys.readouterr())

    return run


def test_s3(run: Run, s3_endpoint: str, s3_bucket: str, s3_client: Any, tmp_path: Path) -> None:
    there = ["--endpoint-url", s3_endpoint]
    (tmp_path / "file").write_bytes(b"text")
    assert run("cp", *there, "file", f"s3://{s3_bucket}/a/")[0] == 0
    assert s3_client.get_object(Bucket=s3_bucket, Key="a/file")["Body"].read() == b"text"
    s3_client.put_object(Bucket=s3_bucket, Key="a/b/other", Body=b"of boto3")
    assert run("cp", *there, f"s3://{s3_bucket}/a/b/other", ".")[0] == 0
    assert (tmp_path / "other").read_bytes() == b"of boto3"
    assert run("ls", *there, f"s3://{s3_bucket}/a")[:2] == (0, "b/\nfile\n")
    assert run("cat", *there, "--range", "3:", f"s3://{s3_bucket}/a/b/other")[:2] == (0, "boto3")
    assert run("cp", *there, "--no-clobber", "file", f"s3://{s3_bucket}/a/b/other")[0] == 5
    assert run("rm", *there, "-r", f"s3://{s3_bucket}/a")[0] == 0
    assert "Contents" not in s3_client.list_objects_v2(Bucket=s3_bucket)


def test_s3_trees(run: Run, s3_endpoint: str, s3_bucket: str, tmp_path: Path) -> None:
    there = ["--endpoint-url", s3_endpoint]
    for name in ("a", "b/c"):
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    assert run("sync", *there, "folder", f"s3://{s3_bucket}/x")[0] == 0
    status, out, _ = run("sync", *there, "--json", "folder", f"s3://{s3_bucket}/x")
    assert (status, json.loads(out)["done"]) == (0, [])
    assert run("commit", *there, "folder", f"s3://{s3_bucket}/set")[0] == 0
    assert run("verify", *there, f"s3://{s3_bucket}/set")[0] == 0
    assert run("cp", *there, "-r", f"s3://{s3_bucket}/set", "back")[0] == 0
    assert (tmp_path / "back/b/c").read_text() == "b/c"


def test_s3_presigned_addresses_work_and_are_told_once(
    run: Run, s3_endpoint: str, s3_bucket: str, s3_client: Any
) -> None:
    s3_client.put_object(Bucket=s3_bucket, Key="a", Body=b"text")
    place = f"s3://{s3_bucket}/a"
    status, out, err = run("presign", "--verbose", "--endpoint-url", s3_endpoint, place)
    assert status == 0
    assert "Signature" not in err
    with urllib.request.urlopen(out.strip()) as answer:
        assert answer.read() == b"text"


def test_s3_errors(
    run: Run, s3_endpoint: str, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = ["--endpoint-url", s3_endpoint]
    assert run("ls", *there, "s3://no-such-bucket")[0] == 3
    assert run("cat", *there, f"s3://{s3_bucket}/no")[0] == 3
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden-and-wrong")
    for words in (["ls"], ["ls", "--verbose"], ["ls", "--json"]):
        status, out, err = run(*words, *there, f"s3://{s3_bucket}")
        assert status == 4
        assert "hidden" not in out + err


def test_gcs(run: Run, gcs_endpoint: str, gcs_bucket: str, gcs_client: Any, tmp_path: Path) -> None:
    there = ["--endpoint-url", gcs_endpoint, "--anonymous", "--project", "test"]
    (tmp_path / "file").write_bytes(b"text")
    assert run("cp", *there, "file", f"gs://{gcs_bucket}/a/")[0] == 0
    bucket = gcs_client.bucket(gcs_bucket)
    assert bucket.blob("a/file").download_as_bytes() == b"text"
    bucket.blob("a/b/other").upload_from_string(b"of google")
    assert run("cp", *there, "-r", f"gs://{gcs_bucket}/a", "copy")[0] == 0
    assert (tmp_path / "copy/b/other").read_bytes() == b"of google"
    assert run("ls", *there, f"gs://{gcs_bucket}/a")[:2] == (0, "b/\nfile\n")
    assert run("rm", *there, f"gs://{gcs_bucket}/a/file")[0] == 0
    assert [blob.name for blob in bucket.list_blobs()] == ["a/b/other"]


def test_from_one_service_to_the_other(
    run: Run,
    s3_endpoint: str,
    s3_bucket: str,
    gcs_endpoint: str,
    gcs_bucket: str,
    gcs_client: Any,
    s3_client: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_endpoint)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_endpoint)
    s3_client.put_object(Bucket=s3_bucket, Key="x/a", Body=b"1")
    s3_client.put_object(Bucket=s3_bucket, Key="x/b/c", Body=b"2")
    assert run("cp", f"s3://{s3_bucket}/x/a", f"gs://{gcs_bucket}/one")[0] == 0
    assert run("cp", "-r", f"s3://{s3_bucket}/x", f"gs://{gcs_bucket}/y")[0] == 0
    blobs = {b.name: b.download_as_bytes() for b in gcs_client.bucket(gcs_bucket).list_blobs()}
    assert blobs == {"one": b"1", "y/a": b"1", "y/b/c": b"2"}
