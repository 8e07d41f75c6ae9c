"""Google Cloud Storage: credentials by google-auth, bytes over connections of our own."""

from tt_cloud.errors import MissingDependency

try:
    import google.auth.transport.requests  # noqa: F401 - only to tell what is missing
    import google_crc32c  # noqa: F401 - only to tell what is missing
except ImportError as error:
    msg = f"gs:// needs google-cloud-storage ({error}): pip install 'tt-cloud[gcs]'"
    raise MissingDependency(msg) from error

from tt_cloud._gcs._google import GoogleRemote

__all__ = ["GoogleRemote"]
