import json
import os
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from tt_experiment._origin import facts
from tt_experiment.checkpoints import CheckpointFolder
from tt_experiment.errors import (
    CorruptCheckpoint,
    ExperimentNameError,
    ExperimentSetupError,
    RootError,
    RunFolderError,
)
from tt_experiment.folder import ExperimentFolder
from tt_experiment.provenance import Provenance

STAMP = "2026-01-31_23-59-58"
TOKEN = "ghp_" + "a1B2" * 9


@pytest.fixture
def run(tmp_path):
    return ExperimentFolder.create(tmp_path / "root", "project", "my_exp", timestamp=STAMP)


def load(path):
    return json.loads(path.read_text())


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, capture_output=True)


def test_the_folder_is_named_after_project_experiment_and_time(tmp_path, run):
    assert run.path == tmp_path / "root" / "project" / f"my_exp_{STAMP}"
    now = ExperimentFolder.create(tmp_path, "p", "e").path.name
    assert len(now) == len(f"e_{STAMP}")


def test_paths_of_the_layout(run):
    layout = {
        "run.json": run.run_file,
        "hyperparams.json": run.hyperparams_file,
        "environment.json": run.environment_file,
        "git.json": run.git_file,
        "events.jsonl": run.events_file,
        "metrics": run.metrics,
        "checkpoint_model": run.checkpoints,
        "model": run.model,
        "results": run.results,
        "results/results.json": run.results_file,
        "results/predictions.npz": run.predictions_file,
        "results/plots": run.plots,
        "results/report.html": run.report_file,
        "logs": run.logs,
        "MANIFEST.json": run.manifest_file,
    }
    assert {name: run.path / name for name in layout} == layout


def test_fifty_starts_in_one_second_are_fifty_folders(tmp_path):
    def start(_):
        return ExperimentFolder.create(tmp_path / "new", "p", "e", timestamp=STAMP).path

    with ThreadPoolExecutor(16) as pool:
        paths = set(pool.map(start, range(50)))
    assert len(paths) == 50
    assert {p.name for p in paths} == {f"e_{STAMP}", *(f"e_{STAMP}_{n}" for n in range(2, 51))}


@pytest.mark.parametrize(
    ("project", "experiment"),
    [("..", "e"), ("p", "../e"), ("/abs", "a\n\x1b[31m"), ("🚀", "x" * 300)],
)
def test_odd_names_are_kept_as_they_are_and_stay_below_the_root(tmp_path, project, experiment):
    run = ExperimentFolder.create(tmp_path / "root", project, experiment, timestamp=STAMP)
    run.write_start({})
    assert (run.run()["project"], run.run()["experiment"]) == (project, experiment)
    assert run.path.parent.parent == tmp_path / "root"
    assert run.path.resolve().is_relative_to((tmp_path / "root").resolve())


@pytest.mark.parametrize(
    ("project", "experiment", "stamp"), [("", "e", STAMP), ("p", " ", STAMP), ("p", "e", "../x")]
)
def test_what_is_no_name_is_refused(tmp_path, project, experiment, stamp):
    with pytest.raises(ExperimentNameError):
        ExperimentFolder.create(tmp_path / "root", project, experiment, timestamp=stamp)
    assert not (tmp_path / "root").exists()


def test_a_failing_disk_is_not_taken_for_a_taken_name(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RootError, match=r"made and written to\. Got .*file: .*(exists|directory)"):
        ExperimentFolder.create(tmp_path / "file", "p", "e")
    with pytest.raises(OSError, match="made and written to"):
        ExperimentFolder.create("/proc/no", "p", "e")


def test_what_is_written_at_the_start(run, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("MY_SECRET_THING", "hunter2")
    script = tmp_path / "train.py"
    script.write_bytes(b"print('hi')\r\n# \xff")
    run.write_start({"lr": 0.1, "api_key": "hunter2"}, Provenance(script=script), parent="abc")
    facts = run.run()
    assert facts["format"] == "tt-run/1"
    assert (facts["project"], facts["experiment"], facts["parent"]) == ("project", "my_exp", "abc")
    assert (facts["status"], facts["attempts"]) == ("running", [])
    assert {"python", "torch", "numpy"} <= set(facts["versions"])
    assert load(run.hyperparams_file) == {"lr": 0.1, "api_key": "<redacted>"}
    listing = (run.path / "hyperparams_list.txt").read_text()
    assert listing == "lr:\t0.1\napi_key:\t<redacted>\n"
    assert load(run.environment_file)["variables"]["CUDA_VISIBLE_DEVICES"] == "0"
    assert (run.path / "train.py").read_bytes() == b"print('hi')\r\n# \xff"
    assert not (run.path / "source_code.zip").exists()
    everything = b"".join(p.read_bytes() for p in run.path.rglob("*") if p.is_file())
    assert b"hunter2" not in everything


def test_a_package_that_is_not_installed_has_no_version(monkeypatch):
    monkeypatch.setattr(facts, "_PACKAGES", ("torch", "no-such-package"))
    assert set(facts.versions()) == {"python", "torch"}


def test_two_runs_have_two_ids(tmp_path):
    runs = [ExperimentFolder.create(tmp_path, "p", "e") for _ in range(2)]
    for run in runs:
        run.write_start({})
    assert len({run.run()["id"] for run in runs}) == 2
    assert {run.run()["experiment"] for run in runs} == {"e"}


def test_a_script_with_a_secret_is_copied_without_it(run, tmp_path):
    script = tmp_path / "train.py"
    script.write_text(f"KEY = '{TOKEN}'\n")
    run.write_start({}, Provenance(script=script))
    assert (run.path / "train.py").read_text() == "KEY = '<redacted>'\n"


def test_a_script_must_be_a_file(run, tmp_path):
    with pytest.raises(ExperimentSetupError, match="must be a file"):
        run.write_start({}, Provenance(script=tmp_path / "none.py"))


def test_a_program_that_is_no_file_is_not_kept(run, monkeypatch):
    monkeypatch.setattr(sys.modules["__main__"], "__file__", "/nowhere/<stdin>", raising=False)
    run.write_start({})
    assert run.run_file.exists()
    assert not list(run.path.glob("*.py"))


def test_attempts_and_status(run):
    run.write_start({})
    run.finish("failed")
    assert run.run()["status"] == "failed"
    run.begin_attempt(1, 0)
    run.finish("interrupted")
    run.begin_attempt(2, 40)
    assert run.run()["status"] == "running"
    first, second = run.run()["attempts"]
    assert (first["number"], first["from_step"], first["status"]) == (1, 0, "interrupted")
    assert first["pid"] == os.getpid()
    assert (second["number"], second["from_step"]) == (2, 40)
    assert "ended" not in second
    run.finish("completed")
    assert run.run()["attempts"][1]["status"] == "completed"


def test_an_attempt_without_a_farewell_has_died(run):
    run.write_start({})
    run.begin_attempt(1, 0)
    run.begin_attempt(2, 40)
    first, second = run.run()["attempts"]
    assert first["status"] == "died"
    assert "status" not in second


def test_a_start_that_failed_says_why(run):
    run.write_start({})
    run.abandon("UploadError: https://me:hunter2@example.com is down")
    assert run.run()["status"] == "failed"
    assert run.run()["reason"] == "UploadError: https://me:<redacted>@example.com is down".replace(
        "me:<redacted>", "<redacted>"
    )


def test_a_folder_that_is_no_run(tmp_path, run):
    with pytest.raises(RunFolderError, match=r"ExperimentFolder\.create"):
        ExperimentFolder(tmp_path / "none")
    with pytest.raises(RunFolderError, match="write_start"):
        run.run()
    run.run_file.write_text("[1]")
    with pytest.raises(RunFolderError, match="a JSON object was expected"):
        run.run()
    run.run_file.write_text('{"format": "tt-run/2"}')
    with pytest.raises(RunFolderError, match=r"format tt-run/1. Got 'tt-run/2'"):
        run.run()
    run.run_file.write_text("[" * 200_000)
    with pytest.raises(RunFolderError, match="nested"):
        run.run()


def test_the_seal_covers_every_file_and_shows_a_change(run):
    run.write_start({})
    run.checkpoints.mkdir()
    (run.checkpoints / "file").write_text("a")
    (run.path / ".tmp-x").write_text("unfinished")
    (run.path / "link").symlink_to("/etc/hostname")
    manifest = load(run.seal())
    assert manifest["format"] == "tt-run/1"
    assert {"run.json", "environment.json", "checkpoint_model/file"} <= set(manifest["files"])
    assert not {"MANIFEST.json", ".tmp-x", "link"} & set(manifest["files"])
    run.verify()
    run.seal()
    run.verify()
    (run.checkpoints / "file").write_text("b")
    with pytest.raises(CorruptCheckpoint, match="sha256"):
        run.verify()
    run.begin_attempt(1, 0)
    assert not run.manifest_file.exists()


def test_the_seal_does_not_vouch_for_a_checkpoint_that_was_damaged_before(run):
    run.write_start({})
    store = CheckpointFolder(run.checkpoints)
    store.save({"model": {"w": torch.ones(3)}}, step=1, scores={}).wait_committed()
    run.seal()
    run.verify()
    file = run.checkpoints / "step-0000000001" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    run.seal()
    with pytest.raises(CorruptCheckpoint, match=r"model.safetensors is not what was written"):
        run.verify()


def test_git_facts_and_diff(run, tmp_path):
    repository = tmp_path / "repo"
    repository.mkdir()
    git(repository, "init", "-q", "-b", "main")
    git(repository, "remote", "add", "origin", "https://me:hunter2@example.com/x.git")
    for name in ("train.py", ".env", "server.pem"):
        (repository / name).write_text("a = 1\n")
    git(repository, "add", "-f", ".")
    git(repository, "commit", "-q", "-m", "first")
    (repository / "train.py").write_text(f"a = 2\nkey = '{TOKEN}'\n")
    (repository / ".env").write_text("PASSWORD=hunter2\n")
    (repository / "server.pem").write_text("hunter2\n")
    (repository / "new.py").write_text("")
    run.write_start({}, Provenance(script=repository / "train.py"))
    facts = load(run.git_file)
    assert len(facts["commit"]) == 40
    assert facts["branch"] == "main"
    assert facts["remote"] == "https://<redacted>@example.com/x.git"
    assert (facts["changed_files"], facts["untracked_files"], facts["diff_cut"]) == (3, 1, False)
    diff = (run.path / "git.diff").read_text()
    assert "+a = 2" in diff
    assert "+key = '<redacted>'" in diff
    assert "hunter2" not in diff


def test_a_clean_repository_has_no_diff(run, tmp_path):
    git(tmp_path, "init", "-q")
    script = tmp_path / "train.py"
    script.write_text("")
    git(tmp_path, "add", "train.py")
    git(tmp_path, "commit", "-q", "-m", "first")
    run.write_start({}, Provenance(script=script))
    assert load(run.git_file)["changed_files"] == 0
    assert not (run.path / "git.diff").exists()


def test_without_git_nothing_is_said(run, tmp_path, monkeypatch):
    monkeypatch.setattr(facts.shutil, "which", lambda _: None)
    script = tmp_path / "train.py"
    script.write_text("")
    run.write_start({}, Provenance(script=script))
    assert not run.git_file.exists()


def test_a_git_that_fails_is_no_git(tmp_path):
    assert facts.git_state(tmp_path) is None
    assert facts._output([sys.executable, "-c", "raise SystemExit(1)"]) is None
    assert facts._output([str(tmp_path / "none")]) is None


def source_tree(root):
    files = {
        "train.py": "print(1)",
        "pkg/model.py": "x = 1",
        "pkg/leak.py": f"key = '{TOKEN}'",
        ".env": "A=1",
        ".env.local": "A=1",
        "server.pem": "x",
        "id_rsa": "x",
        "my.key": "x",
        ".git/config": "x",
        ".ssh/known": "x",
        "__pycache__/a.pyc": "x",
        "old.pyc": "x",
        "venv/pyvenv.cfg": "x",
        "venv/lib.py": "x",
        "runs/exp/run.json": "{}",
        "runs/exp/train.py": "x",
        "big.py": "x" * 1_000_001,
        "weights.bin": "x",
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    (root / "passwd").symlink_to("/etc/passwd")
    (root / "loop").symlink_to(root)
    return root


def test_the_source_zip_holds_sources_and_says_what_it_leaves_out(run, tmp_path):
    first = source_tree(tmp_path / "code")
    second = tmp_path / "other" / "code"
    second.mkdir(parents=True)
    (second / "b.py").write_text("b")
    run.write_start({}, Provenance(source_dirs=[first, second]))
    with zipfile.ZipFile(run.path / "source_code.zip") as archive:
        names = set(archive.namelist())
        manifest = json.loads(archive.read("source_manifest.json"))
    assert names == {"code/train.py", "code/pkg/model.py", "code_2/b.py", "source_manifest.json"}
    assert set(manifest["files"]) == names - {"source_manifest.json"}
    left = manifest["left_out"]
    assert set(left) == {
        *(f"code/{n}" for n in (".env", ".env.local", "server.pem", "id_rsa", "my.key")),
        "code/pkg/leak.py",
        "code/big.py",
        "code/weights.bin",
        "code/passwd",
    }
    assert "secret" in left["code/pkg/leak.py"]
    assert "too many" in left["code/big.py"]
    assert "regular" in left["code/passwd"] or "kind" in left["code/passwd"]
    assert "kind of source" in left["code/weights.bin"]


def test_of_a_repository_the_tracked_sources_are_kept(run, tmp_path):
    for name in ("pkg/train.py", "pkg/data.bin", "pkg/draft.py", "other.py", "pkg/.env"):
        (tmp_path / "repo" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "repo" / name).write_text("a = 1\n")
    git(tmp_path / "repo", "init", "-q")
    git(tmp_path / "repo", "add", "-f", "pkg/train.py", "pkg/data.bin", "pkg/.env", "other.py")
    (tmp_path / "repo/pkg/train.py").write_text("a = 2\n")
    run.write_start({}, Provenance(source_dirs=[tmp_path / "repo/pkg"]))
    with zipfile.ZipFile(run.path / "source_code.zip") as archive:
        assert archive.read("pkg/train.py") == b"a = 2\n"
        manifest = json.loads(archive.read("source_manifest.json"))
    assert set(manifest["files"]) == {"pkg/train.py", "pkg/data.bin"}
    assert manifest["left_out"] == {
        "pkg/.env": "a name that private keys have",
        "pkg/draft.py": "not tracked by git",
    }


def test_the_source_zip_is_bounded_and_survives_an_unreadable_file(run, tmp_path, monkeypatch):
    from tt_experiment._origin import source

    monkeypatch.setattr(source, "_MAX_TOTAL", 10)
    for name in ("a.py", "b.py", "c.py"):
        (tmp_path / name).write_text("123456")
    real = source.Path.read_bytes

    def read_bytes(path):
        if path.name == "b.py":
            raise OSError(5, os.strerror(5))
        return real(path)

    monkeypatch.setattr(source, "_MAX_TOTAL", 12)
    monkeypatch.setattr(source.Path, "read_bytes", read_bytes)
    (tmp_path / "d.py").write_text("1")
    content = source.source_zip([tmp_path])
    monkeypatch.undo()
    (tmp_path / "zip").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "zip") as archive:
        left = json.loads(archive.read("source_manifest.json"))["left_out"]
    assert {name.split("/")[1]: reason.split(":")[0] for name, reason in left.items()} == {
        "b.py": "not readable",
        "d.py": "1 bytes are too many",
    }


def test_secrets_of_the_command_line_are_not_written_down(run, monkeypatch):
    words = "t.py --token=abc --api-key abc db.password=hunter --api-key=a next --num-tokens 5"
    monkeypatch.setattr(sys, "orig_argv", ["python", *words.split()])
    run.write_start({}, Provenance(diff=False))
    assert " ".join(load(run.environment_file)["command"]["argv"][1:]) == (
        "t.py --token=<redacted> --api-key <redacted> db.password=<redacted> "
        "--api-key=<redacted> next --num-tokens 5"
    )
