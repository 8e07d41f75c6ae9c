"""A save is killed between any two of its changes to the disk: what is left must be usable."""

import json
import os
import subprocess
import sys

import pytest

SCRIPT = r"""
import json, os, shutil, signal, sys
from pathlib import Path
import torch
from tt_experiment import _durable
from tt_experiment._checkpoint_files import scan
from tt_experiment.checkpoints import BestPolicy, CheckpointFolder

CHANGES = ("open", "write", "fsync", "mkdir", "rename", "replace", "unlink", "rmdir")

class KillingOs:
    def __init__(self, at=0):
        self.at, self.count = at, 0

    def __getattr__(self, name):
        real = getattr(os, name)
        if name not in CHANGES:
            return real
        def call(*args, **kwargs):
            self.count += 1
            if self.count != self.at and name == "fsync":
                return None  # a kill does not lose what the kernel has: no need to wait for disks
            if self.count == self.at:
                if name == "write":  # half of it arrives
                    real(args[0], bytes(args[1])[: len(args[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)
        return call

def tree(value):
    return {"model": {"w": torch.full((8,), float(value))}, "rng": torch.arange(4), "value": value}

def open_store(path):
    return CheckpointFolder(path, keep_last=1, keep_best=BestPolicy("loss", "min"))

def child(path, step, at):
    _durable.os = KillingOs(at)
    open_store(path).save(tree(2), step=step, scores={"loss": 0.5}).wait_committed()
    os._exit(0)

def check(path):
    store = open_store(path)  # sweeps
    left = [p.name for p in path.iterdir() if p.name.startswith(".tmp-")]
    loaded = store.load(store.latest())
    assert torch.equal(loaded["model"]["w"], tree(loaded["value"])["model"]["w"])
    assert not left, left
    assert scan(path)[1] == []  # nor anything that is called a checkpoint and is none
    store.save(tree(3), step=3, scores={"loss": 0.7}).wait_committed()
    assert store.load(store.latest())["value"] == 3
    return loaded["value"]

_durable.os = KillingOs()
root, step = Path(sys.argv[1]), int(sys.argv[2])
found = []
for at in range(1, 200):
    path = root / str(at)
    open_store(path).save(tree(1), step=1, scores={"loss": 1.0}).wait_committed()
    pid = os.fork()
    if pid == 0:
        child(path, step, at)
    _, status = os.waitpid(pid, 0)
    found.append(check(path))
    shutil.rmtree(path)
    if not os.WIFSIGNALED(status):
        assert os.WEXITSTATUS(status) == 0
        break
print(json.dumps(found))
"""


@pytest.mark.slow
@pytest.mark.parametrize("step", [2, 1], ids=["new step", "superseded step"])
def test_a_kill_at_any_moment_leaves_a_valid_checkpoint(tmp_path, step):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), str(step)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) > 25  # so many moments there are
    assert found == sorted(found)  # up to the rename the old state, from it on the new one
    assert set(found) == {1, 2}
