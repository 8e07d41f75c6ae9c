# ruff: noqa: N818 - the names say what happened, like those of the builtins beside them
"""What can go wrong, each also the builtin that a caller would expect.

::

    CloudError
    +-- NotFound                FileNotFoundError    no such object
    |   +-- BucketNotFound                           no such bucket
    |   +-- NotCommitted                             no committed set under that prefix
    +-- AlreadyExists           FileExistsError      a create lost against another
    +-- Changed                 RuntimeError         the object is not the one that was expected
    +-- AccessDenied            PermissionError      no credentials, or not enough rights
    |   +-- CredentialsExpired                       they were right once
    +-- Unavailable             ConnectionError      may work later
    |   +-- Throttled                                asked to come back more slowly
    +-- ChecksumMismatch        ValueError           the bytes are not what they should be
    |   +-- SourceChanged                            a file changed while it was sent
    +-- ProtocolError           ValueError           an answer that no such server gives
    +-- UnsafeKey               ValueError           a key that is not a plain relative path
    +-- UnsafeArchive           ValueError           an archive that writes elsewhere or too much
    +-- InvalidURL              ValueError           an address that cannot be used
    +-- UnknownScheme           ValueError           an address of a kind that nobody provides
    +-- UnknownOption           TypeError            an option that the backend does not have
    +-- Unsupported             NotImplementedError  a call that the backend cannot answer
    +-- TransferFailed          OSError              some objects of many; its report says which
    +-- Cancelled               InterruptedError     the caller asked to stop
    +-- MailError               RuntimeError         a mail that was not sent
    +-- InstanceError           RuntimeError         an instance that was not ended
    +-- MissingDependency       ImportError          an extra is not installed

Messages hold addresses and keys of objects, never credentials or signatures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tt_cloud.api import TransferReport

__all__ = [
    "AccessDenied",
    "AlreadyExists",
    "BucketNotFound",
    "Cancelled",
    "Changed",
    "ChecksumMismatch",
    "CloudError",
    "CredentialsExpired",
    "InstanceError",
    "InvalidURL",
    "MailError",
    "MissingDependency",
    "NotCommitted",
    "NotFound",
    "ProtocolError",
    "SourceChanged",
    "Throttled",
    "TransferFailed",
    "Unavailable",
    "UnknownOption",
    "UnknownScheme",
    "UnsafeArchive",
    "UnsafeKey",
    "Unsupported",
]


class CloudError(Exception):
    """Base of everything that this package raises; bare for answers that fit no other class.

    Attributes:
        status: HTTP status of the answer, where one came.
        code: The service's own name for what happened, like ``SlowDown``.
        request_id: What the service's support asks for.
    """

    status: int | None = None
    code: str | None = None
    request_id: str | None = None


class NotFound(CloudError, FileNotFoundError):
    """There is no object under that key."""


class BucketNotFound(NotFound):
    """The bucket that the address names does not exist."""


class NotCommitted(NotFound):
    """There is no committed set under that prefix: it was never finished."""


class AlreadyExists(CloudError, FileExistsError):
    """The object was to be created, but its key is taken."""


class Changed(CloudError, RuntimeError):
    """The object is not the one that the caller named by its etag, or was replaced while read."""


class AccessDenied(CloudError, PermissionError):
    """Credentials are missing, wrong or out of date, or do not allow the call."""


class CredentialsExpired(AccessDenied):
    """The credentials were right once; there is no way to get new ones from here."""


class Unavailable(CloudError, ConnectionError):
    """The service did not answer or asked to come back: the same call may work later."""


class Throttled(Unavailable):
    """The service asked for fewer requests.

    Attributes:
        retry_after: Seconds that it asked to wait, where it said so.
    """

    retry_after: float | None = None


class ChecksumMismatch(CloudError, ValueError):
    """Bytes and digest do not belong together; nothing was kept of them."""


class SourceChanged(ChecksumMismatch):
    """A file changed while it was being sent; nothing was stored of it."""


class ProtocolError(CloudError, ValueError):
    """The answer is none that such a server gives: a proxy or a login page, perhaps."""


class UnsafeKey(CloudError, ValueError):
    """The key is not a plain relative path, or would lead out of the store or folder."""


class UnsafeArchive(CloudError, ValueError):
    """The archive would write outside its folder, make links or devices, or grow beyond bounds."""


class InvalidURL(CloudError, ValueError):
    """The address of a store or of its endpoint cannot be used as it stands."""


class UnknownScheme(CloudError, ValueError):
    """No backend has that kind of address."""


class UnknownOption(CloudError, TypeError):
    """The backend of that address does not take the option."""


class Unsupported(CloudError, NotImplementedError):
    """The backend, or the server behind it, cannot do what was asked."""


class TransferFailed(CloudError, OSError):
    """Some of many objects failed; the others are done.

    Attributes:
        report: What was done, and every failure with its error.
    """

    def __init__(self, message: str, report: TransferReport) -> None:
        super().__init__(message)
        self.report = report

    def __reduce__(self) -> tuple[type[TransferFailed], tuple[str, TransferReport]]:
        return type(self), (str(self), self.report)


class Cancelled(CloudError, InterruptedError):
    """The caller's cancel event was set; what was finished before stays."""


class MailError(CloudError, RuntimeError):
    """The mail was not sent."""


class InstanceError(CloudError, RuntimeError):
    """The instance was not ended."""


class MissingDependency(CloudError, ImportError):
    """The name needs a package that is not installed."""
