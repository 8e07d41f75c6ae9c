"""Processes that are killed in mid transfer, and what the next one makes of that."""

import json
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from tt_cloud import Cancelled, NotCommitted

from .cases import INSIDE, LEAST_PART, OLD, REST, Case
from .proxy import Action, Before, CutAnswer, CutRequest, End, Entry, Lost, Rule

pytestmark = pytest.mark.slow

WITHIN = 60  # seconds, on a machine that does much else
RANDOM = Random(5)
SCRIPT = """
import json, sys
from pathlib import Path
from tt_cloud import RetryPolicy, TransferOptions, open_store

url, journal, concurrency, part, options, call, *arguments = sys.argv[1:]
store = open_store(
    url,
    retry=RetryPolicy(base=0.001, cap=0.01, read_timeout=600),
    transfer=TransferOptions(int(concurrency), int(part), Path(journal)),
    **json.loads(options),
)
getattr(store, call)(*(Path(text) if "/" in text else text for text in arguments))
"""

SIDES = pytest.mark.parametrize("case", ["s3", "gcs"], indirect=True)


@contextmanager
def process(case: Case, concurrency: int, *call: object) -> Iterator[subprocess.Popen[str]]:
    """Another process that does something with the store."""
    url = f"{case.side.scheme}://{case.side.bucket}/{case.prefix}"
    options = json.dumps({"endpoint_url": case.proxy.url, **case.side.options})
    line = [sys.executable, "-c", SCRIPT, url, case.journal, concurrency, case.part, options, *call]
    with subprocess.Popen(
        [str(word) for word in line], stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def kill(case: Case, rule: Rule, concurrency: int, *call: object) -> list[Entry]:
    """Do something until the rule strikes, and kill it there; gives what was asked."""
    with process(case, concurrency, *call) as running:
        assert rule.reached.wait(WITHIN), running.stderr.read() if running.poll() else "stuck"
        running.send_signal(signal.SIGKILL)
        assert running.wait(WITHIN) == -signal.SIGKILL
    return case.proxy.forget()


UPLOADS = {  # what is killed where, and how many parts were on their way at once
    "before it begins": ("begin", Before(End.STALL), 0, 1),
    "in the first part": ("part", CutRequest(RANDOM.randrange(LEAST_PART), End.STALL), 0, 1),
    "in one of three parts": ("part", CutRequest(RANDOM.randrange(REST // 2), End.STALL), 1, 3),
    "in the second part": ("part", CutRequest(RANDOM.randrange(LEAST_PART), End.STALL), 1, 1),
    "when the second part was sent": ("part", Lost(End.STALL), 1, 1),
    "when one of three parts was sent": ("part", Lost(End.STALL), 0, 3),
    "in the last part": ("part", CutRequest(RANDOM.randrange(REST // 2), End.STALL), 2, 1),
    "before it is finished": ("finish", Before(End.STALL), 0, 3),
    "when it was finished": ("finish", Lost(End.STALL), 0, 3),
}


@SIDES
@pytest.mark.parametrize(("where", "action", "skip", "at_once"), UPLOADS.values(), ids=UPLOADS)
def test_a_killed_upload_goes_on(
    case: Case, where: str, action: Action, skip: int, at_once: int
) -> None:
    source = case.folder / "source"
    source.write_bytes(case.larger)
    case.side.write(case.key, OLD)
    rule = case.side.inject(case.proxy, where, action, skip=skip)
    first = kill(case, rule, at_once, "put", "object", source)
    done = where == "finish" and isinstance(action, Lost)
    assert case.side.read(case.key) == (case.larger if done else OLD)
    case.store().put("object", source)
    assert case.side.read(case.key) == case.larger
    assert sent_again(first + case.proxy.forget()) <= 1
    source.unlink()
    case.check_nothing_left()


def sent_again(log: list[Entry]) -> int:
    """How many parts the service got whole more than once."""
    names = Counter(part(entry) for entry in log if entry.whole and part(entry) and entry.up)
    return sum(count - 1 for count in names.values())


def part(entry: Entry) -> str:
    """Which part was sent; empty for other requests."""
    if number := re.search(r"partNumber=(\d+)", entry.target):
        return number[1]
    return next((text for name, text in entry.headers if name.lower() == "content-range"), "")


@SIDES
def test_another_content_begins_another_upload(case: Case) -> None:
    source = case.folder / "source"
    source.write_bytes(case.larger)
    rule = case.side.inject(case.proxy, "part", CutRequest(INSIDE, End.STALL), skip=1)
    kill(case, rule, 1, "put", "object", source)
    source.write_bytes(case.other)
    case.store().put("object", source)
    assert case.side.read(case.key) == case.other
    case.store(direct=True).sweep(older_than=timedelta(0))
    assert case.side.read(case.key) == case.other
    assert case.side.unfinished(case.prefix) == []


DOWNLOADS = {
    "in the first range": (CutAnswer(RANDOM.randrange(LEAST_PART), End.STALL), 0, 1),
    "before the second range": (Before(End.STALL), 1, 1),
    "in the second range": (CutAnswer(RANDOM.randrange(LEAST_PART), End.STALL), 1, 1),
    "in one of three ranges": (CutAnswer(RANDOM.randrange(REST // 2), End.STALL), 1, 3),
    "in the last range": (CutAnswer(RANDOM.randrange(REST // 2), End.STALL), 2, 1),
}


@SIDES
@pytest.mark.parametrize(("action", "skip", "at_once"), DOWNLOADS.values(), ids=DOWNLOADS)
def test_a_killed_download_goes_on(case: Case, action: Action, skip: int, at_once: int) -> None:
    case.store(direct=True).put("object", case.larger)
    case.target.write_bytes(OLD)
    rule = case.side.inject(case.proxy, "get", action, skip=skip)
    kill(case, rule, at_once, "get", "object", case.target)
    assert case.target.read_bytes() == OLD
    case.store().get("object", case.target)
    assert case.target.read_bytes() == case.larger
    if at_once == 1:  # else others were on their way
        first, *rest = case.proxy.forget()  # the first tells what there is, and may be dropped
        kept = first.range == f"bytes=0-{case.part - 1}" and skip > 0
        came = sum(entry.down for entry in (rest if kept else [first, *rest]))
        assert came <= len(case.larger) - skip * case.part
    case.check_nothing_left()


@SIDES
def test_another_object_is_fetched_from_its_beginning(case: Case) -> None:
    case.store(direct=True).put("object", case.larger)
    rule = case.side.inject(case.proxy, "get", CutAnswer(INSIDE, End.STALL), skip=1)
    kill(case, rule, 1, "get", "object", case.target)
    case.store(direct=True).put("object", case.other)
    case.store().get("object", case.target)
    assert case.target.read_bytes() == case.other
    case.check_nothing_left()


INTERRUPTED = {
    "put": ("part", CutRequest(1000, End.STALL)),
    "put of little": ("put", CutRequest(1, End.STALL)),
    "get": ("get", CutAnswer(1000, End.STALL)),
    "get of nothing yet": ("get", Before(End.STALL)),
    "upload_tree": ("put", CutRequest(1, End.STALL)),
    "commit": ("put", Lost(End.STALL)),
}


@SIDES
def test_what_a_power_cut_took_is_fetched_again(case: Case) -> None:
    case.store(direct=True).put("object", case.larger)
    rule = case.side.inject(case.proxy, "get", CutAnswer(INSIDE, End.STALL), skip=2)
    kill(case, rule, 1, "get", "object", case.target)
    (unfinished,) = case.folder.rglob("*.part")
    with unfinished.open("r+b") as file:
        file.seek(case.part + 10_000)
        file.write(bytes(10_000))
    case.store().get("object", case.target)
    assert case.target.read_bytes() == case.larger
    case.check_nothing_left()


@SIDES
@pytest.mark.parametrize("call", ["put", "get"])
def test_torn_notes_cost_no_more_than_what_they_said(case: Case, call: str) -> None:
    source = case.folder / "source"
    source.write_bytes(case.larger)
    if call == "get":
        case.store(direct=True).put("object", case.larger)
    where, action = INTERRUPTED[call]
    file = source if call == "put" else case.target
    rule = case.side.inject(case.proxy, where, action, skip=2)
    kill(case, rule, 1, call, "object", file)
    (notes,) = case.scratch.rglob("*.journal")
    notes.write_bytes(notes.read_bytes()[:-9])
    getattr(case.store(), call)("object", file)
    assert case.side.read(case.key) == case.larger
    assert file.read_bytes() == case.larger
    source.unlink()
    case.check_nothing_left()


OLD_SET = {"a": b"1", "b": b"2", "sub/c": b"3"}
NEW_SET = {"a": b"1", "b": b"changed", "sub/d": b"4", "e": b"5"}


def spread(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def gathered(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def committed(case: Case, folder: Path) -> dict[str, bytes]:
    """What a reader gets."""
    store = case.store(direct=True)
    store.verify("set", read_back=True)
    store.download_tree("set", folder)
    return gathered(folder)


KILLED = [(0.0, Before), (0.3, Lost), (0.6, Before), (0.9, Before), (0.999, Lost)]


@SIDES
@pytest.mark.parametrize(("at", "action"), KILLED)
def test_a_commit_that_is_killed_at_any_request(
    case: Case, at: float, action: Callable[[End], Action]
) -> None:
    old = spread(case.folder / "old", OLD_SET)
    new = spread(case.folder / "new", NEW_SET)
    for prefix in ("set", "like"):
        case.store(direct=True).commit(old, prefix)
    case.store().commit(new, "like")
    requests = len(case.proxy.forget())
    rule = case.proxy.inject(".*", "", action(End.STALL), skip=int(requests * at))
    kill(case, rule, 1, "commit", new, "set")
    assert committed(case, case.folder / "between") in (OLD_SET, NEW_SET)
    case.store(direct=True).commit(new, "set")
    assert committed(case, case.folder / "after") == NEW_SET
    case.store(direct=True).sweep(older_than=timedelta(0))
    assert committed(case, case.folder / "swept") == NEW_SET


@SIDES
def test_a_first_commit_that_is_killed_was_none(case: Case) -> None:
    new = spread(case.folder / "new", NEW_SET)
    rule = case.proxy.inject("PUT|POST", "", Before(End.STALL), skip=2)
    kill(case, rule, 1, "commit", new, "set")
    with pytest.raises(NotCommitted):
        case.store(direct=True).verify("set")
    case.store().commit(new, "set")
    assert committed(case, case.folder / "after") == NEW_SET


def arguments(case: Case, what: str) -> tuple[object, ...]:
    """What to interrupt: a call and its arguments. An object of that name is there."""
    case.store(direct=True).put("object", case.other)
    call = what.partition(" ")[0]
    if call == "get":
        return call, "object", case.target
    if call == "put":
        source = case.folder / "source"
        source.write_bytes(case.larger if what == "put" else OLD)
        return call, "object", source
    return call, spread(case.folder / "tree", NEW_SET), "set"


@SIDES
@pytest.mark.parametrize("what", ["put", "put of little", "get", "commit"])
def test_ctrl_c_ends_a_transfer_at_once(case: Case, what: str) -> None:
    where, action = INTERRUPTED[what]
    words = arguments(case, what)
    rule = case.side.inject(case.proxy, where, action)
    with process(case, 3, *words) as running:
        assert rule.reached.wait(WITHIN)
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=WITHIN)  # the stall lasts ten times as long
    assert running.returncode == -signal.SIGINT, errors
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert case.side.read(case.key) == case.other
    assert not case.target.exists()


@SIDES
@pytest.mark.parametrize("what", INTERRUPTED)
def test_a_cancelled_transfer_ends_at_once(case: Case, what: str) -> None:
    where, action = INTERRUPTED[what]
    call, *words = arguments(case, what)
    rule = case.side.inject(case.proxy, where, action)
    cancel = threading.Event()
    store = case.store(patience=600)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(getattr(store, str(call)), *words, cancel=cancel)
        assert rule.reached.wait(WITHIN)
        cancel.set()
        try:
            with pytest.raises(Cancelled):
                running.result(WITHIN)
        finally:
            case.proxy.close()  # a call that did not notice ends with the stall
    assert case.side.read(case.key) == case.other
    assert not case.target.exists()
