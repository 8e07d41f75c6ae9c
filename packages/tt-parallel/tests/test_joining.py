"""Processes that somebody else has started become one group."""

import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed import TCPStore

from tt_parallel.api import (
    DistributedStrategy,
    Joined,
    LauncherError,
    ParallelValueError,
    RendezvousError,
    find_place,
    joined,
)
from tt_parallel.launch.attempt import own_part

SCRIPT = '''
"""A hand-written loop, twice in one process; argument: the folder of the results."""

import atexit
import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from tt_parallel.api import DistributedStrategy, joined


@atexit.register
def say_whether_there_is_a_group():
    Path(sys.argv[1], f"{os.getpid()}.end").write_text(str(dist.is_initialized()))


torch.manual_seed(1)
model = nn.Linear(3, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
x = torch.randn(24, 3, generator=torch.Generator().manual_seed(0))
y = x.sum(1, keepdim=True)


def train(strategy):
    comm = strategy.comm
    prepared = strategy.prepare(model, [optimizer])
    for start in range(0, 24, 6):
        if comm.rank == 1 and os.environ.get("FAIL_AT") == str(start):
            raise ValueError("rank 1 is broken")
        mine = range(start, start + 6)[comm.rank :: comm.world_size]
        with strategy.micro(prepared, sync=True):
            strategy.backward(nn.functional.mse_loss(prepared(x[mine]), y[mine]))
        strategy.apply(optimizer)
    return {
        "rank": comm.rank,
        "ranks": comm.gather_objects(comm.rank),
        "weights": [value.item().hex() for value in model.weight.data.flatten()],
    }


if "OWN_GROUP" in os.environ:  # the user's code makes the group itself
    where, rank = os.environ["OWN_GROUP"].split()
    dist.init_process_group("gloo", where, rank=int(rank), world_size=2)
results = []
for _ in range(2):
    launcher = joined(device_type="cpu", make_strategy=DistributedStrategy)
    results += launcher.run(train)
note = {
    "fits": results,
    "local": [os.environ.get("LOCAL_RANK"), os.environ.get("LOCAL_WORLD_SIZE")],
    "threads": torch.get_num_threads(),
}
Path(sys.argv[1], f"{results[0]['rank']}.json").write_text(json.dumps(note))
'''


def slurm(rank: int, size: int) -> dict[str, str]:
    return {
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_STEP_ID": "1",
        "SLURM_STEP_NODELIST": "node2",
        "SLURM_STEP_NUM_TASKS": str(size),
        "SLURM_STEP_TASKS_PER_NODE": str(size),
        "SLURM_NTASKS": "8",
        "SLURM_PROCID": str(rank),
        "SLURM_LOCALID": str(rank),
        "SLURM_NODEID": "0",
    }


def open_mpi(rank: int, size: int) -> dict[str, str]:
    values = {"RANK": rank, "SIZE": size, "LOCAL_RANK": rank, "LOCAL_SIZE": size}
    return {
        "PMIX_NAMESPACE": f"prterun-{os.getpid()}@1",
        **{f"OMPI_COMM_WORLD_{name}": str(value) for name, value in values.items()},
    }


def by_hand(rank: int, size: int) -> dict[str, str]:
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": "0",
    }


def free_port() -> str:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return str(held.getsockname()[1])


def launch(folder: Path, environs: list[dict[str, str]]) -> list[tuple[int, str]]:
    """Run the script once with each set of variables; exit status and errors of each process."""
    script = folder / "script.py"
    script.write_text(SCRIPT)
    running = [
        subprocess.Popen(
            [sys.executable, str(script), str(folder)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environ},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        for environ in environs
    ]
    try:
        errors = [process.communicate(timeout=100)[1] for process in running]
    finally:
        for process in running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    return [(process.returncode, text) for process, text in zip(running, errors, strict=True)]


@pytest.fixture(scope="module")
def alone() -> list[list[float]]:
    """The weights after one and after two passes in one process, without any of our code."""
    torch.manual_seed(1)
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    x = torch.randn(24, 3, generator=torch.Generator().manual_seed(0))
    weights = []
    for _ in range(2):
        for batch in x.split(6):
            nn.functional.mse_loss(model(batch), batch.sum(1, keepdim=True)).backward()
            optimizer.step()
            optimizer.zero_grad()
        weights.append(model.weight.data.flatten().tolist())
    return weights


@pytest.mark.slow
@pytest.mark.parametrize("variables", [slurm, open_mpi], ids=lambda f: f.__name__)
def test_two_processes_join_and_train_as_one(tmp_path, monkeypatch, alone, variables) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    environs = [variables(rank, 2) for rank in range(2)]
    assert launch(tmp_path, environs) == [(0, ""), (0, "")]  # and nobody complains of the end
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert [fit["ranks"] for fit in first["fits"]] == [[0, 1]] * 2
    assert [fit["rank"] for fit in second["fits"]] == [1, 1]
    for fit, other, expected in zip(first["fits"], second["fits"], alone, strict=True):
        assert fit["weights"] == other["weights"]
        trained = [float.fromhex(weight) for weight in fit["weights"]]
        assert trained == pytest.approx(expected, rel=0, abs=1e-6)
    assert (first["local"], second["local"]) == (["0", "2"], ["1", "2"])
    cores = max(1, min(len(os.sched_getaffinity(0)), (os.cpu_count() or 1) // 2))
    assert {first["threads"], second["threads"]} == {cores}
    assert [file.read_text() for file in tmp_path.glob("*.end")] == ["False"] * 2


@pytest.mark.slow
def test_a_group_that_the_user_has_made_is_joined(tmp_path, alone) -> None:
    environs = [{"OWN_GROUP": f"file://{tmp_path}/meeting {rank}"} for rank in range(2)]
    assert [status for status, _ in launch(tmp_path, environs)] == [0, 0]
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert first["fits"][1]["weights"] == second["fits"][1]["weights"]
    trained = [float.fromhex(weight) for weight in first["fits"][1]["weights"]]
    assert trained == pytest.approx(alone[1], rel=0, abs=1e-6)
    assert first["local"] == [None, None]
    assert [file.read_text() for file in tmp_path.glob("*.end")] == ["True"] * 2  # theirs to end


@pytest.mark.slow
def test_a_process_that_fails_ends_its_peers(tmp_path) -> None:
    environs = [{**slurm(rank, 2), "FAIL_AT": "12"} for rank in range(2)]
    (first, _), (second, why) = launch(tmp_path, environs)
    assert first != 0
    assert second == 1
    assert "rank 1 is broken" in why
    assert not list(tmp_path.glob("*.json"))


@pytest.mark.slow
def test_a_group_of_one_is_a_group(tmp_path, alone) -> None:
    environ = {**by_hand(0, 1), "MASTER_PORT": free_port(), "OMP_NUM_THREADS": "1"}
    assert launch(tmp_path, [environ]) == [(0, "")]
    note = json.loads((tmp_path / "0.json").read_text())
    assert note["threads"] == 1  # as said
    for fit, expected in zip(note["fits"], alone, strict=True):
        assert [float.fromhex(weight) for weight in fit["weights"]] == expected


def meet(store: TCPStore, ranks: list[int], attempt: str) -> list[str]:
    """Processes find their part of a store in this order; each reads what process 0 writes there.

    Those that come before process 0 have found what an earlier attempt has left.
    """

    def arrive(rank: int) -> str:
        link = TCPStore("127.0.0.1", store.port, is_master=False)
        mine = own_part(link, rank, len(ranks), timedelta(seconds=30))
        if rank == 0:
            assert not mine.check(["said"])
            mine.set("said", attempt)
        return mine.get("said").decode()

    def letters() -> list[bytes]:
        name = store.get("tt-parallel/name").decode()
        return [store.get(f"tt-parallel/{name}/{rank}") for rank in early]

    early = ranks[: ranks.index(0)]
    before = letters() if early else []
    with ThreadPoolExecutor(len(ranks)) as pool:
        arrived = [pool.submit(arrive, rank) for rank in early]
        while early and any(a == b for a, b in zip(letters(), before, strict=True)):
            pass  # they have not yet written to the dead
        arrived += [pool.submit(arrive, rank) for rank in ranks[len(early) :]]
        return [each.result() for each in arrived]


def test_processes_of_an_earlier_attempt_are_not_listened_to() -> None:
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    assert meet(store, [0, 1, 2], "first") == ["first"] * 3
    assert meet(store, [2, 1, 0], "second") == ["second"] * 3
    assert meet(store, [1, 0], "third") == ["third"] * 2


@pytest.fixture
def clean(monkeypatch):
    """What joining writes into this process is put back."""
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def test_a_port_that_is_taken_is_told(clean) -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as taken:
        environ = {**slurm(0, 2), "MASTER_PORT": str(taken.getsockname()[1])}
        launcher = joined(device_type="cpu", make_strategy=DistributedStrategy, environ=environ)
        assert launcher is not None
        with pytest.raises(RendezvousError, match=r"Slurm started do not meet.*MASTER_PORT"):
            launcher.run(print)
    assert not dist.is_initialized()


def test_who_waits_in_vain_says_for_whom(clean) -> None:
    launcher = joined(
        device_type="cpu",
        make_strategy=DistributedStrategy,
        timeout=1.0,
        environ={**by_hand(0, 2), "MASTER_PORT": free_port()},
    )
    assert launcher is not None
    with pytest.raises(RendezvousError, match="The 2 processes that the environment started"):
        launcher.run(print)


def join(environ, device_type="cpu", **options) -> Joined | None:
    return joined(
        device_type=device_type, make_strategy=DistributedStrategy, environ=environ, **options
    )


def test_a_process_on_its_own_joins_nobody() -> None:
    assert join({}) is None
    assert join({"MASTER_ADDR": "here", "MASTER_PORT": "1"}, num_gpus=2, num_nodes=2) is None


TWO_NODES = {
    "TORCHELASTIC_RUN_ID": "none",
    **by_hand(5, 8),
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "head",
}


@pytest.mark.parametrize(
    "options", [{}, {"num_gpus": 4}, {"num_nodes": 2}, {"num_gpus": 4, "num_nodes": 2}]
)
def test_a_user_who_says_what_the_launcher_did_is_right(options) -> None:
    launcher = join(TWO_NODES, **options)
    assert launcher is not None
    assert launcher.in_process
    assert launcher.place == find_place(TWO_NODES)


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"num_gpus": 8}, "num_gpus=8 .* torchrun has started 4"),
        ({"num_gpus": 8, "num_nodes": 2}, "num_gpus=8 .* torchrun has started 4"),
        ({"num_nodes": 4}, "num_nodes=4 .* torchrun has started 8 processes in all, 4 of them"),
        ({"num_nodes": 3}, "num_nodes=3"),
        ({"backend": "pigeon"}, "no torch.distributed backend 'pigeon'"),
        ({"timeout": 0}, "timeout is a number of seconds, more than 0; got 0"),
    ],
)
def test_a_user_who_says_something_else_is_told(options, rule: str) -> None:
    with pytest.raises(ParallelValueError, match=rule):
        join(TWO_NODES, **options)


@pytest.mark.parametrize(
    ("present", "options", "rule"),
    [
        ("cuda:nccl", {}, r"\(cuda:nccl\) carries nothing that is on the CPU"),
        ("cpu:gloo,cuda:nccl", {"backend": "mpi"}, "backend='mpi' .* has 'cpu:gloo,cuda:nccl'"),
        ("cpu:gloo,cuda:gloo", {"num_gpus": 4}, "num_gpus=4 .* the script has started 3"),
        ("cpu:gloo,cuda:gloo", {"num_nodes": 2}, "num_nodes=2 .* the script has started 3"),
    ],
)
def test_a_group_of_the_user_that_cannot_serve_is_refused(
    monkeypatch, present, options, rule: str
) -> None:
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_rank", lambda: 1)
    monkeypatch.setattr(dist, "get_world_size", lambda: 3)
    monkeypatch.setattr(dist, "get_backend_config", lambda: present)
    assert "cpu:" not in present or join({}) is not None
    with pytest.raises(ParallelValueError, match=rule):
        join(TWO_NODES, **options)  # the variables are of another group


@pytest.mark.parametrize(
    ("devices", "visible", "index"), [(4, None, 1), (2, "2,3", 1), (1, "3", 0), (1, "GPU-5a", 0)]
)
def test_each_process_takes_the_device_of_its_number(monkeypatch, devices, visible, index) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: devices)
    monkeypatch.setattr(dist, "is_nccl_available", lambda: True)
    environ = TWO_NODES if visible is None else {**TWO_NODES, "CUDA_VISIBLE_DEVICES": visible}
    launcher = join(environ, "cuda")
    assert launcher is not None
    assert launcher.device == torch.device("cuda", index)
    assert launcher.backend == "cpu:gloo,cuda:nccl"


@pytest.mark.parametrize("devices", [0, 1])
def test_fewer_devices_than_processes_are_refused(monkeypatch, devices: int) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: devices)
    with pytest.raises(LauncherError, match=f"started 4 processes on this node, and {devices} dev"):
        join(TWO_NODES, "cuda")
