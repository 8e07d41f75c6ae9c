"""Credentials: what google-auth finds, and how long it is used."""

from __future__ import annotations

import base64
import json
import os
import pickle
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

pytest.importorskip("google.cloud.storage", reason="needs tt-cloud[gcs]")
pytest.importorskip("cryptography", reason="makes the key of an account")

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth.compute_engine import _metadata
from google.cloud.storage import _signing

from tt_cloud._gcs import GoogleRemote
from tt_cloud._stored import Attributes, Condition
from tt_cloud.errors import AccessDenied, CredentialsExpired, Unavailable

from .conftest import said

Connect = Callable[..., GoogleRemote]
ACCOUNT = "account@project-1.iam.gserviceaccount.com"


@pytest.fixture(scope="module")
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = serialization.Encoding.PEM
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(pem, form, serialization.NoEncryption()).decode()


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials but those that a test gives."""
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "nothing"))
    for name in ("GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT", "GOOGLE_CLOUD_QUOTA_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(_metadata, "_NO_GCE_CHECK", True)


@pytest.fixture
def service(script: Any) -> Service:
    return Service(script)


@pytest.fixture
def account(script: Any, private_key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The key file of a service account, whose tokens the script gives."""
    info = {
        "type": "service_account",
        "project_id": "project-1",
        "private_key_id": "1",
        "private_key": private_key,
        "client_email": ACCOUNT,
        "token_uri": f"{script.url}/token",
    }
    path = tmp_path / "key.json"
    path.write_text(json.dumps(info))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    return path


class Service:
    """Gives numbered tokens, and takes requests that have one of those that count."""

    def __init__(self, script: Any) -> None:
        script.answer = self.answer
        self.given = 0
        self.lifetime = 3600
        self.refuses: set[str] = set()
        self.token_status = 200
        self.used: list[str | None] = []

    def answer(self, asked: Any) -> Any:
        if asked.target == "/token":
            return self.token(asked)
        self.used.append(asked.headers.get("authorization"))
        if self.used[-1] in self.refuses or "*" in self.refuses:
            return said(401, '{"error": {"errors": [{"reason": "authError"}]}}')
        return said(404, "{}") if asked.target.count("/o/") else said(200, "{}")

    def token(self, asked: Any) -> Any:
        if self.token_status != 200:
            return said(self.token_status, '{"error": "invalid_grant"}')
        self.given += 1
        fields = {"access_token": f"token-{self.given}", "expires_in": self.lifetime}
        return said(200, json.dumps(fields), content_type="application/json")


def test_one_token_serves_many_requests(
    script: Any, service: Service, account: Path, connect: Connect
) -> None:
    remote = connect(script.url, anonymous=False)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(remote.head, [f"key{n}" for n in range(40)])) == [None] * 40
    assert set(service.used) == {"Bearer token-1"}
    assert service.given == 1
    asked = parse_qs(next(each.body for each in script.asked if each.target == "/token").decode())
    claims = json.loads(base64.urlsafe_b64decode(asked["assertion"][0].split(".")[1] + "=="))
    assert claims["iss"] == ACCOUNT
    assert claims["scope"] == "https://www.googleapis.com/auth/devstorage.read_write"


def test_a_token_is_replaced_before_it_ends(
    script: Any, service: Service, account: Path, connect: Connect
) -> None:
    service.lifetime = 100  # less than the margin
    remote = connect(script.url, anonymous=False)
    remote.page("", None)
    remote.page("", None)
    assert service.used == ["Bearer token-1", "Bearer token-2"]


def test_a_refused_token_is_replaced_once(
    script: Any, service: Service, account: Path, connect: Connect
) -> None:
    remote = connect(script.url, anonymous=False)
    remote.page("", None)
    service.refuses = {"Bearer token-1"}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: remote.page("", None), range(20)))
    assert service.given == 2
    service.refuses = {"*"}
    with pytest.raises(AccessDenied) as caught:
        remote.page("", None)
    assert (service.given, caught.value.status, caught.value.code) == (3, 401, "authError")


def test_a_key_that_was_revoked(
    script: Any, service: Service, account: Path, connect: Connect
) -> None:
    service.token_status = 400
    with pytest.raises(CredentialsExpired, match="log in again"):
        connect(script.url, anonymous=False).head("key")


def test_a_silent_giver_of_tokens(
    script: Any, service: Service, account: Path, connect: Connect
) -> None:
    info = json.loads(account.read_text()) | {"token_uri": "http://127.0.0.1:9/token"}
    account.write_text(json.dumps(info))
    with pytest.raises(Unavailable, match="does not answer"):
        connect(script.url, anonymous=False).head("key")


@pytest.mark.parametrize("content", [None, "no json", "{}"])
def test_missing_credentials(
    script: Any,
    account: Path,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    content: str | None,
) -> None:
    if content is None:
        monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    else:
        account.write_text(content)
    with pytest.raises(AccessDenied, match="gcloud auth application-default login"):
        connect(script.url, anonymous=False).head("key")


def test_the_instances_account(
    script: Any, service: Service, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = Instance(service)
    monkeypatch.setattr(_metadata, "_NO_GCE_CHECK", False)
    monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", script.url.removeprefix("http://"))
    monkeypatch.setenv("GCE_METADATA_IP", script.url.removeprefix("http://"))
    script.answer = instance.answer
    signed: list[tuple[str, str]] = []

    def sign(message: str, token: str, email: str, *rest: object) -> str:
        signed.append((token, email))
        return base64.b64encode(b"signature").decode()

    monkeypatch.setattr(_signing, "_sign_message", sign)
    remote = connect(script.url, anonymous=False, requester_pays=True)
    assert remote.head("key") is None
    assert service.used[0] == "Bearer instance"
    assert "userProject=project-2" in script.asked[-1].target
    url = remote.presign("key", "GET", timedelta(minutes=5)).reveal()
    assert signed == [("instance", ACCOUNT)]
    query = parse_qs(urlsplit(url).query)
    assert query["X-Goog-Signature"] == [b"signature".hex()]
    assert query["userProject"] == ["project-2"]


class Instance:
    """The metadata server of an instance, before a service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def answer(self, asked: Any) -> Any:
        path = urlsplit(asked.target).path
        if not path.startswith("/computeMetadata") and path != "/":
            return self._service.answer(asked)
        account = "/computeMetadata/v1/instance/service-accounts"
        token = {"access_token": "instance", "expires_in": 3600, "token_type": "Bearer"}
        details = {"email": ACCOUNT, "scopes": ["a"], "aliases": ["default"]}
        found = {
            "/computeMetadata/v1/project/project-id": "project-2",
            f"{account}/default/": json.dumps(details),
            f"{account}/default/token": json.dumps(token),
            f"{account}/{ACCOUNT}/token": json.dumps(token),
        }.get(path, "")
        kind = "application/json" if found.startswith("{") else "text/plain"
        return said(200, found, content_type=kind, metadata_flavor="Google")


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_service_account_signs(
    account: Path, connect: Connect, gcs_endpoint: str, gcs_bucket: str, method: Any
) -> None:
    place = f"gs://{gcs_bucket}/below"
    anonymous = connect(gcs_endpoint, place)
    nothing = Attributes({}, "text/plain")
    anonymous.put("a key/ü", memoryview(b"data"), "", nothing, Condition())
    remote = connect(gcs_endpoint, place, anonymous=False)
    signed = remote.presign("a key/ü", method, timedelta(minutes=5))
    assert "X-Goog-Signature" in signed.reveal()
    assert "X-Goog" not in f"{signed} {signed!r}"
    query = parse_qs(urlsplit(signed.reveal()).query)
    assert (query["X-Goog-Expires"], query["X-Goog-Algorithm"]) == (["300"], ["GOOG4-RSA-SHA256"])
    body = b"other" if method == "PUT" else None
    with urllib.request.urlopen(
        urllib.request.Request(signed.reveal(), body, method=method)
    ) as answer:
        content = answer.read()
    if method == "GET":
        assert content == b"data"
    else:
        stored = anonymous.head("a key/ü")
        assert stored is not None
        assert stored.size == 5


def test_a_person_cannot_sign(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: Any, service: Service
) -> None:
    person = {"type": "authorized_user", "client_id": "i", "client_secret": "s"}
    path = tmp_path / "person.json"
    path.write_text(json.dumps(person | {"refresh_token": "r", "quota_project_id": "q"}))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    monkeypatch.setattr(
        "google.oauth2.credentials._GOOGLE_OAUTH2_TOKEN_ENDPOINT", f"{script.url}/token"
    )
    with pytest.raises(AccessDenied, match="service account"):
        connect(script.url, anonymous=False).presign("key", "GET", timedelta(minutes=5))


def test_tokens_stay_in_their_process(
    script: Any, service: Service, account: Path, connect: Connect
) -> None:
    remote = connect(script.url, anonymous=False)
    remote.page("", None)
    assert b"token-1" not in pickle.dumps(remote)
    reading, writing = os.pipe()
    if os.fork() == 0:
        try:
            remote.page("", None)
            os.write(writing, b"done")
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as result:
        assert result.read() == b"done"
    os.wait()
    assert service.used == ["Bearer token-1", "Bearer token-2"]
