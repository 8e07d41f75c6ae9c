"""Addresses that are credentials, signed by Google's own client."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import google.auth.credentials
import google.auth.exceptions
from google.cloud import storage

from tt_cloud._gcs._calls import Calls
from tt_cloud._gcs._tokens import Tokens
from tt_cloud._presigned import PresignedURL
from tt_cloud.errors import AccessDenied, Unsupported

_ADVICE = "use a service account's key, or one that may sign its own blobs (Token Creator)"


def presigned(calls: Calls, key: str, method: str, expires: timedelta) -> PresignedURL:
    """Sign by key where there is one, else let the account's own service sign."""
    tokens, bucket = calls.line.tokens, calls.place.bucket
    if tokens.anonymous:
        msg = f"an address is signed with credentials: gs://{bucket} was opened without; {_ADVICE}"
        raise Unsupported(msg)
    payer = calls.payer()
    begun = datetime.now(UTC)
    try:
        url = _blob(bucket, calls.name(key)).generate_signed_url(
            version="v4",
            expiration=expires,
            method=method,
            api_access_endpoint=calls.shared.endpoint.url,
            query_parameters={"userProject": payer} if payer else None,
            **_signer(tokens),
        )
    except (AttributeError, google.auth.exceptions.GoogleAuthError) as error:
        msg = f"an address is signed with a key: those for gs://{bucket} have none; {_ADVICE}"
        raise AccessDenied(msg) from error
    return PresignedURL(url, method, begun + expires)


def _blob(bucket: str, name: str) -> Any:
    nobody = google.auth.credentials.AnonymousCredentials()  # type: ignore[no-untyped-call]  # not annotated
    return storage.Client("none", nobody).bucket(bucket).blob(name)


def _signer(tokens: Tokens) -> dict[str, Any]:
    credentials = tokens.credentials
    if isinstance(credentials, google.auth.credentials.Signing):
        return {"credentials": credentials}
    tokens.headers()  # an instance's account is told with its token
    email = getattr(credentials, "service_account_email", None)
    if not email:
        return {"credentials": credentials}
    return {
        "credentials": credentials,
        "service_account_email": email,
        "access_token": credentials.token,
    }
