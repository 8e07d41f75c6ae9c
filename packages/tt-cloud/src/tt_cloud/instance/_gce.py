"""Instances of Google Compute Engine, through its metadata server and REST interface."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from tt_cloud.errors import (
    AccessDenied,
    CloudError,
    InstanceError,
    MissingDependency,
    Throttled,
    Unavailable,
)
from tt_cloud.instance._metadata import MetadataServer, Reply

_ADDRESS = "169.254.169.254"
_FLAVOR = {"Metadata-Flavor": "Google"}
_API = "https://compute.googleapis.com"
_SCOPE = "https://www.googleapis.com/auth/compute"
_TIMEOUT = 30
_NOTICE = timedelta(seconds=30)  # between the notice and the end
_ADVICE: dict[int, tuple[type[CloudError], str]] = {
    401: (AccessDenied, "check the credentials"),
    403: (
        AccessDenied,
        "its service account needs the scope 'compute' and the right to stop or delete it",
    ),
    404: (InstanceError, "it is gone already, or in another project"),
    429: (Throttled, "try again later"),
}


@dataclass(frozen=True, slots=True)
class GCEInstance:
    """An instance of Compute Engine.

    Attributes:
        project: Its project.
        zone: Where it runs.
        name: Its name there.
        endpoint_url: Of the REST interface.
    """

    project: str
    zone: str
    name: str
    endpoint_url: str = _API

    def __str__(self) -> str:
        return f"GCE instance {self.name} in {self.project}/{self.zone}"

    def stop(self) -> None:
        """Turn it off; it can be started again."""
        self._end("POST", "/stop")

    def terminate(self) -> None:
        """Delete it; disks that are to go with it go, too."""
        self._end("DELETE", "")

    def interruption(self) -> datetime | None:
        """When Google takes a spot instance back, at the latest: no time is told, only that."""
        reply = _ask("/computeMetadata/v1/instance/preempted")
        if reply.status != HTTPStatus.OK:
            msg = f"GCE's metadata server knows its instance: it answered {reply.status}; try again"
            raise Unavailable(msg)
        taken = reply.text.strip().upper() == "TRUE"
        return datetime.now(UTC) + _NOTICE if taken else None

    def _end(self, method: str, action: str) -> None:
        where = f"/compute/v1/projects/{self.project}/zones/{self.zone}/instances/{self.name}"
        status = _request(method, f"{self.endpoint_url}{where}{action}", str(self))
        if status < HTTPStatus.BAD_REQUEST:
            return
        unknown = (Unavailable if status >= HTTPStatus.INTERNAL_SERVER_ERROR else InstanceError,)
        kind, advice = _ADVICE.get(status, (*unknown, "see the instance's page in the console"))
        error = kind(f"{self} was to be ended: Google answered with status {status}; {advice}")
        error.status = status
        raise error


def this_gce() -> GCEInstance | None:
    """The instance of Compute Engine that this process runs on."""
    if os.environ.get("NO_GCE_CHECK", "").lower() == "true":
        return None
    try:
        project = _ask("/computeMetadata/v1/project/project-id")
        zone = _ask("/computeMetadata/v1/instance/zone")
        name = _ask("/computeMetadata/v1/instance/name")
    except Unavailable:
        return None
    replies = (project, zone, name)
    if any(reply.status != HTTPStatus.OK or not _from_google(reply) for reply in replies):
        return None  # another cloud's server at the same address
    return GCEInstance(
        project.text.strip(), zone.text.strip().rpartition("/")[2], name.text.strip()
    )


def _from_google(reply: Reply) -> bool:
    return reply.headers.get("metadata-flavor") == "Google"


def _ask(path: str) -> Reply:
    host = os.environ.get("GCE_METADATA_HOST", _ADDRESS)
    return MetadataServer(f"http://{host}").ask(path, _FLAVOR)


def _request(method: str, url: str, where: str) -> int:
    """Call the REST interface with the credentials of the machine; the status."""
    try:
        import google.auth
        import requests
        from google.auth import exceptions
        from google.auth.transport.requests import AuthorizedSession
    except ImportError as error:
        msg = f"{where} is ended through google-auth: it is missing; pip install 'tt-cloud[gcs]'"
        raise MissingDependency(msg) from error
    try:
        credentials, _ = google.auth.default(scopes=[_SCOPE])
        transport: Any = AuthorizedSession  # without types
        with transport(credentials) as session:
            answer = session.request(method, url, timeout=_TIMEOUT)
            return int(answer.status_code)
    except (exceptions.DefaultCredentialsError, exceptions.RefreshError) as error:
        msg = (
            f"{where} is ended with credentials: there are none that work; see google.auth.default"
        )
        raise AccessDenied(msg) from error
    except (requests.RequestException, exceptions.TransportError) as error:
        msg = f"{where} is ended through {url}: {type(error).__name__}; try again later"
        raise Unavailable(msg) from error
