"""What servers turned out to do, by endpoint: kept for as long as the process lives."""

from __future__ import annotations

from dataclasses import dataclass

COPY, FINISH, PUT = "copy", "finish", "put"  # kinds of writes


@dataclass(slots=True)
class Learnt:
    """One endpoint. Threads may write at once: each value is replaced whole.

    Attributes:
        checks: Whether headers with checksums are accepted at all.
        crc: Whether parts are answered with the CRC that the server computed; ``None`` before the
            first.
        full: Whether the CRC of a whole object is verified.
        batches: Whether many objects can be deleted at once.
        conditions: The kinds of conditional writes that are known to be heeded: a server may do so
            for uploads, and overlook it in copies.
        clock: Seconds that its clock is ahead of ours.
    """

    checks: bool = True
    crc: bool | None = None
    full: bool = False
    batches: bool = True
    conditions: frozenset[str] = frozenset()
    clock: float = 0.0


_endpoints: dict[str, Learnt] = {}


def learnt(origin: str, *, official: bool) -> Learnt:
    """What is known of an endpoint; of AWS more than of others at first."""
    return _endpoints.setdefault(
        origin, Learnt(conditions=frozenset((COPY, FINISH, PUT) if official else ()))
    )
