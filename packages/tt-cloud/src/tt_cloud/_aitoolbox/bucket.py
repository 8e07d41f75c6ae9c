"""A bucket by its name, and the keys of experiments in it."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from tt_cloud._open import open_store
from tt_cloud.api import TreeStore

_TIMESTAMP = "%Y-%m-%d_%H-%M-%S"


class BucketUser:
    """Has the store of a bucket; nothing is connected before the first call.

    Args:
        bucket_name: The bucket.
        store: The store to use instead, whatever it is.
    """

    scheme: ClassVar[str] = "s3"

    def __init__(self, bucket_name: str, store: TreeStore | None) -> None:
        self.bucket_name = bucket_name
        if store is None:
            store = open_store(f"{self.scheme}://{bucket_name}")
        self.store: TreeStore = store

    def _path(self, key: str) -> str:
        """An object as AIToolbox writes it: the bucket, a slash, the key."""
        return f"{self.store.url.partition('://')[2]}/{key}"


def joined(*parts: str) -> str:
    """A key out of its parts; slashes around them, and empty ones, mean nothing."""
    stripped = (part.strip("/") for part in parts)
    return "/".join(part for part in stripped if part)


def experiment_key(
    prefix: str, project_name: str, experiment_name: str, timestamp: str, *parts: str
) -> str:
    """Where an experiment has something: as on disk, below a prefix."""
    return joined(prefix, project_name, f"{experiment_name}_{timestamp}", *parts)


def timestamp_or_now(timestamp: str | None) -> str:
    """The time as it is part of names."""
    return timestamp or datetime.now().astimezone().strftime(_TIMESTAMP)
