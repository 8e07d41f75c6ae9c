"""Downloads under faults: the file is the old one or the right one, and an error says which."""

import io
from itertools import count

from tt_cloud import (
    AccessDenied,
    Changed,
    ChecksumMismatch,
    CloudError,
    CredentialsExpired,
    NotFound,
    ProtocolError,
    Throttled,
    TreeStore,
    Unavailable,
)

from .cases import (
    INSIDE,
    OLD,
    OTHER,
    SMALL,
    STALLED,
    Case,
    Fault,
    Row,
    always,
    once,
    removed,
    replaced,
    replaced_large,
    table,
)
from .proxy import (
    Aside,
    Before,
    CutAnswer,
    DripAnswer,
    End,
    FlipAnswer,
    ShortAnswer,
    Without,
)

SUMS = ("x-amz-checksum", "x-goog-hash", "etag")

GETS = (
    Row("get: 503 twice", (Fault("get", "slow down", times=2),)),
    once("get: 500", "get", "broken"),
    once("get: 429 with Retry-After", "get", "throttled"),
    once("get: a gateway's page with 502", "get", "page, 502"),
    once("get: rubbish with 500", "get", "rubbish, 500"),
    once("get: reset before anything", "get", Before(End.RESET)),
    once("get: closed before anything", "get", Before(End.CLOSE)),
    once("get: stalled before anything", "get", Before(End.STALL), patience=STALLED),
    once("get: reset before the body", "get", CutAnswer(0)),
    once("get: reset in the body", "get", CutAnswer(1000)),
    once("get: closed in the body", "get", CutAnswer(1000, End.CLOSE)),
    once("get: stalled in the body", "get", CutAnswer(1000, End.STALL), patience=STALLED),
    Row("get: closed five times", tuple(Fault("get", CutAnswer(n, End.CLOSE)) for n in range(5))),
    once("get: closed at the last byte", "get", CutAnswer(len(SMALL) - 1, End.CLOSE)),
    once("get: a short body that lies", "get", ShortAnswer(1000)),
    once("get: one bit flipped", "get", FlipAnswer(1500)),
    once("get: one bit flipped, no sums", "get", FlipAnswer(1500, SUMS[:2])),
    once("get: drips", "get", DripAnswer(500, 0.01)),
    once("get: drips too slowly", "get", DripAnswer(10, 0.05), patience=STALLED),
    Row(
        "get: five different faults",
        (
            Fault("get", "slow down"),
            Fault("get", CutAnswer(100)),
            Fault("get", "page, 503"),
            Fault("get", FlipAnswer(1500)),
            Fault("get", CutAnswer(2000, End.CLOSE)),
        ),
    ),
    once("get: clock skewed", "get", "skewed", on=("s3",)),
    once("get: bucket elsewhere", "get", "elsewhere", on=("s3",)),
    always("get: 503 for ever", "get", "slow down", {"s3": Throttled, "gcs": Unavailable}),
    always("get: reset for ever", "get", Before(End.RESET), Unavailable),
    always("get: flipped for ever", "get", FlipAnswer(1500), ChecksumMismatch),
    always("get: flipped for ever, no sums", "get", FlipAnswer(9, SUMS[:2]), ChecksumMismatch),
    once("get: denied", "get", "denied", error=AccessDenied),
    once("get: no object", "get", "no object", error=NotFound),
    once("get: a login page with 200", "get", "page", error=ProtocolError),
    once("get: a login page with 403", "get", "page, 403", error=ProtocolError),
    once("get: a page with 404", "get", "page, 404", error=ProtocolError),
    once("get: an empty 200", "get", "nothing", error=ProtocolError),
    once("get: an error nobody knows", "get", "unheard of", error=CloudError),
    once("get: expired", "get", "expired", error={"s3": CredentialsExpired, "gcs": AccessDenied}),
)


@table(*GETS)
def test_get(case: Case, row: Row) -> None:
    case.store(direct=True).put("object", SMALL)
    check_get(case, row, SMALL)


ALTERED = (
    Row(
        "get: replaced in the middle",
        (Fault("get", CutAnswer(1000)), Fault("get", replaced(OTHER))),
    ),
    Row(
        "get: deleted in the middle",
        (Fault("get", CutAnswer(1000)), Fault("get", removed)),
        NotFound,
    ),
)


@table(*ALTERED)
def test_get_what_is_altered_meanwhile(case: Case, row: Row) -> None:
    case.store(direct=True).put("object", SMALL)
    check_get(case, row, OTHER)


@table(
    once("get: of somebody else's, one bit flipped", "get", FlipAnswer(1500)),
    once("get: of somebody else's, closed in the body", "get", CutAnswer(1000, End.CLOSE)),
    always("get: of somebody else's, flipped for ever", "get", FlipAnswer(1), ChecksumMismatch),
)
def test_get_what_somebody_else_stored(case: Case, row: Row) -> None:
    case.side.write(case.key, SMALL)
    check_get(case, row, SMALL)


RANGES = (
    Row("range: 503 twice", (Fault("get", "slow down", skip=1, times=2),)),
    Row("range: 500", (Fault("get", "broken", skip=1),)),
    Row("range: reset before anything", (Fault("get", Before(End.RESET), skip=1),)),
    Row(
        "range: stalled before anything",
        (Fault("get", Before(End.STALL), skip=1),),
        patience=STALLED,
    ),
    Row("range: reset in the body", (Fault("get", CutAnswer(INSIDE), skip=1),)),
    Row("range: closed in the body", (Fault("get", CutAnswer(INSIDE, End.CLOSE), skip=1),)),
    Row(
        "range: stalled in the body",
        (Fault("get", CutAnswer(INSIDE, End.STALL), skip=1),),
        patience=STALLED,
    ),
    Row(
        "range: closed five times",
        tuple(Fault("get", CutAnswer(n * 50_000 + 1, End.CLOSE), skip=1) for n in range(5)),
    ),
    Row("range: a short body that lies", (Fault("get", ShortAnswer(INSIDE), skip=1),)),
    once("range: one bit flipped in the first", "get", FlipAnswer(INSIDE)),
    Row("range: one bit flipped", (Fault("get", FlipAnswer(INSIDE), skip=1),)),
    Row("range: one bit flipped, no sums", (Fault("get", FlipAnswer(5, SUMS[:2]), skip=1),)),
    Row("range: drips", (Fault("get", DripAnswer(1 << 15, 0.001), skip=1),)),
    Row(
        "range: the server knows none",
        (Fault("get", Without(("range",)), times=None),),
        ProtocolError,
        on=("gcs",),  # S3's signature covers the header
    ),
    Row("range: denied", (Fault("get", "denied", skip=1),), AccessDenied),
    Row("range: a login page", (Fault("get", "page", skip=1),), ProtocolError),
    Row(
        "range: flipped for ever",
        (Fault("get", FlipAnswer(77), skip=1, times=None),),
        ChecksumMismatch,
    ),
    Row(
        "range: 503 for ever",
        (Fault("get", "slow down", skip=1, times=None),),
        {"s3": Throttled, "gcs": Unavailable},
    ),
    Row(
        "range: closed for ever",
        (Fault("get", CutAnswer(0, End.CLOSE), skip=1, times=None),),
        Unavailable,
    ),
)


@table(*RANGES)
def test_get_in_ranges(case: Case, row: Row) -> None:
    case.store(direct=True).put("object", case.large)
    check_get(case, row, case.large)


def always_another(case: Case) -> Aside:
    """Somebody else writes another object just before every request."""
    numbers = count()

    def write() -> None:
        case.side.write(case.key, case.large + bytes(next(numbers)))

    return Aside("before", write)


@table(
    Row("range: replaced between two", (Fault("get", replaced_large, skip=1),)),
    Row("range: always another", (Fault("get", always_another, skip=1, times=None),), Changed),
    Row("range: deleted between two", (Fault("get", removed, skip=1),), NotFound),
)
def test_get_in_ranges_what_is_altered_meanwhile(case: Case, row: Row) -> None:
    case.store(direct=True).put("object", case.large)
    check_get(case, row, case.other)


def check_get(case: Case, row: Row, right: bytes) -> None:
    """Fetch to a file that is there already; if that may work later, later as well."""
    case.target.write_bytes(OLD)
    info = case.run(row, lambda store: store.get("object", case.target))
    if info is None:
        assert case.target.read_bytes() == OLD
        if row.error in (Changed, ChecksumMismatch, NotFound):
            case.check_nothing_left()
        if row.error in (Changed, NotFound):
            return
        info = case.again().get("object", case.target)
    assert case.target.read_bytes() == right
    assert info.size == len(right)
    case.check_nothing_left()


READS = (
    once("read: 503", "get", "slow down"),
    once("read: reset in the body", "get", CutAnswer(1000)),
    once("read: a short body that lies", "get", ShortAnswer(1000)),
    once("read: one bit flipped", "get", FlipAnswer(1500)),
    always("read: flipped for ever", "get", FlipAnswer(1500), ChecksumMismatch),
    once("read: no object", "get", "no object", error=NotFound),
    once("read: a login page", "get", "page", error=ProtocolError),
)


@table(*READS)
def test_read(case: Case, row: Row) -> None:
    case.store(direct=True).put("object", SMALL)
    read = case.run(row, lambda store: store.read("object"))
    assert read in (SMALL, None)


PIECES = (
    once("piece: reset in the body", "get", CutAnswer(100)),
    once("piece: stalled in the body", "get", CutAnswer(100, End.STALL), patience=STALLED),
    once("piece: a short body that lies", "get", ShortAnswer(100)),
    Row(
        "piece: replaced in the middle",
        (Fault("get", CutAnswer(100)), Fault("get", replaced(OTHER))),
    ),
)


@table(*PIECES)
def test_read_a_piece(case: Case, row: Row) -> None:
    case.store(direct=True).put("object", SMALL)
    read = case.run(row, lambda store: store.read("object", start=1000, end=2000))
    assert read in (SMALL[1000:2000], OTHER[1000:2000])


def through(store: TreeStore) -> bytes:
    """Read all of a stream, with a look elsewhere in between."""
    with store.open("object") as stream:
        begin = stream.read(1000)
        stream.seek(-500, io.SEEK_END)
        stop = stream.tell()
        end = stream.read()
        stream.seek(1000)
        return begin + stream.read(stop - 1000) + end


STREAMS = (
    Row("stream: 503", (Fault("get", "slow down"),)),
    Row("stream: reset in the body", (Fault("get", CutAnswer(400)),)),
    Row("stream: closed twice", (Fault("get", CutAnswer(200, End.CLOSE), skip=1, times=2),)),
    Row("stream: stalled", (Fault("get", Before(End.STALL), skip=1),), patience=STALLED),
    Row("stream: replaced", (Fault("get", replaced_large, skip=1),), Changed),
    Row("stream: denied", (Fault("get", "denied"),), AccessDenied),
)


@table(*STREAMS)
def test_stream(case: Case, row: Row) -> None:
    case.store(direct=True).put("object", case.large)
    assert case.run(row, through) in (case.large, None)
