"""From an address to a store: the one place where schemes and options are looked up."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple, TypedDict, Unpack, cast

from tt_cloud._keys import check_endpoint, split_bucket_url
from tt_cloud._options import Access, Encryption, RetryPolicy, TransferOptions, Writing
from tt_cloud.api import TreeStore
from tt_cloud.errors import UnknownOption, UnknownScheme


class StoreOptions(TypedDict, total=False):
    """Options of `open_store`; folders and memory take none.

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
        storage_class: Of new objects, in the service's words.
        encryption: Of new objects, by the service.
        retry: When a request that failed is made again.
        transfer: How bytes are moved.
    """

    endpoint_url: str
    region: str
    profile: str
    project: str
    anonymous: bool
    requester_pays: bool
    expected_owner: str
    ca_bundle: str
    allow_http: bool
    storage_class: str
    encryption: Encryption
    retry: RetryPolicy
    transfer: TransferOptions


class _Backend(NamedTuple):
    """What opens such addresses: a store, or a `Remote` for `BucketStore`, and what it takes."""

    module: str
    name: str
    options: tuple[str, ...] = ()
    least_part: int = 0  # bytes
    grain: int = 1  # bytes, of which parts are multiples


_BUCKETS = (
    "allow_http",
    "anonymous",
    "ca_bundle",
    "encryption",
    "endpoint_url",
    "requester_pays",
    "retry",
    "storage_class",
    "transfer",
)
_S3 = (*_BUCKETS, "expected_owner", "profile", "region")
_GS = (*_BUCKETS, "project")
_KIB, _MIB = 1 << 10, 1 << 20
_LARGEST_PART = 5 << 30

_BACKENDS = {
    "file": _Backend("tt_cloud._folder", "FolderStore"),
    "gs": _Backend("tt_cloud._gcs", "GoogleRemote", _GS, 256 * _KIB, 256 * _KIB),
    "memory": _Backend("tt_cloud._memory", "MemoryStore"),
    "s3": _Backend("tt_cloud._s3", "S3Remote", _S3, 5 * _MIB),
}


def open_store(url: str | os.PathLike[str], /, **options: Unpack[StoreOptions]) -> TreeStore:
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
        ValueError: When an option cannot have such a value.
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
        takes = ", ".join(sorted(backend.options)) or "no options"
        msg = f"{scheme} stores take {takes}: got {', '.join(unknown)}; leave that out"
        raise UnknownOption(msg)
    if not backend.options:
        return cast("TreeStore", getattr(import_module(backend.module), backend.name)(url))
    return _bucket(url, backend, options)


def _backend(scheme: str) -> _Backend:
    if scheme not in _BACKENDS:
        known = ", ".join(f"{name}://" for name in sorted(_BACKENDS))
        msg = f"a store's address is a folder or begins with {known}: got {scheme}://; correct it"
        raise UnknownScheme(msg)
    return _BACKENDS[scheme]


def _bucket(url: str, backend: _Backend, options: Mapping[str, Any]) -> TreeStore:
    """A bucket's store, out of its remote and the options in their groups."""
    place = split_bucket_url(url)
    retry = options.get("retry", RetryPolicy())
    transfer = options.get("transfer", TransferOptions())
    access = Access(**{name: options[name] for name in Access._fields if name in options})
    writing = Writing(**{name: options[name] for name in Writing._fields if name in options})
    _check_retry(retry)
    _check_transfer(transfer, backend)
    _check_encryption(writing.encryption)
    check_endpoint(access.endpoint_url, allow_http=options.get("allow_http", False))
    remote = getattr(import_module(backend.module), backend.name)(place, access, writing, retry)

    from tt_cloud._bucket import BucketStore
    from tt_cloud._transfer.line import Line
    from tt_cloud._transfer.retry import Retrying

    name = access.endpoint_url or f"{place.scheme}://{place.bucket}"
    return BucketStore(Line(remote, Retrying(retry, name), transfer, writing))


def _check_retry(retry: RetryPolicy) -> None:
    _check_kind("retry", retry, RetryPolicy)
    if retry.attempts < 1:
        msg = f"a request is made once at least: got {retry.attempts} attempts; give 1 or more"
        raise ValueError(msg)
    for name in ("connect_timeout", "read_timeout"):
        if getattr(retry, name) <= 0:
            msg = f"{name} is a time to wait: got {getattr(retry, name)} s; give more than 0"
            raise ValueError(msg)
    for name in ("deadline", "base", "cap", "minimum_rate"):
        if getattr(retry, name) < 0:
            msg = f"{name} is not negative: got {getattr(retry, name)}; give 0 or more"
            raise ValueError(msg)


def _check_transfer(transfer: TransferOptions, backend: _Backend) -> None:
    _check_kind("transfer", transfer, TransferOptions)
    if transfer.concurrency < 1:
        msg = f"something moves at any time: got concurrency {transfer.concurrency}; give 1 or more"
        raise ValueError(msg)
    least, grain = backend.least_part, backend.grain
    if not least <= transfer.part_size <= _LARGEST_PART or transfer.part_size % grain:
        steps = "" if grain == 1 else f", in steps of {grain}"
        rule = f"a part has {least} to {_LARGEST_PART} bytes here{steps}"
        msg = f"{rule}: got part_size {transfer.part_size}; give another"
        raise ValueError(msg)


def _check_encryption(encryption: Encryption | None) -> None:
    if encryption is None:
        return
    _check_kind("encryption", encryption, Encryption)
    if encryption.mode not in ("managed", "kms"):
        msg = f"encryption is 'managed' or 'kms': got {encryption.mode!r}; correct it"
        raise ValueError(msg)
    if encryption.mode == "managed" and encryption.key is not None:
        msg = "only 'kms' encryption has a key of yours: got one for 'managed'; leave it out"
        raise ValueError(msg)


def _check_kind(name: str, value: object, kind: type) -> None:
    if not isinstance(value, kind):
        came = type(value).__name__
        msg = f"{name} is a {kind.__name__}: got {came}; write {kind.__name__}(...)"
        raise TypeError(msg)
