"""How to reach a server: directly or through a proxy, with or without TLS."""

from __future__ import annotations

import base64
import os
import socket
import ssl
from dataclasses import dataclass
from functools import cached_property, lru_cache
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from tt_cloud._http._head import parsed, written
from tt_cloud._http._wire import Pace, Wire
from tt_cloud.errors import InvalidURL, ProtocolError, Unavailable

_PORTS = {"http": 80, "https": 443}
_BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@dataclass(frozen=True)
class Route:
    """The way to one server; picklable.

    Attributes:
        endpoint: ``http(s)://host[:port]``; what follows is ignored.
        connect_timeout: Seconds.
        ca_bundle: File of the certificates to trust.
    """

    endpoint: str
    connect_timeout: float
    ca_bundle: str | None = None

    def __reduce__(self) -> tuple[type[Route], tuple[str, float, str | None]]:
        # without what was found out: the environment's proxy may hold a password
        return type(self), (self.endpoint, self.connect_timeout, self.ca_bundle)

    @cached_property
    def host(self) -> str:
        """What the ``Host`` header says."""
        url = self._url
        default = url.port in (None, _PORTS[url.scheme])
        name = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname or ""
        return name if default else f"{name}:{url.port}"

    @cached_property
    def where(self) -> str:
        """The server for messages."""
        return f"{self._url.scheme}://{self.host}"

    @cached_property
    def target_prefix(self) -> str:
        """What comes before the path in a request: proxies are told the server there."""
        return self.where if self._url.scheme == "http" and self._proxy else ""

    @cached_property
    def extra(self) -> dict[str, str]:
        """Headers that a proxy needs to see in each request."""
        return _authorization(self._proxy) if self.target_prefix and self._proxy else {}

    def dial(self) -> Wire:
        """A new connection."""
        try:
            return Wire(self._connect(), self.where)
        except Unavailable:  # is an OSError, too, and tells more
            raise
        except ssl.SSLError as error:
            raise self._untrusted(error) from error
        except OSError as error:
            msg = f"{self._nearest} cannot be reached ({_reason(error)}); check address and network"
            raise Unavailable(msg) from error

    @cached_property
    def _url(self) -> SplitResult:
        return urlsplit(self.endpoint)

    @cached_property
    def _proxy(self) -> SplitResult | None:
        """What the environment says, as most programs read it."""
        proxy = getproxies().get(self._url.scheme)
        if not proxy or proxy_bypass(self.host) or proxy_bypass(self._url.hostname or ""):
            return None
        if (found := _proxy_at(proxy)) is None:
            came = "the environment has another kind"
            msg = f"a proxy has an address like http://host:port: {came}; correct it"
            raise InvalidURL(msg)
        return found

    @property
    def _nearest(self) -> str:
        return f"the proxy to {self.where}" if self._proxy else self.where

    def _connect(self) -> socket.socket:
        url = self._proxy or self._url
        address = url.hostname or "", url.port or _PORTS[url.scheme]
        connected = socket.create_connection(address, self.connect_timeout)
        try:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if self._url.scheme != "https":
                return connected
            if self._proxy:
                self._tunnel(connected, self._proxy)
            return _context(self._bundle).wrap_socket(connected, server_hostname=self._url.hostname)
        except BaseException:
            connected.close()
            raise

    def _tunnel(self, connected: socket.socket, proxy: SplitResult) -> None:
        """Ask the proxy for a connection to the server."""
        wire = Wire(connected, self._nearest)
        wire.begin(Pace(self.connect_timeout, 0))
        port = self._url.port or _PORTS[self._url.scheme]
        target = f"{self.host.removesuffix(f':{port}')}:{port}"
        wire.send(written("CONNECT", target, target, _authorization(proxy), 0), memoryview(b""))
        status = parsed(wire.head(), wire.where).status
        if status != 200:
            error = Unavailable if status >= 500 else ProtocolError
            msg = f"{self._nearest} must let us through: it answered {status}; check HTTPS_PROXY"
            raise error(msg)

    @property
    def _bundle(self) -> str | None:
        named = (os.environ.get(name) for name in _BUNDLES)
        return self.ca_bundle or next(filter(None, named), None)

    def _untrusted(self, error: ssl.SSLError) -> Unavailable | ProtocolError:
        if isinstance(error, ssl.SSLCertVerificationError):
            why = f"its certificate is not trusted ({error.verify_message})"
            msg = f"{self.where}: {why}; name the file of its authority with ca_bundle"
            return ProtocolError(msg)
        if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return Unavailable(f"{self.where} ended the connection; try again later")
        why = f"no TLS could be agreed upon ({error.reason})"
        return ProtocolError(f"{self.where}: {why}; is it http://, or behind another port?")


@lru_cache(8)
def _context(bundle: str | None) -> ssl.SSLContext:
    """What to trust; made once, as reading all the certificates takes its time."""
    try:
        if bundle and os.path.isdir(bundle):  # noqa: PTH112 - the name is the environment's
            return ssl.create_default_context(capath=bundle)
        return ssl.create_default_context(cafile=bundle)
    except (OSError, ssl.SSLError) as error:
        msg = f"ca_bundle names a file of certificates: {bundle} is none ({_reason(error)})"
        raise InvalidURL(msg) from error


def _proxy_at(address: str) -> SplitResult | None:
    """A usable one; what Python says of others would quote their password."""
    try:
        found = urlsplit(address if "://" in address else f"http://{address}")
        usable = found.scheme == "http" and bool(found.hostname) and found.port != 0
    except ValueError:
        return None
    return found if usable else None


def _authorization(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
