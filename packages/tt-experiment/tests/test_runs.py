"""Summaries of runs, finding and naming them, and the cache over many."""

import contextlib
import json
import math
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tt_experiment._runs import index
from tt_experiment._runs.index import read_summaries
from tt_experiment.errors import QueryError, RunFolderError
from tt_experiment.folder import ExperimentFolder
from tt_experiment.recorder import JsonLinesRecorder
from tt_experiment.results import save_results
from tt_experiment.runs import direction, find_runs, select, summarise
from tt_loop.api import RunInfo

SETTLED = 3600  # seconds that files are made older, so that the cache takes them


def make(root, project="p", experiment="e", *, hyperparams=None, metrics=(), attempts=(0,)):
    """A finished run, as this package writes it; for each attempt the step that it goes on from."""
    folder = ExperimentFolder.create(root, project, experiment, timestamp="2026-01-02_03-04-05")
    folder.write_start(hyperparams or {})
    for resumed in attempts:
        recorder = JsonLinesRecorder(folder)
        recorder.open(RunInfo(resumed, 0, 1, "single"))
        for step, values in metrics:
            if step > resumed:
                recorder.scalars(step, values, epoch=0)
        recorder.close("completed")
    return folder


def bare(root, number=0, project="p", **facts):
    """The least that is a run, made quickly."""
    path = Path(root, project, f"e_{number:05d}")
    path.mkdir(parents=True)
    run = {"format": "tt-run/1", "id": f"id-{number:05d}", "status": "completed", **facts}
    (path / "run.json").write_text(json.dumps(run))
    return path


def full(root, number=0, project="p", **metrics):
    """A run with all files that a summary is made of, made quickly."""
    path = bare(root, number, project)
    (path / "hyperparams.json").write_text(json.dumps({"number": number}))
    for folder in ("metrics", "results"):
        (path / folder).mkdir()
    results = {"results": {"val": {"acc": number}}, "nonfinite": {}}
    (path / "results" / "results.json").write_text(json.dumps(results))
    values = metrics or {"loss": number / 7}
    lines = ['{"resumed_from_step": 0}', json.dumps({"step": 1, "epoch": 0, "values": values})]
    (path / "metrics" / "0001.jsonl").write_text("\n".join(lines) + "\n")
    return path


def settle(root):
    for path in Path(root).rglob("*"):
        if path.is_file() and ".tt-cache" not in path.parts:
            old = path.stat().st_mtime - SETTLED
            os.utime(path, (old, old))


def cache_of(root):
    return next(Path(root, ".tt-cache").iterdir())


numbers = st.floats(width=32) | st.sampled_from([math.nan, math.inf, -math.inf])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), numbers), max_size=12))
def test_a_metric_is_summed_up_as_its_values_are(tmp_path_factory, points):
    path = bare(tmp_path_factory.mktemp("r"))
    folder = ExperimentFolder(path)
    recorder = JsonLinesRecorder(folder)
    recorder.open(RunInfo(0, 0, 1, "single"))
    for i, (name, value) in enumerate(points):
        recorder.scalars(i + 1, {name: value}, epoch=0)
    recorder.close("completed")
    found = summarise(folder).metrics
    assert set(found) == {name for name, _ in points}
    for name, metric in found.items():
        steps = [(i + 1, v) for i, (n, v) in enumerate(points) if n == name]
        there = [v for _, v in steps if not math.isnan(v)]
        assert (metric.points, metric.first_step) == (len(steps), steps[0][0])
        assert (metric.last_step, repr(metric.last)) == (steps[-1][0], repr(steps[-1][1]))
        for mode, pick in (("min", min), ("max", max)):
            if there:
                assert metric.best(mode) == pick(there)
                assert metric.best_step(mode) == next(s for s, v in steps if v == pick(there))
            else:
                assert math.isnan(metric.best(mode))


def test_a_summary_has_what_the_run_says(tmp_path):
    hyperparams = {"lr": 0.1, "model": {"layers": [4, 8], "act": None}, "api_key": "sk-1234"}
    folder = make(
        tmp_path, "pro ject", "exp", hyperparams=hyperparams, metrics=[(1, {"loss": 2.0})]
    )
    save_results(folder, {"val": {"acc": 0.5, "deep": {"f1": math.nan}, "matrix": [[1, 2]]}})
    run = summarise(folder)
    assert (run.project, run.experiment, run.status) == ("pro ject", "exp", "completed")
    assert (run.id, run.attempts, run.parent) == (folder.run()["id"], 1, None)
    assert run.created <= run.ended
    assert run.hyperparams["lr"] == 0.1
    assert run.hyperparams["model.layers"] == "[4,8]"
    assert run.hyperparams["model.act"] is None
    assert "sk-1234" not in str(run)
    assert run.results["val/acc"] == 0.5
    assert math.isnan(run.results["val/deep/f1"])
    assert run.problems == ()
    assert repr(summarise(folder.path)) == repr(summarise(str(folder.path))) == repr(run)


def test_what_an_abandoned_attempt_measured_does_not_count(tmp_path):
    metrics = [(step, {"loss": 10.0 - step}) for step in range(1, 7)]
    folder = make(tmp_path, metrics=metrics, attempts=(0, 4))
    assert summarise(folder).metrics["loss"].points == 6  # 1 to 4, then 5 and 6 again
    assert summarise(folder).attempts == 2


@pytest.mark.parametrize("name", ["run.json", "hyperparams.json", "results/results.json"])
@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff\x00", b'{"a":' * 5000, b'{"a": 1}'])
def test_a_damaged_run_gives_what_there_is(tmp_path, name, damage):
    path = full(tmp_path, loss=2.0)
    (path / name).write_bytes(damage)
    run = summarise(path)
    assert run.metrics["loss"].last == 2.0
    assert (run.name, run.path) == (path.name, path)
    if damage != b'{"a": 1}':
        assert run.problems
        assert run.problems[0].startswith(Path(name).name)
    if name == "run.json":
        assert run.status == "damaged"


def test_odd_documents_are_no_reason_to_fail(tmp_path):
    path = bare(tmp_path, attempts=7, created=[1], parent={"a": 1}, id=5)
    (path / "hyperparams.json").write_text('{"a": {"b": {}}, "c": NaN, "d": true}')
    (path / "results").mkdir()
    (path / "results" / "results.json").write_text(
        '{"results": 7, "nonfinite": {"x": "7", "y": "inf"}}'
    )
    (path / "metrics").mkdir()
    (path / "metrics" / "0001.jsonl").write_text('{"step": 1, "values": {"a": "text"}}\n')
    run = summarise(path)
    assert (run.attempts, run.id, run.created) == (0, "5", "[1]")
    assert run.results == {"y": math.inf}
    assert run.hyperparams["a.b"] == "{}"
    assert run.metrics == {}
    assert "metrics" in run.problems[0]


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(RunFolderError, match="a run is a folder"):
        summarise(tmp_path / "none")


def test_runs_are_found_at_all_levels_and_links_are_not_followed(tmp_path):
    first, second = bare(tmp_path / "root", 1, "a"), bare(tmp_path / "root", 2, "b")
    other = bare(tmp_path / "elsewhere", 3)
    (tmp_path / "root" / "c").symlink_to(other.parent)
    (tmp_path / "root" / "a" / "link").symlink_to(other)
    (tmp_path / "root" / "a" / "no_run").mkdir()
    (tmp_path / "root" / "a" / ".hidden").mkdir()
    (tmp_path / "root" / "a" / ".hidden" / "run.json").write_text("{}")
    assert find_runs(tmp_path / "root") == [first, second]
    assert find_runs(tmp_path / "root" / "a") == [first]
    assert find_runs(first) == [first]
    assert find_runs(tmp_path / "none") == []


def test_a_run_is_named_in_many_ways(tmp_path, monkeypatch):
    one, two = bare(tmp_path, 1, "a"), bare(tmp_path, 1, "b", id="other")
    three = bare(tmp_path, 12345, "b")
    for name in ("id-00001", "id-00", "a/e_00001", "a/e", str(one), f"{one}/"):
        if name != "id-00":
            assert select(tmp_path, name) == one
    assert select(tmp_path, "e_1") == three
    assert select(tmp_path, "oth") == two
    monkeypatch.chdir(tmp_path / "b")
    assert select(tmp_path, "e_00001") == two  # a path goes first
    monkeypatch.chdir(tmp_path)
    with pytest.raises(QueryError, match="means 2"):
        select(tmp_path, "e_00001")
    with pytest.raises(QueryError, match="means 2"):
        select(tmp_path, "id-")
    with pytest.raises(QueryError, match="did you mean e_12345"):
        select(tmp_path, "e_1234x")
    for nobody in ("", "zzz", "../..", "e_00001/x"):
        with pytest.raises(QueryError):
            select(tmp_path, nobody)


def test_the_whole_name_goes_before_a_beginning(tmp_path):
    bare(tmp_path, 1)
    short = tmp_path / "p" / "e"
    shutil.copytree(tmp_path / "p" / "e_00001", short)
    assert select(tmp_path, "e") == short


@pytest.mark.parametrize(
    ("metric", "mode"),
    [
        ("val_loss", "min"),
        ("acc", "max"),
        ("pkg/rmse", "min"),
        ("loss_VAL/f1", "max"),
        ("x", "max"),
    ],
)
def test_the_name_of_a_metric_tells_its_direction(metric, mode):
    assert direction(metric) == mode


# The cache over many runs: whatever happens to it, the answer is that of the files.


def truth(root):
    return [summarise(path) for path in find_runs(root)]


def test_few_runs_need_no_cache(tmp_path):
    bare(tmp_path)
    settle(tmp_path)
    assert read_summaries(tmp_path) == truth(tmp_path)
    assert not (tmp_path / ".tt-cache").exists()


@pytest.fixture
def many(tmp_path, monkeypatch):
    """A root whose runs are many, and old enough to be kept in the cache."""
    monkeypatch.setattr(index, "_FEW", 3)
    for number in range(6):
        full(tmp_path, number)
    settle(tmp_path)
    return tmp_path


def reads(root, monkeypatch):
    """How many runs a listing reads anew; its answer is the truth."""
    read = []
    with monkeypatch.context() as patch:
        patch.setattr(index, "summarise", lambda path: read.append(path) or summarise(path))
        found = read_summaries(root)
    assert found == truth(root)
    return len(read)


def test_runs_are_read_once(many, monkeypatch):
    assert reads(many, monkeypatch) == 6
    assert reads(many, monkeypatch) == 0


@pytest.mark.parametrize(
    "name", ["run.json", "hyperparams.json", "results/results.json", "metrics/0001.jsonl"]
)
def test_a_run_that_changes_is_read_again(many, monkeypatch, name):
    reads(many, monkeypatch)
    path = find_runs(many)[2] / name
    content = path.read_text()
    path.write_text(content + "\n")
    assert reads(many, monkeypatch) == 1
    assert reads(many, monkeypatch) == 1  # it may change again within its time stamp
    settle(path.parent.parent)
    reads(many, monkeypatch)
    assert reads(many, monkeypatch) == 0
    path.unlink()
    assert reads(many, monkeypatch) == (0 if name == "run.json" else 1)


def test_a_new_content_of_the_same_size_and_time_is_seen(many, monkeypatch):
    reads(many, monkeypatch)
    path = find_runs(many)[0] / "run.json"
    before, text = path.stat(), path.read_text()
    new = path.with_name("new")
    new.write_text(text.replace('"completed"', '"cOmpleted"'))
    os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
    new.replace(path)
    assert reads(many, monkeypatch) == 1


def test_runs_that_come_and_go(many, monkeypatch):
    reads(many, monkeypatch)
    shutil.rmtree(find_runs(many)[0])
    bare(many, 77)
    assert reads(many, monkeypatch) == 1
    settle(many / "p" / "e_00077")
    reads(many, monkeypatch)
    assert reads(many, monkeypatch) == 0


def test_a_copied_root_is_read_anew(many, monkeypatch, tmp_path_factory):
    reads(many, monkeypatch)
    copy = tmp_path_factory.mktemp("copy") / "root"
    shutil.copytree(many, copy)
    assert all(str(run.path).startswith(str(copy)) for run in read_summaries(copy))
    assert read_summaries(copy) == truth(copy)


@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_cache_is_thrown_away(many, monkeypatch, seed):
    reads(many, monkeypatch)
    cache, source = cache_of(many), random.Random(seed)
    data = bytearray(cache.read_bytes())
    for _ in range(source.choice([1, 5, 200])):
        data[source.randrange(len(data))] ^= 1 << source.randrange(8)
    cache.write_bytes(data)
    reads(many, monkeypatch)
    reads(many, monkeypatch)
    assert reads(many, monkeypatch) in (0, 1, 2, 6)


def test_a_row_that_is_not_what_was_written_is_not_believed(many, monkeypatch):
    reads(many, monkeypatch)
    with contextlib.closing(sqlite3.connect(cache_of(many))) as database, database:
        database.execute("UPDATE runs SET content = CAST(replace(content, 'e_', 'f_') AS BLOB)")
        database.execute("UPDATE runs SET content = 7 WHERE rowid = 2")
        database.execute("UPDATE runs SET sum = 'text' WHERE rowid = 3")
    assert reads(many, monkeypatch) == 6
    assert reads(many, monkeypatch) == 0


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_cache_that_is_none_is_made_anew(many, monkeypatch, content):
    reads(many, monkeypatch)
    cache_of(many).write_bytes(content)
    assert reads(many, monkeypatch) == 6
    reads(many, monkeypatch)
    assert reads(many, monkeypatch) == 0


def test_a_cache_of_somebody_else_is_left_alone(many, monkeypatch, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (many / ".tt-cache").symlink_to(elsewhere)
    assert reads(many, monkeypatch) == 6
    assert list(elsewhere.iterdir()) == []
    (many / ".tt-cache").unlink()
    (many / ".tt-cache").write_text("a file")
    assert reads(many, monkeypatch) == 6


def test_a_root_that_cannot_be_written_to_works_without(many, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert reads(many, monkeypatch) == 6
    assert reads(many, monkeypatch) == 6


def test_a_cache_that_is_held_is_not_waited_for_long(many, monkeypatch):
    monkeypatch.setattr(index, "_PATIENCE", 0.01)
    reads(many, monkeypatch)
    holder = sqlite3.connect(cache_of(many), isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    assert reads(many, monkeypatch) == 6
    holder.execute("ROLLBACK")
    holder.close()
    assert reads(many, monkeypatch) == 0


def test_a_run_that_changes_while_it_is_read_is_read_again(many, monkeypatch):
    def slow(path):
        run = summarise(path)
        if path.name == "e_00003":
            (path / "hyperparams.json").write_text('{"new": 1}')
            settle(path)
        return run

    with monkeypatch.context() as patch:
        patch.setattr(index, "summarise", slow)
        read_summaries(many)
    assert reads(many, monkeypatch) == 1


def test_one_run_that_cannot_be_read_does_not_hide_the_others(many, monkeypatch, caplog):
    def broken(path):
        if path.name == "e_00003":
            raise ZeroDivisionError
        return summarise(path)

    monkeypatch.setattr(index, "summarise", broken)
    assert len(read_summaries(many)) == 5
    assert "could not be read" in caplog.text


LISTER = """
import sys
from tt_experiment._runs import index
index._FEW = 3
for _ in range(5):
    assert len(index.read_summaries(sys.argv[1])) == 6
assert "torch" not in sys.modules
"""


@pytest.mark.slow
def test_several_processes_share_it(many, monkeypatch):
    command = [sys.executable, "-c", LISTER, str(many)]
    started = [subprocess.Popen(command) for _ in range(4)]
    assert [process.wait(60) for process in started] == [0] * 4
    assert reads(many, monkeypatch) == 0


def test_readers_meet_a_writer(many):
    """A run that is written to all the time is listed as one of the states that it had."""
    path = find_runs(many)[1]
    stop = threading.Event()
    seen = set()

    def write():
        number = 0
        while not stop.is_set():
            number += 1
            new = path / ".new"
            new.write_text(json.dumps({"format": "tt-run/1", "id": "x", "status": f"s{number}"}))
            new.replace(path / "run.json")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(30):
            (run,) = (run for run in read_summaries(many) if run.path == path)
            seen.add(run.status)
    finally:
        stop.set()
        writer.join()
    assert all(status == "completed" or status[0] == "s" for status in seen)


@pytest.mark.slow
def test_ten_thousand_runs(tmp_path, monkeypatch):
    template = bare(tmp_path / "template") / "run.json"
    settle(tmp_path)
    for number in range(10_000):
        path = tmp_path / "root" / f"p{number % 3}" / f"e_{number}"
        path.mkdir(parents=True)
        os.link(template, path / "run.json")
    first = read_summaries(tmp_path / "root")
    assert len(first) == 10_000
    monkeypatch.setattr(index, "summarise", None)
    assert read_summaries(tmp_path / "root") == first
