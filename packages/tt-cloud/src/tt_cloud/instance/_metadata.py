"""Questions to the metadata server of the machine: plain HTTP that never leaves it."""

from __future__ import annotations

import http.client
import ipaddress
import socket
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from tt_cloud.errors import InvalidURL, Unavailable

TIMEOUT = 1.0  # seconds; the server is on the machine, or there is none
_TRIES = 2
_LARGEST = 1 << 16
_IPV6 = ipaddress.ip_address("fd00:ec2::254")  # EC2's, not of the link-local network


class Reply(NamedTuple):
    """What the server said."""

    status: int
    text: str
    headers: Mapping[str, str]  # names in lower case


class MetadataServer(NamedTuple):
    """One that answers on this machine only.

    Attributes:
        address: ``http://host:port``.
    """

    address: str

    def ask(
        self,
        path: str,
        headers: Mapping[str, str],
        *,
        method: str = "GET",
        timeout: float = TIMEOUT,
    ) -> Reply:
        """One answer, whatever its status.

        Raises:
            Unavailable: When there is no such server.
            InvalidURL: When the address is not one of this machine.
        """
        host, port = self._place()
        for _ in range(_TRIES):
            try:
                return _exchange(host, port, method, path, headers, timeout)
            except TimeoutError as error:  # nobody there: another try would time out as well
                raise self._silent(error) from error
            except (OSError, http.client.HTTPException) as error:
                fault = error
        raise self._silent(fault) from fault

    def _place(self) -> tuple[str, int]:
        """The numeric address to connect to; names are looked up once, here."""
        parts = urlsplit(self.address)
        if parts.scheme != "http" or not parts.hostname:
            msg = f"metadata servers are like 'http://host:port': got {self.address!r}; correct it"
            raise InvalidURL(msg)
        port = parts.port or 80
        try:
            found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise self._silent(error) from error
        host = str(found[0][4][0])
        if not _here(host):
            msg = f"metadata are asked for on this machine only: {self.address} is not; correct it"
            raise InvalidURL(msg)
        return host, port

    def _silent(self, error: Exception) -> Unavailable:
        return Unavailable(
            f"a metadata server answers: {self.address} did not ({type(error).__name__}); "
            "only machines of a cloud have one"
        )


def _here(host: str) -> bool:
    address = ipaddress.ip_address(host.partition("%")[0])
    return address.is_loopback or address.is_link_local or address == _IPV6


def _exchange(
    host: str, port: int, method: str, path: str, headers: Mapping[str, str], timeout: float
) -> Reply:
    connection = http.client.HTTPConnection(host, port, timeout=timeout)  # no proxies, on purpose
    try:
        connection.request(method, path, headers=dict(headers))
        answer = connection.getresponse()
        body = answer.read(_LARGEST)
        named = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, body.decode("utf-8", "replace"), named)
    finally:
        connection.close()
