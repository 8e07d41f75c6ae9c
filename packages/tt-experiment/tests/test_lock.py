"""A run is written to by one process; whoever dies gives it up."""

import json
import os
import subprocess
import sys

import pytest

from tt_experiment import _lock
from tt_experiment._lock import RunLock
from tt_experiment.errors import RunFolderError, RunLockedError

HOLD = """
import os, sys
from pathlib import Path
from tt_experiment._lock import RunLock
RunLock(Path(sys.argv[1])).acquire()
if len(sys.argv) > 2 and os.fork() == 0:  # like a loader's worker
    print("worker", os.getpid(), flush=True)
    sys.stdin.read()
    os._exit(0)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Starts a process that has the lock."""
    started = []

    def start(*options):
        command = [sys.executable, "-c", HOLD, str(tmp_path), *options]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        started.append(process)
        assert process.stdout.readline()
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_second_process_is_refused_and_told_who_writes(tmp_path, holder):
    process = holder()
    lock = RunLock(tmp_path)
    with pytest.raises(RunLockedError, match=f"process {process.pid} on .*wait for its end"):
        lock.acquire()
    assert not lock.held
    assert lock.owner()["pid"] == process.pid
    process.kill()
    process.wait()
    assert lock.owner() is None
    lock.acquire()
    assert lock.held


def test_a_killed_process_gives_it_up_although_its_worker_lives(tmp_path, holder):
    process = holder("and a worker")
    process.stdout.readline()
    process.kill()
    process.wait()
    RunLock(tmp_path).acquire()
    RunLock(tmp_path).release()


def test_one_process_may_take_it_twice(tmp_path):
    first, second = RunLock(tmp_path), RunLock(tmp_path)
    first.acquire()
    second.acquire()
    assert first.held
    assert second.owner()["pid"] == os.getpid()
    second.release()
    assert not first.held
    first.release()


def test_a_child_writes_on_behalf_of_the_process_that_started_it(tmp_path):
    RunLock(tmp_path).acquire()
    code = HOLD.split("if len")[0] + "print('fine')"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    RunLock(tmp_path).release()
    assert done.stdout == "fine\n", done.stderr


def test_the_same_number_on_another_host_is_no_parent(tmp_path, holder):
    """Where each container counts its processes from one, on a disk that they share."""
    holder()
    (tmp_path / ".lock").write_text(json.dumps({"pid": os.getppid(), "host": "another"}))
    with pytest.raises(RunLockedError, match="on another"):
        RunLock(tmp_path).acquire()


def test_who_only_asks_for_the_owner_keeps_no_process_from_starting(tmp_path, holder, monkeypatch):
    process = holder()  # as `tt-experiment list` has it, for an instant

    def ends(_):
        process.kill()
        process.wait()

    monkeypatch.setattr(_lock.time, "sleep", ends)
    RunLock(tmp_path).acquire()
    RunLock(tmp_path).release()


def test_a_run_that_may_only_be_read_tells_its_owner(tmp_path, holder, monkeypatch):
    process = holder()
    opened = os.open

    def read_only(path, flags, *mode):
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise PermissionError(path)
        return opened(path, flags, *mode)

    monkeypatch.setattr(_lock.os, "open", read_only)
    assert RunLock(tmp_path).owner()["pid"] == process.pid
    process.kill()
    process.wait()
    assert RunLock(tmp_path).owner() is None


def test_a_damaged_note_does_not_matter(tmp_path, holder):
    holder()
    (tmp_path / ".lock").write_bytes(b"\xff[")
    with pytest.raises(RunFolderError, match=r"process \?"):
        RunLock(tmp_path).acquire()


def test_the_error_is_a_builtin_too(tmp_path, holder):
    holder()
    with pytest.raises(BlockingIOError):
        RunLock(tmp_path).acquire()
    assert json.loads((tmp_path / ".lock").read_text())["since"]
