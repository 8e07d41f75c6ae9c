"""What a name stands for in a store, and which version of it is there."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from tt_cloud._files import places
from tt_cloud._stored import Watch
from tt_cloud._trees._manifest import MANIFEST, recognised
from tt_cloud.api import ObjectInfo, TreeStore
from tt_cloud.errors import Changed, NotFound


@dataclass(frozen=True, slots=True)
class Source:
    """A dataset as it lies in a store.

    Attributes:
        store: Where.
        name: An object's key, or what lies before the ``/`` of several.
        objects: That object, the manifest of a committed set, or all below the name.
        single: Whether it is one object.
    """

    store: TreeStore
    name: str
    objects: tuple[ObjectInfo, ...]
    single: bool

    @property
    def where(self) -> str:
        """Its address."""
        return f"{self.store.url}/{self.name}".rstrip("/")

    @property
    def last_part(self) -> str:
        """What to call it on disk."""
        return (self.name or self.store.url.rstrip("/")).rpartition("/")[2] or "dataset"

    @property
    def digest(self) -> str:
        """Another for each version; the same in each store that knows digests of the content."""
        versions = [self._version(info) for info in self.objects]
        return hashlib.sha256(json.dumps([self.name, versions]).encode()).hexdigest()

    def _version(self, info: ObjectInfo) -> list[object]:
        if info.sha256 is not None:
            return [info.key, info.size, info.sha256]
        return [info.key, info.size, info.etag, info.version, self.store.url]

    def download(self, folder: Path, watch: Watch) -> None:
        """Fetch this version into a folder, verified; goes on with what is there already.

        Raises:
            Changed: When there is another version by now.
        """
        if self.single:
            (info,) = self.objects
            (target,) = places([self.last_part], folder).values()
            etag = info.etag or None
            self.store.get(
                self.name,
                target,
                if_match=etag,
                progress=watch.progress,
                cancel=watch.cancel,
            )
            return
        folder.mkdir(parents=True, exist_ok=True)
        self.store.download_tree(self.name, folder, progress=watch.progress, cancel=watch.cancel)
        if find(self.store, self.name).digest != self.digest:
            msg = f"a dataset must not change while it is fetched: {self.where} did; try again"
            raise Changed(msg)


def find(store: TreeStore, name: str) -> Source:
    """Look a name up.

    Raises:
        NotFound: When there is nothing under it.
    """
    if name and (info := store.head(name)) is not None:
        return Source(store, name, (info,), single=True)
    below = f"{name}/" if name else ""
    manifest = store.head(f"{below}{MANIFEST}")
    if manifest is not None and recognised(store.read(manifest.key)) is not None:
        return Source(store, name, (manifest,), single=False)
    objects = tuple(store.list(below))
    if not objects:
        msg = f"a dataset is an object or a folder of them: {store.url}/{name} is neither; list() "
        raise NotFound(msg + "shows what there is")
    return Source(store, name, objects, single=False)
