"""What botocore knows: whose credentials, which region, and where a bucket lives."""

from __future__ import annotations

import os
import re
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, NoReturn
from urllib.parse import urlsplit

from botocore import exceptions as boto
from botocore.config import Config
from botocore.httpsession import get_cert_path
from botocore.session import Session

from tt_cloud._keys import check_endpoint
from tt_cloud._options import Access
from tt_cloud._s3._sign import Keys, Scope
from tt_cloud.errors import (
    AccessDenied,
    CloudError,
    CredentialsExpired,
    InvalidURL,
    Unavailable,
    Unsupported,
)

_PLAIN = re.compile(r"[A-Za-z0-9._-]{3,255}")  # neither an ARN nor to be refused
_PRIVATE = re.compile(r"https://.*|http://(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?", re.I)
_AWS = re.compile(r".*\.amazonaws\.com(\.cn)?")
_CREDENTIAL = re.compile(r"AWS4-HMAC-SHA256 Credential=none/\d+/([^/]+)/([^/]+)/aws4_request,.*")
_DEFAULT_REGION = "us-east-1"

_MISSING = (
    "needs credentials: boto3 found none in the environment (AWS_ACCESS_KEY_ID, AWS_PROFILE), in "
    "~/.aws, nor those of the machine; set some, or open the store with anonymous=True"
)
_DENIED = (
    boto.CredentialRetrievalError,
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.ProfileNotFound,
    boto.InvalidConfigError,
    boto.ConfigParseError,
)
_EXPIRED = (boto.SSOTokenLoadError, boto.UnauthorizedSSOTokenError, boto.TokenRetrievalError)


class Location(NamedTuple):
    """Where a bucket is, and what to sign requests to it for.

    Attributes:
        origin: ``http(s)://host[:port]``.
        path: What comes before ``/key``, quoted.
        scope: Of signatures.
    """

    origin: str
    path: str
    scope: Scope

    @property
    def official(self) -> bool:
        """Whether AWS itself answers there."""
        return _AWS.fullmatch(self.origin) is not None

    @property
    def private(self) -> bool:
        """Whether nobody on the way can change what is sent."""
        return _PRIVATE.fullmatch(self.origin) is not None


class Account:
    """Configuration and credentials of one process, through botocore. Thread-safe."""

    def __init__(self, where: str, bucket: str, access: Access) -> None:
        self._where = where
        self._bucket = bucket
        self._access = access
        self._lock = threading.Lock()
        self._session = Session(profile=access.profile)
        self._credentials: Any = None

    def keys(self) -> Keys | None:
        """The credentials to sign with; none for anonymous access."""
        if self._access.anonymous:
            return None
        with self._translated():
            if (credentials := self._credentials) is None:
                with self._lock:
                    credentials = self._loaded()
            keys: Keys = credentials.get_frozen_credentials()
            return keys

    def renew(self, used: Keys | None) -> bool:
        """Look for others than those that were refused as expired, where they came from."""
        if used is None:
            return False
        with self._translated(), self._lock:
            if self._loaded().get_frozen_credentials() == used:
                self._session = Session(profile=self._access.profile)
                self._credentials = None
            return bool(self._loaded().get_frozen_credentials() != used)

    def locate(self, region: str | None = None) -> Location:
        """Where the bucket is, in the configured region or another."""
        with self._translated(), self._lock:  # sessions are for one thread at a time
            return self._directly(region) or self._asked(region)

    @property
    def ca_bundle(self) -> str | None:
        """The file of trusted certificates, as boto3 finds it; none for those of the system."""
        with self._translated():
            named = self._access.ca_bundle or self._session.get_config_variable("ca_bundle")
        return named or os.environ.get("REQUESTS_CA_BUNDLE") or _bundled()

    def _loaded(self) -> Any:
        """Whatever botocore keeps credentials in; for one thread at a time."""
        if self._credentials is None:
            self._credentials = self._session.get_credentials()
        if self._credentials is None:
            msg = f"{self._where} {_MISSING}"
            raise AccessDenied(msg)
        return self._credentials

    def _region(self, region: str | None) -> str | None:
        found = region or self._access.region or self._session.get_config_variable("region")
        return None if found is None else str(found)

    def _directly(self, region: str | None) -> Location | None:
        """What a client would say, without making one, which takes 0.1 s."""
        endpoint = self._access.endpoint_url
        configured = self._session.get_config_variable("s3") or {}
        if endpoint is None or configured or not _PLAIN.fullmatch(self._bucket):
            return None
        url = urlsplit(endpoint)
        scope = Scope(self._region(region) or _DEFAULT_REGION, "s3")
        path = f"{url.path.rstrip('/')}/{self._bucket}"
        return Location(f"{url.scheme}://{url.netloc}", path, scope)

    def _asked(self, region: str | None) -> Location:
        """Let a client prepare a request, and look at it."""
        client = self._session.create_client(
            "s3",
            region_name=self._region(region),
            endpoint_url=self._access.endpoint_url,
            aws_access_key_id="none",
            aws_secret_access_key="none",  # noqa: S106 - a signature nobody sees
            config=Config(signature_version=None, retries={"total_max_attempts": 1}),
        )
        client.meta.events.register("before-send.s3", _stop)
        try:
            client.head_object(Bucket=self._bucket, Key="k")
        except _Prepared as found:
            return self._taken(found)
        finally:
            client.close()
        raise AssertionError  # a request is prepared, or something else was raised

    def _taken(self, found: _Prepared) -> Location:
        signed = _CREDENTIAL.fullmatch(found.authorization)
        url = urlsplit(found.url)
        if signed is None or not url.path.endswith("/k"):
            msg = f"{self._where} is of a kind (S3 Express, multi-region) that is not supported"
            raise Unsupported(f"{msg}; use a general purpose bucket")
        origin = f"{url.scheme}://{url.netloc}"
        check_endpoint(origin, allow_http=self._access.allow_http)
        return Location(origin, url.path[:-2], Scope(signed[1], signed[2]))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except _EXPIRED as error:
            msg = f"{self._where} needs credentials: those of the sign-on have expired"
            raise CredentialsExpired(f"{msg} ({type(error).__name__}); sign on again") from error
        except _DENIED as error:
            msg = f"{self._where} needs credentials: {type(error).__name__}"
            raise AccessDenied(f"{msg}; check the configuration of AWS") from error
        except boto.ParamValidationError as error:
            msg = f"{self._where} must name a bucket by a valid name: it does not; correct it"
            raise InvalidURL(msg) from error
        except (boto.InvalidRegionError, boto.EndpointResolutionError, ValueError) as error:
            self._wrong(error)
        except (boto.ConnectionError, boto.HTTPClientError) as error:
            msg = f"{self._where}: credentials could not be fetched ({type(error).__name__})"
            raise Unavailable(f"{msg}; try again later") from error
        except boto.BotoCoreError as error:
            msg = f"{self._where}: boto3 raised {type(error).__name__}"
            raise CloudError(f"{msg}; check the configuration of AWS") from error

    def _wrong(self, error: Exception) -> NoReturn:
        if isinstance(error, CloudError):
            raise error
        msg = f"{self._where} must have a region and endpoint that work ({type(error).__name__})"
        raise InvalidURL(f"{msg}; check endpoint_url, region and the configuration") from error


def _bundled() -> str | None:
    """The certificates that boto3 brings, for a machine that has none."""
    paths = ssl.get_default_verify_paths()
    if paths.cafile or paths.capath or sys.platform == "win32":
        return None
    return str(get_cert_path(True))


class _Prepared(Exception):  # noqa: N818 - carries what was looked for
    """A request that is not sent."""

    def __init__(self, url: str, authorization: str) -> None:
        super().__init__()
        self.url = url
        self.authorization = authorization


def _stop(request: Any, **_: Any) -> NoReturn:
    found = request.headers.get("Authorization", "")
    raise _Prepared(request.url, found.decode() if isinstance(found, bytes) else found)
