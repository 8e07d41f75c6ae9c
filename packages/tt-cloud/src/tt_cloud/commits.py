"""What a committed set is: objects that are never overwritten, and a manifest that is written last.

Below the prefix that a folder was committed to lie::

    MANIFEST.json               which objects are the set
    files/<32 digits>/<path>    the content of each file; the digits are a digest of both

A commit stores the objects that are not there yet, and then replaces the manifest in one step, if
it is still the one that the commit began with. Who reads the manifest has one whole set, and goes
on finding its objects after the next commit, until `tt_cloud.api.TreeStore.sweep` removes what no
manifest names any more. The manifest is JSON for people, too: one line for each file, ordered by
path, with its size, sha256, and key below the prefix. So a place that is copied as it is, manifest
last as `tt_cloud.api.TreeStore.sync` does, is a committed set again.
"""

from tt_cloud._trees._manifest import FILES, MANIFEST, CommittedFile, Manifest, read_manifest

__all__ = ["FILES", "MANIFEST", "CommittedFile", "Manifest", "read_manifest"]
