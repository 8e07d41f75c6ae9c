"""S3 and servers that speak its protocol.

Credentials and configuration are botocore's, which boto3 is made of; the requests are made here,
for boto3 takes ten times their time and does not verify what it moves in parts.
"""

from tt_cloud.errors import MissingDependency

try:
    import botocore.session  # noqa: F401 - tells early that it is not there
except ImportError as error:
    msg = f"s3:// needs boto3 ({error}): pip install 'tt-cloud[s3]'"
    raise MissingDependency(msg) from error

from tt_cloud._s3._remote import S3Remote

__all__ = ["S3Remote"]
