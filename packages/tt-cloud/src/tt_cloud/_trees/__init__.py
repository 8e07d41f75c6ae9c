"""Folders and sets of objects: a plan, many objects at once, and one report.

All of it uses the methods of `tt_cloud.api.ObjectStore` alone, and what `BaseStore` has besides
where a store is one.
"""

from tt_cloud._trees._commit import commit
from tt_cloud._trees._delete import delete
from tt_cloud._trees._download import download
from tt_cloud._trees._mirror import sync, upload
from tt_cloud._trees._sweep import sweep
from tt_cloud._trees._verify import verify

__all__ = ["commit", "delete", "download", "sweep", "sync", "upload", "verify"]
