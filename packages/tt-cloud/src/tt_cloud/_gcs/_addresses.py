"""Where things are on the server."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from tt_cloud._keys import BucketURL, check_endpoint
from tt_cloud._options import Access

GOOGLE = "https://storage.googleapis.com"
EMULATOR = "STORAGE_EMULATOR_HOST"  # as Google's own clients read it


class Endpoint(NamedTuple):
    """A server.

    Attributes:
        url: Without a slash at its end.
        emulated: Whether the environment says that there is no account behind it.
    """

    url: str
    emulated: bool

    @property
    def is_google(self) -> bool:
        """Whether it serves what emulators lack."""
        return (urlsplit(self.url).hostname or "").endswith(".googleapis.com")


class Download(NamedTuple):
    """How to ask for content."""

    target: str
    headers: dict[str, str]


def endpoint_of(access: Access) -> Endpoint:
    """What the caller says, else the environment, else Google."""
    named = os.environ.get(EMULATOR)
    if access.endpoint_url is None and named:
        url = named if "://" in named else f"http://{named}"
    else:
        url = access.endpoint_url or GOOGLE
    check_endpoint(url)
    return Endpoint(url.rstrip("/"), emulated=access.endpoint_url is None and bool(named))


class Addresses:
    """Request targets of a bucket's objects; keys are relative to the place's prefix."""

    def __init__(self, endpoint: Endpoint, place: BucketURL) -> None:
        self._base = urlsplit(endpoint.url).path
        self._bucket = quote(place.bucket, safe="")
        self._prefix = place.prefix
        self._xml = endpoint.is_google

    def objects(self, query: Mapping[str, str | None]) -> str:
        """The listing."""
        return f"{self._base}/storage/v1/b/{self._bucket}/o{_query(query)}"

    def object(self, key: str, query: Mapping[str, str | None]) -> str:
        """What is known of an object."""
        return self.objects({}) + f"/{self._quoted(key)}{_query(query)}"

    def uploads(self, query: Mapping[str, str | None]) -> str:
        """Where content is sent to."""
        return f"{self._base}/upload/storage/v1/b/{self._bucket}/o{_query(query)}"

    def rewrite(self, source: str, target: str, query: Mapping[str, str | None]) -> str:
        """The copy of an object under another key."""
        tail = f"/rewriteTo/b/{self._bucket}/o/{self._quoted(target)}"
        return self.object(source, {}) + tail + _query(query)

    def media(self, key: str, query: Mapping[str, str | None]) -> Download:
        """An object's content.

        Google's XML API tells an object's metadata with its content, where its JSON API needs
        another request; emulators do it in both, but have the XML API under one host name only.
        """
        if not self._xml:
            return Download(self.object(key, {"alt": "media", **query}), {})
        path = quote(self._prefix + key, safe="/~")
        headers = {
            _HEADERS[name]: text for name, text in query.items() if name in _HEADERS and text
        }
        left = {name: text for name, text in query.items() if name not in _HEADERS}
        return Download(f"{self._base}/{self._bucket}/{path}{_query(left)}", headers)

    def _quoted(self, key: str) -> str:
        return quote(self._prefix + key, safe="")


_HEADERS = {  # of the XML API, for what is a part of the JSON API's query
    "ifGenerationMatch": "x-goog-if-generation-match",
    "userProject": "x-goog-user-project",
}


def _query(parts: Mapping[str, str | None]) -> str:
    given = {name: text for name, text in parts.items() if text is not None}
    return f"?{urlencode(given, quote_via=quote)}" if given else ""
