"""Whose credentials, and where a bucket is: what botocore says."""

from __future__ import annotations

import json
import pickle
import socket
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

pytest.importorskip("boto3", reason="needs tt-cloud[s3]")

import boto3
import botocore.auth

from tt_cloud._options import Access, RetryPolicy
from tt_cloud._s3 import _way
from tt_cloud._s3._account import Account, Location
from tt_cloud._s3._bucket import Bucket
from tt_cloud._s3._sign import Scope
from tt_cloud.errors import AccessDenied, CloudError, InvalidURL, Unsupported

from .scripted import Asked, Scripted, answer


def account(bucket: str = "bucket", **access: Any) -> Account:
    return Account(f"s3://{bucket}", bucket, Access(**access))


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration file of its own."""
    file = tmp_path / "config"
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
    return file


@pytest.mark.parametrize(
    ("bucket", "region", "origin", "path"),
    [
        ("bucket", None, "https://bucket.s3.amazonaws.com", ""),
        ("bucket", "eu-central-1", "https://bucket.s3.eu-central-1.amazonaws.com", ""),
        ("bucket", "cn-north-1", "https://bucket.s3.cn-north-1.amazonaws.com.cn", ""),
        ("with.dots", "eu-west-1", "https://s3.eu-west-1.amazonaws.com", "/with.dots"),
    ],
)
def test_buckets_of_aws_are_where_boto3_finds_them(
    bucket: str, region: str | None, origin: str, path: str
) -> None:
    found = account(bucket, region=region).locate()
    assert found == Location(origin, path, Scope(region or "us-east-1", "s3"))
    assert found.official
    assert found.private


def test_access_points_are_where_boto3_finds_them() -> None:
    found = account(
        "arn:aws:s3:us-west-2:123456789012:accesspoint:mine", region="eu-west-1"
    ).locate()
    assert found.origin == "https://mine-123456789012.s3-accesspoint.us-west-2.amazonaws.com"
    assert found.scope.region == "us-west-2"


def test_the_environment_asks_for_other_endpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_USE_DUALSTACK_ENDPOINT", "true")
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    found = account(region="us-east-2").locate()
    assert found.origin == "https://bucket.s3-fips.dualstack.us-east-2.amazonaws.com"


@pytest.mark.parametrize("bucket", ["bucket", "with.dots", "UPPER_case"])
@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9000", "https://host/some/path/"])
@pytest.mark.parametrize("region", [None, "eu-west-1"])
def test_the_short_way_leads_where_the_long_one_does(
    bucket: str, endpoint: str, region: str | None
) -> None:
    found = account(bucket, endpoint_url=endpoint, region=region)
    assert found._directly(None) == found._asked(None) == found.locate()
    assert not found.locate().official


def test_the_environment_names_the_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9000")
    assert account().locate().origin == "http://127.0.0.1:9000"
    assert account().locate().path == "/bucket"


@pytest.mark.parametrize("quiet", [False, True])
def test_an_endpoint_that_anybody_can_listen_to_is_warned_of_wherever_it_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, quiet: bool
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://far-{quiet}.example:9000")
    account(allow_http=quiet).locate()
    warned = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == (0 if quiet else 1)


def test_the_configuration_names_endpoint_region_and_style(configured: Path) -> None:
    configured.write_text(
        "[profile lab]\nregion = eu-west-3\nservices = lab\ns3 =\n  addressing_style = virtual\n"
        "[services lab]\ns3 =\n  endpoint_url = https://lab.example.org\n"
    )
    found = account(profile="lab").locate()
    assert found == Location("https://bucket.lab.example.org", "", Scope("eu-west-3", "s3"))
    found = account(profile="lab", endpoint_url="http://host.example.org:9").locate()
    assert found.origin == "http://bucket.host.example.org:9"


def test_the_region_that_is_given_comes_first(configured: Path) -> None:
    configured.write_text("[default]\nregion = eu-west-3\n")
    for endpoint in (None, "http://127.0.0.1:9000"):
        assert account(endpoint_url=endpoint).locate().scope.region == "eu-west-3"
        named = account(endpoint_url=endpoint, region="eu-west-1")
        assert named.locate().scope.region == "eu-west-1"
        assert named.locate("eu-west-2").scope.region == "eu-west-2"


@pytest.mark.parametrize(
    ("origin", "private"),
    [
        ("https://anywhere.example.org", True),
        ("http://127.0.0.1:9000", True),
        ("http://localhost", True),
        ("http://[::1]:9000", True),
        ("http://192.168.1.1", False),
        ("http://127.0.0.1.example.org", False),
        ("http://localhost.example.org", False),
    ],
)
def test_only_loopback_is_private_without_tls(origin: str, private: bool) -> None:
    assert Location(origin, "", Scope("us-east-1", "s3")).private is private


@pytest.mark.parametrize(
    ("bucket", "kind"),
    [
        ("a b", InvalidURL),
        ("name--use1-az4--x-s3", Unsupported),
    ],
)
def test_names_that_are_none_are_refused(bucket: str, kind: type[CloudError]) -> None:
    with pytest.raises(kind, match=bucket):
        account(bucket, region="us-east-1").locate()


def test_endpoints_that_are_none_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://user:hunter2@host")
    with pytest.raises(InvalidURL) as caught:
        account(region="us-east-1").locate()
    assert "hunter2" not in str(caught.value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nonsense")
    with pytest.raises(InvalidURL):
        account(region="us-east-1").locate()
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    with pytest.raises(InvalidURL):
        account(region="no region").locate()


def test_a_profile_gives_its_credentials(configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configured.write_text("[profile lab]\naws_access_key_id = ID\naws_secret_access_key = secret\n")
    keys = account(profile="lab").keys()
    assert keys is not None
    assert (keys.access_key, keys.secret_key, keys.token) == ("ID", "secret", None)
    assert "secret" not in repr(pickle.dumps(Access(profile="lab")))


def test_a_profile_that_is_missing_is_told() -> None:
    with pytest.raises(AccessDenied, match="ProfileNotFound"):
        account(profile="nobody").keys()


def test_missing_credentials_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(AccessDenied, match=r"s3://bucket.*AWS_ACCESS_KEY_ID.*anonymous"):
        account().keys()
    assert account(anonymous=True).keys() is None
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ID")
    with pytest.raises(AccessDenied, match="PartialCredentialsError"):
        account().keys()


def program(tmp_path: Path, expires: timedelta) -> str:
    """A program that gives other credentials each time, in the form that AWS prescribes."""
    file = tmp_path / "program.py"
    until = (datetime.now(UTC) + expires).isoformat()
    file.write_text(
        "import json, pathlib, sys\n"
        "count = pathlib.Path(sys.argv[0] + '.count')\n"
        "number = int(count.read_text()) + 1 if count.exists() else 1\n"
        "count.write_text(str(number))\n"
        "print(json.dumps({'Version': 1, 'AccessKeyId': f'ID{number}', 'SecretAccessKey': 'secret',"
        f" 'SessionToken': 'token', 'Expiration': '{until}'}}))\n"
    )
    return f"{sys.executable} {file}"


@pytest.mark.slow
def test_credentials_near_their_end_are_refreshed(
    configured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    configured.write_text(
        f"[default]\ncredential_process = {program(tmp_path, timedelta(hours=1))}\n"
    )
    lasting = account()
    first = lasting.keys()
    assert first is not None
    assert (first.access_key, first.token) == ("ID1", "token")
    assert lasting.keys() == first
    assert lasting.renew(first)  # the server called them expired
    second = lasting.keys()
    assert second is not None
    assert second.access_key == "ID2"
    assert lasting.renew(first)  # another thread was faster
    assert lasting.keys() == second
    configured.write_text(
        f"[default]\ncredential_process = {program(tmp_path, timedelta(minutes=1))}\n"
    )
    ending = account()
    names = {getattr(ending.keys(), "access_key", None) for _ in range(2)}
    assert len(names) == 2


def test_credentials_that_cannot_be_renewed_are_not() -> None:
    static = account()
    keys = static.keys()
    assert not static.renew(keys)
    assert not account(anonymous=True).renew(None)


def test_the_machine_gives_its_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the metadata server of AWS."""
    role = {
        "Code": "Success",
        "AccessKeyId": "ROLE",
        "SecretAccessKey": "secret",
        "Token": "token",
        "Expiration": (datetime.now(UTC) + timedelta(hours=6)).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }

    def script(asked: Asked, connection: socket.socket) -> bytes:
        if asked.method == "PUT":
            return answer(body=b"session")
        ends = urlsplit(asked.target).path.endswith("/")
        return answer(body=b"role" if ends else json.dumps(role).encode())

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"):
        monkeypatch.delenv(name)
    with Scripted(script) as server:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.url)
        keys = account().keys()
    assert keys is not None
    assert (keys.access_key, keys.token) == ("ROLE", "token")


def test_a_machine_without_certificates_gets_those_of_boto3(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    paths = ssl.get_default_verify_paths()
    for cafile, brought in ((None, True), ("/etc/certificates.pem", False)):
        found = paths._replace(cafile=cafile, capath=None)
        monkeypatch.setattr(ssl, "get_default_verify_paths", lambda found=found: found)
        bundle = account().ca_bundle
        assert (bundle is not None and Path(bundle).is_file()) is brought


@pytest.mark.parametrize("payer", [False, True])
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_presigned_addresses_are_those_of_boto3(
    method: str, payer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token/+=")
    moment = datetime(2026, 11, 28, 6, 0, 0)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: moment)
    monkeypatch.setattr(_way, "time", lambda: moment.replace(tzinfo=UTC).timestamp())
    endpoint = "http://127.0.0.1:9000"
    access = Access(endpoint, "eu-west-1", requester_pays=payer)
    bucket = Bucket("bucket", access, RetryPolicy())
    config = boto3.session.Config(signature_version="s3v4")
    client = boto3.session.Session().client("s3", "eu-west-1", endpoint_url=endpoint, config=config)
    place = {"Bucket": "bucket", "Key": "a b/ü+~"}
    call = {"GET": "get_object", "PUT": "put_object"}[method]
    theirs = client.generate_presigned_url(call, Params=place, ExpiresIn=60)
    ours = bucket.presigned("a b/ü+~", method, 60)
    assert parts(ours)[0] == parts(theirs)[0]
    if payer:  # boto3 leaves that to a header
        assert parts(ours)[1]["x-amz-request-payer"] == ["requester"]
    else:
        assert parts(ours) == parts(theirs)


def parts(url: str) -> tuple[str, dict[str, list[str]]]:
    address, _, query = url.partition("?")
    return address, parse_qs(query)


@pytest.mark.slow
def test_boto3_is_not_needed_to_import_the_package() -> None:
    modules = "{'boto3', 'botocore', 'ssl', 'http.client'}"
    line = f"import sys, tt_cloud; print(*{modules} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", line], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == ""
