"""Saves behind the training: what may change when, what fails where, and what a fork sees."""

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from tt_experiment._checkpoint import commit, files, staging
from tt_experiment.checkpoints import CheckpointFolder, Retention
from tt_experiment.errors import CheckpointError, StateTreeError

LARGE = 1 << 19  # numbers: 2 MB, which is copied behind the training


def large(value):
    return torch.full((LARGE,), float(value))


def tree(value):
    return {"model": {"w": large(value)}, "optimizers": [{"m": large(-value)}], "value": value}


class Gate:
    """A function that waits until it may go on, and tells that somebody has come."""

    def __init__(self, function):
        self._function = function
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self, *args, **kwargs):
        self.reached.set()
        assert self.opened.wait(60)
        return self._function(*args, **kwargs)


@pytest.fixture
def copying(monkeypatch):
    """Copies of large tensors, held up."""
    gate = Gate(staging.copy_on_cpu)
    monkeypatch.setattr(staging, "copy_on_cpu", gate)
    yield gate
    gate.opened.set()


@pytest.fixture
def writing(monkeypatch):
    """Files, held up; the state is copied then."""
    gate = Gate(files.write_file)
    monkeypatch.setattr(files, "write_file", gate)
    yield gate
    gate.opened.set()


def names(path):
    return sorted(p.name for p in Path(path).iterdir())


def test_save_returns_before_anything_large_is_copied(tmp_path, copying):
    store = CheckpointFolder(tmp_path)
    ticket = store.save(tree(1), step=1, scores={})
    assert copying.reached.wait(60)
    assert not ticket.committed
    with pytest.raises(TimeoutError, match="under way"):
        ticket.wait_committed(0)
    assert names(tmp_path) == []
    copying.opened.set()
    ticket.wait_staged()
    ref = ticket.wait_committed(60)
    assert ticket.committed
    loaded = store.load(ref)
    assert torch.equal(loaded["model"]["w"], large(1))
    assert torch.equal(loaded["optimizers"][0]["m"], large(-1))


def test_all_but_large_tensors_is_captured_before_save_returns(tmp_path, copying):
    small, array, items = torch.zeros(3), np.zeros(LARGE), [1, {"a": [2.0]}]
    state = {**tree(1), "small": small, "array": array, "items": items}
    store = CheckpointFolder(tmp_path)
    ticket = store.save(state, step=1, scores={})
    small.fill_(9)
    array.fill(9)
    items[1]["a"].append(9)
    state["value"] = 9
    copying.opened.set()
    loaded = store.load(ticket.wait_committed())
    assert loaded["small"].tolist() == [0, 0, 0]
    assert not loaded["array"].any()
    assert loaded["items"] == [1, {"a": [2.0]}]
    assert loaded["value"] == 1


@pytest.mark.parametrize("held_up", ["copying", "writing"])
def test_a_tensor_that_changes_before_it_may_fails_the_save(tmp_path, request, held_up):
    store = CheckpointFolder(tmp_path)
    before = store.save(tree(1), step=1, scores={}).wait_committed()
    gate = request.getfixturevalue(held_up)
    state = tree(2)
    ticket = store.save(state, step=2, scores={})
    assert gate.reached.wait(60)
    with torch.no_grad():
        state["optimizers"][0]["m"].add_(1)
    gate.opened.set()
    ticket.wait_staged()
    with pytest.raises(CheckpointError, match=r"tree\['optimizers'\] 0\.m: call wait_staged"):
        ticket.wait_committed()
    assert [n for n in names(tmp_path) if n != "LATEST"] == ["step-0000000001"]
    assert store.latest() == before
    assert store.save(state, step=3, scores={}).wait_committed().step == 3


def test_after_wait_staged_everything_may_change(tmp_path, writing):
    store = CheckpointFolder(tmp_path)
    model = torch.nn.Linear(1000, 1000)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 1000)).sum().backward()
    optimizer.step()
    expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = {"model": model.state_dict(), "optimizers": [optimizer.state_dict()]}
    ticket = store.save(state, step=1, scores={})
    model(torch.ones(1, 1000)).sum().backward()
    ticket.wait_staged()
    optimizer.step()
    writing.opened.set()
    loaded = store.load(ticket.wait_committed())
    assert all(torch.equal(loaded["model"][name], expected[name]) for name in expected)
    assert not torch.equal(model.weight, expected["weight"])


def test_a_short_state_may_change_at_once(tmp_path, copying):
    copying.opened.set()
    weight = torch.zeros(20_000)
    store = CheckpointFolder(tmp_path)
    ticket = store.save({"model": {"w": weight}}, step=1, scores={})
    weight.fill_(1)
    assert not store.load(ticket.wait_committed())["model"]["w"].any()


def test_tied_weights_are_copied_once_and_kept_under_each_name(tmp_path, monkeypatch):
    copied = []
    real = staging.copy_on_cpu
    monkeypatch.setattr(staging, "copy_on_cpu", lambda a, b: (copied.append(a.nbytes), real(a, b)))
    weight = torch.arange(float(LARGE)).reshape(512, -1)
    state = {"model": {"a": weight, "b": weight, "t": weight.t(), "half": weight[:256]}}
    store = CheckpointFolder(tmp_path)
    ref = store.save(state, step=1, scores={}).wait_committed()
    assert sum(copied) == int(2.5 * weight.nbytes)  # not 3.5
    loaded = store.load(ref)["model"]
    kept = safetensors.torch.load_file(Path(ref.location, "model.safetensors"))
    for name, tensor in state["model"].items():
        assert torch.equal(loaded[name], tensor)
        assert torch.equal(kept[name], tensor)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.randn(LARGE).to(torch.bfloat16),
        torch.randn(LARGE).to(torch.float8_e4m3fn),
        torch.randn(LARGE) > 0,
        torch.randn(LARGE, dtype=torch.complex64).conj(),
        torch.randn(LARGE, dtype=torch.complex128),
        torch.randn(LARGE, dtype=torch.complex64).conj().imag,
        torch.randn(8, 16, 64, 64).to(memory_format=torch.channels_last),
        torch.randn(1, LARGE).expand(3, LARGE),
        torch.randn(LARGE)[::2],
        torch.nn.Parameter(torch.randn(LARGE)),
    ],
    ids=[
        "bf16",
        "f8",
        "bool",
        "conj",
        "c128",
        "neg",
        "channels last",
        "expand",
        "strided",
        "param",
    ],
)
def test_every_kind_of_tensor(tmp_path, tensor):
    store = CheckpointFolder(tmp_path)
    state = {"model": {"other": large(1), "w": tensor}}
    loaded = store.load(store.save(state, step=1, scores={}).wait_committed())["model"]["w"]
    assert loaded.dtype == tensor.dtype
    assert torch.equal(
        loaded.float() if loaded.dtype.itemsize == 1 else loaded,
        tensor.float() if loaded.dtype.itemsize == 1 else tensor,
    )


def test_tensors_of_inference_mode(tmp_path):
    with torch.inference_mode():
        weight = large(3) * 2
    store = CheckpointFolder(tmp_path)
    ref = store.save({"model": {"w": weight}}, step=1, scores={}).wait_committed()
    assert torch.equal(store.load(ref)["model"]["w"], large(6))


def test_buffers_grow_and_are_used_again(tmp_path):
    store = CheckpointFolder(tmp_path)
    states = [{"model": {"w": torch.randn(LARGE * n), "v": torch.randn(LARGE)}} for n in (1, 3, 2)]
    refs = [store.save(state, step=n, scores={}).wait_committed() for n, state in enumerate(states)]
    for ref, state in zip(refs, states, strict=True):
        loaded = store.load(ref)["model"]
        assert all(torch.equal(loaded[name], state["model"][name]) for name in loaded)


def test_a_save_waits_for_the_one_before_it(tmp_path, writing):
    store = CheckpointFolder(tmp_path)
    first = store.save(tree(1), step=1, scores={})
    assert writing.reached.wait(60)
    tickets = []
    second = threading.Thread(target=lambda: tickets.append(store.save(tree(2), step=2, scores={})))
    second.start()
    second.join(0.05)
    assert second.is_alive()
    assert tickets == []
    writing.opened.set()
    second.join(60)
    assert first.committed
    assert tickets[0].wait_committed().step == 2


def test_whatever_is_asked_for_sees_the_save_under_way(tmp_path):
    store = CheckpointFolder(tmp_path)
    for step in range(5):
        store.save(tree(step), step=step, scores={"loss": -float(step)})
        assert store.latest().step == step
        store.save(tree(step), step=step, scores={"loss": -float(step)})
        assert store.best("loss", "min").step == step
        store.save(tree(step), step=step, scores={})
        assert len(store.entries()) == step + 1


def test_no_thread_outlives_its_save(tmp_path, writing):
    before = threading.active_count()
    store = CheckpointFolder(tmp_path)
    ticket = store.save(tree(1), step=1, scores={})
    saver = [thread for thread in threading.enumerate() if "save" in thread.name]
    assert [thread.daemon for thread in saver] == [False]  # a program that ends waits for it
    writing.opened.set()
    ticket.wait_committed()
    assert threading.active_count() == before


def test_where_no_thread_can_be_started_it_is_saved_in_place(tmp_path, monkeypatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    ticket = CheckpointFolder(tmp_path).save(tree(1), step=1, scores={})
    assert ticket.committed
    ticket.wait_staged()
    assert ticket.wait_committed().step == 1


def test_a_failure_nobody_asked_for_is_raised_by_what_comes_next(tmp_path, monkeypatch):
    store = CheckpointFolder(tmp_path)

    def fail():
        monkeypatch.setattr(commit, "free_space", lambda _: 100)
        ticket = store.save(tree(1), step=1, scores={})
        store.latest()  # asks for something else
        assert not ticket.committed
        monkeypatch.undo()

    for ask in (
        lambda: store.save(tree(2), step=2, scores={}),
        store.wait,
        store.close,
    ):
        fail()
        with pytest.raises(CheckpointError, match="No space left"):
            ask()
        store.wait()  # it was told
    assert store.save(tree(3), step=3, scores={}).wait_committed().step == 3


def test_room_is_looked_for_before_anything_is_written(tmp_path, monkeypatch):
    store = CheckpointFolder(tmp_path / "deep" / "folder")
    monkeypatch.setattr(commit, "free_space", lambda _: 4_500_000)
    ticket = store.save(tree(1), step=1, scores={})
    with pytest.raises(CheckpointError, match=r"It needs 4\.6 MB, 4\.5 MB are free") as caught:
        ticket.wait_committed()
    assert caught.value.__cause__.errno == errno.ENOSPC
    assert names(tmp_path) == []


def test_an_error_that_is_not_the_disks_is_told_too(tmp_path, monkeypatch):
    def fail(*_):
        raise MemoryError("no memory for a copy")

    monkeypatch.setattr(staging, "copy_on_cpu", fail)
    ticket = CheckpointFolder(tmp_path).save(tree(1), step=1, scores={})
    ticket.wait_staged()  # does not wait for ever
    with pytest.raises(CheckpointError, match="no memory for a copy") as caught:
        ticket.wait_committed()
    assert isinstance(caught.value.__cause__, MemoryError)


def test_who_is_told_of_a_commit_may_look_at_the_folder(tmp_path):
    seen = []
    store = CheckpointFolder(
        tmp_path, on_commit=lambda ref: seen.append((ref, store.latest(), len(store.entries())))
    )
    ref = store.save(tree(1), step=1, scores={}).wait_committed()
    assert seen == [(ref, ref, 1)]


def test_who_is_told_of_a_commit_and_fails_does_not_undo_it(tmp_path, caplog):
    def fail(_):
        raise ValueError("a broken listener")

    store = CheckpointFolder(tmp_path, on_commit=fail, retention=Retention(last=1))
    for step in (1, 2):
        assert store.save(tree(step), step=step, scores={}).wait_committed().step == step
    assert "a broken listener" in caplog.text
    assert names(tmp_path) == ["LATEST", "step-0000000002"]


def test_closing_waits_and_gives_memory_back(tmp_path):
    store = CheckpointFolder(tmp_path)
    ticket = store.save(tree(1), step=1, scores={})
    store.close()
    assert ticket.committed
    store.close()
    assert store.save(tree(2), step=2, scores={}).wait_committed().step == 2  # and can be used


def test_facts_are_kept_and_must_be_plain(tmp_path):
    store = CheckpointFolder(tmp_path)
    facts = {"epoch": 3, "position": {"line": np.int64(7)}, "seconds": 1.5, "loss": float("nan")}
    store.save({}, step=1, scores={}, facts=facts)
    (info,) = store.entries()
    assert info.facts == {"epoch": 3, "position": {"line": 7}, "seconds": 1.5, "loss": None}
    assert info.epoch == 3
    with pytest.raises(StateTreeError, match="what JSON has"):
        store.save({}, step=2, scores={}, facts={"when": object()})
    store.save({}, step=2, scores={})
    assert store.entries()[0].epoch is None


def run_script(text, *arguments, timeout=100):
    return subprocess.run(
        [sys.executable, "-c", text, *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


@pytest.mark.slow
@pytest.mark.parametrize("end", ["", "raise ValueError('a bug')"])
def test_a_program_that_ends_has_committed(tmp_path, end):
    script = f"""
import sys, torch
from tt_experiment.checkpoints import CheckpointFolder
store = CheckpointFolder(sys.argv[1])
store.save({{"model": {{"w": torch.ones(5_000_000)}}}}, step=1, scores={{}})
{end}
"""
    done = run_script(script, tmp_path)
    assert ("Error" in done.stderr) == ("Error" in end)
    store = CheckpointFolder(tmp_path)
    assert store.load(store.latest())["model"]["w"].sum() == 5_000_000
    assert names(tmp_path) == ["LATEST", "step-0000000001"]


FORKS = """
import os, sys, threading, torch
from torch.utils.data import DataLoader
from tt_experiment._checkpoint import files, staging
from tt_experiment.checkpoints import CheckpointFolder
from tt_experiment.errors import CheckpointError

held_up = {"copy": (staging, "copy_on_cpu"), "write": (files, "write_file")}
module, name = held_up[sys.argv[2]]
reached, opened, real = threading.Event(), threading.Event(), getattr(module, name)
def gate(*args):
    reached.set()
    opened.wait()
    return real(*args)
setattr(module, name, gate)

store = CheckpointFolder(sys.argv[1])
ticket = store.save({"model": {"w": torch.ones(1_000_000)}}, step=1, scores={})
reached.wait()
pid = os.fork()
if pid == 0:
    assert store.latest() is None
    for ask in (ticket.wait_staged, ticket.wait_committed):
        try:
            ask()
        except CheckpointError as error:
            assert "not in a fork of it" in str(error)
        else:
            os._exit(1)
    opened.set()
    CheckpointFolder(sys.argv[1] + "-child").save({"a": 1}, step=1, scores={}).wait_committed()
    store.close()
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
assert [int(batch.sum()) for batch in DataLoader(range(20), 5, num_workers=2)] == [10, 35, 60, 85]
opened.set()
assert ticket.wait_committed().step == 1
assert store.load(store.latest())["model"]["w"].sum() == 1_000_000
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
@pytest.mark.parametrize("moment", ["copy", "write"])
def test_a_fork_while_a_save_is_under_way(tmp_path, moment):
    done = run_script(FORKS, tmp_path / "store", moment)
    assert done.returncode == 0, done.stderr


MEMORY = """
import resource, sys, torch
from tt_experiment.checkpoints import CheckpointFolder, Retention

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # MB

store = CheckpointFolder(sys.argv[1], retention=Retention(last=1))
store.save({"model": {"w": torch.ones(1_000_000)}}, step=0, scores={}).wait_committed()
state = {"model": {"w": torch.ones(12_500_000)}, "optimizers": [{"m": torch.ones(12_500_000)}]}
before = peak()
for step in (1, 2):
    store.save(state, step=step, scores={}).wait_committed()
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="others count memory otherwise")
def test_the_peak_is_one_copy_of_the_state(tmp_path):
    done = run_script(MEMORY, tmp_path)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1.15 * 100


@pytest.mark.gpu
def test_a_state_on_a_gpu_is_that_of_the_moment_of_the_save(tmp_path):
    store = CheckpointFolder(tmp_path)
    busy = torch.randn(4000, 4000, device="cuda")
    weight = torch.zeros(20_000_000, device="cuda")
    tied = {"w": weight, "again": weight, "t": weight.view(4000, -1).t(), "host": large(1)}
    for step in range(1, 4):
        for _ in range(20):  # the device is behind: what is asked for here has not happened yet
            busy = (busy @ busy).clamp(-1, 1)
        weight.add_(1)
        ticket = store.save({"model": tied, "optimizers": []}, step=step, scores={})
        ticket.wait_staged()
        weight.add_(1000).sub_(1000)
        loaded = store.load(ticket.wait_committed())["model"]
        for name in ("w", "again", "t"):
            assert loaded[name].device.type == "cpu"
            assert (loaded[name] == step).all()
        assert torch.equal(loaded["host"], large(1))


@pytest.mark.gpu
def test_a_tensor_on_a_gpu_that_changes_before_it_may_fails_the_save(tmp_path, writing):
    store = CheckpointFolder(tmp_path)
    weight = torch.zeros(1000, device="cuda")
    ticket = store.save({"model": {"w": weight}}, step=1, scores={})
    weight.add_(1)
    writing.opened.set()
    with pytest.raises(CheckpointError, match="call wait_staged"):
        ticket.wait_committed()
