"""One start of a run among several that share a store.

torchrun's agent keeps one store over its restarts, and with it what the processes of earlier
attempts have written there: addresses where nobody listens any more. Its count of restarts is no
remedy, for each node counts its own. So the processes agree on a part of the store of their own.
"""

from __future__ import annotations

import time
import uuid
from contextlib import suppress
from datetime import timedelta

from torch.distributed import (  # type: ignore[attr-defined]  # public, by a detour
    DistStoreError,
    PrefixStore,
    Store,
)

__all__ = ["own_part"]

_LOOK_AGAIN = timedelta(seconds=0.2)  # how long a name may be an earlier attempt's


def own_part(store: Store, rank: int, world_size: int, timeout: timedelta) -> Store:
    """The part of a store that only the processes that live now use; all of them must call it.

    The first gives the attempt a name, and each of the others believes it only when the first has
    answered to its own name: the dead do not answer.

    Raises:
        torch.distributed.DistError: When the others do not come in time.
    """
    store.set_timeout(timeout)
    store = PrefixStore("tt-parallel", store)
    name = _believed(store, rank, timeout) if rank else _named(store, world_size)
    return PrefixStore(name, store)


def _named(store: Store, world_size: int) -> str:
    """Name the attempt, and answer to each of the others."""
    name = uuid.uuid4().hex
    store.set("name", name)
    for rank in range(1, world_size):
        other = store.get(f"{name}/{rank}").decode()
        store.set(f"{name}/{other}", "here")
    return name


def _believed(store: Store, rank: int, timeout: timedelta) -> str:
    """The name that somebody answers for."""
    mine = uuid.uuid4().hex
    deadline = time.monotonic() + timeout.total_seconds()
    while time.monotonic() < deadline:
        name = store.get("name").decode()
        store.set(f"{name}/{rank}", mine)
        with suppress(DistStoreError):
            store.wait([f"{name}/{mine}"], _LOOK_AGAIN)
            return name
    msg = "process 0 does not answer"
    raise DistStoreError(msg)
