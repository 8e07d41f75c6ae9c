"""What all calls on one bucket need."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tt_cloud._gcs._addresses import Addresses
from tt_cloud._gcs._answers import Reply, nonsense, parsed
from tt_cloud._gcs._line import Line
from tt_cloud._gcs._objects import described
from tt_cloud._gcs._shared import Shared
from tt_cloud._keys import BucketURL
from tt_cloud._options import Access
from tt_cloud._stored import Condition, Stored
from tt_cloud.errors import (
    AccessDenied,
    AlreadyExists,
    BucketNotFound,
    Changed,
    CloudError,
    NotFound,
)

_GENERATION = re.compile(r"[1-9][0-9]{0,17}")


class Calls:
    """One bucket below one prefix.

    Args:
        place: Bucket and prefix.
        access: How it is reached.
        shared: What stores of the same bucket have in common.
    """

    def __init__(self, place: BucketURL, access: Access, shared: Shared) -> None:
        self.place = place
        self._access = access
        self.shared = shared
        self.to = Addresses(shared.endpoint, place)

    @property
    def line(self) -> Line:
        """The way to the service."""
        return self.shared.line()

    def where(self, key: str) -> str:
        """A full address, for messages."""
        return f"{self.place}/{key}"

    def name(self, key: str) -> str:
        """What the service calls an object."""
        return self.place.prefix + key

    def payer(self) -> str | None:
        """The project that pays for requests to somebody else's bucket, where that is wanted.

        Raises:
            AccessDenied: When there is none.
        """
        if not self._access.requester_pays:
            return None
        if project := self.line.tokens.project:
            return project
        msg = "requester_pays needs a project to pay: there is none; give project='its-id'"
        raise AccessDenied(msg)

    def query(self, **parts: str | None) -> dict[str, str | None]:
        """What goes behind the question mark, in this call and in all."""
        return {**parts, "userProject": self.payer()}

    def condition(self, condition: Condition, key: str) -> dict[str, str | None]:
        """What must hold, as a part of the query."""
        if condition.absent:
            return {"ifGenerationMatch": "0"}
        return {"ifGenerationMatch": self.generation(condition.etag, key)}

    def generation(self, etag: str | None, key: str) -> str | None:
        """An etag as the service's number.

        Raises:
            Changed: When no object ever has it.
        """
        if etag is None or _GENERATION.fullmatch(etag):
            return etag
        msg = (
            f"the object must have the etag {etag!r}: {self.where(key)} never has; look at it again"
        )
        raise Changed(msg)

    def version(self, version: str | None, key: str) -> str | None:
        """A version as the service's number.

        Raises:
            NotFound: When there can be none.
        """
        if version is None or _GENERATION.fullmatch(version):
            return version
        raise NotFound(f"{self.where(key)} has no version {version!r}; versions() shows them")

    def stored(self, reply: Reply, key: str) -> Stored:
        """The object that an answer describes."""
        return self.described(parsed(reply, self.where(key)), reply, key)

    def described(self, resource: Any, reply: Reply, key: str) -> Stored:
        """The object that a part of an answer describes."""
        try:
            return described(resource)
        except (LookupError, ValueError, TypeError, AttributeError) as error:
            raise nonsense(reply, self.where(key)) from error

    @contextmanager
    def writing(
        self, condition: Condition, key: str, *, missing_bucket: bool = True
    ) -> Iterator[None]:
        """Failures of a write in its terms: what is missing then is the bucket."""
        try:
            yield
        except Changed as error:
            if not condition.absent:
                raise
            msg = f"with if_absent the key must be free: {self.where(key)} is taken; use another"
            raise _with_marks(AlreadyExists(msg), error) from error
        except NotFound as error:
            if not missing_bucket:
                raise
            raise _with_marks(self._no_bucket(), error) from error

    def require_bucket(self) -> None:
        """Tell a missing bucket from a missing object: the answer is the same.

        Raises:
            BucketNotFound: When it does not exist.
        """
        if self.shared.bucket_is_there:
            return
        target = self.to.objects(self.query(maxResults="1", fields="nextPageToken"))
        try:
            self.line.call("GET", target, str(self.place))
        except NotFound as error:
            raise self._no_bucket() from error
        except AccessDenied:
            pass  # it is there, but may not be listed
        self.shared.bucket_is_there = True

    def _no_bucket(self) -> BucketNotFound:
        msg = f"the bucket of {self.place} must exist: it does not; create it or correct that"
        return BucketNotFound(msg)


def _with_marks(error: CloudError, other: CloudError) -> CloudError:
    error.status, error.code, error.request_id = other.status, other.code, other.request_id
    return error
