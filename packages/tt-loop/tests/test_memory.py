"""How much memory training takes."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tt_loop.api import Callback
from tt_loop.callbacks import memory
from tt_loop.callbacks.memory import MemoryMonitor

NAMES = ["memory_process", "memory_process_peak"]
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


@linux
def test_what_the_process_holds_goes_into_the_history(make_loop) -> None:
    class Hold(Callback):
        """Takes 64 MiB in the second epoch."""

        def on_epoch_begin(self) -> None:
            if self.train_loop_obj.epoch == 1:
                self.held = np.ones(64 * 2**20, dtype=np.uint8)

    loop = make_loop(validation=False)
    loop.fit(num_epochs=2, callbacks=[MemoryMonitor(), Hold("hold")])
    before, after = loop.train_history["memory_process"]
    assert 48 < after - before < 96
    assert loop.train_history["memory_process_peak"][1] >= after


def test_the_lines_of_a_status_are_read_in_mib() -> None:
    status = "Name:\tpython\nVmHWM:\t  4096 kB\nVmRSS:\t  2048 kB\nThreads:\t1\n"
    assert memory._linux_memory(status) == {"memory_process": 2.0, "memory_process_peak": 4.0}


@pytest.mark.parametrize(("platform", "mib"), [("darwin", 3.0), ("freebsd", 3072.0)])
def test_elsewhere_the_peak_is_known(monkeypatch, tmp_path, platform: str, mib: float) -> None:
    usage = SimpleNamespace(ru_maxrss=3 * 2**20)
    module = SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda who: usage)
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "none")
    monkeypatch.setitem(sys.modules, "resource", module)
    monkeypatch.setattr(memory.sys, "platform", platform)
    assert memory._process_memory() == {"memory_process_peak": mib}


def test_a_system_that_tells_nothing_leaves_no_names(make_loop, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "none")
    monkeypatch.setitem(sys.modules, "resource", None)
    loop = make_loop()
    loop.fit(num_epochs=1, callbacks=[MemoryMonitor()])
    assert not set(NAMES) & set(loop.train_history)


class Allocator:
    """Stands for the memory statistics of an accelerator: each epoch holds more."""

    def __init__(self) -> None:
        self.peak = 0

    def reset_peak_memory_stats(self, device) -> None:
        self.peak += 1

    def max_memory_allocated(self, device) -> int:
        return self.peak * 2**20

    def max_memory_reserved(self, device) -> int:
        return self.peak * 2**21


def test_the_peaks_of_an_accelerator_are_those_of_the_epoch(make_loop, monkeypatch) -> None:
    allocator = Allocator()
    monkeypatch.setattr(memory, "_allocator", lambda device: allocator)
    loop = make_loop()
    loop.fit(num_epochs=2, callbacks=[MemoryMonitor()])
    assert loop.train_history["memory_device_peak"] == [1.0, 2.0]
    assert loop.train_history["memory_device_reserved"] == [2.0, 4.0]


@pytest.mark.gpu
def test_the_peak_on_a_gpu_is_torchs(make_loop) -> None:
    loop = make_loop()
    loop.fit(num_epochs=1, callbacks=[MemoryMonitor()])
    peak = torch.cuda.max_memory_allocated(loop.device) / 2**20
    assert loop.train_history["memory_device_peak"] == [peak]


def test_the_largest_of_all_processes_counts(make_loop) -> None:
    class Two:
        rank, world_size = 0, 2

        def all_reduce(self, tensor, op="sum", /):
            assert op == "max"
            return tensor + 1

    class Pretend(Callback):
        def on_epoch_end(self) -> None:
            loop = self.train_loop_obj
            strategy = loop.ready()[0]
            own, strategy.comm = strategy.comm, Two()
            monitor.on_epoch_end()
            strategy.comm = own

    monitor = MemoryMonitor()
    loop = make_loop(validation=False)
    loop.fit(num_epochs=1, callbacks=[monitor, Pretend("pretend")])
    for name in set(NAMES) & set(loop.train_history):
        own, largest = loop.train_history[name]
        assert largest == pytest.approx(own + 1, abs=0.5)
