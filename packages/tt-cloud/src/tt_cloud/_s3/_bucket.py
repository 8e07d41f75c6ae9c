"""Requests to one bucket: made once, and again only where the first answer told how."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from tt_cloud._http import Answer, Connections
from tt_cloud._options import Access, RetryPolicy
from tt_cloud._s3._account import Account, Location
from tt_cloud._s3._corrections import Attempt, Corrections
from tt_cloud._s3._faults import fault_of
from tt_cloud._s3._learnt import COPY, FINISH, PUT
from tt_cloud._s3._request import Request
from tt_cloud._s3._way import PAYER, Way
from tt_cloud.errors import Unsupported

_CONDITIONS = frozenset({"if-match", "if-none-match"})
_WRITES = ("POST", "PUT")


class _Live(NamedTuple):
    """What a process has of its own."""

    account: Account
    way: Way


class Bucket:
    """One bucket. Thread-safe and picklable; each process has its own account and connections."""

    _live: _Live | None
    _lock: threading.Lock
    _owner: int  # the process that the above belong to

    def __init__(self, name: str, access: Access, retry: RetryPolicy) -> None:
        self.name = name
        self._access = access
        self._retry = retry
        self._forget()

    def __getstate__(self) -> dict[str, Any]:
        return {"name": self.name, "_access": self._access, "_retry": self._retry}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._forget()

    @property
    def way(self) -> Way:
        """How it is reached; found out on first use."""
        return self._found().way

    @property
    def account(self) -> Account:
        """Whose requests these are."""
        return self._found().account

    @contextmanager
    def ask(self, request: Request) -> Iterator[Answer]:
        """Make a request and give its answer; raises what the server's refusal means."""
        corrections = Corrections(self, request)
        while True:
            way, asked = self.way, corrections.request
            keys = self.account.keys()
            with way.send(asked, keys) as answer:
                if answer.status < 300 or answer.status in request.fine:
                    corrections.worked(way)
                    yield answer
                    return
                fault = fault_of(answer, asked)
            attempt = _explained(Attempt(way, keys, fault))
            if (
                fault.status == 412
                and request.method in _WRITES
                and _CONDITIONS & asked.headers.keys()
                and not fault.of_source
            ):
                way.learnt.conditions |= {_kind(asked)}
            if not corrections.made(attempt):
                raise attempt.fault.error(self.where(request.key))

    def done(self, request: Request, limit: int = 1 << 20) -> tuple[Answer, bytes]:
        """Make a request and read its small answer."""
        with self.ask(request) as answer:
            return answer, answer.read(limit)

    def presigned(self, key: str, method: str, seconds: int) -> str:
        """An address with a signature in it."""
        if (keys := self.account.keys()) is None:
            msg = f"{self.where(key)} cannot be signed for: the store is open without credentials"
            raise Unsupported(f"{msg}; open it without anonymous=True")
        return self.way.presigned(method, key, keys, seconds)

    def where(self, key: str | None) -> str:
        """An address for messages."""
        return f"s3://{self.name}" if key is None else f"s3://{self.name}/{key}"

    def move(self, region: str) -> None:
        """From now on look for the bucket in another region."""
        account = self.account
        with self._lock:
            before = self._live
            if before is None or before.way.location.scope.region != region:
                self._live = _Live(account, self._led(account, account.locate(region)))
                if before is not None:
                    before.way.connections.close()

    def close(self) -> None:
        """Close the connections."""
        if self._live is not None:
            self._live.way.connections.close()

    def _forget(self) -> None:
        self._live = None
        self._lock = threading.Lock()
        self._owner = os.getpid()

    def _found(self) -> _Live:
        if self._owner != os.getpid():  # forked: the parent's locks may be held for ever
            self.close()
            self._forget()
        return self._live or self._find()

    def _find(self) -> _Live:
        with self._lock:
            if (live := self._live) is None:
                account = Account(self.where(None), self.name, self._access)
                live = self._live = _Live(account, self._led(account, account.locate()))
            return live

    def _led(self, account: Account, location: Location) -> Way:
        connections = Connections(
            location.origin,
            connect_timeout=self._retry.connect_timeout,
            read_timeout=self._retry.read_timeout,
            minimum_rate=self._retry.minimum_rate,
            ca_bundle=account.ca_bundle,
        )
        common = {}
        if self._access.requester_pays:
            common[PAYER] = "requester"
        if self._access.expected_owner is not None:
            common["x-amz-expected-bucket-owner"] = self._access.expected_owner
        return Way(location, connections, common)


def _kind(asked: Request) -> str:
    """Which kind of write."""
    if asked.method == "POST":
        return FINISH
    return COPY if "x-amz-copy-source" in asked.headers else PUT


def _explained(attempt: Attempt) -> Attempt:
    """The code behind a refused HEAD, whose answer cannot hold one: GET is refused alike."""
    asked = attempt.fault.request
    if asked.method != "HEAD" or attempt.fault.status not in (400, 403):
        return attempt
    if asked.key is None:
        again = asked._replace(method="GET", query={"list-type": "2", "max-keys": "0"})
    else:
        again = asked._replace(method="GET", headers={**asked.headers, "range": "bytes=0-0"})
    with attempt.way.send(again, attempt.keys) as answer:
        if answer.status < 300 or answer.status == 416:
            return attempt
        return attempt._replace(fault=fault_of(answer, again)._replace(request=asked))
