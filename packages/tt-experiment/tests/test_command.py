"""The command, through its exit status and what it writes."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from tt_experiment._command.main import main
from tt_experiment._lock import RunLock
from tt_experiment._runs.seeds import groups_of_seeds, interval, t_quantile
from tt_experiment.checkpoints import CheckpointFolder
from tt_experiment.folder import ExperimentFolder
from tt_experiment.results import save_model
from tt_experiment.runs import summarise

COMMAND = [sys.executable, "-m", "tt_experiment"]


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
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words):
        status = main([str(word) for word in words])
        return Answer(status, *capsys.readouterr())

    return run


def make(root, name, project="p", **options):
    """A finished run, made quickly."""
    path = Path(root, project, name)
    path.mkdir(parents=True)
    facts = {"id": f"id-{name}", "status": "completed", "created": "2026-01-02T03:04:05+00:00"}
    facts |= {"attempts": [], "parent": None, "project": project, "experiment": name.split("_")[0]}
    (path / "run.json").write_text(
        json.dumps({"format": "tt-run/1", **facts, **options.get("run", {})})
    )
    (path / "hyperparams.json").write_text(json.dumps(options.get("params", {})))
    if metrics := options.get("metrics"):
        (path / "metrics").mkdir()
        lines = [{"resumed_from_step": 0}]
        for name, values in metrics.items():
            for step, value in enumerate(values, 1):
                nonfinite = {} if math.isfinite(value) else {"nonfinite": {name: str(value)}}
                values_ = {name: None if nonfinite else value}
                lines.append(
                    {"step": step, "epoch": 0, "time": 1e9 + step, "values": values_} | nonfinite
                )
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (path / "metrics" / "0001.jsonl").write_text(text)
    if results := options.get("results"):
        (path / "results").mkdir()
        (path / "results" / "results.json").write_text(json.dumps({"results": results}))
    return path


def with_checkpoints(root, name, steps=(1, 2, 3), **options):
    path = make(root, name, **options)
    store = CheckpointFolder(path / "checkpoint_model")
    for step in steps:
        tree = {"model": {"w": torch.full((3,), float(step))}}
        store.save(tree, step=step, scores={"val_loss": abs(step - 2.0)}).wait_committed()
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


# list, show


def test_list_shows_the_newest_first(run, tmp_path):
    for day in (2, 1, 3):
        make(tmp_path, f"e_{day}", run={"created": f"2026-01-0{day}T00:00:00+00:00"})
    answer = run("list")
    lines = answer.out.splitlines()
    assert [line.split()[0] for line in lines] == ["run", "e_3", "e_2", "e_1"]
    assert lines[1].split() == ["e_3", "completed", "2026-01-03", "00:00:00"]
    assert answer.err == "3 runs\n"
    assert answer.status == 0


def test_list_filters_and_orders(run, tmp_path):
    for number, lr in enumerate([0.1, 0.01, 0.001]):
        make(tmp_path, f"e_{number}", params={"lr": lr}, metrics={"val_acc": [0.5, number / 10]})
    answer = run("list", "--where", "lr>=0.01 and status!=failed", "--sort", "-val_acc")
    assert [line.split()[0] for line in answer.out.splitlines()[1:]] == ["e_1", "e_0"]
    assert answer.out.splitlines()[0].split()[-1] == "val_acc"  # what it is ordered by is shown
    answer = run("list", "--sort", "lr", "--columns", "lr,max.val_acc", "--limit", "1")
    assert answer.out.split()[-2:] == ["0.001", "0.5"]
    assert answer.err == "1 of 3 runs\n"


def test_list_as_json_has_stable_keys_and_no_nan(run, tmp_path):
    path = make(
        tmp_path,
        "e_1",
        params={"a": {"b": [1]}},
        metrics={"loss": [3.0, math.nan]},
        results={"pkg": {"f1": 0.5}},
    )
    answer = run("list", "--json")
    assert answer.json == {
        "runs": [
            {
                "path": str(path),
                "id": "id-e_1",
                "project": "p",
                "experiment": "e",
                "name": "e_1",
                "status": "completed",
                "created": "2026-01-02T03:04:05+00:00",
                "ended": None,
                "attempts": 0,
                "parent": None,
                "hyperparams": {"a.b": "[1]"},
                "metrics": {
                    "loss": {
                        "points": 2,
                        "first_step": 1,
                        "last_step": 2,
                        "last": None,
                        "min": 3.0,
                        "min_step": 1,
                        "max": 3.0,
                        "max_step": 1,
                    }
                },
                "results": {"pkg/f1": 0.5},
                "problems": [],
            }
        ]
    }
    more = {"failure": None, "checkpoints": []}
    assert run("show", "e_1", "--json").json == answer.json["runs"][0] | more
    assert answer.err == ""


def test_list_of_nothing(run):
    assert run("list") == (0, "", "0 runs\n")
    assert run("list", "--json").json == {"runs": []}


def test_show_tells_all(run, tmp_path):
    make(tmp_path, "e_1", params={"lr": 0.1}, metrics={"loss": [3.0, 2.0]}, results={"p": {"f": 1}})
    answer = run("show", "id-e_1")
    for words in (
        ["lr", "0.1"],
        ["loss", "2", "2", "2", "2", "3", "1"],
        ["p/f", "1"],
        ["id", "id-e_1"],
    ):
        assert words in [line.split() for line in answer.out.splitlines()]


def test_show_lists_the_checkpoints(run, tmp_path):
    path = with_checkpoints(tmp_path, "e_1")
    best = {"step": 2, "metric": "val_loss", "mode": "min", "value": 0.0}
    (path / "events.jsonl").write_text(json.dumps({"kind": "best", "data": best}) + "\n")
    manifest = path / "checkpoint_model" / "step-0000000001" / "MANIFEST.json"
    manifest.write_bytes(manifest.read_bytes()[:-9])
    assert run("pin", "e_1", 2, "--reason", "paper\x1b[31m").status == 0
    answer = run("show", "e_1")
    head, newest, older = answer.out.splitlines()[-3:]
    assert head.split() == ["checkpoint", "val_loss", "size", "saved"]
    assert newest.split()[:2] == ["3", "1"]
    assert newest.endswith("latest")
    assert older.split()[:2] == ["2", "0"]
    assert older.endswith("best val_loss, pinned: paper?[31m")
    assert "step-0000000001" in answer.err
    found = run("show", "e_1", "--json").json["checkpoints"]
    assert [(each["step"], each["scores"]) for each in found] == [
        (3, {"val_loss": 1.0}),
        (2, {"val_loss": 0.0}),
    ]
    assert [each["pinned"] for each in found] == [None, "paper\x1b[31m"]


def test_show_tells_why_a_run_failed(run, tmp_path):
    path = make(tmp_path, "e_1", run={"status": "failed"})
    data = {"type": "RuntimeError", "text": "no memory\x1b[2J"}
    (path / "events.jsonl").write_text(json.dumps({"kind": "exception", "data": data}) + "\n")
    assert "RuntimeError: no memory?[2J" in run("show", "e_1").out


def test_hyperparameters_that_differ_never_look_the_same(run, tmp_path):
    for number, lr in enumerate([0.100001, 0.100002]):
        make(tmp_path, f"e_{number}", params={"lr": lr}, metrics={"loss": [0.5]})
    rows = [line.split() for line in run("compare", "--all", "--diff-only").out.splitlines()]
    assert sorted(rows[-1]) == ["0.100001", "0.100002", "lr"]
    rows = [line.split() for line in run("leaderboard", "loss").out.splitlines()[1:]]
    assert sorted(row[3] for row in rows) == ["0.100001", "0.100002"]
    assert "0.100002" in run("show", "e_1").out


def test_a_run_of_a_hand_written_loop_can_be_ranked(run, tmp_path):
    path = make(tmp_path, "e_1", results={"p": {"f": 1}})
    history = {"loss": [3.0, 1.0, 2.0], "note": ["x"], "big": [10**400], "odd": 5}
    document = {"results": {"p": {"f": 1}}, "training_history": history}
    (path / "results" / "results.json").write_text(json.dumps(document))
    (place,) = run("leaderboard", "best.loss", "--json").json["places"]
    assert place["mean"] == 1.0
    assert list(run("show", "e_1", "--json").json["metrics"]) == ["loss"]


def test_a_step_that_no_number_holds_hides_no_run(run, tmp_path):
    path = make(tmp_path, "e_1", metrics={"loss": [3.0, 2.0]})
    make(tmp_path, "e_2", metrics={"loss": [2.0, 1.0]})
    with (path / "metrics" / "0001.jsonl").open("a") as file:
        file.write(json.dumps({"step": 10**30, "epoch": 0, "values": {"loss": 1.0}}) + "\n")
    assert run("compare", "--all", "--html", "page.html").status == 0
    assert run("show", "e_1", "--json").json["metrics"]["loss"]["points"] == 2
    assert "line 4: not a known record" in run("verify", "e_1").out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_output_that_cannot_be_written_is_told_in_one_line(tmp_path, options):
    make(tmp_path, "e_1")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, "list", "--root", str(tmp_path), *options],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["tt-experiment: [Errno 28] No space left on device"]


def test_show_of_a_damaged_run(run, tmp_path):
    path = make(tmp_path, "e_1")
    (path / "run.json").write_text("{")
    answer = run("show", "e_1")
    assert answer.status == 0
    assert "run.json" in answer.err
    assert "damaged" in answer.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["list", "--where", "los<1"], "did you mean loss"),
        (["list", "--where", "loss<"], "a filter must have"),
        (["list", "--sort", "nothing"], "must be one that a run has"),
        (["list", "--columns", "nothing"], "must be one that a run has"),
        (["show", "nobody"], "a run is named by"),
        (["show", "e"], "means 2"),
        (["list", "--root", "nowhere"], "the root is the folder"),
        (["compare"], "name runs"),
        (["compare", "e_1", "--all"], "not both"),
        (["compare", "--where", "loss>99"], "no run passes"),
        (["gc", "--all", "--whole-runs", "--keep-last", "1"], "leave --keep-last"),
        (["export", "e_1", "--to", "csv", "--target", "x", "--step", "1"], "--to pth"),
        (["import", "aitoolbox", "nowhere"], "is a folder <name>"),
    ],
)
def test_what_is_wrong_with_a_command_line(run, tmp_path, words, message):
    for number in (1, 2):
        make(tmp_path, f"e_{number}", metrics={"loss": [1.0]})
    answer = run(*words)
    assert message in answer.err
    assert answer.status == (1 if words[0] == "import" else 2)
    report = run(*words, "--json").json
    assert (report["status"], message in report["message"]) == (answer.status, True)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["nonsense"],
        ["list", "--limit", "0"],
        ["gc", "--all", "--older-than", "3"],
        ["gc", "--all", "--keep-best", "val_loss"],
        ["gc", "--all", "--keep-best", "val_loss:low"],
        ["export", "x", "--to", "word", "--target", "y"],
        ["import", "wandb", "x"],
    ],
)
def test_what_argparse_refuses(run, words):
    assert run(*words).status == 2


def test_help_tells_exit_statuses(run):
    answer = run("gc", "--help")
    assert answer.status == 0
    assert "exit status:" in answer.out
    assert "TT_EXPERIMENT_ROOT" in run("--help").out
    assert run("--version").out.startswith("tt-experiment ")


def test_the_root(run, tmp_path, monkeypatch):
    monkeypatch.delenv("TT_EXPERIMENT_ROOT")
    make(tmp_path / "other", "e_2")
    make(tmp_path, "e_1")
    assert "e_1" in run("list").out
    make(tmp_path / "experiments", "e_3")
    assert "e_3" in run("list").out
    assert "e_2" in run("list", "--root", "other").out


def test_a_run_whose_process_is_gone_has_died(run, tmp_path):
    path = make(tmp_path, "e_1", run={"status": "running"})
    assert " running " in run("list").out  # without a lock nobody can tell
    lock = RunLock(path)
    lock.acquire()
    assert " running " in run("list").out
    lock.release()
    assert " died " in run("list").out
    assert "e_1" in run("list", "--where", "status==died").out


# What the terminal sees


HOSTILE = "\x1b[31mred\x07\u202egnp\x9b\r\nline"


def test_names_cannot_steer_the_terminal(run, tmp_path):
    make(
        tmp_path,
        "e_\x1b]0;title\x07",
        params={HOSTILE: HOSTILE},
        metrics={HOSTILE: [1.0]},
        run={"status": HOSTILE},
        results={HOSTILE: {"x": 1}},
    )
    name = Path(next(iter(tmp_path.glob("p/*")))).name
    for words in (
        ["list"],
        ["show", name],
        ["compare", name],
        ["verify", "--all"],
        ["leaderboard", f"`{HOSTILE}`"],
        ["list", "--where", HOSTILE],
        ["gc", "--all"],
        ["show", HOSTILE],
    ):
        answer = run(*words)
        for text in (answer.out, answer.err):
            assert not {c for c in text if c != "\n" and unicodedata.category(c)[0] == "C"}
    assert "\x1b" not in run("list", "--json").out


@pytest.mark.parametrize("width", [20, 40, 80])
def test_tables_fit_the_terminal(tmp_path, width):
    for number in range(3):
        name = f"e{'x' * 60 * number}_{number}"
        make(tmp_path, name, params={"text": "ü語" * 30, "lr": 0.1}, metrics={"loss": [0.123456]})
    text = on_a_terminal(tmp_path, width, "list", "--columns", "lr,loss,text")
    assert len(text.splitlines()) >= 4
    assert "\x1b[1m" in text
    assert "\x1b[" not in on_a_terminal(tmp_path, width, "list", NO_COLOR="1")

    for line in on_a_terminal(
        tmp_path, width, "list", "--columns", "lr,loss,text", NO_COLOR="1"
    ).splitlines()[:4]:
        wide = sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in line)
        assert wide <= width
    assert re.search(r"\x1b\[32mcomp", text)


def on_a_terminal(root, width, *words, **environment):
    """What the command writes to a pseudo terminal."""
    import pty

    main_end, end = pty.openpty()
    env = {**os.environ, "COLUMNS": str(width), "TT_EXPERIMENT_ROOT": str(root), "TERM": "xterm"}
    env.pop("NO_COLOR", None)
    process = subprocess.Popen(
        [*COMMAND, *words], stdout=end, stderr=subprocess.DEVNULL, env={**env, **environment}
    )
    os.close(end)
    text = b""
    while True:
        try:
            part = os.read(main_end, 4096)
        except OSError:
            break
        if not part:
            break
        text += part
    os.close(main_end)
    assert process.wait(60) == 0
    return text.decode().replace("\r\n", "\n")


@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_error(tmp_path):
    for number in range(400):
        make(tmp_path, f"e_{number}")
    command = f"{sys.executable} -m tt_experiment list --root '{tmp_path}' | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert done.stdout.startswith("run ")
    assert "rror" not in done.stderr
    closed = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m tt_experiment list --root '{tmp_path}' >&-"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert closed.returncode == 0


LIGHT = """
import sys
from tt_experiment._command.main import main
status = main(sys.argv[1:])
heavy = {"torch", "numpy", "matplotlib", "safetensors"} & set(sys.modules)
print(status, sorted(heavy), file=sys.stderr)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["list", "--where", "loss<9", "--sort", "-loss"],
        ["show", "e_1"],
        ["compare", "--all"],
        ["leaderboard", "loss", "--mode", "min"],
        ["verify", "--all"],
        ["--help"],
    ],
)
def test_looking_loads_nothing_heavy(tmp_path, words):
    make(tmp_path, "e_1", metrics={"loss": [1.0]}, params={"seed": 1})
    command = [sys.executable, "-c", LIGHT, *words]
    environment = {**os.environ, "TT_EXPERIMENT_ROOT": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert done.stderr.splitlines()[-1] == "0 []"


def test_ctrl_c_is_an_exit_status(run, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("tt_experiment._command.chosen.read_summaries", interrupt)
    assert run("list") == (130, "", "tt-experiment: stopped\n")


def test_what_nobody_expects_is_one_line_and_more_only_if_asked(run, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("tt_experiment._command.chosen.read_summaries", fail)
    assert run("list") == (1, "", "tt-experiment: by zero\n")
    assert "chosen.py" in run("list", "--verbose").err
    assert run("list", "--json").json == {
        "error": "ZeroDivisionError",
        "message": "by zero",
        "status": 1,
    }


# compare, leaderboard


def test_compare_puts_values_side_by_side(run, tmp_path):
    for number in (1, 2):
        make(
            tmp_path,
            f"e_{number}",
            params={"lr": number / 10, "same": "x", "status": "odd"},
            metrics={"loss": [number]},
            results={"pkg": {"f1": 0.5}},
        )
    rows = [line.split() for line in run("compare", "e_1", "e_2").out.splitlines()]
    assert rows[0] == ["e_1", "e_2"]
    for row in (
        ["lr", "0.1", "0.2"],
        ["same", "x", "x"],
        ["loss", "1", "2"],
        ["pkg/f1", "0.5", "0.5"],
    ):
        assert row in rows
    assert ["param.status", "odd", "odd"] in rows  # the fact of that name has a row of its own
    rows = [line.split() for line in run("compare", "--all", "--diff-only").out.splitlines()]
    assert {row[0] for row in rows[1:]} == {"lr", "loss"}
    document = run("compare", "e_2", "e_1", "--json").json
    assert [each["name"] for each in document["runs"]] == ["e_2", "e_1"]
    assert document["differs"] == ["lr", "loss"]


def test_compare_writes_a_page(run, tmp_path):
    for number in (1, 2):
        make(tmp_path, f"e_{number}", params={"lr": number}, metrics={"loss": [2.0, 1.0]})
    answer = run("compare", "--all", "--html", "page.html")
    assert (answer.status, answer.out) == (0, "")
    assert "<html" in (tmp_path / "page.html").read_text()


def test_the_leaderboard_puts_seeds_together(run, tmp_path):
    values = {0.1: [1.0, 2.0, 4.0], 0.2: [0.5], 0.3: [math.nan, 9.0]}
    for lr, losses in values.items():
        for seed, loss in enumerate(losses):
            params = {"lr": lr, "seed": seed, "data_seed": seed}
            make(tmp_path, f"e_{lr}_{seed}", params=params, metrics={"loss": [7.0, loss]})
    make(tmp_path, "e_without", params={"lr": 0.4})
    document = run("leaderboard", "loss", "--json").json
    assert (document["metric"], document["mode"]) == ("loss", "min")
    assert [place["group"]["lr"] for place in document["places"]] == [0.2, 0.1, 0.3]
    first, second, third = document["places"]
    assert (first["mean"], first["half_interval_95"], first["n"]) == (0.5, None, 1)
    mean = 7 / 3
    spread = math.sqrt(sum((x - mean) ** 2 for x in values[0.1]) / 2)
    assert second["mean"] == pytest.approx(mean)
    assert second["half_interval_95"] == pytest.approx(4.302652729911275 * spread / math.sqrt(3))
    assert (second["n"], len(second["runs"]), third["n"], third["mean"]) == (3, 3, 1, 9.0)
    answer = run("leaderboard", "loss")
    assert answer.out.splitlines()[0].split() == ["loss", "±", "95", "%", "n", "lr", "run"]
    assert answer.out.splitlines()[1].split()[:4] == ["1", "0.5", "1", "0.2"]
    assert "smaller is better; 1 without a value" in answer.err
    places = run("leaderboard", "loss", "--mode", "max", "--limit", "1", "--json").json["places"]
    assert [place["group"]["lr"] for place in places] == [0.3]
    places = run("leaderboard", "best.loss", "--group-by", "project", "--json").json["places"]
    assert [(place["n"], place["group"]) for place in places] == [(6, {"project": "p"})]


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [
        (1, 12.706205),
        (2, 4.302653),
        (3, 3.182446),
        (10, 2.228139),
        (30, 2.042272),
        (1000, 1.962339),
    ],
)
def test_quantiles_of_student(freedom, quantile):
    assert t_quantile(freedom) == pytest.approx(quantile, abs=1e-5)


def test_an_interval_of_odd_values():
    assert math.isnan(interval([]).mean)
    assert interval([math.nan, math.inf, 3.0])[::2] == (3.0, 1)
    assert interval([2.0, 2.0, 2.0]) == (2.0, 0.0, 3)


def test_groups_tell_values_of_other_kinds_apart(tmp_path):
    runs = [
        summarise(make(tmp_path, f"e_{i}", params={"x": x, "Model.SEED": i}))
        for i, x in enumerate([1, 1.0, True, "1", 1])
    ]
    assert [len(members) for _, members in groups_of_seeds(runs)] == [2, 1, 1, 1]


# report, verify


def test_report_writes_pages_and_does_not_vouch_for_the_rest(run, tmp_path):
    path = make(tmp_path, "e_1", metrics={"loss": [2.0, 1.0]})
    ExperimentFolder(path).seal()
    assert run("report", "e_1").status == 0
    assert (path / "results" / "report.html").is_file()
    assert run("verify", "e_1").status == 0
    (path / "hyperparams.json").write_text('{"lr": 2}')
    assert run("report", "e_1").status == 0
    answer = run("verify", "e_1")
    assert answer.status == 4
    assert "corrupt hyperparams.json" in answer.out


def test_report_goes_on_with_the_others(run, tmp_path):
    path = make(tmp_path, "e_1")
    make(tmp_path, "e_2")
    (path / "run.json").write_text("{")
    answer = run("report", "--all", "--json")
    assert answer.status == 1
    assert answer.json == {
        "written": [str(tmp_path / "p" / "e_2" / "results" / "report.html")],
        "failed": [str(path)],
    }


def sealed(root, name="e_1"):
    path = with_checkpoints(root, name, metrics={"loss": [2.0]}, results={"p": {"f": 1}})
    folder = ExperimentFolder(path)
    save_model(folder, {"w": torch.ones(3)})
    folder.seal()
    return path


FILES = [
    "run.json",
    "hyperparams.json",
    "metrics/0001.jsonl",
    "MANIFEST.json",
    "results/results.json",
    "checkpoint_model/LATEST",
    "checkpoint_model/step-0000000002/MANIFEST.json",
    "checkpoint_model/step-0000000002/model.safetensors",
    "checkpoint_model/step-0000000002/state.json",
    "model/model.safetensors",
    "model/MANIFEST.json",
]


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return sealed(tmp_path_factory.mktemp("sealed"))


@pytest.fixture
def copy(run, tmp_path, original):
    return shutil.copytree(original, tmp_path / "p" / original.name)


def findings(answer):
    return {(f["kind"], f["file"]) for r in answer.json["runs"] for f in r["findings"]}


def test_verify_of_a_whole_run(run, copy):
    before = contents(copy)
    assert run("verify", "--all").status == 0
    assert run("verify", "--all", "--json").json == {
        "runs": [{"path": str(copy), "sealed": True, "whole": True, "findings": []}]
    }
    assert contents(copy) == before


@pytest.mark.parametrize("name", FILES)
def test_verify_finds_every_flipped_bit_and_every_missing_file(run, copy, name):
    path = copy / name
    data = bytearray(path.read_bytes())
    for place in (0, len(data) // 2, len(data) - 1):
        broken = bytearray(data)
        broken[place] ^= 0x10
        path.write_bytes(broken)
        answer = run("verify", "e_1", "--json")
        assert answer.status == 4
        assert ("corrupt", name) in findings(answer)
    path.write_bytes(data[: len(data) // 2])
    assert run("verify", copy).status == 4
    path.unlink()
    answer = run("verify", copy, "--json")
    if name == "MANIFEST.json":  # then it is a run that is not sealed
        assert answer.status == 0
        assert "not sealed" in run("verify", copy).out
    else:
        assert answer.status == 4
        assert ("missing", name) in findings(answer)


def test_verify_tells_what_is_extra_torn_newer_or_linked(run, copy, tmp_path):
    (copy / "notes.txt").write_text("mine")
    (copy / "checkpoint_model" / "step-0000000002" / "more").write_text("x")
    answer = run("verify", "e_1", "--json")
    assert findings(answer) == {
        ("extra", "notes.txt"),
        ("extra", "checkpoint_model/step-0000000002/more"),
    }
    assert answer.status == 0
    (copy / "MANIFEST.json").unlink()
    with (copy / "metrics" / "0001.jsonl").open("a") as file:
        file.write('{"step": 3, "val')
    answer = run("verify", "e_1", "--json")
    assert ("torn", "metrics/0001.jsonl") in findings(answer)
    assert answer.status == 0
    weights = copy / "model" / "model.safetensors"
    weights.rename(tmp_path / "moved")
    weights.symlink_to(tmp_path / "moved")
    assert ("corrupt", "model/model.safetensors") in findings(run("verify", "e_1", "--json"))


def test_verify_of_a_newer_format(run, copy):
    from tt_experiment._manifest import Manifest

    folder = copy / "checkpoint_model" / "step-0000000003"
    manifest = Manifest.read(folder, "tt-checkpoint/1")
    newer = Manifest("tt-checkpoint/2", manifest.facts, manifest.files)
    (folder / "MANIFEST.json").write_bytes(newer.dumps())
    (copy / "MANIFEST.json").unlink()
    answer = run("verify", "e_1", "--json")
    assert findings(answer) == {("newer", "checkpoint_model/step-0000000003/MANIFEST.json")}
    assert answer.status == 4


# pin


def test_pins(run, copy):
    assert run("pin", "e_1").out == ""
    assert run("pin", "e_1", "2", "--reason", "paper").out == "step-0000000002  paper\n"
    assert run("pin", "e_1", "--json").json["pinned"] == [
        {"name": "step-0000000002", "step": 2, "reason": "paper"}
    ]
    assert run("verify", "e_1").status == 0
    assert run("unpin", "e_1", "2").status == 0
    assert run("pin", "e_1").out == ""
    assert run("pin", "e_1", "9").status == 1
    assert run("verify", "e_1").status == 0


def test_doctor(run):
    document = run("doctor", "--json").json
    states = {check["name"]: check["state"] for check in document["checks"]}
    assert states["durability"] in ("ok", "warning")
    assert (states["locks"], states["clock"], states["torch"]) == ("ok", "ok", "ok")
    assert run("doctor").status == 0
    assert list(Path(document["root"]).iterdir()) == []
