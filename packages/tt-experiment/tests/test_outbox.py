"""The copy behind the training: the store never lies, and in the end it has everything."""

import atexit
import contextlib
import hashlib
import json
import os
import pickle
import random
import re
import shutil
import threading
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tt_experiment._outbox import courier
from tt_experiment.checkpoints import Retention
from tt_experiment.errors import RunLockedError, UploadError
from tt_experiment.experiment import Experiment
from tt_experiment.folder import run_files
from tt_experiment.outbox import Outbox, Patience
from tt_experiment.provenance import Provenance
from tt_experiment.remote import fetch_run
from tt_experiment.testing import BlobStoreContract, MemoryBlobStore

QUICK = Patience(base=0.001, cap=0.01, claim=30.0, give_up=60.0)


class TestMemoryStore(BlobStoreContract):
    def make_store(self, path):
        return MemoryBlobStore()


class Watched(MemoryBlobStore):
    """Looks at every request whether all manifests in the store are true, and fails on command."""

    def __init__(self):
        super().__init__()
        self.down: Exception | None = None
        self.lies: list[str] = []
        self.sources: dict[str, object] = {}
        self.before = self.look

    def look(self, method, key):
        self.lies += lies(self)
        if self.down is not None:
            raise self.down

    def put(self, key, source, /, **options):
        self.sources[key] = source
        return super().put(key, source, **options)


def lies(store) -> list[str]:
    """Files that a manifest in the store lists, and that are not there as it says."""
    found = []
    objects = dict(store.objects)
    for key in [key for key in objects if key.endswith("/MANIFEST.json")]:
        for name, listed in json.loads(objects[key])["files"].items():
            content = objects.get(key.removesuffix("MANIFEST.json") + name, b"")
            if hashlib.sha256(content).hexdigest() != listed["sha256"]:
                found.append(f"{key}: {name}")
    return found


@pytest.fixture(autouse=True)
def _end():
    yield
    for outbox in used:
        outbox.close()
    used.clear()


used: list[Outbox] = []


@cache
def started() -> Path:
    """A run that has just begun: it takes half a second to find out what is installed."""
    root = Path(mkdtemp())
    experiment = Experiment("p", "e", root, provenance=Provenance(script=__file__, diff=False))
    experiment.start("2026-01-01_00-00-00")
    atexit.register(shutil.rmtree, root)
    return experiment.folder.path


def begin(root, store, **options) -> Experiment:
    path = root / "p" / started().name
    shutil.copytree(started(), path, ignore=shutil.ignore_patterns(".*"))
    experiment = Experiment.open(path, store=store)
    experiment.retention = options.get("retention")
    experiment.outbox = again(experiment)
    experiment.outbox.offer()
    return experiment


def again(experiment, patience=QUICK) -> Outbox:
    """The outbox that a new process would have."""
    path = experiment.folder.path
    outbox = Outbox(path, experiment.store, experiment.prefix(experiment.folder), patience=patience)
    used.append(outbox)
    return outbox


def save(experiment, step, value=1.0) -> Path:
    tree = {"model": {"w": torch.full((4,), float(value))}}
    ref = experiment.save(tree, step=step, scores={}).wait_committed(30)
    return Path(ref.location)


def checkpoints(store) -> list[str]:
    """Whole ones, in the order in which they arrived."""
    pattern = re.compile(r".*/checkpoint_model/([^/]+)/MANIFEST\.json")
    return [found[1] for key in store.stored if (found := pattern.fullmatch(key))]


def assert_equal(store, experiment) -> None:
    """What the store has of the run is what is on the disk."""
    prefix = experiment.prefix(experiment.folder)
    for path in run_files(experiment.folder.path):
        key = f"{prefix}/{path.relative_to(experiment.folder.path).as_posix()}"
        assert store.objects.get(key) == path.read_bytes(), key
    assert not lies(store)


def test_checkpoints_arrive_in_order_each_after_its_files_and_the_seal_last(tmp_path):
    store = Watched()
    experiment = begin(tmp_path, store)
    for step in (1, 2, 5, 3):
        save(experiment, step, step)
    experiment.finish("completed")
    experiment.upload()
    assert_equal(store, experiment)
    assert not store.lies
    assert checkpoints(store) == [f"step-{step:010d}" for step in (1, 2, 5, 3)]
    assert store.stored[-1] == f"{experiment.prefix(experiment.folder)}/MANIFEST.json"
    assert not [key for key in store.objects if "/.outbox" in key or "/.lock" in key]


def test_what_a_checkpoint_goes_on_from_is_there_before_it(tmp_path):
    store = Watched()
    experiment = begin(tmp_path, store)
    metrics = experiment.folder.metrics / "0001.jsonl"
    metrics.parent.mkdir(exist_ok=True)
    seen = {}

    def note(method, key):
        if method == "put" and key.endswith("/MANIFEST.json"):
            top = experiment.prefix(experiment.folder)
            seen[key.split("/")[-2]] = store.objects[f"{top}/metrics/0001.jsonl"]

    store.before = note
    for step in (1, 2):
        with metrics.open("ab") as file:
            file.write(b"step %d\n" % step)
        save(experiment, step)
        experiment.outbox.drain()
    assert [text.count(b"\n") for text in seen.values()] == [1, 2]


def test_training_does_not_wait_for_a_store_that_hangs(tmp_path):
    store = Watched()
    experiment = begin(tmp_path, store)
    experiment.outbox.drain()
    goes_on = threading.Event()
    store.before = lambda method, key: goes_on.wait(60)
    for step in range(3):
        save(experiment, step)
    experiment.outbox.offer()
    assert not checkpoints(store)
    goes_on.set()
    assert experiment.outbox.drain() > 0
    assert len(checkpoints(store)) == 3


def test_a_store_that_is_down_is_told_once_and_its_return_once(tmp_path, caplog):
    store = Watched()
    store.down = ConnectionError("no route")
    experiment = begin(tmp_path, store)
    for step in range(3):
        save(experiment, step)
        with pytest.raises(UploadError, match=r"(?s)are not in mem://test yet.*tt-experiment sync"):
            experiment.outbox.drain(0.05)
    assert len([r for r in caplog.records if "no route" in r.getMessage()]) <= 2  # two outboxes
    assert not store.objects
    store.down = None
    experiment.outbox.drain()
    assert "has taken what was left" in caplog.records[-1].getMessage()
    assert_equal(store, experiment)


def test_a_store_that_refuses_is_said_before_training(tmp_path):
    store = Watched()
    store.down = PermissionError("access denied")
    experiment = Experiment("p", "e", tmp_path, store=store)
    with pytest.raises(UploadError, match="cannot be written to: access denied"):
        experiment.start()
    assert not experiment.is_started()


def test_a_secret_in_a_stores_error_is_not_repeated(tmp_path, caplog):
    store = Watched()
    experiment = begin(tmp_path, store)
    experiment.outbox.drain()
    store.down = PermissionError("https://user:hunter22@host/ refused, token=ghp_" + "a" * 36)
    save(experiment, 1)
    with pytest.raises(UploadError, match="refused") as caught:
        experiment.outbox.drain()
    for text in (str(caught.value), caplog.text):
        assert "hunter22" not in text
        assert "ghp_" not in text


def test_waiting_ends_at_its_time_although_files_arrive(tmp_path):
    store = Watched()
    experiment = begin(tmp_path, store)
    held = threading.Event()
    store.before = lambda method, key: held.wait(60)
    save(experiment, 1)
    with pytest.raises(UploadError, match=r"are not in"):
        again(experiment, Patience(give_up=60)).drain(timeout=0.05)
    held.set()


def test_waiting_ends_when_nothing_moves(tmp_path):
    store = Watched()
    experiment = begin(tmp_path, store)
    experiment.outbox.drain()
    store.down = TimeoutError("no answer")
    save(experiment, 1)
    with pytest.raises(UploadError, match="no answer"):
        again(experiment, QUICK._replace(give_up=0.05)).drain()


def test_a_refused_file_does_not_hold_up_the_others_only_the_seal(tmp_path):
    store = Watched()
    experiment = begin(tmp_path, store)

    def refuse(method, key):
        if method == "put" and "step-0000000001/model" in key:
            raise ValueError("no such name")

    store.before = refuse
    save(experiment, 1)
    save(experiment, 2)
    experiment.finish("completed")
    with pytest.raises(UploadError, match=r"step-0000000001: no such name"):
        experiment.upload()
    assert checkpoints(store) == ["step-0000000002"]
    assert f"{experiment.prefix(experiment.folder)}/MANIFEST.json" not in store.objects
    store.before = store.look
    experiment.upload()
    assert_equal(store, experiment)


def test_checkpoints_that_wait_are_kept_up_to_a_number(tmp_path):
    store = Watched()
    experiment = begin(tmp_path, store, retention=Retention(last=1))
    store.down = ConnectionError("no route")
    paths = [save(experiment, step) for step in range(12)]
    left = [path for path in paths if path.is_dir()]
    assert left == [*paths[:8], paths[-1]]
    assert experiment.outbox.is_pending(paths[0])
    store.down = None
    experiment.outbox.drain()
    assert checkpoints(store) == [path.name for path in left]
    assert not experiment.outbox.is_pending(paths[0])
    save(experiment, 12)
    experiment.outbox.drain()
    assert len(checkpoints(store)) == 10


def test_a_checkpoint_that_is_deleted_before_or_on_its_way_is_not_missed(tmp_path):
    store = Watched()
    experiment = begin(tmp_path, store)
    store.down = ConnectionError("no route")
    before, meanwhile, _ = (save(experiment, step) for step in range(3))
    shutil.rmtree(before)

    def delete(method, key):
        store.look(method, key)
        if method == "put" and f"{meanwhile.name}/model.safetensors" in key:
            shutil.rmtree(meanwhile)

    store.before = delete
    store.down = None
    experiment.outbox.drain()
    assert checkpoints(store) == ["step-0000000002"]
    assert not store.lies


def test_a_run_that_goes_on_loses_its_seal_first(tmp_path):
    store = Watched()
    experiment = begin(tmp_path, store)
    save(experiment, 1)
    experiment.finish("completed")
    experiment.upload()
    save(experiment, 2)
    experiment.outbox.drain()
    prefix = experiment.prefix(experiment.folder)
    assert f"{prefix}/MANIFEST.json" not in store.objects
    experiment.finish("completed")
    experiment.outbox = again(experiment)  # another process seals it anew
    experiment.upload()
    assert_equal(store, experiment)
    assert not store.lies


def test_a_checkpoint_of_the_same_name_replaces_the_other_manifest_first(tmp_path):
    """A run that went back has deleted the first one."""
    store = Watched()
    experiment = begin(tmp_path, store)
    path = save(experiment, 1, 5)
    experiment.outbox.drain()
    shutil.rmtree(path)
    assert save(experiment, 1, 7) == path
    experiment.outbox.drain()
    assert_equal(store, experiment)
    assert not store.lies


def test_files_that_come_while_a_pass_is_under_way_are_no_change_after_the_seal(tmp_path):
    store = Watched()
    experiment = begin(tmp_path, store)
    experiment.outbox.drain()
    folder = experiment.folder

    def write(method, key):
        store.look(method, key)
        if method == "put" and key.endswith("/events.jsonl") and not folder.report_file.exists():
            folder.results.mkdir(exist_ok=True)
            folder.report_file.write_text("later")
            folder.seal()

    store.before = write
    (folder.path / "events.jsonl").write_text("{}")
    experiment.upload()
    assert_equal(store, experiment)


def test_a_file_changed_after_the_seal_is_said(tmp_path):
    store = Watched()
    experiment = begin(tmp_path, store)
    store.down = ConnectionError("no route")
    experiment.finish("completed")
    (experiment.folder.path / "hyperparams.json").write_text("{}")
    store.down = None
    with pytest.raises(UploadError, match=r"stays as it is. Changed since: hyperparams.json"):
        experiment.upload()
    assert f"{experiment.prefix(experiment.folder)}/MANIFEST.json" not in store.objects


def test_a_damaged_checkpoint_is_not_sent(tmp_path):
    store = Watched()
    experiment = begin(tmp_path, store)
    store.down = ConnectionError("no route")
    path = save(experiment, 1)
    save(experiment, 2)
    data = bytearray((path / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (path / "model.safetensors").write_bytes(bytes(data))
    store.down = None
    with pytest.raises(UploadError, match=r"not what was written"):
        experiment.outbox.drain()
    assert checkpoints(store) == ["step-0000000002"]
    assert not lies(store)


def test_large_files_are_not_read_at_once_and_growing_ones_are_copied_as_they_were(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(courier, "_SMALL", 10)
    store = Watched()
    experiment = begin(tmp_path, store)
    lines = experiment.folder.path / "events.jsonl"
    board = experiment.folder.path / "tensorboard" / "events.out.tfevents.1.host.2.0"
    board.parent.mkdir()
    for file in (lines, board):
        file.write_bytes(b"first line of events\n")

    def grow(method, key):
        store.look(method, key)
        for path in (lines, board):
            if method == "put" and key.endswith(path.name):
                with path.open("ab") as file:
                    file.write(b"another\n")

    store.before = grow
    checkpoint = save(experiment, 1)
    experiment.outbox.drain()
    prefix = experiment.prefix(experiment.folder)
    assert lines.read_bytes().startswith(store.objects[f"{prefix}/events.jsonl"])
    assert store.objects[f"{prefix}/tensorboard/{board.name}"].startswith(b"first line")
    name = f"{prefix}/checkpoint_model/{checkpoint.name}/model.safetensors"
    assert store.sources[name] == checkpoint / "model.safetensors"
    assert isinstance(store.sources[f"{prefix}/events.jsonl"], Path)
    assert not list((experiment.folder.path / ".outbox").glob(".tmp-*"))


def test_nothing_is_sent_twice_also_without_the_ledger(tmp_path):
    store = Watched()
    experiment = begin(tmp_path, store)
    save(experiment, 1)
    experiment.finish("completed")
    experiment.upload()
    before = list(store.stored)
    assert again(experiment).drain() == 0
    for ledger in (experiment.folder.path / ".outbox").glob("sent-*.jsonl"):
        ledger.write_bytes(ledger.read_bytes()[:-20])  # torn
        assert again(experiment).drain() == 0
        ledger.unlink()
    assert again(experiment).drain() == 0
    assert store.stored == before


def test_a_full_disk_does_not_keep_the_run_from_the_store(tmp_path, monkeypatch):
    from tt_experiment._outbox import ledger

    class Full:
        def __init__(self, path):
            raise OSError(28, "No space left on device")

    store = Watched()
    experiment = begin(tmp_path, store)
    save(experiment, 1)
    monkeypatch.setattr(ledger, "LineFile", Full)
    experiment.outbox.drain()
    assert_equal(store, experiment)


def test_progress_counts_what_is_done_and_left(tmp_path):
    store = Watched()
    store.down = ConnectionError("no route")
    experiment = begin(tmp_path, store)
    save(experiment, 1)
    waiting = experiment.outbox.progress()
    assert waiting.files == 0
    assert waiting.files_left >= 6
    store.down = None
    experiment.outbox.drain()
    done = experiment.outbox.progress()
    assert (done.files_left, done.bytes_left) == (0, 0)
    assert (done.files, done.bytes) == (waiting.files_left, waiting.bytes_left)


def test_who_was_believed_dead_is_told_that_the_run_goes_on_elsewhere(tmp_path, caplog):
    store = Watched()
    first = begin(tmp_path / "one", store)
    save(first, 1)
    first.outbox.drain()
    path = fetch_run(store, first.prefix(first.folder), tmp_path / "two")
    second = Experiment.open(path, store=store)
    second.outbox.claim()
    save(second, 2, 7)
    second.outbox.drain()
    held = dict(store.objects)
    save(first, 2, 5)
    with pytest.raises(RunLockedError, match=r"one process writes a run.*goes on on"):
        first.upload()
    assert any("goes on on" in record.getMessage() for record in caplog.records)
    with pytest.raises(RunLockedError):
        again(first).claim()
    assert store.objects == held
    again(second).claim()  # a process that starts again on the disk that has the claim


def test_of_two_that_fetch_a_run_one_goes_on_with_it(tmp_path):
    store = Watched()
    first = begin(tmp_path / "one", store)
    save(first, 1)
    first.outbox.drain()
    paths = [fetch_run(store, first.prefix(first.folder), tmp_path / name) for name in "ab"]
    one, other = (Experiment.open(path, store=store) for path in paths)
    one.outbox.claim()
    with pytest.raises(RunLockedError):
        other.outbox.claim()


def test_an_answer_that_was_lost_does_not_lose_the_claim(tmp_path):
    store = Watched()
    experiment = Experiment("p", "e", tmp_path, store=store)
    real, lost = store.put, []

    def put(key, source, /, **options):
        info = real(key, source, **options)
        if not lost and ".claims" in key:
            lost.append(key)
            raise ConnectionError("reset by peer")
        return info

    store.put = put
    experiment.start()
    experiment.outbox.drain()
    assert lost
    assert_equal(store, experiment)


def test_another_run_of_that_name_is_not_overwritten(tmp_path):
    store = Watched()
    stamp = "2026-01-01_00-00-00"
    Experiment("p", "e", tmp_path / "one", store=store).start(stamp)
    with pytest.raises(UploadError, match=r"has a run p/e_2026-01-01_00-00-00 already"):
        Experiment("p", "e", tmp_path / "two", store=store).start(stamp)


def test_two_checkpoints_of_one_name_are_not_mixed(tmp_path):
    """The second writer came between the look and the manifest."""
    store = Watched()
    experiment = begin(tmp_path, store)
    store.down = ConnectionError("no route")
    path = save(experiment, 1)
    experiment.outbox.close()  # one process at a time: the run's lock sees to that
    key = f"{experiment.prefix(experiment.folder)}/checkpoint_model/{path.name}/MANIFEST.json"

    def come_between(method, asked):
        if method == "put" and asked == key:
            store.objects.setdefault(key, b"{}")

    store.before = come_between
    with pytest.raises(UploadError, match=re.escape(path.name)):
        again(experiment).drain()
    assert store.objects[key] == b"{}"


def test_a_pickled_outbox_goes_on_where_the_other_was(tmp_path):
    store = Shared()
    experiment = begin(tmp_path, store)
    experiment.outbox.close()
    save(experiment, 1)
    experiment.outbox.close()
    copy = pickle.loads(pickle.dumps(experiment.outbox))
    copy.drain()
    assert_equal(store, experiment)


class Shared(MemoryBlobStore):
    """A store that comes out of a pickle as one with the same objects."""

    everything: ClassVar[dict[str, bytes]] = {}

    def __init__(self):
        super().__init__()
        self.objects = self.everything

    def __reduce__(self):
        return type(self), ()


def test_a_run_that_has_begun_can_be_copied_too(tmp_path):
    store = Watched()
    experiment = begin(tmp_path, MemoryBlobStore("mem://other"))
    save(experiment, 1)
    experiment.copy_to(store)
    used.append(experiment.outbox)
    experiment.finish("completed")
    experiment.upload()
    assert_equal(store, experiment)
    assert experiment.folder.run()["store"] == store.url


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_no_part_in_it(tmp_path):
    store = Watched()
    experiment = begin(tmp_path, store)
    held, waiting = threading.Event(), threading.Event()

    def hold(method, key):
        waiting.set()
        held.wait(60)

    store.before = hold
    path = save(experiment, 1)
    assert waiting.wait(60)
    child = os.fork()
    if child == 0:  # locks may be held here by a thread that is not
        experiment.outbox.offer()
        experiment.outbox.close()
        ok = experiment.outbox.drain() == 0 and experiment.outbox.is_pending(path)
        os._exit(0 if ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    held.set()
    experiment.outbox.drain()
    assert_equal(store, experiment)


def test_retries_do_not_move_the_random_numbers_of_the_training(tmp_path):
    store = Watched()
    store.down = ConnectionError("no route")
    random.seed(1)
    expected = random.Random(1).random()
    experiment = begin(tmp_path, store)
    save(experiment, 1)
    with pytest.raises(UploadError):
        experiment.outbox.drain(0.1)
    assert random.random() == expected


def test_two_threads_may_wait_at_once(tmp_path):
    store = Watched()
    experiment = begin(tmp_path, store)
    save(experiment, 1)
    threads = [threading.Thread(target=experiment.outbox.drain) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_equal(store, experiment)
    assert len(checkpoints(store)) == 1


ACTIONS = st.sampled_from(["save", "save", "delete", "write", "die", "seal", "lose ledger"])
FAULTS = st.one_of(st.none(), st.integers(0, 12))


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(ACTIONS, FAULTS, st.booleans()), max_size=8))
def test_whatever_happens_manifests_are_true_and_in_the_end_all_is_there(tmp_path_factory, story):
    """Actions, each with the number of requests after which the store is gone, for a while."""
    store = Watched()
    experiment = begin(tmp_path_factory.mktemp("run"), store)
    experiment.outbox.drain()
    saved: list[Path] = []
    for number, (action, fault, passing) in enumerate(story):
        store.before = failing_after(store, fault, passing)
        if action == "save":
            saved.append(save(experiment, number, number))
        else:
            act(experiment, action, number, saved)
        with contextlib.suppress(UploadError):
            experiment.outbox.drain(0.02)
    experiment.outbox.close()
    store.before = store.look
    experiment.outbox = again(experiment)
    experiment.folder.seal()
    experiment.upload()
    assert_equal(store, experiment)
    assert not store.lies
    arrived = checkpoints(store)
    assert len(arrived) == len(set(arrived)) == len(saved)


def failing_after(store, requests, passing):
    left = iter(range(1 << 30 if requests is None else requests))

    def before(method, key):
        store.look(method, key)
        if next(left, None) is None:
            raise ConnectionError("gone") if passing else PermissionError("denied")

    return before


def act(experiment, action, number, saved):
    run = experiment.folder.path
    if action == "delete":
        for path in saved:
            if path.is_dir() and not experiment.outbox.is_pending(path):
                shutil.rmtree(path)
                break
    elif action == "write":
        experiment.folder.unseal()
        (run / "events.jsonl").write_text("x" * number)
    elif action == "seal":
        experiment.folder.seal()
    elif action in ("die", "lose ledger"):
        experiment.outbox.close()
        if action == "lose ledger":
            for ledger in (run / ".outbox").glob("sent-*.jsonl"):
                ledger.unlink()
        experiment.outbox = again(experiment)
