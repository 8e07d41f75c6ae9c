"""Stores by URL, resolved by entry points.

A package registers a factory under a scheme in the group ``tt_experiment.stores``; it is called
with the URL and returns a `BlobStore`. tt-cloud brings ``s3``, ``gs``, ``file`` and ``memory``.
"""

from __future__ import annotations

from importlib.metadata import entry_points

from tt_experiment.errors import StoreError
from tt_experiment.ports import BlobStore

__all__ = ["cloud_url", "open_store"]

_SCHEMES = {"s3": "s3", "aws_s3": "s3", "aws": "s3"} | dict.fromkeys(
    ("gcs", "google_storage", "google storage"), "gs"
)


def open_store(url: str) -> BlobStore:
    """Open the store of a URL; a path without a scheme is a folder.

    Raises:
        StoreError: When no installed package provides the scheme.
    """
    scheme = url.partition("://")[0] if "://" in url else "file"
    factories = {entry.name: entry for entry in entry_points(group="tt_experiment.stores")}
    if scheme not in factories:
        known = ", ".join(sorted(factories)) or "none"
        msg = (
            f"No installed package provides stores of the scheme {scheme!r} (installed: {known}). "
            "s3, gs, file and memory come with: pip install 'tt-cloud[s3,gcs]'"
        )
        raise StoreError(msg)
    store: BlobStore = factories[scheme].load()(url)
    return store


def cloud_url(cloud_save_mode: str | None, bucket_name: str, cloud_dir_prefix: str) -> str | None:
    """The URL that AIToolbox's three cloud arguments mean; ``None`` for local only.

    Raises:
        StoreError: For a ``cloud_save_mode`` that is none.
    """
    if cloud_save_mode in (None, "", "local"):
        return None
    if cloud_save_mode not in _SCHEMES:
        names = ", ".join(repr(name) for name in _SCHEMES)
        msg = f"cloud_save_mode must be None, 'local', {names}; got {cloud_save_mode!r}."
        raise StoreError(msg)
    return f"{_SCHEMES[cloud_save_mode]}://{bucket_name}/{cloud_dir_prefix}".rstrip("/")
