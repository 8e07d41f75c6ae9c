import contextlib
import errno
import hashlib
import json
import logging
import math
import os
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from tt_experiment import _durable
from tt_experiment._checkpoint.entries import FORMAT
from tt_experiment._manifest import Manifest
from tt_experiment.checkpoints import BestPolicy, CheckpointFolder, Retention
from tt_experiment.errors import (
    CheckpointError,
    CorruptCheckpoint,
    FormatVersionError,
    NoValidCheckpoint,
    StateTreeError,
)
from tt_experiment.testing import CheckpointStoreContract


def tree(value):
    return {
        "model": {"w": torch.full((4,), float(value))},
        "optimizers": [{"m": torch.full((4,), float(value))}],
        "rng": {"torch": torch.arange(3)},
        "epoch": value,
    }


def save(store, step, **scores):
    return store.save(tree(step), step=step, scores=scores).wait_committed()


def names(path):
    return sorted(p.name for p in Path(path).iterdir() if p.is_dir())


def rewrite_manifest(directory, version):
    manifest = Manifest.read(directory, FORMAT)
    changed = Manifest(version, manifest.facts, manifest.files)
    (directory / "MANIFEST.json").write_bytes(changed.dumps())


class TestContract(CheckpointStoreContract):
    def make_store(self, path):
        return CheckpointFolder(path / "checkpoint_model")


def test_the_files_of_a_checkpoint(tmp_path):
    save(CheckpointFolder(tmp_path), 1200, loss=math.nan)
    directory = tmp_path / "step-0000001200"
    assert sorted(p.name for p in directory.iterdir()) == [
        "MANIFEST.json",
        "extra.safetensors",
        "model.safetensors",
        "optimizer.safetensors",
        "state.json",
    ]
    manifest = json.loads((directory / "MANIFEST.json").read_text(), parse_constant=pytest.fail)
    assert manifest["format"] == "tt-checkpoint/1"
    assert manifest["scores"] == {"loss": None}
    assert manifest["nonfinite"] == {"loss": "nan"}
    assert manifest["torch"] == torch.__version__
    for name, entry in manifest["files"].items():
        assert _durable.digest_file(directory / name)._asdict() == entry
    assert (tmp_path / "LATEST").read_text() == "step-0000001200\n"


def damage_flip(directory, name):
    path = directory / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def damage_truncate(directory, name):
    path = directory / name
    path.write_bytes(path.read_bytes()[:-2])


def damage_remove(directory, name):
    (directory / name).unlink()


FILES = ["model.safetensors", "optimizer.safetensors", "state.json", "MANIFEST.json"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [damage_flip, damage_truncate, damage_remove])
def test_a_damaged_newest_is_skipped_for_the_next_older(tmp_path, caplog, damage, name):
    store = CheckpointFolder(tmp_path)
    save(store, 1, loss=2.0)
    newest = save(store, 2, loss=1.0)
    damage(Path(newest.location), name)
    assert store.latest().step == 1
    assert "skipping a damaged checkpoint" in caplog.text
    assert store.best("loss", "min").step == 1
    with pytest.raises(CorruptCheckpoint):
        store.load(newest)


def test_every_bit_of_a_manifest_counts(tmp_path):
    store = CheckpointFolder(tmp_path)
    path = Path(save(store, 1, loss=0.5).location, "MANIFEST.json")
    whole = path.read_bytes()
    for position in range(0, len(whole), 3):
        data = bytearray(whole)
        data[position] ^= 1 << position % 8
        path.write_bytes(data)
        if json_or_none(data) == json.loads(whole):
            continue  # white space that means nothing
        with pytest.raises(NoValidCheckpoint):
            store.latest()


def json_or_none(data):
    try:
        return json.loads(bytes(data))
    except ValueError:
        return None


def test_none_whole_is_an_error_and_none_at_all_is_none(tmp_path):
    store = CheckpointFolder(tmp_path / "not" / "there")
    assert store.latest() is None
    damage_flip(Path(save(store, 1, loss=1.0).location), "state.json")
    with pytest.raises(NoValidCheckpoint, match="none of them is whole"):
        store.latest()
    with pytest.raises(FileNotFoundError):
        store.best("loss", "min")


def test_a_step_directory_without_manifest_is_not_deleted(tmp_path):
    (tmp_path / "step-0000000007").mkdir()
    store = CheckpointFolder(tmp_path, retention=Retention(last=1))
    with pytest.raises(NoValidCheckpoint):
        store.latest()
    with pytest.raises(NoValidCheckpoint):
        store.best("loss", "max")
    save(store, 8)
    assert names(tmp_path) == ["step-0000000007", "step-0000000008"]
    assert store.latest().step == 8


def test_a_newer_format_is_an_error_and_not_a_reason_to_fall_back(tmp_path):
    store = CheckpointFolder(tmp_path)
    save(store, 1)
    newest = save(store, 2)
    rewrite_manifest(Path(newest.location), "tt-checkpoint/2")
    Path(newest.location, "model.safetensors").unlink()  # it must not even be looked at
    for read in (store.latest, lambda: store.load(newest), lambda: store.best("x", "min")):
        with pytest.raises(FormatVersionError, match="pip install -U tt-experiment"):
            read()


@pytest.mark.parametrize("kind", ["tt-run/1", "tt-checkpoint/x"])
def test_another_kind_of_directory_is_no_checkpoint(tmp_path, kind):
    store = CheckpointFolder(tmp_path)
    rewrite_manifest(Path(save(store, 1).location), kind)
    with pytest.raises(NoValidCheckpoint, match="must hold a tt-checkpoint"):
        store.latest()


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname"])
def test_a_manifest_cannot_lead_outside(tmp_path, name):
    store = CheckpointFolder(tmp_path)
    directory = Path(save(store, 1).location)
    manifest = Manifest.read(directory, FORMAT)
    files = {name: next(iter(manifest.files.values()))}
    (directory / "MANIFEST.json").write_bytes(Manifest(FORMAT, manifest.facts, files).dumps())
    with pytest.raises(NoValidCheckpoint, match="below its directory"):
        store.latest()


def test_a_manifest_of_absurd_size_is_not_read(tmp_path):
    store = CheckpointFolder(tmp_path)
    path = Path(save(store, 1).location, "MANIFEST.json")
    with path.open("ab") as file:
        file.truncate(100 << 20)
    with pytest.raises(NoValidCheckpoint, match="at most"):
        store.latest()


def test_keep_last(tmp_path):
    store = CheckpointFolder(tmp_path, retention=Retention(last=2))
    for step in (10, 20, 30, 40):
        save(store, step)
    assert names(tmp_path) == ["step-0000000030", "step-0000000040"]


def test_keep_last_goes_by_when_it_was_saved_not_by_step(tmp_path):
    store = CheckpointFolder(tmp_path, retention=Retention(last=2))
    for step in (90, 100, 50, 60):  # trained on from 40, after 100
        save(store, step)
    assert names(tmp_path) == ["step-0000000050", "step-0000000060"]


def test_keep_best_pairs_each_checkpoint_with_its_own_score(tmp_path):
    policy = BestPolicy("loss", "min", count=2)
    store = CheckpointFolder(tmp_path, retention=Retention(last=1, best=policy))
    losses = [0.9, 0.2, 0.5, math.nan, 0.3, 0.2, 0.8]
    for step, loss in enumerate(losses):
        save(store, step, loss=loss)
    assert names(tmp_path) == [f"step-{n:010d}" for n in (1, 5, 6)]
    assert (tmp_path / "BEST").read_text() == "step-0000000001\n"  # of equals, the older
    assert store.best("loss", "min").step == 1
    assert store.load(store.best("loss", "min"))["epoch"] == 1


def test_keep_best_alone_also_keeps_the_newest(tmp_path):
    store = CheckpointFolder(tmp_path, retention=BestPolicy("acc", "max"))
    for step, acc in enumerate([0.1, 0.9, 0.5, 0.4]):
        save(store, step, acc=acc)
    assert names(tmp_path) == ["step-0000000001", "step-0000000003"]


def test_no_score_no_best(tmp_path):
    store = CheckpointFolder(tmp_path, retention=BestPolicy("acc", "max"))
    save(store, 1, loss=1.0)
    assert not (tmp_path / "BEST").exists()


def test_a_step_saved_again_leaves_one(tmp_path):
    store = CheckpointFolder(tmp_path)
    for value in (1, 2, 3):
        store.save(tree(value), step=5, scores={}).wait_committed()
        assert len(names(tmp_path)) == 1
        assert store.load(store.latest())["epoch"] == value


def test_a_tree_without_tensors_or_parts(tmp_path):
    store = CheckpointFolder(tmp_path)
    ref = store.save({"epoch": 3, "model": {}}, step=0, scores={}).wait_committed()
    assert store.load(ref) == {"epoch": 3, "model": {}}
    assert store.save({}, step=1, scores={}).wait_committed().step == 1


def test_what_cannot_be_saved_is_refused_before_anything_is_written(tmp_path):
    store = CheckpointFolder(tmp_path)
    with pytest.raises(StateTreeError, match=r"tree\['model'\]|tree\['fn'\]"):
        store.save({"model": {}, "fn": print}, step=1, scores={})
    with pytest.raises(StateTreeError, match="is a dict"):
        store.save([1], step=1, scores={})
    with pytest.raises(ValueError, match="from 0"):
        store.save({}, step=-1, scores={})
    assert names(tmp_path) == []


def test_wrong_arguments(tmp_path):
    store, other = CheckpointFolder(tmp_path / "a"), CheckpointFolder(tmp_path / "b")
    with pytest.raises(CheckpointError, match="its own checkpoints"):
        store.load(save(other, 1))


class FailingOs:
    """The module `os`, of which the n-th change to the disk fails."""

    CHANGES = ("open", "write", "fsync", "mkdir", "rename", "replace", "unlink", "rmdir")

    def __init__(self, at):
        self.at, self.count = at, 0

    def __getattr__(self, name):
        real = getattr(os, name)
        if name not in self.CHANGES:
            return real

        def call(*args, **kwargs):
            self.count += 1
            if self.count == self.at:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if name == "fsync":
                return None  # thousands of them, and no power cut to fear
            return real(*args, **kwargs)

        return call


def test_a_full_disk_at_any_moment_costs_at_most_this_save(tmp_path, monkeypatch, caplog):
    outcomes = set()
    for at in range(1, 200):
        path = tmp_path / str(at)
        store = CheckpointFolder(path, retention=Retention(last=1))
        monkeypatch.setattr(_durable, "os", FailingOs(0))
        save(store, 1, loss=1.0)
        failing = FailingOs(at)
        monkeypatch.setattr(_durable, "os", failing)
        ticket = store.save(tree(2), step=2, scores={"loss": 0.5})
        with contextlib.suppress(CheckpointError):
            ticket.wait_committed()
        monkeypatch.setattr(_durable, "os", FailingOs(0))
        outcomes.add(check_after_failure(store, ticket))
        shutil.rmtree(path)
        if failing.count < at:
            break
    else:
        pytest.fail("a save has fewer steps than that")
    assert at > 25
    assert outcomes == {"failed", "committed"}
    assert "tidying" in caplog.text


def check_after_failure(store, ticket):
    ticket.wait_staged()
    try:
        ref = ticket.wait_committed(1.0)
    except CheckpointError as error:
        assert "No space left" in str(error)  # noqa: PT017 - either outcome is right, by moment
        assert "MB are free" in str(error)  # noqa: PT017 - as above
        assert isinstance(error.__cause__, OSError)  # noqa: PT017 - as above
        assert store.latest().step in (1, 2)
        outcome = "failed"
    else:
        assert ref == store.latest()
        outcome = "committed"
    latest = store.load(store.latest())
    assert latest["epoch"] == store.latest().step
    save(store, 3)
    assert names(store.path)[-1] == "step-0000000003"
    return outcome


def test_opening_sweeps_only_what_is_abandoned(tmp_path):
    mine = _durable.scratch_path(tmp_path, "live")
    host, pid = _durable._HOST, os.getpid()
    dead = tmp_path / f".tmp-{host}-{2**22 + 1}-00000000-step-1-abcdef"
    earlier = tmp_path / f".tmp-{host}-{pid}-00000000-step-1-abcdef"
    init = tmp_path / f".tmp-{host}-{os.getppid()}-00000000-step-1-abcdef"
    elsewhere = tmp_path / ".tmp-other-1-00000000-step-1-abcdef"
    old = tmp_path / ".tmp-other-2-00000000-step-1-abcdef"
    strange = tmp_path / ".tmp-strange"
    for path in (mine, dead, earlier, init, elsewhere, old, strange):
        path.mkdir()
        (path / "sub").mkdir()
        (path / "sub" / "file").write_text("x")
    (dead / "link").symlink_to(strange)
    stale_file = tmp_path / f".tmp-{host}-{pid}-00000000-LATEST-abcdef"
    stale_file.write_text("x")
    two_days_ago = time.time() - 2 * 86400
    os.utime(old, (two_days_ago, two_days_ago))
    CheckpointFolder(tmp_path)
    assert set(tmp_path.iterdir()) == {mine, init, elsewhere, strange}
    assert (strange / "sub" / "file").exists()


def test_a_damaged_one_is_told_through_logging(tmp_path, caplog):
    store = CheckpointFolder(tmp_path)
    save(store, 1)
    damage_flip(Path(save(store, 2).location), "model.safetensors")
    with caplog.at_level(logging.WARNING):
        store.latest()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "sha256" in caplog.text


def test_what_is_known_of_each_checkpoint(tmp_path):
    store = CheckpointFolder(tmp_path)
    save(store, 10, loss=0.5)
    store.save(tree(20), step=20, scores={"loss": math.nan}, facts={"epoch": 2}).wait_committed()
    newest, older = store.entries()
    assert (newest.step, newest.serial, newest.epoch, newest.finite) == (20, 2, 2, True)
    assert math.isnan(newest.scores["loss"])
    assert (older.step, older.serial, older.epoch, older.scores) == (10, 1, None, {"loss": 0.5})
    assert older.ref == store.best("loss", "min")
    assert older.name == older.path.name == "step-0000000010"
    files = [path for path in older.path.iterdir() if path.name != "MANIFEST.json"]
    assert older.bytes == sum(path.stat().st_size for path in files)
    assert abs((datetime.now(UTC) - older.created).total_seconds()) < 3600
    assert older.pinned is None


def test_damaged_ones_are_told_apart(tmp_path):
    store = CheckpointFolder(tmp_path)
    whole, broken = save(store, 1), save(store, 2)
    damage_truncate(Path(broken.location), "MANIFEST.json")
    assert [info.ref for info in store.entries()] == [whole]
    (problem,) = store.damaged()
    assert "step-0000000002" in str(problem)
    damage_flip(Path(whole.location), "extra.safetensors")
    assert [info.ref for info in store.entries()] == [whole]  # its files are not looked at
    with pytest.raises(CorruptCheckpoint, match=r"extra\.safetensors"):
        store.verify(whole)
    store.verify(save(store, 3))


def test_a_new_one_is_newer_than_damaged_ones_whose_number_nobody_knows(tmp_path):
    store = CheckpointFolder(tmp_path)
    save(store, 1)
    path = Path(save(store, 2).location, "MANIFEST.json")
    whole = path.read_bytes()
    path.write_bytes(b"")
    newest = save(store, 3)
    path.write_bytes(whole)  # the disk has come back
    assert store.latest() == newest


def test_a_pinned_one_outlives_every_rule(tmp_path):
    store = CheckpointFolder(tmp_path, retention=Retention(last=1))
    ref = save(store, 1)
    assert store.pin(ref, "the paper's").pinned == "the paper's"
    save(store, 2)
    store.pin(2)
    save(store, 3)
    assert [(info.step, info.pinned) for info in store.entries()] == [
        (3, None),
        (2, ""),
        (1, "the paper's"),
    ]
    assert [info.step for info in CheckpointFolder(tmp_path).pinned()] == [2, 1]
    store.unpin(ref)
    store.unpin(ref)
    save(store, 4)
    assert [info.step for info in store.entries()] == [4, 2]


def test_a_pinned_one_is_not_superseded(tmp_path):
    store = CheckpointFolder(tmp_path)
    store.pin(save(store, 1))
    again = save(store, 1)
    assert [info.pinned for info in store.entries()] == [None, ""]
    assert store.latest() == again
    assert store.pin(1, "now this one").ref == again  # of one step, the newest


def test_pinning_what_is_not_there(tmp_path):
    store, other = CheckpointFolder(tmp_path / "a"), CheckpointFolder(tmp_path / "b")
    for which, message in ((7, "no such one"), (save(other, 1), "its own")):
        with pytest.raises(CheckpointError, match=message):
            store.pin(which)
        with pytest.raises(CheckpointError, match=message):
            store.unpin(which)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"pinned": [1]}', b'{"pinned": {"a": 1}}']
)
def test_while_nobody_knows_what_is_pinned_nothing_is_deleted(tmp_path, caplog, content):
    store = CheckpointFolder(tmp_path, retention=Retention(last=1))
    store.pin(save(store, 1))
    (tmp_path / "PINNED.json").write_bytes(content)
    save(store, 2)
    assert names(tmp_path) == ["step-0000000001", "step-0000000002"]
    assert "must say what is pinned" in caplog.text
    with pytest.raises(CheckpointError, match="must say what is pinned"):
        store.entries()


def test_hints_for_each_metric(tmp_path):
    policies = [BestPolicy("loss", "min"), BestPolicy("acc", "max")]
    store = CheckpointFolder(tmp_path, retention=Retention(last=1, best=policies))
    for step, (loss, acc) in enumerate([(0.1, 0.1), (0.9, 0.9), (0.5, 0.5)]):
        save(store, step, loss=loss, acc=acc)
    assert (tmp_path / "BEST").read_text() == "step-0000000000\nstep-0000000001\n"
    assert (tmp_path / "LATEST").read_text() == "step-0000000002\n"
    assert len(names(tmp_path)) == 3


def test_a_metric_that_never_comes_deletes_nothing_and_is_told_once(tmp_path, caplog):
    rule = Retention(last=1, best=BestPolicy("val_acc", "max"))
    store = CheckpointFolder(tmp_path, retention=rule)
    for step in range(6):
        save(store, step, loss=1.0)
    assert len(names(tmp_path)) == 6
    (told,) = [record.getMessage() for record in caplog.records]
    assert "no checkpoint has 'val_acc'" in told
    assert "3 with 0.0 MB" in told
    assert "['loss']" in told
    save(store, 6, val_acc=0.5)
    assert names(tmp_path) == ["step-0000000006"]


def test_what_is_to_be_uploaded_is_not_deleted_yet(tmp_path):
    pending = {"step-0000000001"}
    store = CheckpointFolder(
        tmp_path, retention=Retention(last=1), is_pending=lambda path: path.name in pending
    )
    for step in (1, 2, 3):
        save(store, step)
    assert names(tmp_path) == ["step-0000000001", "step-0000000003"]
    pending.clear()
    save(store, 4)
    assert names(tmp_path) == ["step-0000000004"]


@pytest.mark.parametrize(
    ("value", "dtype", "finite"),
    [
        (math.nan, torch.float32, False),
        (-math.inf, torch.float64, False),
        (math.inf, torch.float16, False),
        (math.nan, torch.bfloat16, False),
        (3e38, torch.float32, True),  # of which the sum is none
        (60_000, torch.float16, True),
        (3e38, torch.bfloat16, True),
        (7, torch.int64, True),
    ],
)
def test_a_model_that_is_not_finite_is_marked_and_replaces_none_that_is(
    tmp_path, value, dtype, finite
):
    store = CheckpointFolder(tmp_path, retention=Retention(last=1))
    save(store, 1)
    weights = torch.ones(3, 1000, dtype=dtype)
    weights[1:, 500] = value
    store.save({"model": {"w": weights, "b": torch.ones(2)}}, step=2, scores={}).wait_committed()
    assert [info.finite for info in store.entries()] == ([True] if finite else [False, True])
    assert store.latest().step == 2


def signed(directory, **changes):
    """Write a manifest anew, as another version would have."""
    path = directory / "MANIFEST.json"
    document = json.loads(path.read_text())
    del document["self_sha256"]
    document = {k: v for k, v in {**document, **changes}.items() if v is not None}
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    document["self_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps(document))


def test_a_manifest_with_less_and_with_more_is_read(tmp_path):
    store = CheckpointFolder(tmp_path)
    ref = save(store, 1)
    signed(Path(ref.location), facts=None, finite=None, scores=None, nonfinite=None, torch=None)
    (info,) = store.entries()
    assert (info.facts, info.finite, info.scores) == ({}, True, {})
    signed(Path(ref.location), scores={"loss": 0.5}, nonfinite={}, mood="good")
    assert store.load(store.best("loss", "min"))["epoch"] == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"step": None},
        {"serial": "x"},
        {"created": 5},
        {"scores": [1]},
        {"format": None},
        {"files": None},
        {"files": {"a": 3}},
        {"files": [1]},
        {"files": {"a": {"bytes": 1}}},
    ],
    ids=str,
)
def test_a_signed_manifest_that_makes_no_sense_is_damaged(tmp_path, changes):
    store = CheckpointFolder(tmp_path)
    signed(Path(save(store, 1).location), **changes)
    with pytest.raises(NoValidCheckpoint):
        store.latest()
    assert len(store.damaged()) == 1


@pytest.mark.parametrize("content", [b"[]", b"{}", b'{"tree": 1}', b'{"tree": {"other": 1}}'])
def test_a_signed_structure_that_makes_no_sense_is_damaged(tmp_path, content):
    store = CheckpointFolder(tmp_path)
    ref = save(store, 1)
    directory = Path(ref.location)
    (directory / "state.json").write_bytes(content)
    files = json.loads((directory / "MANIFEST.json").read_text())["files"]
    digest = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    signed(directory, files={**files, "state.json": digest})
    with pytest.raises(CorruptCheckpoint, match="how a state is put together"):
        store.load(ref)
