"""The clients, and what each of them checks.

Found by flipping one bit on the way: whether a damaged upload was refused, and a damaged download
noticed, when the file came in one piece (small) and in several ranges at once (big).
"""

from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple


class Peer(NamedTuple):
    """A row.

    Attributes:
        name: As printed.
        file: The module below ``clouds`` that has ``up(job)`` and ``down(job)``.
        package: Whose version counts.
        install: What to give to pip.
        verifies: Of the steps "small up", "small down", "big up" and "big down".
        syncs: Whether it has ``sync(job)``, which leaves alone what is equal.
    """

    name: str
    file: str
    package: str
    install: str
    verifies: tuple[str, ...]
    syncs: bool = False

    @property
    def slug(self) -> str:
        return self.name.replace(" ", "-").replace(",", "")

    @property
    def version(self) -> str | None:
        try:
            return version(self.package)
        except PackageNotFoundError:
            return None


ALL = ("small up", "small down", "big up", "big down")
NO_RANGES = ("small up", "small down", "big up")
UP = ("small up", "big up")

PEERS = [
    Peer("tt-cloud", "ours", "tt-cloud", "'tt-cloud[s3]'", ALL, syncs=True),
    Peer("tt-cloud, one by one", "ours_single", "tt-cloud", "'tt-cloud[s3]'", ALL),
    Peer("tt-cloud command", "ours_command", "tt-cloud", "'tt-cloud[s3]'", ALL, syncs=True),
    Peer("boto3", "boto", "boto3", "boto3", NO_RANGES),
    Peer("boto3, tuned", "boto_tuned", "boto3", "boto3", NO_RANGES),
    Peer("s3fs", "s3fs", "s3fs", "'s3fs>=2026'", ALL),
    Peer("smart_open", "smart_open", "smart_open", "'smart_open[s3]'", UP),
    Peer("obstore", "obstore", "obstore", "obstore", ()),
    Peer("aws command", "aws", "awscli", "awscli", NO_RANGES, syncs=True),
]
