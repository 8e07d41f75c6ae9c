"""How processes are started: from where, with what, and where they meet."""

import functools
import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.distributed as dist
from torch import nn

from tt_parallel.api import DistributedStrategy, NotTransferable, ParallelValueError, Spawn, ddp, dp
from tt_parallel.errors import RendezvousError
from tt_parallel.launch.rendezvous import Rendezvous
from tt_parallel.launch.transfer import write


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Look:
    """What a process finds."""

    def __call__(self, strategy) -> dict:
        return {
            "gathered": strategy.comm.gather_objects(strategy.comm.rank),
            "threads": torch.get_num_threads(),
            "local": (os.environ["LOCAL_RANK"], os.environ["LOCAL_WORLD_SIZE"]),
            "backend": dist.get_backend(),
            "options": strategy.options,
        }


@pytest.mark.slow
def test_two_runs_at_once_do_not_meet(monkeypatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("MASTER_ADDR", "nowhere.invalid")  # nobody has asked for it
    launcher = ddp(num_gpus=2, on_gpu=False, ddp_model_args={"bucket_cap_mb": 3}, timeout=60)
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(launcher.run, [Look(), Look()]))
    for first, second in runs:
        assert first["gathered"] == [0, 1]
        assert second["gathered"] is None
        assert (first["local"], second["local"]) == (("0", "2"), ("1", "2"))
        assert first["backend"] == "gloo"
        assert first["options"] == {"bucket_cap_mb": 3}
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        assert first["threads"] == max(1, cores // 2)


@pytest.mark.slow
def test_nodes_meet_where_the_environment_says(monkeypatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(free_port()))
    nodes = [
        ddp(num_gpus=1, on_gpu=False, num_nodes=2, node_rank=rank, init_method="env://")
        for rank in (1, 0)
    ]
    with ThreadPoolExecutor(2) as pool:
        (second,), (first,) = pool.map(lambda node: node.run(Look()), nodes)
    assert first["gathered"] == [0, 1]
    assert (first["local"], second["local"]) == (("0", "1"), ("0", "1"))
    assert first["threads"] == 1  # and not all cores


@pytest.mark.parametrize("by", ["environment", "init_method"])
def test_a_port_that_is_taken_is_named(monkeypatch, by) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
        monkeypatch.setenv("MASTER_PORT", str(port))
        where = "env://" if by == "environment" else f"tcp://127.0.0.1:{port}"
        with pytest.raises(RendezvousError, match=f"port {port}"):
            Spawn(1, rendezvous=Rendezvous(init_method=where, timeout=0.5)).run(Look())


@pytest.mark.slow
def test_a_port_that_becomes_free_is_waited_for() -> None:
    server = socket.create_server(("127.0.0.1", 0))
    where = f"tcp://127.0.0.1:{server.getsockname()[1]}"
    timer = threading.Timer(0.3, server.close)
    timer.start()
    try:
        (found,) = Spawn(1, rendezvous=Rendezvous(init_method=where)).run(Look())
    finally:
        timer.join()
    assert found["gathered"] == [0]


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"num_gpus": -1}, "at least 1; got -1"),
        ({"num_gpus": 1.5}, "whole number of at least 1; got 1.5"),
        ({"num_gpus": True}, "whole number of at least 1; got True"),
        ({"num_nodes": 0}, "at least 1; got 0"),
        ({"node_rank": -1}, "at least 0; got -1"),
        ({"timeout": 0}, "more than 0; got 0"),
        ({"timeout": float("nan")}, "more than 0; got nan"),
        ({"timeout": "60"}, "more than 0; got '60'"),
        ({"backend": "nccl"}, "use 'gloo'"),
        ({"backend": "cpu:gloo,cuda:pigeon"}, "no torch.distributed backend 'pigeon'"),
        ({"num_nodes": 2, "init_method": "env://"}, "MASTER_ADDR and MASTER_PORT"),
    ],
)
def test_what_cannot_be_is_refused(monkeypatch, options, rule) -> None:
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(ParallelValueError, match=rule):
        ddp(**{"num_gpus": 1, "on_gpu": False, **options})


def test_half_an_address_is_refused(monkeypatch) -> None:
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.delenv("MASTER_PORT", raising=False)
    with pytest.raises(ParallelValueError, match=r"got '127\.0\.0\.1' and None"):
        ddp(num_gpus=1, on_gpu=False, init_method="env://")


def test_the_devices_are_counted_when_asked(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert ddp(backend="gloo").processes == 3
    assert dp.__kwdefaults__["device"] is None


class Tied(nn.Module):
    """The path to what cannot travel goes through lists, dicts and modules."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(2, 2))
        self.inner[0].hooks = [{"fine": 1}, {"open": lambda: 0}]

    def __call__(self, strategy) -> None: ...


class Slotted:
    __slots__ = ("handle",)

    def __call__(self, strategy) -> None: ...


@pytest.mark.parametrize(
    ("task", "path"),
    [
        (Tied(), r"Tied\.inner\.0\.hooks\.1\.open"),
        (functools.partial(Look.__call__, Tied()), r"partial\.0\.inner\.0\.hooks\.1\.open"),
        (lambda strategy: None, r"<lambda>"),
    ],
)
def test_what_cannot_be_pickled_is_named(task, path) -> None:
    with pytest.raises(NotTransferable, match=f"but .*{path} is not"):
        Spawn(1).run(task)


def test_what_a_slot_holds_is_named() -> None:
    task = Slotted()
    task.handle = threading.Lock()
    with pytest.raises(NotTransferable, match=r"Slotted\.handle"):
        Spawn(1).run(task)


def test_a_file_that_cannot_be_written_is_no_matter_of_pickling(tmp_path) -> None:
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(NotTransferable, match="TMPDIR"):
            write(nn.Linear(100, 100), tmp_path / "task", "A task")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_strategy_that_cannot_be_pickled_is_named() -> None:
    with pytest.raises(NotTransferable, match="lambda"):
        Spawn(1, make_strategy=lambda device, precision: DistributedStrategy(device)).run(Look())


TYPED = """
import torch
from tt_parallel.api import Spawn

class Net(torch.nn.Linear):
    pass

offset = 5

class Task:
    def __init__(self):
        self.net = Net(1, 1)
    def __call__(self, strategy):
        return self.net, strategy.comm.rank + offset

((net, number),) = Spawn(1).run(Task())
print("came back", isinstance(net, Net), number)
"""


def run_python(*args: str, typed: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *args], input=typed, capture_output=True, text=True, timeout=120
    )


@pytest.mark.slow
def test_a_typed_program_sends_its_classes_along() -> None:
    pytest.importorskip("cloudpickle")
    assert run_python("-", typed=TYPED).stdout == "came back True 5\n"


@pytest.mark.slow
def test_a_typed_program_is_told_what_to_install() -> None:
    said = run_python("-c", f"import sys\nsys.modules['cloudpickle'] = None\n{TYPED}").stderr
    assert "NotTransferable: Task was typed into this program" in said
    assert "pip install 'tt-parallel[notebook]'" in said


SCRIPT = """
from tt_parallel.api import Spawn

{first}class Task:
    {indent}def __call__(self, strategy):
        {indent}return 1

{second}Spawn(1).run(Task())
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "second", "error", "rule"),
    [
        ("", "", "WorkerError", 'below `if __name__ == "__main__":`'),
        (
            'if __name__ == "__main__":\n    ',
            "    ",
            "NotTransferable",
            "but not be read there: Can't get attribute 'Task'",
        ),
    ],
)
def test_a_script_is_told_what_must_stand_where(tmp_path, first, second, error, rule) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT.format(first=first, second=second, indent=second))
    said = run_python(str(script)).stderr
    assert rule in said.rpartition(f"tt_parallel.errors.{error}:")[2]
