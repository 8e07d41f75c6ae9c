"""Making room, and starting programs again: what the command does to runs."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from tt_experiment._command.main import main
from tt_experiment._lock import RunLock
from tt_experiment.checkpoints import CheckpointFolder
from tt_experiment.folder import ExperimentFolder
from tt_experiment.provenance import Provenance

COMMAND = [sys.executable, "-m", "tt_experiment"]
TREE = {"model": {"w": torch.ones(3)}}


class Answer(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run the command where the root is an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TT_EXPERIMENT_ROOT", str(tmp_path))

    def run(*words):
        status = main([str(word) for word in words])
        return Answer(status, *capsys.readouterr())

    return run


def make(root, name="e_1", steps=range(1, 7), **facts):
    """A run with checkpoints, whose metric is best at step 2."""
    path = Path(root, "p", name)
    path.mkdir(parents=True)
    run = {"format": "tt-run/1", "id": f"id-{name}", "status": "completed", "attempts": []}
    run |= {"project": "p", "experiment": "e", "created": "2026-01-02T03:04:05+00:00"}
    (path / "run.json").write_text(json.dumps(run | facts))
    store = CheckpointFolder(path / "checkpoint_model")
    for step in steps:
        store.save(TREE, step=step, scores={"val_loss": abs(step - 2.0)}).wait_committed()
    store.close()
    return path


def steps(path):
    return sorted(info.step for info in CheckpointFolder(path / "checkpoint_model").entries())


def contents(path):
    return {
        item.relative_to(path).as_posix(): item.read_bytes()
        for item in sorted(path.rglob("*"))
        if item.is_file() and item.name != ".lock"
    }


def damage(path, step):
    file = path / "checkpoint_model" / f"step-{step:010d}" / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize(
    ("rules", "left"),
    [
        (["--keep-last", "1"], [6]),
        (["--keep-last", "3"], [4, 5, 6]),
        (["--keep-best", "val_loss:min"], [2, 6]),  # the newest stays in any case
        (["--keep-best", "val_loss:max"], [6]),
        (["--keep-best", "val_loss:min:3", "--keep-last", "2"], [1, 2, 3, 5, 6]),
        (["--keep-best", "val_loss:min", "--keep-best", "val_loss:max"], [2, 6]),
        (["--keep-best", "unknown:min", "--keep-last", "1"], [1, 2, 3, 4, 5, 6]),
        (["--older-than", "1h"], [1, 2, 3, 4, 5, 6]),
        (["--older-than", "0s"], [6]),
        (["--keep-last", "2", "--older-than", "30d"], [1, 2, 3, 4, 5, 6]),
        ([], [1, 2, 3, 4, 5, 6]),
    ],
)
def test_rules_after_the_fact(run, tmp_path, rules, left):
    path = make(tmp_path)
    ExperimentFolder(path).seal()
    before = contents(path)
    dry = run("gc", "--all", *rules, "--json").json
    assert (dry["dry_run"], contents(path)) == (True, before)
    done = run("gc", "--all", *rules, "--yes", "--json").json
    assert done["removed"] == dry["removed"]
    assert done["bytes"] == sum(item["size"] for item in done["removed"])
    assert steps(path) == left
    assert {int(Path(item["path"]).name[-10:]) for item in done["removed"]} == {*range(1, 7)} - {
        *left
    }
    assert run("verify", "e_1", "--json").json["runs"][0]["findings"] == []
    assert run("gc", "--all", *rules, "--yes", "--json").json["removed"] == []


def test_a_dry_run_says_so(run, tmp_path):
    make(tmp_path)
    answer = run("gc", "e_1", "--keep-last", "1")
    assert answer.out.count("would be removed: checkpoint") == 5
    assert "nothing is removed without --yes" in answer.err
    assert run("gc", "e_1", "--keep-last", "1", "--yes").out.count("\nremoved: checkpoint") == 4


def test_pinned_checkpoints_stay(run, tmp_path):
    path = make(tmp_path)
    run("pin", "e_1", "3")
    answer = run("gc", "e_1", "--keep-last", "1", "--yes", "--json")
    assert steps(path) == [3, 6]
    assert [Path(item["path"]).name for item in answer.json["spared"]] == ["step-0000000003"]
    assert answer.json["spared"][0]["reason"] == "it is pinned"


def test_pins_that_cannot_be_read_stop_it(run, tmp_path):
    path = make(tmp_path)
    (path / "checkpoint_model" / "PINNED.json").write_text("{")
    answer = run("gc", "e_1", "--keep-last", "1", "--yes")
    left = list((path / "checkpoint_model").glob("step-*"))
    assert (answer.status, len(left)) == (1, 6)


def test_the_only_valid_checkpoint_stays(run, tmp_path):
    path = make(tmp_path)
    for step in (6, 5, 3):
        damage(path, step)
    answer = run("gc", "e_1", "--keep-last", "2", "--yes", "--json")
    assert steps(path) == [4, 5, 6]
    assert answer.json["spared"][0]["reason"] == "it is the only valid one"
    assert CheckpointFolder(path / "checkpoint_model").latest().step == 4


def test_what_is_no_checkpoint_is_not_touched(run, tmp_path):
    path = make(tmp_path)
    folder = path / "checkpoint_model"
    elsewhere = tmp_path / "elsewhere"
    (folder / "step-0000000001").rename(elsewhere)
    (folder / "step-0000000001").symlink_to(elsewhere)
    (folder / "step-0000000002" / "MANIFEST.json").write_text("{")
    (folder / "step-0000000099").mkdir()
    (folder / "mine").mkdir()
    (folder / "mine" / "file").write_text("x")
    run("gc", "e_1", "--keep-last", "1", "--yes")
    left = {item.name for item in folder.iterdir()}
    assert left >= {"mine", "step-0000000001", "step-0000000002", "step-0000000099"}
    assert "step-0000000003" not in left
    assert contents(elsewhere)


def test_a_run_that_is_written_to_is_left_alone(run, tmp_path):
    path = make(tmp_path, status="running")
    script = (
        "import sys, pathlib; from tt_experiment._lock import RunLock;"
        "RunLock(pathlib.Path(sys.argv[1])).acquire(); print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        holder.stdout.readline()
        for rules in (["--keep-last", "1"], ["--whole-runs"]):
            answer = run("gc", "e_1", *rules, "--yes", "--json")
            assert answer.json["spared"] == [{"path": str(path), "reason": "it is running"}]
            assert len(steps(path)) == 6
    finally:
        holder.communicate(b"", timeout=60)
    assert run("gc", "e_1", "--keep-last", "1", "--yes").status == 0  # it has died
    assert steps(path) == [6]


def test_a_run_of_another_machine_is_left_alone(run, tmp_path):
    path = make(tmp_path, status="running")
    RunLock(path).acquire()
    RunLock(path).release()
    note = json.loads((path / ".lock").read_text())
    (path / ".lock").write_text(json.dumps({**note, "host": "another"}))
    answer = run("gc", "e_1", "--whole-runs", "--yes", "--json")
    assert "may be running on another" in answer.json["spared"][0]["reason"]
    assert path.is_dir()


def test_what_is_not_in_the_store_yet_stays(run, tmp_path):
    path = make(tmp_path)
    (path / ".outbox").mkdir()
    assert steps(path) == [1, 2, 3, 4, 5, 6]
    answer = run("gc", "e_1", "--keep-last", "1", "--yes", "--json")
    assert len(steps(path)) == 6
    assert {item["reason"] for item in answer.json["spared"]} == {"it is not in the store yet"}
    assert run("gc", "e_1", "--whole-runs", "--yes", "--json").json["removed"] == []


def test_leftovers_of_dead_processes_go_and_of_living_ones_stay(run, tmp_path):
    path = make(tmp_path)
    script = (
        "import sys, pathlib; from tt_experiment._durable import scratch_path, make_directory;"
        "[make_directory(scratch_path(pathlib.Path(p), 'x')) for p in sys.argv[1:]]"
    )
    places = [path, path / "checkpoint_model"]
    subprocess.run([sys.executable, "-c", script, *places], check=True, timeout=60)
    living = path / f".tmp-other-{os.getpid()}-00000000-x"
    living.mkdir()
    (path / ".tmp-link").symlink_to(tmp_path)
    found = run("gc", "e_1", "--json").json["removed"]
    assert [item["what"] for item in found] == ["leftover", "leftover"]
    run("gc", "e_1", "--yes")
    assert {item.name for item in path.glob(".tmp-*")} == {living.name, ".tmp-link"}
    assert list((path / "checkpoint_model").glob(".tmp-*")) == []


def test_whole_runs(run, tmp_path):
    old = make(tmp_path, "e_1", steps=[1], status="failed")
    young = make(tmp_path, "e_2", steps=[1], status="failed", created=now())
    kept = make(tmp_path, "e_3", steps=[1])
    words = ["gc", "--where", "status==failed", "--whole-runs", "--older-than", "30d"]
    assert [item["path"] for item in run(*words, "--json").json["removed"]] == [str(old)]
    assert old.is_dir()
    assert run(*words, "--yes").status == 0
    assert (old.exists(), young.is_dir(), kept.is_dir()) == (False, True, True)
    assert [item.name for item in old.parent.iterdir() if item.name.startswith(".")] == []


def now():
    return (datetime.now(UTC) - timedelta(minutes=1)).isoformat()


def test_a_whole_run_with_something_of_yours_stays(run, tmp_path):
    for number, spoil in enumerate(
        [
            lambda path: (path / "notes.txt").write_text("mine"),
            lambda path: (path / "logs").symlink_to(tmp_path),
            lambda path: run("pin", path, "1"),
            lambda path: (path / "run.json").write_text('{"format": "other"}'),
            lambda path: (path / "run.json").write_text('{"format": "tt-run/1", "id": "x"}'),
        ]
    ):
        path = make(tmp_path, f"e_{number}", steps=[1])
        spoil(path)
        before = contents(path)
        answer = run("gc", path, "--whole-runs", "--older-than", "1d", "--yes", "--json")
        assert (answer.json["removed"], len(answer.json["spared"])) == ([], 1)
        assert contents(path) == before


def test_an_unsealed_run_owns_everything_that_its_start_wrote(run, tmp_path):
    (tmp_path / "train.py").write_text("pass\n")
    folder = ExperimentFolder.create(tmp_path, "p", "e", timestamp="2026-01-02_03-04-05")
    told = Provenance([tmp_path / "train.py"], tmp_path / "train.py", data={"train": torch.ones(2)})
    folder.write_start({"lr": 0.1}, told)
    folder.begin_attempt(1, 0)
    folder.finish("failed")
    removed = run("gc", folder.path, "--whole-runs", "--json").json["removed"]
    assert [item["what"] for item in removed] == ["run"]


def test_a_sealed_run_owns_what_its_seal_lists(run, tmp_path):
    path = make(tmp_path, steps=[1])
    (path / "predictions.bin").write_text("of the program")
    assert run("gc", "e_1", "--whole-runs", "--json").json["removed"] == []
    ExperimentFolder(path).seal()
    assert [i["what"] for i in run("gc", "e_1", "--whole-runs", "--json").json["removed"]] == [
        "run"
    ]


def test_a_link_to_a_run_is_followed_by_nobody(run, tmp_path):
    path = make(tmp_path / "real", steps=[1, 2, 3])
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "link").symlink_to(path)
    run("gc", "--all", "--keep-last", "1", "--yes")
    run("gc", "--all", "--whole-runs", "--yes")
    assert steps(path) == [1, 2, 3]


@pytest.mark.slow
def test_killed_at_any_moment_the_run_is_whole(run, tmp_path, monkeypatch):
    """Every change of gc may be its last: what is left is a run that verifies."""
    from tt_experiment import _durable

    class Killed(BaseException):
        pass

    class Mortal:
        def __init__(self, left):
            self.left = left

        def __getattr__(self, name):
            found = getattr(os, name)
            if name not in ("rename", "replace", "unlink", "rmdir", "mkdir", "write", "fsync"):
                return found

            def call(*arguments, **options):
                if self.left == 0:
                    raise Killed
                self.left -= 1
                return found(*arguments, **options)

            return call

    for operations in range(60):
        path = make(tmp_path, f"e_{operations}", steps=[1, 2])
        ExperimentFolder(path).seal()
        with monkeypatch.context() as patch:
            patch.setattr(_durable, "os", Mortal(operations))
            try:
                main(["gc", str(path), "--keep-last", "1", "--yes"])
                is_done = True
            except Killed:
                is_done = False
        found = run("verify", path, "--json")
        assert found.status == 0
        assert CheckpointFolder(path / "checkpoint_model").latest().step == 2
        if is_done:
            assert operations > 5
            break
    else:
        pytest.fail("it never came to its end")


# resume

PROGRAM = """
import os, sys
print("again", os.environ["TT_RESUME"], os.getcwd(), sys.argv[1:], flush=True)
sys.exit(7)
"""


def resumable(tmp_path, argv, **facts):
    path = make(tmp_path, steps=[1, 2], status="interrupted")
    (tmp_path / "work").mkdir()
    command = {"argv": argv, "cwd": str(tmp_path / "work")}
    (path / "environment.json").write_text(json.dumps({"command": command, **facts}))
    return path


@pytest.mark.slow
def test_resume_starts_the_program_again(tmp_path):
    path = resumable(tmp_path, [sys.executable, "-c", PROGRAM, "--lr", "a b"])
    done = subprocess.run(
        [*COMMAND, "resume", path], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 7
    assert done.stdout == f"again {path} {tmp_path / 'work'} ['--lr', 'a b']\n"
    assert f"TT_RESUME={path}" in done.stderr


def test_resume_only_tells(run, tmp_path):
    path = resumable(tmp_path, ["python", "train.py", "it's"])
    answer = run("resume", "e_1", "--print")
    assert answer.out == (
        f"cd {tmp_path / 'work'} && TT_RESUME={path} python train.py 'it'\"'\"'s'\n"
    )
    assert run("resume", "e_1", "--json").json == {
        "path": str(path),
        "step": 2,
        "argv": ["python", "train.py", "it's"],
        "cwd": str(tmp_path / "work"),
        "environment": {"TT_RESUME": str(path)},
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "must tell the command"),
        ("{", "must tell the command"),
        ('{"command": {"argv": [], "cwd": "/"}}', "must tell the command"),
        ('{"command": {"argv": [1], "cwd": "/"}}', "must tell the command"),
        ('{"command": {"argv": ["a", "--key=<redacted>"], "cwd": "/"}}', "had a secret"),
        (
            '{"command": {"argv": ["a"], "cwd": "/"}, "variables": {"WORLD_SIZE": "4"}}',
            "a launcher started 4",
        ),
        ('{"command": {"argv": ["/no/such/program"], "cwd": "/"}}', "cannot be started"),
        ('{"command": {"argv": ["true"], "cwd": "/no/such/folder"}}', "cannot be started"),
    ],
)
def test_what_cannot_be_started_again(run, tmp_path, content, message):
    path = resumable(tmp_path, ["x"])
    if content is None:
        (path / "environment.json").unlink()
    else:
        (path / "environment.json").write_text(content)
    answer = run("resume", "e_1")
    assert (answer.status, message in answer.err) == (1, True)


def test_resume_needs_a_valid_checkpoint(run, tmp_path):
    path = resumable(tmp_path, ["true"])
    for step in (1, 2):
        damage(path, step)
    assert run("resume", "e_1").status == 4
    make(tmp_path, "f_1", steps=[])
    (tmp_path / "p" / "f_1" / "environment.json").write_text(
        (path / "environment.json").read_text()
    )
    answer = run("resume", "f_1")
    assert (answer.status, "no checkpoint to go on from" in answer.err) == (4, True)


# sync


def test_sync_of_runs_without_a_store(run, tmp_path):
    make(tmp_path, steps=[1])
    assert run("sync", "--all", "--json").json == {"complete": [], "pending": {}, "files": 0}
    answer = run("sync", "e_1")
    assert (answer.status, "has no store" in answer.err) == (1, True)
