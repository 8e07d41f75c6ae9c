"""A remote, and how to talk to it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tt_cloud._options import TransferOptions, Writing
from tt_cloud._remote import Remote
from tt_cloud._stored import Stored
from tt_cloud._transfer.clock import Halt
from tt_cloud._transfer.retry import Retrying
from tt_cloud.errors import AccessDenied

PARTS = 10_000  # that an upload may have
GRAIN = 1 << 20


@dataclass(frozen=True, slots=True)
class Line:
    """What every transfer needs."""

    remote: Remote
    retrying: Retrying
    options: TransferOptions
    writing: Writing

    def below(self, prefix: str) -> Line:
        """The same further down."""
        return replace(self, remote=self.remote.below(prefix))

    def where(self, key: str) -> str:
        """An object's address, for messages."""
        return f"{self.remote.url}/{key}"

    @property
    def largest_put(self) -> int:
        """What is larger is sent in parts."""
        return min(self.options.part_size, self.remote.largest_put)

    def part_size(self, size: int) -> int:
        """Bytes of each part but the last: more where there would be too many."""
        least = -(-size // PARTS)
        if least <= self.options.part_size:
            return self.options.part_size
        return -(-least // GRAIN) * GRAIN

    def written(self, key: str, token: str, size: int, halt: Halt) -> Stored | None:
        """The object under a key, if the upload with that token wrote it.

        A write whose answer got lost is refused when it is made again: it has been done.
        """
        try:
            found = self.retrying.run(lambda: self.remote.head(key), halt)
        except AccessDenied:  # who may only write cannot know
            return None
        own = found is not None and found.token == token and found.size == size
        return found if own else None
