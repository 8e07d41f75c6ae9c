import json
import logging
import math
import os
import subprocess
import sys

import pytest
import torch

from tt_experiment import _durable
from tt_experiment.folder import ExperimentFolder
from tt_experiment.recorder import JsonLinesRecorder, history, read_events, read_metrics
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


KILLED = """
import os, signal, sys
from tt_experiment.folder import ExperimentFolder
from tt_experiment.recorder import JsonLinesRecorder
from tt_loop.api import RunInfo
recorder = JsonLinesRecorder(ExperimentFolder(sys.argv[1]))
recorder.open(RunInfo(0, 0, 1, "single"))
for step in range(1, 501):
    recorder.scalars(step, {"loss": step / 7}, epoch=0)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_kill_loses_no_record(run):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", KILLED, run.path], env=environment, timeout=60)
    assert curve(run) == [(step, step / 7) for step in range(1, 501)]
    assert run.run()["status"] == "running"


class FullDisk:
    """The module `os` with a disk that takes the first bytes of a line, or nothing."""

    def __init__(self, takes):
        self.takes = takes

    def __getattr__(self, name):
        return getattr(os, name)

    def write(self, fd, data):
        if self.takes is None:
            raise OSError(28, "No space left on device")
        return os.write(fd, data[: self.takes])


@pytest.mark.parametrize("takes", [None, 5])
def test_a_full_disk_costs_records_and_one_warning(run, monkeypatch, caplog, takes):
    recorder = attempt(run, 0, [(1, 1.0)], status=None)
    monkeypatch.setattr(_durable, "os", FullDisk(takes))
    with caplog.at_level(logging.WARNING):
        recorder.scalars(2, {"loss": 2.0}, epoch=0)
        recorder.scalars(3, {"loss": 3.0}, epoch=0)
        monkeypatch.undo()
        recorder.scalars(4, {"loss": 4.0}, epoch=0)
        recorder.close("completed")
    assert curve(run) == [(1, 1.0), (4, 4.0)]
    assert recorder.lost == 2
    assert len(caplog.records) == 1
    assert "training goes on" in caplog.text
    assert read_events(run.events_file)[-1]["data"]["lost_records"] == 2


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


def test_a_file_that_cannot_be_flushed_is_closed_all_the_same(run, monkeypatch):
    recorder = attempt(run, 0, [(1, 1.0)], status=None)

    class NoSync(FullDisk):
        def fsync(self, fd):
            raise OSError(5, "Input/output error")

    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - descriptors are no paths
    monkeypatch.setattr(_durable, "os", NoSync(10_000))
    recorder.close("completed")
    monkeypatch.undo()
    assert len(os.listdir("/proc/self/fd")) == before - 2  # noqa: PTH208 - as above
    assert recorder.lost > 0
