"""Stores for places, with the options of the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tt_cloud._command.places import Place
from tt_cloud._open import open_store
from tt_cloud._options import TransferOptions
from tt_cloud.api import ObjectInfo, TreeStore
from tt_cloud.errors import NotFound, UnknownOption

if TYPE_CHECKING:
    from tt_cloud._command.arguments import Arguments

_BUCKETS = ("anonymous", "ca_bundle", "concurrency", "endpoint_url")
_TAKES = {"s3": (*_BUCKETS, "profile", "region"), "gs": (*_BUCKETS, "project")}
_NAMES = sorted({name for names in _TAKES.values() for name in names})


class Opener:
    """Opens the places of one command; each option goes to those that take it.

    Raises:
        UnknownOption: When no place takes an option that was given, or two of different kinds
            take the address of a server.
    """

    def __init__(self, arguments: Arguments, *places: Place) -> None:
        given = {name: getattr(arguments, name, None) for name in _NAMES}
        self._given = {name: value for name, value in given.items() if value}
        self._check({place.scheme for place in places})

    def parent(self, place: Place) -> TreeStore:
        """The store that has the place as an object: a bucket, or the folder it lies in."""
        return self._open(place.root, place.scheme)

    def inside(self, place: Place) -> TreeStore:
        """The store of what is below the place."""
        return self._open(place.text, place.scheme)

    def _open(self, address: str, scheme: str) -> TreeStore:
        takes = _TAKES.get(scheme, ())
        options: dict[str, Any] = {n: value for n, value in self._given.items() if n in takes}
        if concurrency := options.pop("concurrency", None):
            options["transfer"] = TransferOptions(concurrency=concurrency)
        return open_store(address, **options)

    def _check(self, schemes: set[str]) -> None:
        for name in self._given.keys() - {"concurrency"}:  # folders do without it, in silence
            takers = [scheme for scheme in sorted(schemes) if name in _TAKES.get(scheme, ())]
            option = f"--{name.replace('_', '-')}"
            if not takers:
                msg = f"{option} is for buckets that know it: there is none here; leave it out"
                raise UnknownOption(msg)
            if name == "endpoint_url" and len(takers) > 1:
                variables = "AWS_ENDPOINT_URL_S3 and STORAGE_EMULATOR_HOST"
                msg = f"{option} is for one service: got {' and '.join(takers)}; set {variables}"
                raise UnknownOption(msg)


def is_empty(store: TreeStore) -> bool:
    """Whether nothing is there."""
    return next(iter(store.list()), None) is None


def absent(place: Place) -> NotFound:
    """What to raise when neither an object nor anything below it is there."""
    msg = f"there must be something at {place.text}: there is not; tt-cloud ls shows what is"
    return NotFound(msg)


def found(store: TreeStore, place: Place) -> ObjectInfo | None:
    """The object at a place, from a listing: that reads no file to digest it."""
    first = next(iter(store.list(place.key)), None)
    return first if first is not None and first.key == place.key else None
