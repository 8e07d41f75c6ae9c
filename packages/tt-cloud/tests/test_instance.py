import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tt_cloud import (
    AccessDenied,
    Cancelled,
    Failure,
    InstanceError,
    InvalidURL,
    MissingDependency,
    NotCommitted,
    ProtocolError,
    Throttled,
    TransferFailed,
    TransferReport,
    Unavailable,
    open_store,
)
from tt_cloud.instance import EC2Instance, GCEInstance, Instance, current_instance, finish

EC2 = {
    "PUT /latest/api/token": "TOKEN",
    "GET /latest/meta-data/instance-id": "i-0123456789abcdef0",
    "GET /latest/meta-data/placement/region": "eu-west-1",
}
GCE = {
    "GET /computeMetadata/v1/project/project-id": "lab",
    "GET /computeMetadata/v1/instance/zone": "projects/123/zones/europe-west1-b",
    "GET /computeMetadata/v1/instance/name": "trainer-1",
    "GET /computeMetadata/v1/instance/preempted": "FALSE",
}


class Server:
    """A server that answers what it is told, like that of a cloud's metadata."""

    def __init__(self) -> None:
        self.routes: dict[str, str | int] = {}
        self.headers: dict[str, str] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                route = f"{self.command} {self.path}"
                server.asked.append((route, {k.lower(): v for k, v in self.headers.items()}))
                found = server.routes.get(route, 404)
                body = b"" if isinstance(found, int) else found.encode()
                self.send_response(found if isinstance(found, int) else 200)
                for name, value in {**server.headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_PUT = do_POST = do_DELETE = answer  # noqa: N815 - names of http.server

            def log_message(self, *words: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.http.server_port}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Where both clouds' metadata are looked for."""
    server = Server()
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://{server.address}/")
    monkeypatch.setenv("GCE_METADATA_HOST", server.address)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # must not be asked
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    thread = threading.Thread(target=server.http.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()


@pytest.fixture
def google(server: Server) -> Server:
    server.headers = {"Metadata-Flavor": "Google"}
    server.routes = dict(GCE)
    return server


class FakeInstance:
    def __init__(self) -> None:
        self.ended: list[str] = []

    def __str__(self) -> str:
        return "a fake"

    def stop(self) -> None:
        self.ended.append("stop")

    def terminate(self) -> None:
        self.ended.append("terminate")

    def interruption(self) -> None:
        return None


class FakeStore:
    """A store whose set is as it is told."""

    url = "s3://bucket"

    def __init__(self, *answers: Exception | None) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, bool]] = []

    def verify(self, prefix: str = "", /, *, read_back: bool = False) -> TransferReport:
        self.asked.append((prefix, read_back))
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        return TransferReport(size=1)


# -- which instance


def test_an_instance_of_ec2_is_recognised_by_its_token(server: Server) -> None:
    server.routes = dict(EC2)
    instance = current_instance()
    assert instance == EC2Instance("i-0123456789abcdef0", "eu-west-1")
    assert isinstance(instance, Instance)
    for route, headers in server.asked:
        if route.startswith("GET"):
            assert headers["x-aws-ec2-metadata-token"] == "TOKEN"
        else:
            assert int(headers["x-aws-ec2-metadata-token-ttl-seconds"]) > 0


def test_an_instance_of_gce_is_recognised_by_its_header(google: Server) -> None:
    instance = current_instance()
    assert instance == GCEInstance("lab", "europe-west1-b", "trainer-1")
    assert isinstance(instance, Instance)
    asked = [headers for route, headers in google.asked if "computeMetadata" in route]
    assert {headers["metadata-flavor"] for headers in asked} == {"Google"}


def test_a_server_that_says_something_else_is_no_cloud(server: Server) -> None:
    server.routes = dict(GCE)  # without Google's header
    assert current_instance() is None
    server.routes = {"PUT /latest/api/token": 403}
    assert current_instance() is None


def test_nothing_there_is_no_cloud(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:9")
    assert current_instance() is None


def test_the_variables_that_forbid_it_are_honoured(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.routes = EC2 | GCE
    server.headers = {"Metadata-Flavor": "Google"}
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert isinstance(current_instance(), GCEInstance)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    server.asked.clear()
    assert current_instance() is None
    assert not server.asked


@pytest.mark.parametrize(
    "address", ["http://192.0.2.1", "http://[2001:db8::1]:80", "https://127.0.0.1", "ftp://x", "x"]
)
def test_metadata_are_not_asked_of_other_machines(
    server: Server, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", address)
    with pytest.raises(InvalidURL, match="metadata"):
        current_instance()


def test_a_name_that_leads_nowhere_is_no_cloud(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://nowhere.invalid")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    assert current_instance() is None


# -- what it is told


def test_a_notice_to_a_spot_instance_is_read(server: Server) -> None:
    server.routes = dict(EC2)
    instance = EC2Instance("i-1", "eu-west-1")
    assert instance.interruption() is None
    notice = '{"action": "terminate", "time": "2026-11-28T08:22:00Z"}'
    server.routes["GET /latest/meta-data/spot/instance-action"] = notice
    assert instance.interruption() == datetime(2026, 11, 28, 8, 22, tzinfo=UTC)


@pytest.mark.parametrize("notice", ["", "[]", "{}", '{"time": 1}', '{"time": "soon"}'])
def test_a_notice_without_a_time_is_no_notice_of_ec2(server: Server, notice: str) -> None:
    server.routes = {**EC2, "GET /latest/meta-data/spot/instance-action": notice}
    with pytest.raises(ProtocolError, match="time"):
        EC2Instance("i-1", "eu-west-1").interruption()


def test_a_preempted_instance_has_half_a_minute(google: Server) -> None:
    instance = GCEInstance("lab", "z", "n")
    assert instance.interruption() is None
    google.routes["GET /computeMetadata/v1/instance/preempted"] = "TRUE"
    end = instance.interruption()
    assert end is not None
    assert timedelta(0) < end - datetime.now(UTC) <= timedelta(seconds=30)


def test_a_server_in_trouble_is_not_a_quiet_one(google: Server) -> None:
    google.routes["GET /computeMetadata/v1/instance/preempted"] = 503
    with pytest.raises(Unavailable, match="503"):
        GCEInstance("lab", "z", "n").interruption()
    google.routes["PUT /latest/api/token"] = 503
    with pytest.raises(Unavailable, match="503"):
        EC2Instance("i-1", "eu-west-1").interruption()


# -- ending EC2


@pytest.fixture
def ec2(amazon: None) -> Any:
    import boto3

    return boto3.client("ec2", "eu-west-1")


@pytest.fixture
def running(ec2: Any) -> str:
    answer = ec2.run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1)
    return str(answer["Instances"][0]["InstanceId"])


def state(ec2: Any, name: str) -> str:
    (found,) = ec2.describe_instances(InstanceIds=[name])["Reservations"][0]["Instances"]
    return str(found["State"]["Name"])


@pytest.mark.parametrize(("action", "then"), [("stop", "stopped"), ("terminate", "terminated")])
def test_an_instance_of_ec2_is_ended(ec2: Any, running: str, action: str, then: str) -> None:
    assert state(ec2, running) == "running"
    getattr(EC2Instance(running, "eu-west-1"), action)()
    assert state(ec2, running) == then


def test_an_instance_that_is_elsewhere_is_an_instance_error(ec2: Any, running: str) -> None:
    with pytest.raises(InstanceError, match="another region") as caught:
        EC2Instance(running, "us-east-1").stop()
    assert caught.value.code == "InvalidInstanceID.NotFound"
    assert state(ec2, running) == "running"


# -- ending GCE


PLACE = "/compute/v1/projects/lab/zones/europe-west1-b/instances/trainer-1"


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some that work, instead of those that google-auth would look for on this machine."""
    auth = pytest.importorskip("google.auth", reason="needs tt-cloud[gcs]")
    from google.oauth2.credentials import Credentials

    monkeypatch.setattr(auth, "default", lambda scopes: (Credentials("SECRET"), None))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def trainer(google: Server, credentials: None) -> GCEInstance:
    address = f"http://{google.address}"
    return GCEInstance("lab", "europe-west1-b", "trainer-1", endpoint_url=address)


@pytest.mark.parametrize(
    ("action", "route"), [("stop", f"POST {PLACE}/stop"), ("terminate", f"DELETE {PLACE}")]
)
def test_an_instance_of_gce_is_ended(
    google: Server, trainer: GCEInstance, action: str, route: str
) -> None:
    google.routes[route] = "{}"
    getattr(trainer, action)()
    asked = dict(google.asked)
    assert asked[route]["authorization"] == "Bearer SECRET"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InstanceError),
        (403, AccessDenied),
        (404, InstanceError),
        (429, Throttled),
        (503, Unavailable),
    ],
)
def test_googles_refusals_are_typed(
    google: Server, trainer: GCEInstance, status: int, kind: type[Exception]
) -> None:
    google.routes[f"POST {PLACE}/stop"] = status
    with pytest.raises(kind, match=str(status)) as caught:
        trainer.stop()
    assert caught.value.status == status
    assert "SECRET" not in str(caught.value)


def test_a_token_that_is_not_taken_is_access_denied(google: Server, trainer: GCEInstance) -> None:
    google.routes[f"POST {PLACE}/stop"] = 401
    with pytest.raises(AccessDenied, match="credentials"):
        trainer.stop()


def test_no_credentials_are_access_denied(
    trainer: GCEInstance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import google.auth

    def default(**options: Any) -> None:
        raise google.auth.exceptions.DefaultCredentialsError

    monkeypatch.setattr(google.auth, "default", default)
    with pytest.raises(AccessDenied, match="credentials"):
        trainer.stop()


def test_a_service_that_is_not_there_is_unavailable(credentials: None) -> None:
    instance = GCEInstance("lab", "z", "n", endpoint_url="http://127.0.0.1:9")
    with pytest.raises(Unavailable, match="later"):
        instance.terminate()


# -- finish


@pytest.mark.parametrize("action", ["stop", "terminate"])
def test_it_ends_after_all_sets_were_verified(action: Any) -> None:
    first, second, instance = FakeStore(), FakeStore(), FakeInstance()
    reports = finish(instance, after=[(first, "a"), (second, "b")], action=action, delay=0)
    assert instance.ended == [action]
    assert (first.asked, second.asked) == ([("a", False)], [("b", False)])
    assert reports == (TransferReport(size=1), TransferReport(size=1))


def test_it_stops_unless_told_to_terminate() -> None:
    instance = FakeInstance()
    finish(instance, after=[(FakeStore(), "a")], delay=0)
    assert instance.ended == ["stop"]


@pytest.mark.parametrize(
    "fault",
    [
        NotCommitted("no set"),
        TransferFailed("one is missing", TransferReport()),
        AccessDenied("no"),
        Unavailable("down"),
        OSError("disk"),
    ],
)
def test_it_goes_on_when_a_set_is_not_whole(fault: Exception) -> None:
    instance = FakeInstance()
    with pytest.raises(InstanceError, match="goes on until s3://bucket/b") as caught:
        finish(instance, after=[(FakeStore(), "a"), (FakeStore(fault), "b")], delay=0)
    assert caught.value.__cause__ is fault
    assert not instance.ended


def test_it_goes_on_when_a_set_is_lost_during_the_delay() -> None:
    store, instance = FakeStore(None, NotCommitted("gone")), FakeInstance()
    with pytest.raises(InstanceError, match="goes on"):
        finish(instance, after=[(store, "a")], delay=0.01)
    assert len(store.asked) == 2
    assert not instance.ended


def test_an_unforeseen_fault_of_a_store_keeps_it_running() -> None:
    instance = FakeInstance()
    with pytest.raises(ZeroDivisionError):
        finish(instance, after=[(FakeStore(ZeroDivisionError()), "a")], delay=0)
    assert not instance.ended


def test_it_wants_to_know_what_to_verify() -> None:
    instance = FakeInstance()
    with pytest.raises(InstanceError, match="unverified=True"):
        finish(instance, delay=0)
    assert not instance.ended
    assert finish(instance, unverified=True, delay=0) == ()
    assert instance.ended == ["stop"]


def test_it_can_be_called_off_during_the_delay() -> None:
    cancel, instance = threading.Event(), FakeInstance()
    cancel.set()
    with pytest.raises(Cancelled, match="goes on"):
        finish(instance, after=[(FakeStore(), "a")], delay=3600, cancel=cancel)
    assert not instance.ended


def test_a_dry_run_verifies_and_says_what_it_would_do(caplog: pytest.LogCaptureFixture) -> None:
    store, instance = FakeStore(), FakeInstance()
    finish(instance, after=[(store, "a")], action="terminate", dry_run=True)
    assert store.asked == [("a", False)]
    assert "would terminate a fake" in caplog.text
    assert not instance.ended
    finish(None, after=[(store, "a")], dry_run=True)
    with pytest.raises(InstanceError, match="goes on"):
        finish(None, after=[(FakeStore(NotCommitted("no")), "a")], dry_run=True)


def test_it_can_read_everything_back() -> None:
    store = FakeStore()
    finish(FakeInstance(), after=[(store, "a")], delay=0, read_back=True)
    assert store.asked == [("a", True)]


def test_there_must_be_an_instance_and_an_action() -> None:
    after = [(FakeStore(), "a")]
    with pytest.raises(InstanceError, match="none that is known"):
        finish(None, after=after, delay=0)
    with pytest.raises(ValueError, match="'hibernate'"):
        finish(FakeInstance(), after=after, action="hibernate", delay=0)


def test_a_report_of_failures_keeps_it_running() -> None:
    class Reporting(FakeStore):
        def verify(self, prefix: str = "", /, *, read_back: bool = False) -> TransferReport:
            return TransferReport(failures=(Failure("a/b", ValueError("torn")),))

    instance = FakeInstance()
    with pytest.raises(InstanceError, match=r"a/b.*torn"):
        finish(instance, after=[(Reporting(), "a")], delay=0)
    assert not instance.ended


@pytest.mark.parametrize(
    ("instance", "missing", "extra"),
    [
        (EC2Instance("i-1", "eu-west-1"), "boto3", "s3"),
        (GCEInstance("lab", "z", "n"), "google.auth", "gcs"),
    ],
)
def test_a_missing_extra_is_named(
    instance: Any, missing: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingDependency, match=rf"tt-cloud\[{extra}\]"):
        instance.stop()


def test_a_real_store_decides(tmp_path: Path) -> None:
    store, instance = open_store(str(tmp_path / "store")), FakeInstance()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.bin").write_bytes(b"weights")
    with pytest.raises(InstanceError, match="goes on"):
        finish(instance, after=[(store, "run")], delay=0)
    store.commit(tmp_path / "model", "run")
    (report,) = finish(instance, after=[(store, "run")], delay=0)
    assert instance.ended == ["stop"]
    assert report.failures == ()


@pytest.mark.parametrize(
    ("kind", "action"), [("memory", "stop"), ("memory", "terminate"), ("folder", "terminate")]
)
def test_a_set_that_ends_with_the_instance_does_not_count(
    tmp_path: Path, kind: str, action: Any
) -> None:
    url = "memory://ends" if kind == "memory" else str(tmp_path / "store")
    store, instance = open_store(url), FakeInstance()
    (tmp_path / "model").mkdir()
    store.commit(tmp_path / "model", "run")
    with pytest.raises(InstanceError, match="lost by"):
        finish(instance, after=[(store, "run")], action=action, delay=0)
    assert not instance.ended
    finish(instance, after=[(store, "run")], action=action, delay=0, unverified=True)
    assert instance.ended == [action]
