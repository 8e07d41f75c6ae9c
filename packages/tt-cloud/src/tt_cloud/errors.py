# ruff: noqa: N818 - the names say what happened, like those of the builtins beside them
"""What can go wrong, each also the builtin that a caller would expect.

::

    CloudError
    +-- NotFound            FileNotFoundError   no such object
    |   +-- BucketNotFound                      no such bucket
    +-- AlreadyExists       FileExistsError     a create lost against another
    +-- AccessDenied        PermissionError     no credentials, or not enough rights
    +-- Unavailable         ConnectionError     may work later
    +-- ChecksumMismatch    ValueError          the bytes are not what they should be
    +-- UnsafeKey           ValueError          a key that is not a plain relative path
    +-- InvalidURL          ValueError          an address that cannot be used
    +-- UnknownScheme       ValueError          an address of a kind that nobody provides
    +-- UnknownOption       TypeError           an option that the backend does not have
    +-- MissingDependency   ImportError         an extra is not installed

Messages hold addresses and keys of objects, never credentials.
"""

__all__ = [
    "AccessDenied",
    "AlreadyExists",
    "BucketNotFound",
    "ChecksumMismatch",
    "CloudError",
    "InvalidURL",
    "MissingDependency",
    "NotFound",
    "Unavailable",
    "UnknownOption",
    "UnknownScheme",
    "UnsafeKey",
]


class CloudError(Exception):
    """Base of everything that this package raises; bare for answers that fit no other class."""


class NotFound(CloudError, FileNotFoundError):
    """There is no object under that key."""


class BucketNotFound(NotFound):
    """The bucket that the address names does not exist."""


class AlreadyExists(CloudError, FileExistsError):
    """The object was to be created, but its key is taken."""


class AccessDenied(CloudError, PermissionError):
    """Credentials are missing, wrong or out of date, or do not allow the call."""


class Unavailable(CloudError, ConnectionError):
    """The service did not answer or asked to come back: the same call may work later."""


class ChecksumMismatch(CloudError, ValueError):
    """Bytes and digest do not belong together; nothing was kept of them."""


class UnsafeKey(CloudError, ValueError):
    """The key is not a plain relative path, or would lead out of the store."""


class InvalidURL(CloudError, ValueError):
    """The address of a store or of its endpoint cannot be used as it stands."""


class UnknownScheme(CloudError, ValueError):
    """No backend has that kind of address."""


class UnknownOption(CloudError, TypeError):
    """The backend of that address does not take the option."""


class MissingDependency(CloudError, ImportError):
    """The backend needs a package that is not installed."""
