"""Instances of Amazon EC2, through IMDSv2 and boto3."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tt_cloud import _boto
from tt_cloud.errors import InstanceError, ProtocolError, Unavailable
from tt_cloud.instance._metadata import MetadataServer, Reply

_ADDRESS = "http://169.254.169.254"
_SECONDS = 60  # that a token is good for
_TOKEN_HEADER = "X-aws-ec2-metadata-token"  # noqa: S105 - a name, no secret
_ADVICE = {
    "IncorrectInstanceState": "it is being started or ended: try again in a minute",
    "InvalidInstanceID.NotFound": "it is gone, or in another region or account",
    "OperationNotPermitted": "it is protected: turn off its protection against stop or termination",
    "UnsupportedOperation": "this kind can only be terminated: one-time spot, or no EBS root disk",
}


@dataclass(frozen=True, slots=True)
class EC2Instance:
    """An instance of EC2.

    Attributes:
        id: Like ``i-0abc...``.
        region: Where it runs.
        endpoint_url: A server other than that of AWS.
    """

    id: str
    region: str
    endpoint_url: str | None = None

    def __str__(self) -> str:
        return f"EC2 instance {self.id} in {self.region}"

    def stop(self) -> None:
        """Turn it off; it can be started again."""
        self._end("stop_instances")

    def terminate(self) -> None:
        """Delete it; disks that are to go with it go, too."""
        self._end("terminate_instances")

    def interruption(self) -> datetime | None:
        """When AWS is going to take a spot instance back; known about two minutes before."""
        reply = _ask("/latest/meta-data/spot/instance-action")
        if reply.status == 404:
            return None
        return _time(_expect(reply).text)

    def _end(self, call: str) -> None:
        client = _boto.client("ec2", self.region, self.endpoint_url, InstanceError)
        with _boto.translated(str(self), InstanceError, _ADVICE):
            getattr(client, call)(InstanceIds=[self.id])


def this_ec2() -> EC2Instance | None:
    """The instance of EC2 that this process runs on."""
    if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return None
    try:
        found = _ask("/latest/meta-data/instance-id")
        region = _ask("/latest/meta-data/placement/region")
    except Unavailable:
        return None
    if found.status != 200 or region.status != 200:
        return None  # another cloud's server at the same address
    return EC2Instance(found.text.strip(), region.text.strip())


def _ask(path: str) -> Reply:
    """One answer of IMDSv2."""
    server = MetadataServer(
        os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", _ADDRESS).rstrip("/")
    )
    ttl = {f"{_TOKEN_HEADER}-ttl-seconds": str(_SECONDS)}
    token = server.ask("/latest/api/token", ttl, method="PUT")
    if token.status != 200:
        return token
    return server.ask(path, {_TOKEN_HEADER: token.text})


def _expect(reply: Reply) -> Reply:
    if reply.status != 200:
        msg = f"EC2's metadata server knows its instance: it answered {reply.status}; try again"
        raise Unavailable(msg)
    return reply


def _time(text: str) -> datetime:
    try:
        notice: Any = json.loads(text)
        return datetime.fromisoformat(notice["time"])
    except (ValueError, KeyError, TypeError) as error:
        msg = f"a notice of EC2 has a time: {text[:80]!r} has none; look at the metadata server"
        raise ProtocolError(msg) from error
