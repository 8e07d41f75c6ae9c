"""A folder as a store: each object is the plain file of that name.

People may look at the files, add some, and correct or remove others. The digest is computed when it
is asked for; a listing carries none, because it would have to read every file. Only what no plain
file holds, metadata and a content type other than the name tells, is kept in a hidden file beside
the object, for as long as the object is the very file that it was written for.
"""

from tt_cloud._folder._store import FolderStore

__all__ = ["FolderStore"]
