"""Who we are: what google-auth finds, as headers that last until shortly before they expire."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import google.auth
import google.auth.credentials
import google.auth.exceptions
import google.auth.transport.requests
import requests

from tt_cloud.errors import AccessDenied, CredentialsExpired, Unavailable

SCOPES = ("https://www.googleapis.com/auth/devstorage.read_write",)

_FRESH = google.auth.credentials.TokenState.FRESH
_NOBODY: Mapping[str, str] = {}


class Tokens:
    """The headers that prove who asks; looked for when they are needed first.

    Args:
        anonymous: Prove nothing.
        project: To act for, where the environment does not tell.
        timeout: Seconds that the giver of a token has.
        ca_bundle: File with the certificates to trust.
    """

    def __init__(
        self, *, anonymous: bool, project: str | None, timeout: float, ca_bundle: str | None
    ) -> None:
        self.anonymous = anonymous
        self._project = project
        self._lock = threading.Lock()
        self._found: tuple[Any, str | None] | None = None
        self._headers: Mapping[str, str] | None = None
        self._session = requests.Session()
        if ca_bundle is not None:
            self._session.verify = ca_bundle
        request: Any = google.auth.transport.requests.Request(self._session)
        self._request: Any = partial(request, timeout=timeout)

    def headers(self, *, refused: Mapping[str, str] | None = None) -> Mapping[str, str]:
        """For a request; others than those that the service refused.

        Raises:
            AccessDenied: When there are no credentials.
            CredentialsExpired: When they do not give a token any more.
            Unavailable: When whoever gives it does not answer.
        """
        if self.anonymous:
            return _NOBODY
        headers = self._headers
        if headers is None or headers is refused or not self._is_fresh():
            with self._lock:
                headers = self._headers
                if headers is None or headers is refused or not self._is_fresh():
                    headers = self._headers = self._renewed()
        return headers

    @property
    def credentials(self) -> Any:
        """Google-auth's own object."""
        return self._default[0]

    @property
    def project(self) -> str | None:
        """That pays, where somebody else's bucket wants that."""
        if self._project is not None or self.anonymous:
            return self._project
        with self._lock:
            return self._default[1]

    def close(self) -> None:
        """Close the connections to whoever gives tokens."""
        self._session.close()

    @property
    def _default(self) -> tuple[Any, str | None]:
        if self._found is None:
            with _explained():
                self._found = google.auth.default(scopes=SCOPES, request=self._request)
        return self._found

    def _is_fresh(self) -> bool:
        return self._found is not None and self._found[0].token_state is _FRESH

    def _renewed(self) -> Mapping[str, str]:
        headers: dict[str, str] = {}
        credentials = self.credentials
        with _explained():
            credentials.refresh(self._request)
            credentials.apply(headers)
        return headers


@contextmanager
def _explained() -> Iterator[None]:
    """Raise what google-auth raises as this package's errors, without the giver's own words."""
    try:
        yield
    except google.auth.exceptions.DefaultCredentialsError as error:
        advice = "set GOOGLE_APPLICATION_CREDENTIALS, run 'gcloud auth application-default login'"
        msg = f"gs:// needs credentials: none could be used; {advice}, or give anonymous=True"
        raise AccessDenied(msg) from error
    except google.auth.exceptions.RefreshError as error:
        if error.retryable:
            raise _silence() from error
        msg = (
            "credentials must give a token: these do not (any more); log in again or check the key"
        )
        raise CredentialsExpired(msg) from error
    except google.auth.exceptions.GoogleAuthError as error:
        raise _silence() from error


def _silence() -> Unavailable:
    msg = "a token must be got from Google: its giver does not answer; try again later"
    return Unavailable(msg)
