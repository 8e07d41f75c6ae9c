"""From an address to a store: the one place where schemes and options are looked up."""

from __future__ import annotations

import os
from importlib import import_module
from typing import NamedTuple, TypedDict, Unpack, cast

from tt_cloud.api import ObjectStore
from tt_cloud.errors import UnknownOption, UnknownScheme


class StoreOptions(TypedDict, total=False):
    """Options of `open_store`.

    Attributes:
        endpoint_url: s3, gs: a server other than that of AWS or Google.
        region: s3: of the bucket, where the environment does not tell.
        profile: s3: whose credentials to take from the configuration files of AWS.
        project: gs: the project to act for, where the environment does not tell.
        anonymous: gs: go without credentials.
    """

    endpoint_url: str
    region: str
    profile: str
    project: str
    anonymous: bool


class _Backend(NamedTuple):
    module: str
    store: str
    options: tuple[str, ...] = ()


_BACKENDS = {
    "file": _Backend("tt_cloud._folder", "FolderStore"),
    "gs": _Backend("tt_cloud._gcs", "GoogleStore", ("anonymous", "endpoint_url", "project")),
    "memory": _Backend("tt_cloud._memory", "MemoryStore"),
    "s3": _Backend("tt_cloud._s3", "S3Store", ("endpoint_url", "profile", "region")),
}


def open_store(url: str | os.PathLike[str], /, **options: Unpack[StoreOptions]) -> ObjectStore:
    """Open the store at an address; nothing is connected before the first call.

    Args:
        url: A folder's path or ``file:///folder``; ``memory://name`` for one that ends with the
            process; ``s3://bucket/prefix``; ``gs://bucket/prefix``. Credentials come from where
            boto3 and Google's client look for them, and so do their environment variables.
        **options: See `StoreOptions`.

    Raises:
        UnknownScheme: When nothing opens such an address.
        UnknownOption: When the backend does not take an option.
        InvalidURL: When the address cannot be used.
        MissingDependency: When the backend's client is not installed.

    Example:
        >>> store = open_store("memory://example")
        >>> store.put("greeting.txt", b"hello").size
        5
        >>> store.read("greeting.txt")
        b'hello'
    """
    url = os.fspath(url)
    scheme = url.partition("://")[0] if "://" in url else "file"
    backend = _backend(scheme)
    if unknown := sorted(options.keys() - set(backend.options)):
        takes = ", ".join(backend.options) or "no options"
        msg = f"{scheme} stores take {takes}: got {', '.join(unknown)}; leave that out"
        raise UnknownOption(msg)
    store = getattr(import_module(backend.module), backend.store)
    return cast("ObjectStore", store(url, **options))


def _backend(scheme: str) -> _Backend:
    if scheme not in _BACKENDS:
        known = ", ".join(f"{name}://" for name in sorted(_BACKENDS))
        msg = f"a store's address is a folder or begins with {known}: got {scheme}://; correct it"
        raise UnknownScheme(msg)
    return _BACKENDS[scheme]
