"""Requests to one server, with the proof of who asks."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

from tt_cloud._gcs._addresses import Endpoint
from tt_cloud._gcs._answers import Reply, failure, is_page
from tt_cloud._gcs._tokens import Tokens
from tt_cloud._http import Answer, Connections
from tt_cloud._options import Access, RetryPolicy

_MAX_REPLY = 32 << 20  # a page of 1000 objects with all the metadata they may have


class Line:
    """Connections and credentials, of one process.

    Attributes:
        tokens: Who asks.
    """

    def __init__(self, endpoint: Endpoint, access: Access, retry: RetryPolicy) -> None:
        self._connections = Connections(
            endpoint.url,
            connect_timeout=retry.connect_timeout,
            read_timeout=retry.read_timeout,
            minimum_rate=retry.minimum_rate,
            ca_bundle=access.ca_bundle,
        )
        self.tokens = Tokens(
            anonymous=access.anonymous or endpoint.emulated,
            project=access.project,
            timeout=retry.read_timeout,
            ca_bundle=access.ca_bundle,
        )

    @contextmanager
    def open(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: memoryview | None = None,
        *,
        slow: bool = False,
        once: bool = False,
    ) -> Iterator[Answer]:
        """Ask; once more with a new token when the service refuses the one we have."""
        proof = self.tokens.headers()
        with self._connections.request(
            method, target, {**headers, **proof}, body, slow=slow, once=once
        ) as answer:
            if answer.status != 401 or self.tokens.anonymous:
                yield answer
                return
            answer.read()
        proof = self.tokens.headers(refused=proof)
        with self._connections.request(
            method, target, {**headers, **proof}, body, slow=slow, once=once
        ) as answer:
            yield answer

    def call(
        self,
        method: str,
        target: str,
        where: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: memoryview | None = None,
        slow: bool = False,
        once: bool = False,
        allowed: Collection[int] = (),
    ) -> Reply:
        """Ask, and read a small answer.

        Raises:
            CloudError: The fitting one, unless the answer is a success or ``allowed``.
        """
        with self.open(method, target, headers or {}, body, slow=slow, once=once) as answer:
            reply = Reply(answer.status, answer.headers, answer.read(_MAX_REPLY))
        if reply.status in allowed or (200 <= reply.status < 300 and not is_page(reply.body)):
            return reply
        raise failure(reply, where)

    def close(self) -> None:
        """Close what is open; later requests connect anew."""
        self._connections.close()
        self.tokens.close()
