import json
import logging
import math
import os

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tt_experiment import _durable
from tt_experiment.folder import ExperimentFolder
from tt_experiment.recorder import (
    EVENTS,
    JsonLinesRecorder,
    history,
    metrics_problems,
    read_events,
    read_metrics,
)
from tt_loop.api import Recorder, RunInfo


@pytest.fixture
def run(tmp_path):
    folder = ExperimentFolder.create(tmp_path, "p", "e")
    folder.write_start({})
    return folder


def attempt(run, step, values, status="completed"):
    recorder = JsonLinesRecorder(run)
    recorder.open(RunInfo(step, 0, 1, "single"))
    for at, value in values:
        recorder.scalars(at, {"loss": value}, epoch=0)
    if status:
        recorder.close(status)
    return recorder


def curve(run):
    return history(read_metrics(run.path))["loss"]


def test_it_is_a_recorder(run):
    assert isinstance(JsonLinesRecorder(run), Recorder)


def test_what_is_recorded_comes_back(run):
    recorder = JsonLinesRecorder(run)
    recorder.open(RunInfo(0, 0, 2, "ddp"))
    recorder.scalars(10, {"loss": 0.1, "acc": torch.tensor(0.5)}, epoch=0)
    recorder.event("best", {"score": math.nan, "path": run.path})
    recorder.close("completed")
    (record,) = read_metrics(run.metrics)
    assert record["values"] == {"loss": 0.1, "acc": 0.5}
    assert (record["step"], record["epoch"], record["attempt"]) == (10, 0, 1)
    events = read_events(run.events_file)
    assert [event["kind"] for event in events] == ["start", "best", "end"]
    assert events[0]["data"] == {"step": 0, "epoch": 0, "world_size": 2, "strategy": "ddp"}
    assert events[1]["data"] == {"score": "nan", "path": str(run.path)}
    assert run.run()["status"] == "completed"
    assert run.run()["attempts"][0]["from_step"] == 0
    assert recorder.lost == 0


def test_what_is_not_finite_is_valid_json(run):
    attempt(run, 0, [(1, math.nan), (2, -math.inf), (3, 1.0)])
    lines = (run.metrics / "0001.jsonl").read_text().splitlines()
    parsed = [json.loads(line, parse_constant=pytest.fail) for line in lines]
    assert parsed[1]["values"] == {"loss": None}
    assert parsed[1]["nonfinite"] == {"loss": "nan"}
    assert "nonfinite" not in parsed[3]
    values = [value for _, value in curve(run)]
    assert math.isnan(values[0])
    assert values[1:] == [-math.inf, 1.0]


@given(
    st.dictionaries(st.text(), st.floats() | st.integers(-(2**60), 2**60), max_size=5),
    st.integers(0, 2**40),
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_names_and_numbers_are_what_json_writes(run, values, step):
    recorder = attempt(run, 0, [], status=None)
    recorder.scalars(step, values, epoch=3)
    recorder.close("completed")
    segment = max(run.metrics.glob("*.jsonl"))
    (_, text) = segment.read_bytes().splitlines()
    line = json.loads(text, parse_constant=pytest.fail)
    plain = {name: float(value) for name, value in values.items()}
    kept = {name: value if math.isfinite(value) else None for name, value in plain.items()}
    assert line.keys() - {"nonfinite"} == {"step", "epoch", "time", "values"}
    assert (line["step"], line["epoch"], line["values"]) == (step, 3, kept)
    spelled = {name: str(value) for name, value in plain.items() if not math.isfinite(value)}
    assert line.get("nonfinite", {}) == spelled
    found = read_metrics(segment.parent)[-1]["values"] if step else plain
    assert {name: repr(value) for name, value in found.items()} == {
        name: repr(value) for name, value in plain.items()
    }


def test_what_is_torn_is_counted(run):
    attempt(run, 0, [(10, 1.0), (20, 2.0)])
    assert metrics_problems(run.path) == []
    path = run.metrics / "0001.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-4])
    (torn,) = metrics_problems(run.path)
    assert (torn.path, torn.line, torn.text) == (path, 3, "no JSON object")
    path.write_bytes(whole[:-4] + b"\x00" * 9)
    assert len(metrics_problems(run.path)) == 1
    assert curve(run) == [(10, 1.0)]
    path.write_bytes(whole + b'[1]\n{"step": "x", "values": {}}\n{"step": 1}\n\n')
    assert [problem.line for problem in metrics_problems(run.path)] == [4, 5, 6, 7]
    assert curve(run) == [(10, 1.0), (20, 2.0)]
    with run.events_file.open("ab") as file:
        file.write(b'{"kind": "note"}\n')
    assert metrics_problems(run.path)[-1].path == run.events_file


DAMAGE = [b"\x00" * 40, b'{"a":1},{"b":2}', b'"', b"{", b"[[[[" * 30_000]


@pytest.mark.parametrize("damage", DAMAGE, ids=range(len(DAMAGE)))
def test_a_damaged_line_costs_itself_only(run, damage):
    attempt(run, 0, [(step, step / 7) for step in range(1, 3000)])
    path = run.metrics / "0001.jsonl"
    lines = path.read_bytes().split(b"\n")
    lines[1500] = damage
    path.write_bytes(b"\n".join(lines))
    assert curve(run) == [(step, step / 7) for step in range(1, 3000) if step != 1500]
    assert [problem.line for problem in metrics_problems(run.path)] == [1501]


def test_every_cut_of_the_file_can_be_read(run):
    attempt(run, 0, [(10, 1.0), (20, 2.0)])
    path = run.metrics / "0001.jsonl"
    whole = path.read_bytes()
    steps = []
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        steps.append([record["step"] for record in read_metrics(run.path)])
    assert steps[0] == []
    assert steps[-1] == [10, 20]
    assert sorted(steps, key=len) == steps


def test_events_of_every_kind_come_back(run):
    recorder = attempt(run, 0, [], status=None)
    for kind in EVENTS:
        recorder.event(kind, {"text": "<b>\n"})
    recorder.close("completed")
    assert [event["kind"] for event in read_events(run.events_file)] == ["start", *EVENTS, "end"]


def test_what_is_recorded_is_flushed_when_asked_for(run, monkeypatch):
    recorder = attempt(run, 0, [(1, 1.0)], status=None)
    flushed = []

    class Watched(FullDisk):
        def fsync(self, fd):
            flushed.append(os.path.realpath(f"/proc/self/fd/{fd}"))
            os.fsync(fd)

    with monkeypatch.context() as patch:
        patch.setattr(_durable, "os", Watched(-1))
        recorder.sync()
    assert flushed == [str(run.metrics / "0001.jsonl"), str(run.events_file)]
    recorder.close("completed")


def test_a_later_attempt_rewinds_the_history(run):
    attempt(run, 0, [(10, 1.0), (20, 2.0), (30, 3.0)], status=None)
    attempt(run, 20, [(30, 33.0), (40, 4.0)], "interrupted")
    attempt(run, 30, [(40, 44.0)])
    assert curve(run) == [(10, 1.0), (20, 2.0), (30, 33.0), (40, 44.0)]
    assert [record["attempt"] for record in read_metrics(run.path)] == [1, 1, 2, 3]
    assert [event["kind"] for event in read_events(run.events_file)][:2] == ["start", "resume"]
    head = json.loads((run.metrics / "0002.jsonl").read_text().splitlines()[0])
    assert (head["format"], head["attempt"], head["resumed_from_step"]) == ("tt-metrics/1", 2, 20)


def test_opening_again_begins_an_attempt(run):
    recorder = attempt(run, 0, [(10, 1.0)], status=None)
    recorder.open(RunInfo(10, 1, 1, "single"))
    recorder.scalars(20, {"loss": 2.0}, epoch=1)
    recorder.close("completed")
    assert curve(run) == [(10, 1.0), (20, 2.0)]
    assert len(run.run()["attempts"]) == 2


def test_a_torn_line_is_ignored(run):
    attempt(run, 0, [(10, 1.0), (20, 2.0)])
    path = run.metrics / "0001.jsonl"
    path.write_bytes(path.read_bytes()[:-4])
    assert curve(run) == [(10, 1.0)]
    path.write_bytes(path.read_bytes()[:-60] + b"\x00" * 9)
    assert len(read_metrics(run.path)) <= 1
    with run.events_file.open("ab") as file:
        file.write(b'{"kind": "to')
    attempt(run, 20, [(30, 3.0)])
    assert [event["kind"] for event in read_events(run.events_file)][-2:] == ["resume", "end"]


def test_a_segment_whose_first_line_is_lost_still_counts(run):
    attempt(run, 0, [(10, 1.0), (20, 2.0)])
    attempt(run, 10, [(15, 9.0)])
    path = run.metrics / "0002.jsonl"
    path.write_bytes(b"\x00\x00" + path.read_bytes()[2:])
    assert curve(run) == [(10, 1.0), (15, 9.0)]
    path.write_bytes(b'{"form')
    assert curve(run) == [(10, 1.0), (20, 2.0)]


def test_a_run_without_metrics(run):
    assert read_metrics(run.path) == []
    assert read_events(run.events_file) == []


def test_an_attempt_number_is_never_used_twice(run):
    run.metrics.mkdir()
    (run.metrics / "0007.jsonl").write_text("")
    (run.metrics / "notes.jsonl").write_text("")
    attempt(run, 5, [(10, 1.0)])
    assert (run.metrics / "0008.jsonl").exists()


class FullDisk:
    """The module `os` with a disk that takes so many bytes more, then nothing."""

    def __init__(self, room):
        self.room = room

    def __getattr__(self, name):
        return getattr(os, name)

    def write(self, fd, data):
        if self.room == 0:
            raise OSError(28, "No space left on device")
        written = os.write(fd, data[: self.room])
        self.room -= written
        return written


@pytest.mark.parametrize("room", [0, 1, 5, 66, 100, 120])
def test_a_full_disk_costs_one_warning(run, monkeypatch, caplog, room):
    recorder = attempt(run, 0, [(1, 1.0)], status=None)
    monkeypatch.setattr(_durable, "os", FullDisk(room))
    with caplog.at_level(logging.WARNING):
        recorder.scalars(2, {"loss": 2.0}, epoch=0)
        recorder.scalars(3, {"loss": 3.0}, epoch=0)
        assert len(curve(run)) in (1, 2)
        monkeypatch.undo()
        recorder.scalars(4, {"loss": 4.0}, epoch=0)
        recorder.close("completed")
    assert curve(run) == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]
    assert metrics_problems(run.path) == []
    assert recorder.lost == 0
    assert len(caplog.records) == 1
    assert "training goes on" in caplog.text
    assert read_events(run.events_file)[-1]["data"]["lost_records"] == 0


def test_what_waits_for_a_full_disk_is_bounded_and_the_lost_are_told(run, monkeypatch, caplog):
    monkeypatch.setattr(_durable, "_MOST_WAITING", 1000)
    recorder = attempt(run, 0, [(1, 1.0)], status=None)
    with monkeypatch.context() as patch:
        patch.setattr(_durable, "os", FullDisk(7))
        for step in range(2, 102):
            recorder.scalars(step, {"loss": float(step)}, epoch=0)
    recorder.scalars(102, {"loss": 102.0}, epoch=0)
    recorder.close("completed")
    steps = [step for step, _ in curve(run)]
    assert steps == [*range(1, len(steps)), 102]  # the oldest are kept, in order
    assert len(steps) > 10
    assert recorder.lost == 102 - len(steps)
    assert read_events(run.events_file)[-1]["data"]["lost_records"] == recorder.lost
    assert f"{recorder.lost} records" in caplog.text
    assert metrics_problems(run.path) == []


def test_a_disk_that_stays_full_is_told_at_the_end(run, monkeypatch, caplog):
    recorder = attempt(run, 0, [(1, 1.0)], status=None)
    monkeypatch.setattr(_durable, "os", FullDisk(9))
    recorder.scalars(2, {"loss": 2.0}, epoch=0)
    recorder.scalars(3, {"loss": 3.0}, epoch=0)
    recorder.close("completed")
    monkeypatch.undo()
    assert "2 records" in caplog.text
    assert recorder.lost == 3  # and the event of the end
    assert curve(run) == [(1, 1.0)]
    (problem,) = metrics_problems(run.path)
    assert (problem.path.name, problem.line) == ("0001.jsonl", 3)


def test_it_never_raises(tmp_path, caplog):
    folder = ExperimentFolder.create(tmp_path, "p", "e")  # nothing was written at the start
    recorder = JsonLinesRecorder(folder)
    recorder.scalars(1, {"loss": 1.0}, epoch=0)
    recorder.open(RunInfo(0, 0, 1, "single"))
    recorder.scalars(1, {"loss": "much"}, epoch=0)
    recorder.event("x", {"a": object()})
    recorder.close("failed")
    recorder.close("failed")
    assert recorder.lost > 0
    assert "failed" in caplog.text


def test_a_file_that_cannot_be_flushed_is_closed_all_the_same(run, monkeypatch, caplog):
    recorder = attempt(run, 0, [(1, 1.0)], status=None)

    class NoSync(FullDisk):
        def fsync(self, fd):
            raise OSError(5, "Input/output error")

    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - descriptors are no paths
    monkeypatch.setattr(_durable, "os", NoSync(10_000))
    recorder.close("completed")
    monkeypatch.undo()
    assert len(os.listdir("/proc/self/fd")) == before - 2  # noqa: PTH208 - as above
    assert "training goes on" in caplog.text
    assert curve(run) == [(1, 1.0)]
