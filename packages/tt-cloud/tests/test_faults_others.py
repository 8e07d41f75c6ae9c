"""Everything but content under faults: listings, heads, deletes, copies and sets of files."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tt_cloud import (
    AccessDenied,
    AlreadyExists,
    BucketNotFound,
    ProtocolError,
    Throttled,
    TransferFailed,
    Unavailable,
)

from .cases import (
    OLD,
    OTHER,
    SMALL,
    STALLED,
    Case,
    Fault,
    Row,
    after_work,
    always,
    check_error,
    once,
    replaced,
    table,
)
from .proxy import (
    Action,
    Answer,
    Before,
    CutAnswer,
    End,
    Lost,
    Request,
    ShortAnswer,
)

FOREVER = {"s3": Throttled, "gcs": Unavailable}


@pytest.mark.parametrize("case", ["s3", "gcs"], indirect=True)
def test_nobody_listens(case: Case, tmp_path: Path) -> None:
    store = case.store()
    case.proxy.close()
    for call in (
        lambda: store.put("object", SMALL),
        lambda: store.get("object", tmp_path / "target"),
        lambda: store.head("object"),
        lambda: list(store.list()),
    ):
        with pytest.raises(Unavailable, match=urlsplit(case.proxy.url).netloc) as caught:
            call()
        check_error(caught.value, Unavailable)
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("case", ["s3", "gcs"], indirect=True)
def test_a_host_that_nobody_knows(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(case.proxy, "url", "https://nobody.invalid")
    with pytest.raises(Unavailable, match=r"nobody\.invalid"):
        case.store().read("object")


@dataclass(frozen=True)
class Renewed(Action):
    """The answer that credentials have expired; meanwhile somebody has put new ones there."""

    given: Answer
    file: Path
    text: str

    def request(self, request: Request) -> Request | Answer:
        self.file.write_text(self.text)
        return self.given


@pytest.mark.parametrize("case", ["s3"], indirect=True)
def test_credentials_that_expire_are_fetched_anew(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = case.scratch / "credentials"
    text = "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n"
    file.write_text(text.format("STALEKEY", "STALESECRET"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    given = case.side.answer("expired")
    rule = case.side.inject(
        case.proxy, "put", Renewed(given, file, text.format("TESTKEY", "TESTSECRET"))
    )
    case.store().put("object", SMALL)
    assert rule.fired == 1
    assert case.side.read(case.key) == SMALL


HEADS = (
    Row("head: 503 twice", (Fault("head", "slow down", times=2),)),
    once("head: reset", "head", Before(End.RESET)),
    once("head: answer lost", "head", Lost(End.CLOSE)),
    once("head: stalled", "head", Before(End.STALL), patience=STALLED),
    once("head: a gateway's page with 502", "head", "page, 502"),
    always("head: 503 for ever", "head", "slow down", FOREVER),
    once("head: denied", "head", "denied", error=AccessDenied),
    once("head: an empty 200", "head", "nothing", error=ProtocolError),
)


@table(*HEADS)
def test_head(case: Case, row: Row) -> None:
    case.side.write(case.key, SMALL)
    info = case.run(row, lambda store: store.head("object"))
    assert info is None if row.expected(case.side) else info.size == len(SMALL)


LISTS = (
    Row("list: 503 twice", (Fault("list", "slow down", times=2),)),
    once("list: reset", "list", Before(End.RESET)),
    once("list: reset in the answer", "list", CutAnswer(100)),
    once("list: closed in the answer", "list", CutAnswer(100, End.CLOSE)),
    once("list: stalled in the answer", "list", CutAnswer(9, End.STALL), patience=STALLED),
    once("list: a gateway's page with 502", "list", "page, 502"),
    always("list: 503 for ever", "list", "slow down", FOREVER),
    once("list: a short body that lies", "list", ShortAnswer(150), error=ProtocolError),
    once("list: a login page", "list", "page", error=ProtocolError),
    once("list: rubbish", "list", "rubbish", error=ProtocolError),
    once("list: an empty 200", "list", "nothing", error=ProtocolError),
    once("list: denied", "list", "denied", error=AccessDenied),
    once("list: no bucket", "list", "no bucket", error=BucketNotFound, on=("s3",)),
)


@table(*LISTS)
def test_list(case: Case, row: Row) -> None:
    for name in "abc":
        case.side.write(f"{case.prefix}/{name}", name.encode())
    infos = case.run(row, lambda store: list(store.list()))
    if infos is not None:
        assert [(info.key, info.size) for info in infos] == [("a", 1), ("b", 1), ("c", 1)]


DELETES = (
    Row("delete: 503 twice", (Fault("delete", "slow down", times=2),)),
    once("delete: reset", "delete", Before(End.RESET)),
    once("delete: done, answer lost", "delete", Lost()),
    always("delete: 503 for ever", "delete", "slow down", FOREVER),
    once("delete: denied", "delete", "denied", error=AccessDenied),
    once("delete: a login page", "delete", "page", error=ProtocolError),
)


@table(*DELETES)
def test_delete(case: Case, row: Row) -> None:
    case.side.write(case.key, SMALL)
    case.run(row, lambda store: store.delete("object"))
    assert case.side.read(case.key) == (SMALL if row.expected(case.side) else None)


MANY = (
    once("delete many: 503", "delete many", "slow down", on=("s3",)),
    once("delete many: done, answer lost", "delete many", Lost(), on=("s3",)),
    once("delete many: the server has none", "delete many", "not implemented", on=("s3",)),
    once("delete many: the server wants another sum", "delete many", "no md5", on=("s3",)),
    once("delete many: one 503 of three", "delete", "slow down", on=("gcs",)),
    once("delete many: one answer lost of three", "delete", Lost(), on=("gcs",)),
    once("delete many: one of three denied", "delete", "denied", error=TransferFailed, on=("gcs",)),
)


@table(*MANY)
def test_delete_many(case: Case, row: Row) -> None:
    for name in "abc":
        case.side.write(f"{case.prefix}/{name}", name.encode())
    case.run(row, lambda store: store.delete("a", "b", "c"))
    assert len(case.side.keys(case.prefix)) == (1 if row.expected(case.side) else 0)


COPIES = (
    Row("copy: 503 twice", (Fault("copy", "slow down", times=2),)),
    once("copy: reset", "copy", Before(End.RESET)),
    once("copy: done, answer lost", "copy", Lost()),
    once("copy: an error with 200", "copy", "error in 200", on=("s3",)),
    once("copy: done, then an error with 200", "copy", after_work("error in 200"), on=("s3",)),
    always("copy: 503 for ever", "copy", "slow down", FOREVER),
    once("copy: denied", "copy", "denied", error=AccessDenied),
    once("copy: a login page", "copy", "page", error=ProtocolError),
    once("copy: an empty 200", "copy", "nothing", error=ProtocolError),
)


@table(*COPIES)
def test_copy(case: Case, row: Row) -> None:
    case.store(direct=True).put("object", SMALL)
    case.side.write(f"{case.prefix}/copied", OLD)
    case.run(row, lambda store: store.copy("object", "copied"))
    there = case.side.read(f"{case.prefix}/copied")
    assert there == (OLD if row.expected(case.side) else SMALL)


@table(
    once("copy: create, done, answer lost", "copy", Lost(), error=AlreadyExists),
    once(
        "copy: create, another was faster",
        "copy",
        replaced(OTHER, key="copied"),
        error=AlreadyExists,
        on=("s3",),  # the emulator of the other has no conditions on copies
    ),
)
def test_copy_to_create(case: Case, row: Row) -> None:
    case.store(direct=True).put("object", SMALL)
    case.run(row, lambda store: store.copy("object", "copied", if_absent=True))
    there = case.side.read(f"{case.prefix}/copied")
    assert there == (OTHER if "faster" in row.name else SMALL)
