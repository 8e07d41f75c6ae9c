"""Folders under faults: what can be done is done, the report names the rest, sets stay whole."""

from pathlib import Path

import pytest

from tt_cloud import (
    AccessDenied,
    Changed,
    NotCommitted,
    Throttled,
    TransferFailed,
    Unavailable,
)

from .cases import SMALL, Case, Fault, Row, once, table
from .proxy import Aside, Before, CutAnswer, CutRequest, End, FlipAnswer, FlipRequest, Lost

FILES = {f"{name}.bin": SMALL + name.encode() for name in "abcde"} | {"sub/f.bin": SMALL * 2}
CHANGED = FILES | {"a.bin": SMALL + b"changed", "g.bin": SMALL + b"new"}


def spread(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def gathered(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def there(case: Case, prefix: str) -> dict[str, bytes | None]:
    """The objects below a prefix, as the service has them."""
    whole = f"{case.prefix}/{prefix}/"
    return {key.removeprefix(whole): case.side.read(key) for key in case.side.keys(whole)}


UPLOADS = (
    Row("tree up: 503 at every other", tuple(Fault("put", "slow down", skip=1) for _ in range(3))),
    Row("tree up: resets", tuple(Fault("put", CutRequest(n * 100)) for n in range(5))),
    Row("tree up: answers lost", (Fault("put", Lost(), times=3),)),
    once("tree up: one bit flipped", "put", FlipRequest(2000)),
    once("tree up: one listing lost", "list", Lost()),
    Row("tree up: one denied", (Fault("put", "denied", skip=2),), TransferFailed),
)


@table(*UPLOADS)
def test_upload_tree(case: Case, row: Row) -> None:
    folder = spread(case.folder, FILES)
    report = case.run(row, lambda store: store.upload_tree(folder, "tree"))
    if report is None:
        assert len(there(case, "tree")) == len(FILES) - 1
        report = case.again().upload_tree(folder, "tree")
        assert (len(report.done), len(report.skipped)) == (1, len(FILES) - 1)
    else:
        assert [info.key for info in report.done] == sorted(f"tree/{name}" for name in FILES)
    assert there(case, "tree") == FILES


@table(Row("tree up: one denied, report", (Fault("put", "denied", skip=2),)))
def test_the_report_names_what_failed(case: Case, row: Row) -> None:
    folder = spread(case.folder, FILES)
    case.side.inject(case.proxy, "put", row.faults[0].action(case), skip=2)
    with pytest.raises(TransferFailed) as caught:
        case.store().upload_tree(folder, "tree")
    report = caught.value.report
    (failure,) = report.failures
    assert type(failure.error) is AccessDenied
    names = {failure.key, *(info.key for info in report.done)}
    assert names == {f"tree/{name}" for name in FILES}
    assert failure.key.removeprefix("tree/") not in there(case, "tree")


DOWNLOADS = (  # the first request asks for a manifest, which there is none
    Row("tree down: 503 thrice", (Fault("get", "slow down", skip=1, times=3),)),
    Row("tree down: resets", tuple(Fault("get", CutAnswer(n * 100), skip=1) for n in range(5))),
    Row("tree down: one bit flipped", (Fault("get", FlipAnswer(2000), skip=1),)),
    once("tree down: one listing closed", "list", CutAnswer(100, End.CLOSE)),
    Row("tree down: one denied", (Fault("get", "denied", skip=2),), TransferFailed),
    Row("tree down: most denied", (Fault("get", "denied", skip=2, times=None),), TransferFailed),
    Row(
        "tree down: all flipped for ever",
        (Fault("get", FlipAnswer(2000), skip=1, times=None),),
        TransferFailed,
    ),
)


@table(*DOWNLOADS)
def test_download_tree(case: Case, row: Row) -> None:
    source = spread(case.scratch / "source", FILES)
    case.store(direct=True).upload_tree(source, "tree")
    report = case.run(row, lambda store: store.download_tree("tree", case.folder))
    came = gathered(case.folder)
    if report is None:
        assert came.items() < FILES.items()
        report = case.again().download_tree("tree", case.folder)
        assert sorted(report.skipped) == sorted(f"tree/{name}" for name in came)
        assert len(report.done) == len(FILES) - len(came)
    assert gathered(case.folder) == FILES


SYNCS = (
    once("sync: 503", "put", "slow down"),
    once("sync: reset in a body", "put", CutRequest(100)),
    once("sync: listing reset", "list", Before(End.RESET)),
    Row("sync: one denied", (Fault("put", "denied"),), TransferFailed),
)


@table(*SYNCS)
def test_sync(case: Case, row: Row) -> None:
    case.store(direct=True).upload_tree(spread(case.scratch / "before", FILES), "tree")
    case.side.write(f"{case.prefix}/tree/stale", b"stale")
    folder = spread(case.folder, CHANGED)
    if case.run(row, lambda store: store.sync(folder, "tree", delete=True)) is None:
        case.again().sync(folder, "tree", delete=True)
    assert there(case, "tree") == CHANGED


@table(
    once("tree gone: 503", "delete", "slow down", on=("gcs",)),
    once("tree gone: answer lost", "delete", Lost(), on=("gcs",)),
    once("tree gone: 503, batch", "delete many", "slow down", on=("s3",)),
    once("tree gone: answer lost, batch", "delete many", Lost(), on=("s3",)),
    once("tree gone: listing reset", "list", CutAnswer(50)),
)
def test_delete_tree(case: Case, row: Row) -> None:
    case.store(direct=True).upload_tree(spread(case.folder, FILES), "tree")
    case.run(row, lambda store: store.delete_tree("tree"))
    assert there(case, "tree") == {}


def last_put(case: Case, folder: Path) -> int:
    """How many writes a commit makes before it writes the manifest."""
    case.store(direct=True).commit(spread(case.scratch / "first", FILES), "like")
    case.store().commit(folder, "like")
    method = case.side.requests["put"].method
    writes = [entry for entry in case.proxy.log if entry.method == method]
    case.proxy.forget()
    return len(writes) - 1


def other_commit(case: Case) -> Aside:
    """Somebody else commits just before the request."""
    folder = spread(case.scratch / "other", {"other": SMALL})
    return Aside("before", lambda: case.store(direct=True).commit(folder, "set"))


COMMITS = (
    Row("commit: 503 at every other", tuple(Fault("put", "slow down", skip=1) for _ in range(3))),
    Row("commit: resets", tuple(Fault("put", CutRequest(3 * n)) for n in range(2))),
    Row("commit: answers lost", (Fault("put", Lost(), times=2),)),
    once("commit: reading the last one", "get", CutAnswer(20)),
    Row("commit: one denied", (Fault("put", "denied"),), TransferFailed),
    Row(
        "commit: one flipped for ever", (Fault("put", FlipRequest(1), times=None),), TransferFailed
    ),
)


@table(*COMMITS)
def test_commit(case: Case, row: Row) -> None:
    case.store(direct=True).commit(spread(case.scratch / "first", FILES), "set")
    folder = spread(case.folder, CHANGED)
    check_commit(case, row, folder, FILES)


MANIFESTS = (
    Row("manifest: 503", (Fault("put", "slow down"),)),
    Row("manifest: reset", (Fault("put", CutRequest(30)),)),
    Row("manifest: done, answer lost", (Fault("put", Lost()),)),
    Row("manifest: denied", (Fault("put", "denied"),), AccessDenied),
    Row(
        "manifest: 503 for ever",
        (Fault("put", "slow down", times=None),),
        {"s3": Throttled, "gcs": Unavailable},
    ),
    Row("manifest: another commit", (Fault("put", other_commit),), Changed),
)


@table(*MANIFESTS)
def test_manifest(case: Case, row: Row) -> None:
    folder = spread(case.folder, CHANGED)
    skip = last_put(case, folder)
    case.store(direct=True).commit(spread(case.scratch / "first", FILES), "set")
    faults = tuple(Fault(f.where, f.what, skip, f.times) for f in row.faults)
    row = Row(row.name, faults, row.error)
    before = {"other": SMALL} if row.error is Changed else FILES
    check_commit(case, row, folder, before)


def check_commit(case: Case, row: Row, folder: Path, before: dict[str, bytes]) -> None:
    report = case.run(row, lambda store: store.commit(folder, "set"))
    if report is None:
        assert committed(case, "unfinished") == before
        case.again().commit(folder, "set")
    assert committed(case, "finished") == CHANGED


def committed(case: Case, name: str) -> dict[str, bytes]:
    """What a reader gets."""
    store = case.store(direct=True)
    store.verify("set", read_back=True)
    store.download_tree("set", case.scratch / name)
    return gathered(case.scratch / name)


@table(Row("commit: first, one denied", (Fault("put", "denied", skip=1),), TransferFailed))
def test_a_first_commit_that_fails_is_none(case: Case, row: Row) -> None:
    folder = spread(case.folder, CHANGED)
    case.run(row, lambda store: store.commit(folder, "set"))
    with pytest.raises(NotCommitted):
        case.store(direct=True).verify("set")


VERIFIES = (
    once("verify: 503", "get", "slow down"),
    once("verify: cut", "get", CutAnswer(20, End.CLOSE)),
    Row("verify: one bit flipped once", (Fault("get", FlipAnswer(5), skip=1),)),
    Row(
        "verify: flipped for ever",
        (Fault("get", FlipAnswer(5), skip=1, times=None),),
        TransferFailed,
    ),
)


@table(*VERIFIES)
def test_verify(case: Case, row: Row) -> None:
    case.store(direct=True).commit(spread(case.folder, FILES), "set")
    case.run(row, lambda store: store.verify("set", read_back=True))
