"""Two real processes, used as in a hand-written loop."""

import os
import signal

import pytest
import torch
import torch.distributed as dist
from torch import nn

from tt_parallel.api import NotTransferable, ParallelValueError, Spawn, WorkerError, ddp
from tt_parallel.launch.rendezvous import Rendezvous

pytestmark = pytest.mark.slow


class Regression(nn.Module):
    """Computes its own loss, with a further attribute and a static method."""

    scale = 3.0

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, x):
        return self.layer(x)

    @staticmethod
    def twice(x):
        return 2 * x

    def get_loss(self, batch, criterion, device):
        x, y = batch
        return criterion(self(x).squeeze(1), y)

    def get_loss_eval(self, batch, criterion, device):
        return self.get_loss(batch, criterion, device)

    def get_predictions(self, batch, device):
        return self(batch[0]), batch[1], {}


def data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(24, 3, generator=generator)
    return x, x.sum(1)


def fresh() -> tuple[Regression, torch.optim.Optimizer]:
    torch.manual_seed(1)
    model = Regression()
    return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


class TrainShare:
    """Four steps on this process's half of each batch, of uneven size."""

    def __init__(self) -> None:
        self.model, self.optimizer = fresh()

    def __call__(self, strategy) -> dict:
        x, y = data()
        comm, criterion = strategy.comm, nn.MSELoss()
        model = strategy.prepare(self.model, [self.optimizer])
        assert model.scale == 3.0
        assert model.twice(2) == 4
        for start in range(0, 24, 6):
            part = slice(start, start + 2) if comm.rank == 0 else slice(start + 2, start + 6)
            with strategy.micro(model, sync=True):
                with strategy.forward():
                    loss = model.get_loss((x[part], y[part]), criterion, strategy.device)
                strategy.backward(loss * len(x[part]))
            total = comm.all_reduce(torch.tensor(float(len(x[part]))))
            strategy.apply(self.optimizer, grad_scale=comm.world_size / total, max_norm=100.0)
        bare = strategy.evaluable(model)
        assert bare is self.model
        assert strategy.eval_rounds(3) == 3
        loss = model.get_loss_eval((x, y), criterion, strategy.device)
        assert model.get_predictions((x, y), strategy.device)[0].shape == model(x).shape
        return {
            "state": strategy.state_dict(self.model, [self.optimizer]),
            "loss": loss.item(),
            "names": comm.gather_objects(f"rank {comm.rank}"),
            "told": comm.broadcast_object(f"from {comm.rank}"),
            "largest": comm.all_reduce(torch.tensor(float(comm.rank)), "max").item(),
            "pid": os.getpid(),
        }


def test_uneven_shares_equal_the_whole_batch() -> None:
    model, optimizer = fresh()
    x, y = data()
    for start in range(0, 24, 6):
        nn.MSELoss()(model(x[start : start + 6]).squeeze(1), y[start : start + 6]).backward()
        optimizer.step()
        optimizer.zero_grad()

    task = TrainShare()
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    first, second = Spawn(2).run(task)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(first["state"]["model"][name], value, rtol=1e-6, atol=1e-7)
        assert torch.equal(first["state"]["model"][name], second["state"]["model"][name])
        assert torch.equal(task.model.state_dict()[name], before[name])  # no memory is shared
    momentum = first["state"]["optimizers"][0]["state"]["layer.weight"]["momentum_buffer"]
    torch.testing.assert_close(momentum, optimizer.state[model.layer.weight]["momentum_buffer"])
    assert first["names"] == ["rank 0", "rank 1"]
    assert second["names"] is None
    assert first["told"] == second["told"] == "from 0"
    assert first["largest"] == second["largest"] == 1.0
    assert len({first["pid"], second["pid"], os.getpid()}) == 3


class CountReductions:
    """Gradients of a window are reduced once: counted by a communication hook."""

    def __call__(self, strategy) -> int:
        model, optimizer = fresh()
        prepared = strategy.prepare(model, [optimizer])
        calls = []

        def hook(state, bucket):
            calls.append(1)
            return (
                dist.all_reduce(bucket.buffer(), async_op=True)
                .get_future()
                .then(lambda f: f.value()[0])
            )

        prepared.register_comm_hook(None, hook)
        for number in range(3):
            with strategy.micro(prepared, sync=number == 2):
                strategy.backward(prepared.get_loss(data(), nn.MSELoss(), strategy.device))
        return len(calls)


def test_a_window_of_three_is_reduced_once() -> None:
    assert Spawn(2).run(CountReductions()) == [1, 1]


class Fail:
    def __init__(self, how: str) -> None:
        self.how = how

    def __call__(self, strategy) -> None:
        if strategy.comm.rank == 1:
            if self.how == "raise":
                msg = "rank 1 is broken"
                raise ValueError(msg)
            os.kill(os.getpid(), signal.SIGKILL)
        strategy.comm.barrier()


@pytest.mark.parametrize(("how", "said"), [("raise", "rank 1 is broken"), ("kill", "SIGKILL")])
def test_a_process_that_fails_ends_the_run(how: str, said: str) -> None:
    with pytest.raises(WorkerError, match=said) as caught:
        Spawn(2).run(Fail(how))
    assert "Process 1" in str(caught.value)


def test_processes_that_do_not_meet_say_why() -> None:
    with pytest.raises(WorkerError, match="bogus"):
        Spawn(1, rendezvous=Rendezvous(init_method="bogus://x")).run(Meet())


class Holder:
    def __init__(self) -> None:
        self.settings = {"fine": 1, "function": lambda x: x}

    def run(self, strategy) -> None: ...


def test_what_cannot_travel_is_named() -> None:
    with pytest.raises(NotTransferable, match=r"Holder\.settings\.function"):
        Spawn(1).run(Holder().run)


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({}, "fit.num_gpus=2"),
        ({"num_gpus": 0}, "at least 1; got 0"),
        ({"num_gpus": 1, "backend": "pigeon"}, "no torch.distributed backend 'pigeon'"),
        ({"num_gpus": 1, "node_rank": 1}, "from 0 to 0, got 1"),
        ({"num_gpus": 1, "num_nodes": 2}, "MASTER_ADDR"),
        ({"num_gpus": 99, "on_gpu": True}, "num_gpus=99"),
    ],
)
def test_numbers_that_cannot_be_are_refused(monkeypatch, options, rule: str) -> None:
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ParallelValueError, match=rule):
        ddp(device=torch.device("cpu"), **options)


class Meet:
    def __call__(self, strategy) -> tuple:
        comm = strategy.comm
        return comm.rank, comm.world_size, comm.gather_objects(comm.rank)


def test_two_nodes_meet(tmp_path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    meeting = f"file://{tmp_path}/meeting"
    with ThreadPoolExecutor(2) as pool:
        nodes = [
            pool.submit(Spawn(1, rendezvous=Rendezvous(None, meeting, 2, rank)).run, Meet())
            for rank in range(2)
        ]
        assert [node.result() for node in nodes] == [[(0, 2, [0, 1])], [(1, 2, None)]]
