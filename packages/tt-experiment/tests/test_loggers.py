"""What a fit's recorder hands on, what it keeps of the machine, and what it keeps of steps."""

import json
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tt_experiment._records import logger_thread
from tt_experiment.callbacks.step_metrics import StepMetrics
from tt_experiment.checkpoints import BestPolicy, Retention
from tt_experiment.errors import ExperimentSetupError
from tt_experiment.experiment import Experiment
from tt_experiment.loggers import SystemMetrics, _machine, read_system
from tt_experiment.ports import Logger, RunFacts
from tt_experiment.recorder import history, metrics_problems, read_events, read_metrics
from tt_experiment.testing import LoggerContract
from tt_loop.api import Recorder, RunInfo, TrainLoop


class Memory:
    """A logger that keeps its calls; told to, it fails."""

    def __init__(self, failing=(), log=None):
        self.failing, self.calls = failing, [] if log is None else log

    def _do(self, what, *args):
        self.calls.append((what, *args))
        if what in self.failing:
            raise ConnectionError(f"no network for {what}")

    def start(self, run, /):
        self._do("start", run)

    def scalars(self, step, values, /, *, epoch):
        self._do("scalars", step, dict(values), epoch)

    def event(self, kind, data, /):
        self._do("event", kind, data)

    def finish(self, status, /):
        self._do("finish", status)

    def names(self):
        return [call[0] for call in self.calls]


class FileLogger:
    """The smallest logger there can be."""

    def __init__(self, path):
        self.path, self.step = path / "log.jsonl", -1

    def start(self, run, /):
        self.step = run.step
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        kept = [line for line in lines if json.loads(line)[0] <= run.step]
        self.path.write_text("".join(f"{line}\n" for line in kept))

    def scalars(self, step, values, /, *, epoch):
        with self.path.open("a") as file:
            file.write(json.dumps([step, dict(values)]) + "\n")

    def event(self, kind, data, /): ...
    def finish(self, status, /): ...


class TestFileLogger(LoggerContract):
    def make_logger(self, path):
        return FileLogger(path)

    def read(self, path):
        found = {}
        for line in (path / "log.jsonl").read_text().splitlines():
            step, values = json.loads(line)
            for name, value in values.items():
                found.setdefault(name, []).append((step, value))
        return found


def started(root, *loggers, **options):
    experiment = Experiment("p", "e", root, loggers=loggers, **options)
    experiment.start()
    return experiment


def record(experiment, step=0, values=(), status="completed"):
    recorder = experiment.recorder
    recorder.open(RunInfo(step, 0, 1, "single"))
    for at, value in values:
        recorder.scalars(at, {"loss": value}, epoch=0)
    if status is not None:
        recorder.close(status)


def curve(experiment):
    return history(read_metrics(experiment.folder.path))["loss"]


def test_the_recorder_fits_and_so_does_the_logger(tmp_path):
    assert isinstance(started(tmp_path).recorder, Recorder)
    assert isinstance(Memory(), Logger)


def test_a_logger_gets_everything_in_order_in_one_thread(tmp_path):
    threads, memory = set(), Memory()
    memory._do = lambda *call: (threads.add(threading.get_ident()), memory.calls.append(call))
    experiment = started(tmp_path, memory, hyperparams={"lr": 0.1, "api_key": "sk-12345678901234"})
    recorder = experiment.recorder
    recorder.open(RunInfo(0, 0, 1, "single"))
    values = {"loss": torch.tensor(0.5)}
    recorder.scalars(1, values, epoch=0)
    values["loss"].fill_(9.0)  # what happens to them later is not logged
    recorder.event("note", {"text": "hello", "at": tmp_path})
    recorder.close("interrupted")
    (_, facts), scalars, event, end = memory.calls
    assert facts == RunFacts(
        experiment.folder.run()["id"],
        "p",
        "e",
        experiment.folder.path,
        {"lr": 0.1, "api_key": "<redacted>"},
        attempt=1,
        step=0,
    )
    assert scalars == ("scalars", 1, {"loss": 0.5}, 0)
    assert event == ("event", "note", {"text": "hello", "at": str(tmp_path)})
    assert end == ("finish", "interrupted")
    assert len(threads) == 1
    assert threads != {threading.get_ident()}


def test_a_second_attempt_is_told_where_it_goes_on(tmp_path):
    memory = Memory()
    experiment = started(tmp_path, memory)
    record(experiment, 0, [(10, 1.0), (20, 2.0)])
    record(experiment, 10, [(20, 3.0)])
    first, second = (call[1] for call in memory.calls if call[0] == "start")
    assert (first.attempt, first.step, second.attempt, second.step) == (1, 0, 2, 10)
    assert curve(experiment) == [(10, 1.0), (20, 3.0)]


@pytest.mark.parametrize("failing", ["start", "scalars", "event", "finish"])
def test_a_logger_that_fails_is_told_once_and_stops_nobody(tmp_path, caplog, failing):
    broken, good = Memory([failing]), Memory()
    experiment = started(tmp_path, broken, good)
    with caplog.at_level(logging.WARNING):
        recorder = experiment.recorder
        recorder.open(RunInfo(0, 0, 1, "single"))
        for step in range(3):
            recorder.scalars(step, {"loss": 1.0}, epoch=0)
            recorder.event("note", {})
        recorder.close("completed")
    assert good.names() == ["start", *["scalars", "event"] * 3, "finish"]
    assert broken.names()[-1] == "finish"  # it may have opened something
    assert len(caplog.records) == 1
    assert "training goes on" in caplog.text
    assert len(curve(experiment)) == 3
    assert experiment.folder.run()["status"] == "completed"


def test_a_logger_that_keeps_failing_is_left_out(tmp_path, caplog):
    broken = Memory(["scalars"])
    experiment = started(tmp_path, broken)
    with caplog.at_level(logging.WARNING):
        record(experiment, 0, [(step, 1.0) for step in range(20)])
    assert broken.names() == ["start", *["scalars"] * 5, "finish"]
    assert "left out" in caplog.text


def test_a_slow_logger_holds_up_nobody_and_takes_no_memory(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logger_thread, "_ROOM", 10)
    held, busy, slow = threading.Event(), threading.Event(), Memory()

    def wait(*args, **kwargs):
        busy.set()
        held.wait(60)

    slow.scalars = wait
    experiment = started(tmp_path, slow)
    record(experiment, 0, [(1, 1.0)], status=None)
    assert busy.wait(60)
    for step in range(2, 100):  # returns although the logger does not
        experiment.recorder.scalars(step, {"loss": 1.0}, epoch=0)
    held.set()
    with caplog.at_level(logging.WARNING):
        experiment.recorder.close("completed")
    assert "too slow and lost 88 of its records" in caplog.text
    assert len(curve(experiment)) == 99


def test_a_logger_that_hangs_is_given_up(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logger_thread, "_PATIENCE", 0.05)
    held, hanging, starting = threading.Event(), Memory(), Memory()
    hanging.finish = starting.start = lambda *args: held.wait(60)
    experiment = started(tmp_path, hanging, starting)
    with caplog.at_level(logging.WARNING):
        record(experiment, 0, [(1, 1.0)])
    held.set()
    assert "did not finish within" in caplog.text
    assert "did not start within" in caplog.text
    assert experiment.folder.run()["status"] == "completed"


def test_a_check_that_fails_ends_it_before_anything_is_written(tmp_path):
    class Unusable(Memory):
        def check(self):
            raise ExperimentSetupError("no login")

    with pytest.raises(ExperimentSetupError, match="no login"):
        started(tmp_path / "runs", Unusable())
    assert not (tmp_path / "runs").exists()


def test_values_that_are_none_cost_a_warning(tmp_path, caplog):
    memory = Memory()
    experiment = started(tmp_path, memory)
    experiment.recorder.open(RunInfo(0, 0, 1, "single"))
    experiment.recorder.scalars(1, {"loss": "much"}, epoch=0)
    experiment.recorder.scalars(2, {"loss": 1.0}, epoch=0)
    experiment.recorder.close("completed")
    assert curve(experiment) == [(2, 1.0)]
    assert "training goes on" in caplog.text


@pytest.mark.slow
def test_a_forked_process_leaves_the_run_alone(tmp_path):
    code = """
import os
pid = os.fork()
if pid == 0:
    experiment.recorder.scalars(2, {"loss": 2.0}, epoch=0)
    experiment.recorder.event("note", {})
    experiment.recorder.close("failed")
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
experiment.recorder.scalars(3, {"loss": 3.0}, epoch=0)
experiment.recorder.close("completed")
"""
    setup = f"""
from tt_experiment.experiment import Experiment
from tt_loop.api import RunInfo
experiment = Experiment("p", "forked", {str(tmp_path)!r})
experiment.start()
experiment.recorder.open(RunInfo(0, 0, 1, "single"))
experiment.recorder.scalars(1, {{"loss": 1.0}}, epoch=0)
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", setup + code], env=environment, timeout=60, check=True)
    (run,) = (tmp_path / "p").glob("forked_*")
    assert history(read_metrics(run))["loss"] == [(1, 1.0), (3, 3.0)]
    assert [e["kind"] for e in read_events(run / "events.jsonl")] == ["start", "end"]
    assert json.loads((run / "run.json").read_text())["status"] == "completed"
    assert metrics_problems(run) == []


KILLED = """
import os, signal, sys
from tt_experiment.experiment import Experiment
from tt_loop.api import RunInfo

class Slow:
    def start(self, run, /): ...
    def scalars(self, step, values, /, *, epoch):
        import time
        time.sleep(3600)
    def event(self, kind, data, /): ...
    def finish(self, status, /): ...

experiment = Experiment("p", "e", sys.argv[1], loggers=[Slow()])
experiment.start()
experiment.recorder.open(RunInfo(0, 0, 1, "single"))
for step in range(1, 1001):
    experiment.recorder.scalars(step, {"loss": step / 7, "acc": 0.5, "lr": 1e-3}, epoch=0)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_kill_loses_nothing_however_slow_a_logger_is(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path], env=environment, timeout=60)
    assert done.returncode == -signal.SIGKILL
    (run,) = (tmp_path / "p").iterdir()
    curves = history(read_metrics(run))
    assert curves["loss"] == [(step, step / 7) for step in range(1, 1001)]
    assert curves["lr"] == [(step, 1e-3) for step in range(1, 1001)]


# Events of the best


def best_events(experiment):
    events = read_events(experiment.folder.events_file)
    return [event["data"] for event in events if event["kind"] == "best"]


def test_the_best_by_the_retention_is_an_event(tmp_path):
    rule = Retention(best=[BestPolicy("loss", "min"), BestPolicy("acc", "max")])
    experiment = started(tmp_path, retention=rule)
    record(experiment, 0, status=None)
    tree = {"model": {"w": torch.ones(1)}}
    for step, loss, acc in ((1, 0.5, 0.1), (2, 0.25, 0.1), (3, float("nan"), 0.3), (4, 0.3, 0.2)):
        experiment.save(tree, step=step, scores={"loss": loss, "acc": acc}).wait_committed(60)
    assert [(data["step"], data["metric"]) for data in best_events(experiment)] == [
        (1, "loss"),
        (1, "acc"),
        (2, "loss"),
        (3, "acc"),
    ]
    experiment.recorder.close("failed")

    record(experiment, 2, status=None)  # what was found after step 2 is forgotten
    for step, loss, acc in ((3, 0.3, 0.2), (4, 0.1, 0.15)):
        experiment.save(tree, step=step, scores={"loss": loss, "acc": acc}).wait_committed(60)
    assert [(data["step"], data["metric"]) for data in best_events(experiment)[4:]] == [
        (3, "acc"),
        (4, "loss"),
    ]
    experiment.recorder.close("completed")


# System metrics


def sampled(experiment):
    record(experiment, 0, [(1, 1.0)])
    return read_system(experiment.folder.path)


def test_the_machine_is_sampled_into_a_segment_per_attempt(tmp_path):
    pytest.importorskip("psutil")
    experiment = started(tmp_path)
    first, last = sampled(experiment)
    assert first["attempt"] == 1
    assert first["time"] <= last["time"]
    values = last["values"]
    assert 0 <= values["memory_percent"] <= 100
    assert values["process_rss_mib"] > 50  # torch is loaded
    assert values["disk_free_mib"] > 0
    head = json.loads((experiment.folder.path / "system/0001.jsonl").read_text().splitlines()[0])
    assert (head["format"], head["attempt"], head["every"]) == ("tt-system/1", 1, 15.0)
    assert head["cpus"] == os.cpu_count()
    assert [sample["attempt"] for sample in sampled(experiment)] == [1, 1, 2, 2]
    assert metrics_problems(experiment.folder.path) == []


def test_samples_come_by_the_clock(tmp_path):
    experiment = started(tmp_path)
    seen = threading.Event()
    sampled = _machine.Machine.sample
    counts = []

    def sample(self):
        counts.append(1)
        if len(counts) >= 5:
            seen.set()
        return sampled(self)

    experiment.recorder.system = SystemMetrics(every=0.01)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_machine.Machine, "sample", sample)
        record(experiment, status=None)
        assert seen.wait(60)
        experiment.recorder.close("completed")
    assert len(read_system(experiment.folder.path)) == len(counts)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_without_the_extra_it_tells_what_linux_does(tmp_path, monkeypatch):
    psutil = pytest.importorskip("psutil")
    monkeypatch.setattr(_machine, "_optional", lambda module: None)
    machine = _machine.Machine(tmp_path)
    sum(i * i for i in range(200_000))
    values = machine.sample()
    assert values.keys() >= {"memory_percent", "process_rss_mib", "process_cpu_percent"}
    rss = psutil.Process().memory_info().rss / 2**20
    assert values["process_rss_mib"] == pytest.approx(rss, rel=0.2)
    assert values["memory_percent"] == pytest.approx(psutil.virtual_memory().percent, abs=20)
    assert values["process_cpu_percent"] > 0


class NoReadingError(Exception):
    """What the driver's library raises."""


def driver():
    """The driver's library with two devices; the second does not tell its power."""
    handles = []

    def power(handle):
        if handle == 1:
            raise NoReadingError
        return 300_000

    return SimpleNamespace(
        NVMLError=NoReadingError,
        handles=handles,
        nvmlInit=lambda: handles.append("open"),
        nvmlShutdown=handles.pop,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetUUID=lambda handle: f"GPU-{handle}abc",
        nvmlDeviceGetName=lambda handle: b"Tester",
        nvmlDeviceGetUtilizationRates=lambda handle: SimpleNamespace(gpu=50 + handle),
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(used=(1 + handle) * 2**30),
        nvmlDeviceGetPowerUsage=power,
        nvmlDeviceGetTemperature=lambda handle, sensor: 40,
    )


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, {"gpu0_percent": 50, "gpu1_percent": 51}),
        ("1", {"gpu0_percent": 51}),
        ("GPU-1a, 0", {"gpu0_percent": 51, "gpu1_percent": 50}),
        ("", {}),
    ],
)
def test_accelerators_are_those_that_the_process_may_use(tmp_path, monkeypatch, visible, expected):
    nvml = driver()
    monkeypatch.setattr(_machine, "_optional", {"pynvml": nvml}.get)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    machine = _machine.Machine(tmp_path)
    values = machine.sample()
    machine.close()
    use = {n: value for n, value in values.items() if n.startswith("gpu") and n[-7:] == "percent"}
    assert use == expected
    if visible is None:
        assert machine.facts()["gpus"] == ["Tester", "Tester"]
        assert values["gpu1_memory_mib"] == 2048
        assert values["gpu0_power_w"] == 300
        assert "gpu1_power_w" not in values
    assert nvml.handles == []


def test_a_machine_that_does_not_tell_costs_a_warning(tmp_path, monkeypatch, caplog):
    def fail(self):
        raise PermissionError("no")

    monkeypatch.setattr(_machine.Machine, "sample", fail)
    experiment = started(tmp_path)
    assert sampled(experiment) == []
    assert len([r for r in caplog.records if r.levelno >= logging.WARNING]) == 1
    assert experiment.folder.run()["status"] == "completed"


def test_sampling_can_be_left_out_and_is_not_made_to_spin(tmp_path):
    experiment = started(tmp_path)
    experiment.recorder.system = None
    assert sampled(experiment) == []
    for every in (0, -1.0, float("nan")):
        with pytest.raises(ExperimentSetupError, match="above 0"):
            SystemMetrics(every)


def test_an_experiment_goes_to_other_processes_before_it_records(tmp_path):
    experiment = Experiment("p", "e", tmp_path, loggers=[Memory()])
    assert isinstance(pickle.loads(pickle.dumps(experiment)), Experiment)


# Metrics of steps


def parts():
    torch.manual_seed(0)
    features = torch.randn(40, 4)
    loader = DataLoader(TensorDataset(features, (features.sum(1) > 0).long()), batch_size=8)
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return model, loader, loader, None, optimizer, nn.CrossEntropyLoss()


def test_steps_are_recorded_and_training_is_as_without(tmp_path):
    bare = TrainLoop(*parts(), progress=False)
    bare.fit(num_epochs=2)
    experiment = started(tmp_path)
    loop = TrainLoop(*parts(), recorder=experiment.recorder, progress=False)
    losses = []

    class Keep(StepMetrics):
        def on_batch_end(self):
            losses.append(float(self.train_loop_obj.last_loss))
            super().on_batch_end()

    loop.fit(num_epochs=2, callbacks=[Keep(every=2)])
    curves = history(read_metrics(experiment.folder.path))
    steps = [2, 4, 6, 8, 10]
    assert curves["step/loss"] == [(s, pytest.approx(losses[s - 1])) for s in steps]
    assert curves["step/lr"] == [(s, 0.1) for s in steps]
    rates = dict(curves["step/samples_per_second"])
    for step, rate in curves["step/batches_per_second"]:
        assert rates[step] == pytest.approx(8 * rate)
    assert loop.train_history.get_train_history() == bare.train_history.get_train_history()
    assert all(map(torch.equal, loop.model.parameters(), bare.model.parameters()))


def test_the_norm_is_recorded_where_it_is_known(tmp_path):
    experiment = started(tmp_path)
    model, loader, _, _, _, criterion = parts()
    optimizer = torch.optim.SGD(
        [{"params": [model.weight], "lr": 0.1}, {"params": [model.bias], "lr": 0.2}]
    )
    loop = TrainLoop(
        model,
        loader,
        None,
        None,
        optimizer,
        criterion,
        recorder=experiment.recorder,
        progress=False,
    )
    loop.max_grad_norm = 1e9
    norms = {}

    class Norm(StepMetrics):
        def on_after_gradient_update(self, optimizer_idx):
            grads = [p.grad for p in model.parameters()]
            norms[loop.total_iteration_idx + 1] = float(torch.nn.utils.get_total_norm(grads))

    loop.fit(num_epochs=1, callbacks=[Norm(every=1)])
    curves = history(read_metrics(experiment.folder.path))
    assert curves["step/grad_norm"] == [
        (step, pytest.approx(norm, rel=1e-5)) for step, norm in norms.items()
    ]
    assert curves["step/lr_0"][0] == (1, 0.1)
    assert curves["step/lr_1"][0] == (1, 0.2)


def test_steps_need_a_recorder():
    loop = TrainLoop(*parts(), progress=False)
    with pytest.raises(ExperimentSetupError, match="ModelCheckpoint"):
        loop.fit(num_epochs=1, callbacks=[StepMetrics()])
    with pytest.raises(ExperimentSetupError, match="from 1"):
        StepMetrics(0)


def test_a_loop_of_ones_own_need_not_open_anything(tmp_path, caplog):
    experiment = Experiment("p", "e", tmp_path)
    experiment.start()
    for step in (1, 2):
        experiment.recorder.scalars(step, {"loss": 1.0 / step}, epoch=step - 1)
    experiment.finish("completed")
    run = experiment.folder.run()
    assert run["status"] == "completed"
    (attempt,) = run["attempts"]
    assert (attempt["from_step"], attempt["status"]) == (0, "completed")
    assert [r["values"] for r in read_metrics(experiment.folder.path)] == [
        {"loss": 1.0},
        {"loss": 0.5},
    ]
    experiment.recorder.scalars(3, {"loss": 0.1}, epoch=2)
    assert "'e' has ended: step 3 is not recorded" in caplog.text
    again = Experiment.open(experiment.folder.path)
    again.recorder.scalars(2, {"loss": 0.25}, epoch=1)
    again.finish("failed")
    assert [r["values"]["loss"] for r in read_metrics(again.folder.path)] == [1.0, 0.25]
    assert [a["from_step"] for a in again.folder.run()["attempts"]] == [0, 1]


def test_what_is_no_logger_is_refused_before_anything_is_written(tmp_path):
    experiment = Experiment("p", "e", tmp_path, loggers=[SystemMetrics()])
    with pytest.raises(ExperimentSetupError, match=r"got SystemMetrics.*recorder\.system"):
        experiment.start()
    assert not list(tmp_path.iterdir())
