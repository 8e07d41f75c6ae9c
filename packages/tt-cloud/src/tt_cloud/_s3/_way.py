"""The way to a bucket: where it is, the connections there, and how requests are signed for it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from time import time
from urllib.parse import quote

from tt_cloud._http import Answer, Connections
from tt_cloud._s3._account import Location
from tt_cloud._s3._learnt import learnt
from tt_cloud._s3._request import Request
from tt_cloud._s3._sign import UNSIGNED, Keys, Message, authorization, canonical, presigned, stamp

PAYER = "x-amz-request-payer"


class Way:
    """One way, until the bucket turns out to be elsewhere.

    Attributes:
        location: Where the bucket is.
        learnt: What its endpoint turned out to do.
        connections: Those to the endpoint.
        common: Headers of every request.
    """

    def __init__(
        self, location: Location, connections: Connections, common: Mapping[str, str]
    ) -> None:
        self.location = location
        self.learnt = learnt(location.origin, official=location.official)
        self.connections = connections
        self.common = common

    def path(self, key: str | None) -> str:
        """The path of an object, or of the bucket itself."""
        if key is None:
            return self.location.path or "/"
        return f"{self.location.path}/{quote(key, '/~')}"

    def send(self, request: Request, keys: Keys | None) -> AbstractContextManager[Answer]:
        """Make a request; any answer is right."""
        path, query = self.path(request.key), canonical(request.query)
        checks = request.checks if self.learnt.checks else {}
        headers = {**request.headers, **checks, **self.common}
        if keys is not None:
            message = Message(request.method, path, query, headers, request.digest)
            headers = self._signed(message, keys)
        target = f"{path}?{query}" if query else path
        return self.connections.request(
            request.method, target, headers, request.body, slow=request.slow, once=request.once
        )

    def presigned(self, method: str, key: str, keys: Keys, seconds: int) -> str:
        """An address that may be used for a while."""
        path, host = self.path(key), {"host": self.connections.host}
        payer = {name: text for name, text in self.common.items() if name == PAYER}
        message = Message(method, path, canonical(payer), host, UNSIGNED)
        now = stamp(time() + self.learnt.clock)
        query = presigned(message, keys, self.location.scope, now, seconds)
        return f"{self.location.origin}{path}?{query}"

    def _signed(self, message: Message, keys: Keys) -> dict[str, str]:
        now = stamp(time() + self.learnt.clock)
        headers = {**message.headers, "x-amz-date": now, "x-amz-content-sha256": message.digest}
        if keys.token:
            headers["x-amz-security-token"] = keys.token
        seen = message._replace(headers={**headers, "host": self.connections.host})
        headers["authorization"] = authorization(seen, keys, self.location.scope, now)
        return headers
