"""A run that is asked to end finishes its step, is safe on disk, and goes on to the same bits."""

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from tt_experiment.api import (
    CheckpointFolder,
    ExperimentSetupError,
    Preempted,
    TrainLoopCheckpoint,
    read_metrics,
)
from tt_experiment.preemption import SpotNotice
from tt_experiment.recorder import read_events
from tt_loop.api import Callback, TrainLoop

SAMPLES = 26  # 7 batches


@pytest.fixture(autouse=True)
def _without_surroundings(monkeypatch) -> None:
    """Looking at the machine's packages and at git takes longer than all else here."""
    monkeypatch.setattr("tt_experiment.folder.environment", dict)
    monkeypatch.setattr("tt_experiment.folder.git_state", lambda *_, **__: None)


class Data(Dataset):
    """Samples that call a function when one is read."""

    def __init__(self, on_read=None) -> None:
        self.x = torch.randn(SAMPLES, 4, generator=torch.Generator().manual_seed(3))
        self.on_read = on_read

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int):
        if self.on_read is not None:
            self.on_read()
        return self.x[index] + 0.1 * torch.rand(4), int(self.x[index].sum() > 0)


def loop_of(root: Path, on_read=None, workers: int = 0, **options) -> TrainLoop:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.2), nn.Linear(6, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    loader = DataLoader(Data(on_read), 4, shuffle=True, num_workers=workers)
    validation = DataLoader(Data(), 8)
    return TrainLoopCheckpoint(
        model, loader, validation, None, optimizer, nn.CrossEntropyLoss(),
        "project", "run", root, {}, **{"seed": 5, "progress": False, **options},
    )  # fmt: skip


class Signal(Callback):
    """Sends this process a signal at a place in the second epoch, once or twice."""

    may_change_weights = False

    def __init__(self, place: str, number: int = signal.SIGTERM) -> None:
        super().__init__("signal", execution_order=-1)
        self.place, self.number, self.left = place, number, 1

    def send(self) -> None:
        if self.left and self.train_loop_obj.total_iteration_idx >= 9:
            self.left -= 1
            signal.raise_signal(self.number)

    def on_after_gradient_update(self, optimizer_idx: int) -> None:
        if self.place == "step":
            self.send()

    def on_evaluate_begin(self, dataset_info) -> None:
        if self.place == "validation":
            self.send()

    def on_batch_end(self) -> None:
        if self.place == "between":
            self.send()

    def on_epoch_end(self) -> None:
        if self.place == "epoch":
            self.send()

    def on_train_end(self) -> None:
        if self.place == "end":
            self.send()


def curves(loop) -> list:
    records = read_metrics(loop.experiment.folder.path)
    return [(record["step"], record["epoch"], record["values"]) for record in records]


def assert_same(whole, resumed) -> None:
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    assert whole.train_history.state_dict() == resumed.train_history.state_dict()
    assert curves(whole) == curves(resumed)


def whole_of(tmp_path: Path, **fit) -> TrainLoop:
    whole = loop_of(tmp_path / "whole")
    whole.fit(num_epochs=3, **fit)
    return whole


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    ("place", "step"),
    [("step", 10), ("between", 10), ("validation", 14), ("epoch", 14), ("end", 21)],
)
def test_a_signal_ends_a_run_that_goes_on(tmp_path, place: str, step: int, number: int) -> None:
    handlers = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    loop = loop_of(tmp_path / "runs")
    with pytest.raises(Preempted) as caught:
        loop.fit(num_epochs=3, callbacks=[Signal(place, number)])
    assert caught.value.code == 75
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == handlers
    folder = loop.experiment.folder
    assert folder.run()["status"] == "interrupted"
    assert loop.experiment.latest().step == step
    events = read_events(folder.events_file)
    (told,) = [event["data"] for event in events if event["kind"] == "preempt"]
    assert told == {"signal": signal.Signals(number).name, "step": step}
    resumed = loop_of(tmp_path / "runs")
    resumed.fit(num_epochs=3, resume="auto")
    assert resumed.experiment.folder.path == folder.path
    assert_same(whole_of(tmp_path), resumed)


def test_a_signal_inside_a_window_is_heeded_after_it(tmp_path) -> None:
    loop = loop_of(tmp_path / "runs")
    with pytest.raises(Preempted):
        loop.fit(num_epochs=3, grad_accumulation=3, callbacks=[Signal("between")])
    assert loop.experiment.latest().step == 10  # batches 8 to 10 make a step
    resumed = loop_of(tmp_path / "runs")
    resumed.fit(num_epochs=3, grad_accumulation=3, resume="auto")
    assert_same(whole_of(tmp_path, grad_accumulation=3), resumed)


def test_a_signal_while_data_is_waited_for(tmp_path) -> None:
    reads = iter(range(1000))

    def on_read() -> None:
        if next(reads) == SAMPLES + 14:
            signal.raise_signal(signal.SIGTERM)

    loop = loop_of(tmp_path / "runs", on_read)
    with pytest.raises(Preempted):
        loop.fit(num_epochs=3)
    assert 7 < loop.experiment.latest().step < 14
    resumed = loop_of(tmp_path / "runs")
    resumed.fit(num_epochs=3, resume="auto")
    assert_same(whole_of(tmp_path), resumed)


def test_a_loader_that_dies_with_the_signal_costs_no_step(tmp_path) -> None:
    """A signal to the whole process group ends its workers as well."""
    reads = iter(range(1000))

    def on_read() -> None:
        if next(reads) == SAMPLES + 14:
            signal.raise_signal(signal.SIGINT)
            raise RuntimeError("DataLoader worker exited unexpectedly")

    loop = loop_of(tmp_path / "runs", on_read)
    with pytest.raises(Preempted):
        loop.fit(num_epochs=3)
    resumed = loop_of(tmp_path / "runs")
    resumed.fit(num_epochs=3, resume="auto")
    assert resumed.experiment.folder.run()["attempts"][1]["from_step"] > 7
    assert_same(whole_of(tmp_path), resumed)


def test_a_signal_during_a_save_waits_for_it(tmp_path, monkeypatch) -> None:
    save, sent = CheckpointFolder.save, []

    def interrupted(self, tree, /, **options):
        ticket = save(self, tree, **options)
        if options["step"] == 7:
            sent.append(options["step"])
            signal.raise_signal(signal.SIGTERM)
        return ticket

    monkeypatch.setattr(CheckpointFolder, "save", interrupted)
    loop = loop_of(tmp_path / "runs")
    with pytest.raises(Preempted):
        loop.fit(num_epochs=3)
    monkeypatch.undo()
    assert sent == [7]  # saved once, for nothing had happened since
    assert [entry.step for entry in loop.experiment.checkpoints.entries()] == [7]
    resumed = loop_of(tmp_path / "runs")
    resumed.fit(num_epochs=3, resume="auto")
    assert_same(whole_of(tmp_path), resumed)


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)]
)
def test_a_second_signal_stops_at_once(tmp_path, monkeypatch, number: int, raised) -> None:
    now = [0.0]
    monkeypatch.setattr("tt_loop.training.interrupts.time.monotonic", lambda: now[0])
    save = CheckpointFolder.save

    def never_over(self, tree, /, **options):
        ticket = save(self, tree, **options)
        if options["step"] == 10:  # of the first signal
            ticket.wait_committed()
            now[0] += 5
            signal.raise_signal(number)
        return ticket

    monkeypatch.setattr(CheckpointFolder, "save", never_over)
    loop = loop_of(tmp_path / "runs")
    with pytest.raises(raised) as caught:
        loop.fit(num_epochs=3, callbacks=[Signal("step", number)])
    assert not isinstance(caught.value, Preempted)
    if isinstance(caught.value, SystemExit):
        assert caught.value.code == 128 + number
    assert loop.experiment.latest().step == 10  # the last commit is intact
    assert loop.experiment.folder.run()["status"] == "interrupted"


def test_the_same_signal_twice_in_a_moment_is_one(tmp_path) -> None:
    """A terminal and a launcher may both pass it on."""
    twice = Signal("step")
    twice.left = 2
    with pytest.raises(Preempted):
        loop_of(tmp_path).fit(num_epochs=3, callbacks=[twice])


def test_before_the_first_batch_there_is_nothing_to_save(tmp_path) -> None:
    class Early(Callback):
        def on_train_begin(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    loop = loop_of(tmp_path / "runs")
    with pytest.raises(Preempted):
        loop.fit(num_epochs=3, callbacks=[Early("early")])
    assert loop.experiment.latest() is None
    resumed = loop_of(tmp_path / "runs")
    with pytest.raises(Preempted):  # in mid-epoch: what is there must not be lost
        resumed.fit(num_epochs=3, callbacks=[Signal("step")], resume="auto")
    again = loop_of(tmp_path / "runs")
    with pytest.raises(Preempted):
        again.fit(num_epochs=3, callbacks=[Early("early")], resume="auto")
    assert again.experiment.latest().step == 10
    last = loop_of(tmp_path / "runs")
    last.fit(num_epochs=3, resume="auto")
    assert_same(whole_of(tmp_path), last)


def test_in_a_session_ctrl_c_stays_what_it_is(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    loop = loop_of(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        loop.fit(num_epochs=3, callbacks=[Signal("step", signal.SIGINT)])
    assert loop.experiment.latest().step == 10


def test_without_a_checkpoint_signals_do_what_they_always_do() -> None:
    model = nn.Linear(4, 2)
    loop = TrainLoop(
        model, DataLoader(Data(), 4), None, None, torch.optim.SGD(model.parameters(), lr=0.1),
        nn.CrossEntropyLoss(), progress=False,
    )  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        loop.fit(num_epochs=3, callbacks=[Signal("step", signal.SIGINT)])
    assert loop.total_iteration_idx == 9


def test_a_save_that_fails_is_what_is_told(tmp_path, monkeypatch) -> None:
    def full(self, tree, /, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(CheckpointFolder, "save", full)
    with pytest.raises(OSError, match="No space left"):
        loop_of(tmp_path).fit(num_epochs=3, callbacks=[Signal("between")])


class Machine:
    """Announces its end after some questions, and fails at the first."""

    def __init__(self, after: int) -> None:
        self.after, self.asked = after, 0
        self.enough = threading.Event()

    def interruption(self) -> datetime | None:
        self.asked += 1
        if self.asked == 1:
            raise ConnectionError("no metadata")
        if self.asked < self.after:
            return None
        self.enough.set()
        return datetime(2026, 1, 1, tzinfo=UTC)

    def stop(self) -> None: ...
    def terminate(self) -> None: ...


class WaitFor(Callback):
    def __init__(self, event: threading.Event) -> None:
        super().__init__("wait")
        self.event = event

    def on_batch_end(self) -> None:
        if self.train_loop_obj.total_iteration_idx == 9:
            assert self.event.wait(30)


def test_a_spot_notice_ends_the_run_as_a_signal_does(tmp_path, caplog) -> None:
    machine = Machine(4)
    loop = loop_of(tmp_path / "runs")
    notice = SpotNotice(machine, every=0.001)
    with caplog.at_level(logging.WARNING), pytest.raises(Preempted):
        loop.fit(num_epochs=300, callbacks=[notice, WaitFor(machine.enough)])
    assert "no metadata" in caplog.text
    assert notice.announced == datetime(2026, 1, 1, tzinfo=UTC)
    assert machine.asked == 4
    resumed = loop_of(tmp_path / "runs")
    resumed.fit(num_epochs=3 + resumed.epochs_done, resume="auto")
    assert_same_start(resumed, whole_of(tmp_path))


def assert_same_start(longer, whole) -> None:
    for name, values in whole.train_history.items():
        assert longer.train_history[name][: len(values)] == values


def test_a_spot_notice_needs_a_machine_and_a_period() -> None:
    with pytest.raises(ExperimentSetupError, match="Instance"):
        SpotNotice(object())
    with pytest.raises(ExperimentSetupError, match="positive"):
        SpotNotice(Machine(1), every=0)


class Group(Signal):
    """Sends it to the whole process group, whose loader workers die of it."""

    def send(self) -> None:
        if self.left and self.train_loop_obj.total_iteration_idx >= 9:
            self.left -= 1
            os.killpg(0, self.number)
            for child in multiprocessing.active_children():
                child.join()


SCRIPT = """
import os, sys
sys.path.insert(0, os.path.dirname({here!r}))
from test_preemption import Group, loop_of
from pathlib import Path
loop = loop_of(Path(sys.argv[1]), workers=2)
loop.fit(num_epochs=3, callbacks=[Group(sys.argv[2])], resume="auto")
"""


@pytest.mark.slow
def test_a_program_ends_with_status_75_and_then_goes_on(tmp_path) -> None:
    def start(place: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-c", SCRIPT.format(here=__file__), tmp_path / "runs", place],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            start_new_session=True,
        )

    ended = start("step")
    assert ended.returncode == 75, ended.stderr
    assert "Traceback" not in ended.stderr
    (run,) = (tmp_path / "runs" / "project").iterdir()
    steps = [path.name for path in (run / "checkpoint_model").glob("step-*")]
    assert sorted(steps) == ["step-0000000007", "step-0000000010"]
    done = start("nowhere")
    assert done.returncode == 0, done.stderr
    loop = loop_of(tmp_path / "runs")
    loop.fit(num_epochs=3, resume=run)
    assert_same(whole_of(tmp_path), loop)
