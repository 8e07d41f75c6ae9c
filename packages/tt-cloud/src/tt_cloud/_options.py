"""What a store can be told when it is opened, in groups that belong together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple


class RetryPolicy(NamedTuple):
    """When a request that failed is made again.

    The wait before try n is random between 0 and ``min(cap, base * 2**n)`` seconds ("full
    jitter"), and never shorter than what the service asks for.

    Attributes:
        attempts: Tries of one request, the first included.
        deadline: Seconds after the first try in which another may begin.
        base: Seconds; see above.
        cap: Seconds; see above.
        connect_timeout: Seconds to wait for a connection.
        read_timeout: Seconds without a byte after which a connection is given up.
        minimum_rate: Bytes per second, measured over ``read_timeout``, below which a transfer
            counts as stalled.
    """

    attempts: int = 8
    deadline: float = 120.0
    base: float = 0.2
    cap: float = 20.0
    connect_timeout: float = 10.0
    read_timeout: float = 30.0
    minimum_rate: int = 1024


class TransferOptions(NamedTuple):
    """How bytes are moved.

    Attributes:
        concurrency: Parts or objects at once.
        part_size: Bytes of a part; what is larger is moved in parts.
        journal: Folder for the notes from which an interrupted upload goes on; ``None`` for
            ``tt-cloud/uploads`` in the user's cache directory.
    """

    concurrency: int = 8
    part_size: int = 16 << 20
    journal: Path | None = None


@dataclass(frozen=True, slots=True)
class Encryption:
    """Server-side encryption of what is written.

    Attributes:
        mode: ``"managed"``: keys of the service (S3: SSE-S3; Google always does so).
            ``"kms"``: keys of the key service (S3: SSE-KMS; Google: CMEK).
        key: Name of the key, for ``"kms"``; ``None`` for the bucket's own.
    """

    mode: Literal["managed", "kms"]
    key: str | None = None


class Access(NamedTuple):
    """How a bucket is reached.

    Attributes:
        endpoint_url: A server other than that of AWS or Google.
        region: s3: of the bucket, where the environment does not tell.
        profile: s3: whose credentials to take from the configuration files of AWS.
        project: gs: the project to act for, where the environment does not tell.
        anonymous: Go without credentials, for public buckets and emulators.
        requester_pays: Pay for requests to somebody else's bucket (gs: by ``project``).
        expected_owner: s3: account that the bucket must belong to.
        ca_bundle: File with the certificates to trust, instead of the system's.
        allow_http: Do not warn of an endpoint without encryption beyond this machine.
    """

    endpoint_url: str | None = None
    region: str | None = None
    profile: str | None = None
    project: str | None = None
    anonymous: bool = False
    requester_pays: bool = False
    expected_owner: str | None = None
    ca_bundle: str | None = None
    allow_http: bool = False


class Writing(NamedTuple):
    """How objects are stored.

    Attributes:
        storage_class: Of new objects, in the service's words; ``None`` for the bucket's own.
        encryption: Of new objects; ``None`` for the bucket's own.
    """

    storage_class: str | None = None
    encryption: Encryption | None = None
