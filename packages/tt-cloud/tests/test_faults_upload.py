"""Uploads under faults: the object is the old one or the right one, and an error says which."""

import hashlib
from datetime import timedelta
from random import Random

import pytest

from tt_cloud import (
    AccessDenied,
    AlreadyExists,
    BucketNotFound,
    Changed,
    ChecksumMismatch,
    CloudError,
    CredentialsExpired,
    ProtocolError,
    SourceChanged,
    Throttled,
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
    after_work,
    always,
    early,
    is_transient,
    once,
    removed,
    replaced,
    table,
)
from .proxy import (
    Aside,
    Before,
    CutAnswer,
    CutRequest,
    DripRequest,
    End,
    FlipRequest,
    Lost,
)

PUTS = (
    Row("put: 503 twice", (Fault("put", "slow down", times=2),)),
    once("put: 500", "put", "broken"),
    once("put: 429 with Retry-After", "put", "throttled"),
    once("put: the server waited in vain", "put", "timeout"),
    once("put: a gateway's page with 502", "put", "page, 502"),
    once("put: rubbish with 500", "put", "rubbish, 500"),
    once("put: 503 before the body was read", "put", early("slow down")),
    once("put: reset before anything", "put", Before(End.RESET)),
    once("put: closed before anything", "put", Before(End.CLOSE)),
    once("put: stalled before anything", "put", Before(End.STALL), patience=STALLED),
    once("put: reset at the first byte", "put", CutRequest(0)),
    once("put: reset in the body", "put", CutRequest(1000)),
    once("put: closed in the body", "put", CutRequest(1000, End.CLOSE)),
    once("put: stalled in the body", "put", CutRequest(1000, End.STALL), patience=STALLED),
    once("put: done, answer reset", "put", Lost(End.RESET)),
    once("put: done, connection closed", "put", Lost(End.CLOSE)),
    once("put: done, answer stalled", "put", Lost(End.STALL), patience=STALLED),
    once("put: one bit flipped", "put", FlipRequest(1500)),
    Row("put: one bit flipped thrice", (Fault("put", FlipRequest(2000), times=3),)),
    once("put: drips", "put", DripRequest(500, 0.01)),
    Row(
        "put: five different faults",
        (
            Fault("put", "slow down"),
            Fault("put", CutRequest(10)),
            Fault("put", Lost(End.RESET)),
            Fault("put", FlipRequest(1500)),
            Fault("put", "page, 503"),
        ),
    ),
    once("put: clock skewed", "put", "skewed", on=("s3",)),
    once("put: bucket elsewhere", "put", "elsewhere", on=("s3",)),
    once("put: BadDigest", "put", "bad digest", on=("s3",)),
    once("put: another operation at the same time", "put", "aborted", on=("s3",)),
    once("put: conflict", "put", "conflict", on=("gcs",)),
    always("put: 503 for ever", "put", "slow down", {"s3": Throttled, "gcs": Unavailable}),
    always("put: 429 for ever", "put", "throttled", Throttled),
    always("put: reset for ever", "put", CutRequest(1000), Unavailable),
    always("put: flipped for ever", "put", FlipRequest(1500), ChecksumMismatch, on=("s3",)),
    once("put: denied", "put", "denied", error=AccessDenied),
    once("put: no bucket", "put", "no bucket", error=BucketNotFound),
    once("put: a login page with 200", "put", "page", error=ProtocolError),
    once("put: a login page with 403", "put", "page, 403", error=ProtocolError),
    once("put: an empty 200", "put", "nothing", error=ProtocolError),
    once("put: an error nobody knows", "put", "unheard of", error=CloudError),
    once("put: expired", "put", "expired", error={"s3": CredentialsExpired, "gcs": AccessDenied}),
    once("put: expired, 400", "put", "expired, 400", error=CredentialsExpired, on=("s3",)),
    always("put: clock skewed for ever", "put", "skewed", AccessDenied, on=("s3",)),
)


@table(*PUTS)
def test_put(case: Case, row: Row) -> None:
    case.side.write(case.key, OLD)
    info = case.run(row, lambda store: store.put("object", SMALL))
    if info is None:
        assert case.side.read(case.key) == OLD
        case.check_nothing_left()
        info = case.again().put("object", SMALL)
    assert (info.size, info.sha256) == (len(SMALL), hashlib.sha256(SMALL).hexdigest())
    assert case.side.read(case.key) == SMALL
    case.check_nothing_left()


@pytest.mark.parametrize("case", ["gcs"], indirect=True)
@pytest.mark.parametrize("where", ["put", "part"])
def test_what_the_server_did_not_notice_is_taken_back(case: Case, where: str) -> None:
    data = SMALL if where == "put" else case.large
    case.side.inject(case.proxy, where, FlipRequest(1500), times=None)
    with pytest.raises(ChecksumMismatch):
        case.store().put("object", data)
    assert case.side.read(case.key) is None
    case.check_nothing_left()


HUGE = Random(6).randbytes(17 << 20)  # too large to be kept in memory

CREATES = (
    once("create: 503", "put", "slow down"),
    once("create: reset before anything", "put", Before(End.RESET)),
    once("create: done, answer lost", "put", Lost()),
    Row("create: done, answer lost twice", (Fault("put", Lost(), times=2),)),
    once("create: conflict with another", "put", "conflict"),
    once("create: one bit flipped", "put", FlipRequest(1500)),
    once("create: another was faster", "put", replaced(OTHER), error=AlreadyExists),
    Row(
        "create: another was faster the second time",
        (Fault("put", Before(End.RESET)), Fault("put", replaced(OTHER))),
        AlreadyExists,
    ),
    Row(
        "create: another was faster by bytes of the same size",
        (Fault("put", Lost()), Fault("put", replaced(bytes(len(SMALL))))),
        AlreadyExists,
    ),
)


@table(*CREATES)
def test_create(case: Case, row: Row) -> None:
    if case.run(row, lambda store: store.put("object", SMALL, if_absent=True)) is None:
        assert case.side.read(case.key) in (OTHER, bytes(len(SMALL)))
    else:
        assert case.side.read(case.key) == SMALL
    case.check_nothing_left()


SWAPS = (
    once("swap: 503", "put", "slow down"),
    once("swap: done, answer lost", "put", Lost()),
    once("swap: another was faster", "put", replaced(OTHER), error=Changed),
    once("swap: another deleted it", "put", removed, error=Changed),
)


@table(*SWAPS)
def test_swap(case: Case, row: Row) -> None:
    etag = case.store(direct=True).put("object", OLD).etag
    if case.run(row, lambda store: store.put("object", SMALL, if_match=etag)) is None:
        assert case.side.read(case.key) in (OTHER, None)
    else:
        assert case.side.read(case.key) == SMALL
    case.check_nothing_left()


def forgotten(case: Case) -> Aside:
    """The service drops the upload, as it does when it gets old."""
    return Aside("before", lambda: case.side.forget_uploads(case.prefix))


PARTS = (
    Row("begin: 503 twice", (Fault("begin", "slow down", times=2),)),
    once("begin: reset before anything", "begin", Before(End.RESET)),
    once("begin: stalled", "begin", Before(End.STALL), patience=STALLED),
    once("begin: denied", "begin", "denied", error=AccessDenied),
    once("begin: a login page", "begin", "page", error=ProtocolError),
    once("begin: rubbish", "begin", "rubbish", error=ProtocolError),
    once("begin: an empty 200", "begin", "nothing", error=ProtocolError),
    Row("part: 503 twice", (Fault("part", "slow down", skip=1, times=2),)),
    Row("part: 503 at every other", tuple(Fault("part", "slow down", skip=1) for _ in range(3))),
    Row("part: 500", (Fault("part", "broken", skip=1),)),
    Row("part: 503 before the body was read", (Fault("part", early("slow down"), skip=1),)),
    Row("part: reset before anything", (Fault("part", Before(End.RESET), skip=1),)),
    Row("part: reset in the body", (Fault("part", CutRequest(INSIDE), skip=1),)),
    Row("part: closed in the body", (Fault("part", CutRequest(INSIDE, End.CLOSE), skip=1),)),
    Row(
        "part: stalled in the body",
        (Fault("part", CutRequest(INSIDE, End.STALL), skip=1),),
        patience=STALLED,
    ),
    Row("part: done, answer lost", (Fault("part", Lost(), skip=1),)),
    Row("part: done, answers lost", (Fault("part", Lost(), times=2),)),
    Row("part: one bit flipped", (Fault("part", FlipRequest(INSIDE), skip=1),)),
    Row("part: drips", (Fault("part", DripRequest(1 << 15, 0.001), skip=1),)),
    Row("part: four resets", tuple(Fault("part", CutRequest(n * 50_000)) for n in range(1, 5))),
    Row(
        "part: flipped for ever",
        (Fault("part", FlipRequest(5), skip=1, times=None),),
        ChecksumMismatch,
        on=("s3",),
    ),
    Row("part: denied", (Fault("part", "denied", skip=1),), AccessDenied),
    Row("part: a login page", (Fault("part", "page", skip=1),), ProtocolError),
    Row("part: the upload is gone", (Fault("part", forgotten, skip=1),), on=("s3",)),
    Row("part: the service knows no such upload", (Fault("part", "no upload", skip=1),)),
    Row("part: the session is gone", (Fault("part", "gone", skip=1),), on=("gcs",)),
    Row("ask: 503", (Fault("part", Lost(), skip=1), Fault("ask", "slow down")), on=("gcs",)),
    once("finish: 503", "finish", "slow down"),
    once("finish: reset before anything", "finish", Before(End.RESET)),
    once("finish: done, answer lost", "finish", Lost()),
    once("finish: done, connection closed", "finish", Lost(End.CLOSE)),
    once("finish: done, answer cut", "finish", CutAnswer(30, End.CLOSE)),
    Row(
        "finish: done, answer lost, then NoSuchUpload",
        (Fault("finish", Lost()), Fault("finish", "no upload")),
        on=("s3",),
    ),
    once("finish: an error with 200", "finish", "error in 200", on=("s3",)),
    once("finish: SlowDown with 200", "finish", "slow down in 200", on=("s3",)),
    once("finish: done, then an error with 200", "finish", after_work("error in 200"), on=("s3",)),
    always("finish: an error with 200 for ever", "finish", "error in 200", Unavailable, on=("s3",)),
    once("finish: a login page", "finish", "page", error=ProtocolError),
    once("finish: an empty 200", "finish", "nothing", error=ProtocolError),
    once("finish: denied", "finish", "denied", error=AccessDenied),
    Row(
        "part: 503 for ever",
        (Fault("part", "slow down", skip=1, times=None),),
        {"s3": Throttled, "gcs": Unavailable},
    ),
    Row(
        "part: reset for ever",
        (Fault("part", CutRequest(INSIDE), skip=1, times=None),),
        Unavailable,
    ),
    always("finish: 503 for ever", "finish", "slow down", {"s3": Throttled, "gcs": Unavailable}),
)


@table(*PARTS)
def test_put_in_parts(case: Case, row: Row) -> None:
    source = case.folder / "source"
    large = case.large
    source.write_bytes(large)
    case.side.write(case.key, OLD)
    info = case.run(row, lambda store: store.put("object", source))
    source.unlink()
    if info is not None:
        assert (info.size, info.sha256) == (len(large), hashlib.sha256(large).hexdigest())
    else:
        assert case.side.read(case.key) == OLD
        check_left(case, row)
        case.again().put("object", large)
    assert case.side.read(case.key) == large
    case.check_nothing_left()


def check_left(case: Case, row: Row) -> None:
    """An upload that a later call can finish is noted, others are gone."""
    if row.error in (ChecksumMismatch, SourceChanged):
        case.check_nothing_left()
    noted = len(case.notes()) if case.side.name == "s3" else 0
    assert len(case.side.unfinished(case.prefix)) == noted
    assert case.notes() != [] or not is_transient(row, case)


@table(
    Row("resent: 500", (Fault("part", "broken", skip=1),)),
    Row("resent: reset in the body", (Fault("part", CutRequest(INSIDE), skip=1),)),
    Row("resent: flipped", (Fault("part", FlipRequest(INSIDE), skip=1),), on=("s3",)),
    Row("resent: two of three", (Fault("part", CutRequest(INSIDE), skip=1, times=2),)),
)
def test_only_the_part_that_failed_is_sent_again(case: Case, row: Row) -> None:
    case.run(row, lambda store: store.put("object", case.larger))
    assert case.side.read(case.key) == case.larger
    sent = sum(entry.up for entry in case.proxy.log if entry.method == "PUT")
    assert sent <= len(case.larger) + row.faults[0].times * case.part


@table(once("begin: done, answer lost", "begin", Lost()))
def test_an_upload_whose_name_got_lost_is_swept(case: Case, row: Row) -> None:
    case.run(row, lambda store: store.put("object", case.large))
    assert case.side.read(case.key) == case.large
    case.store(direct=True).sweep(older_than=timedelta(0))
    assert case.side.read(case.key) == case.large
    case.check_nothing_left()


def rewritten(case: Case) -> Aside:
    """The file that is sent changes, far behind what is sent now."""
    return Aside("before", lambda: (case.folder / "source").write_bytes(HUGE[:-1] + b"?"))


def shortened(case: Case) -> Aside:
    """The file that is sent is cut."""
    return Aside("before", lambda: (case.folder / "source").write_bytes(HUGE[: case.part]))


@table(
    Row("part: the file changes", (Fault("part", rewritten, skip=1),), SourceChanged),
    Row("part: the file is cut", (Fault("part", shortened),), SourceChanged),
    Row("finish: the file changes", (Fault("part", rewritten, skip=3),), SourceChanged),
)
def test_put_what_changes(case: Case, row: Row) -> None:
    source = case.folder / "source"
    source.write_bytes(HUGE)
    case.run(row, lambda store: store.put("object", source))
    source.unlink()
    assert case.side.read(case.key) is None
    case.check_nothing_left()


@table(
    once("finish: create, done, answer lost", "finish", Lost()),
    once(
        "finish: create, another was faster",
        "finish",
        replaced(OTHER),
        error=AlreadyExists,
        on=("s3",),  # the emulator of the other looks at the beginning alone
    ),
)
def test_create_in_parts(case: Case, row: Row) -> None:
    if case.run(row, lambda store: store.put("object", case.large, if_absent=True)) is None:
        assert case.side.read(case.key) == OTHER
    else:
        assert case.side.read(case.key) == case.large
    case.check_nothing_left()
