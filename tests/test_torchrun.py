"""One script, started in every way: alone it starts its processes, under torchrun it joins them.

This file is the script too::

    python tests/test_torchrun.py FOLDER 2
    python -m torch.distributed.run --standalone --nproc_per_node=2 tests/test_torchrun.py FOLDER 2
"""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tt_loop.api import Callback, TrainLoop


def job(processes: int, *, gpu_mode: str = "ddp", dropout: float = 0.0) -> TrainLoop:
    torch.manual_seed(4)
    x = torch.randn(50, 6)
    y = (x[:, :3].sum(1) > 0).long() + (x[:, 3] > 0.5).long()
    train = DataLoader(TensorDataset(x, y), batch_size=8 // processes, shuffle=True)
    validation = DataLoader(TensorDataset(x[:13], y[:13]), batch_size=4)
    model = nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Dropout(dropout), nn.Linear(24, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    return TrainLoop(
        model, train, validation, None, optimizer, criterion, progress=False, gpu_mode=gpu_mode
    )


def outcome(loop: TrainLoop) -> dict[str, Any]:
    y_pred, y_true, _ = loop.predict_on_validation_set()
    return {
        "weights": nn.utils.parameters_to_vector(loop.model.parameters()).detach(),
        "history": {name: list(values) for name, values in loop.train_history.items()},
        "predictions": (y_pred, y_true),
    }


class Keep(Callback):
    """Keeps the state of each epoch; the first time, process 1 dies in the third."""

    def __init__(self, file: Path) -> None:
        super().__init__("keep")
        self.file = file

    def on_epoch_end(self) -> None:
        state = self.train_loop_obj.state_dict()
        if self.train_loop_obj.rank == 0:
            torch.save(state, self.file.with_suffix(".new"))
            self.file.with_suffix(".new").rename(self.file)

    def on_batch_end(self) -> None:
        loop = self.train_loop_obj
        first = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
        if first and loop.rank == 1 and (loop.epoch, loop.iteration) == (2, 3):
            os._exit(7)


def script(folder: Path, processes: int, further: str = "") -> None:
    """Train; what comes out of each process goes into the folder."""
    if further == "restart":
        loop, kept = job(processes, dropout=0.3), folder / "kept.pt"
        if kept.exists():
            loop.load_state_dict(torch.load(kept, weights_only=False))
        began = loop.epochs_done
        loop.fit(num_epochs=3, num_gpus=processes, callbacks=[Keep(kept)])
        torch.save({"began": began, **outcome(loop)}, folder / f"restart-{loop.rank}.pt")
        return
    loop = job(processes)
    loop.fit(num_epochs=2, num_gpus=processes)
    torch.save(outcome(loop), folder / f"plain-{loop.rank}.pt")
    if further == "again":
        loop = job(processes, dropout=0.3)
        loop.fit(num_epochs=2, num_gpus=processes)
        loop.fit(num_epochs=1, num_gpus=processes)
        torch.save(outcome(loop), folder / f"again-{loop.rank}.pt")


def start(*command: str, **environ: str) -> None:
    """Run Python to a good end; whatever happens, none of its processes is left."""
    path = os.pathsep.join(part for part in sys.path if part)
    process = subprocess.Popen(
        [sys.executable, *command],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **environ},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        _, errors = process.communicate(timeout=100)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert process.returncode == 0, errors


def torchrun(*command: str) -> None:
    start("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", *command)


def read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(file)
    return found


def assert_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    """The last bit counts."""
    assert torch.equal(one["weights"], other["weights"])
    assert one["history"] == other["history"]
    for a, b in zip(one["predictions"], other["predictions"], strict=True):
        assert torch.equal(a, b)


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What comes out under torchrun."""
    folder = tmp_path_factory.mktemp("torchrun")
    torchrun(__file__, str(folder), "2", "again")
    return folder


@pytest.mark.slow
def test_a_script_that_torchrun_started_trains_as_one_that_starts_its_processes(
    launched: Path, tmp_path: Path
) -> None:
    start(__file__, str(tmp_path), "2")
    spawned, joined = read(tmp_path / "plain-0.pt"), read(launched / "plain-0.pt")
    assert_equal(joined, spawned)
    assert_equal(joined, read(launched / "plain-1.pt"))  # every process has it all
    loop = job(1, gpu_mode="single")
    loop.fit(num_epochs=2)
    alone = outcome(loop)
    torch.testing.assert_close(joined["weights"], alone["weights"], rtol=0, atol=1e-6)
    torch.testing.assert_close(joined["predictions"], alone["predictions"], rtol=0, atol=1e-5)
    assert joined["history"].keys() == alone["history"].keys()
    for name, values in alone["history"].items():
        assert joined["history"][name] == pytest.approx(values, abs=1e-5), name


@pytest.mark.slow
def test_after_an_elastic_restart_the_script_goes_on(launched: Path, tmp_path: Path) -> None:
    torchrun("--max-restarts=1", "--monitor-interval=0.1", __file__, str(tmp_path), "2", "restart")
    for rank in range(2):
        restarted, uninterrupted = (
            read(tmp_path / f"restart-{rank}.pt"),
            read(launched / f"again-{rank}.pt"),
        )
        assert restarted["began"] == 2
        assert_equal(restarted, uninterrupted)


@pytest.mark.slow
def test_a_group_of_one_is_one_process_to_the_last_bit(tmp_path: Path) -> None:
    group = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "0"}
    start(__file__, str(tmp_path), "1", **group)
    loop = job(1, gpu_mode="single")
    loop.fit(num_epochs=2)
    assert_equal(read(tmp_path / "plain-0.pt"), outcome(loop))


if __name__ == "__main__":
    script(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
