import json
import math
import re
import statistics

import pytest

from tt_experiment._report.comparison_curves import overlaid
from tt_experiment._report.comparison_runs import grouped, read_runs, scores_of
from tt_experiment._report.comparison_tables import leaderboard
from tt_experiment._report.parallel import parallel
from tt_experiment.comparison import write_comparison
from tt_experiment.errors import ExperimentSetupError, RunFolderError

T_95 = {1: 12.7062, 2: 4.30265}  # Student's t, from printed tables


def make(root, number, hyperparams, losses, accuracy=None):
    """A run without the machinery that writes one, for there are many."""
    path = root / "project" / f"exp_2026-01-01_00-{number // 60:02d}-{number % 60:02d}"
    (path / "metrics").mkdir(parents=True)
    (path / "results").mkdir()
    run = {"format": "tt-run/1", "id": str(number), "project": "project", "experiment": "exp"}
    run |= {"created": "2026-01-01T00:00:00+00:00", "status": "completed", "attempts": []}
    (path / "run.json").write_text(json.dumps({**run, "versions": {"torch": "2.13"}}))
    (path / "hyperparams.json").write_text(json.dumps(hyperparams))
    lines = [{"attempt": 1, "resumed_from_step": 0}]
    lines += [
        {
            "step": i + 1,
            "epoch": i,
            "time": 10.0 * i,
            "values": {"val_loss": loss, "loss": loss / 2},
        }
        for i, loss in enumerate(losses)
    ]
    (path / "metrics" / "0001.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if accuracy is not None:
        results = {"results": {"VAL": {"Accuracy": accuracy}}}
        (path / "results" / "results.json").write_text(json.dumps(results))
    return path


@pytest.fixture
def runs(tmp_path):
    made = []
    for i, lr in enumerate([0.1, 0.01]):
        for seed in range(3):
            number = 3 * i + seed
            losses = [1.0 + seed / 10, 0.5 + lr + seed / 10, 0.4 + lr + seed / 10]
            hyperparams = {"lr": lr, "seed": seed, "model": {"name": "cnn", "width": 8}}
            made.append(make(tmp_path, number, hyperparams, losses, 0.9 - lr + seed / 100))
    return made


def rows(text, table_id):
    table = re.search(rf'<table[^>]*id="{table_id}"[^>]*>(.*?)</table>', text, re.DOTALL)[1]
    found = re.findall(r"<tr[^>]*>(.*?)</tr>", table, re.DOTALL)
    return [
        [re.sub("<[^>]*>", "", cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)]
        for row in found
    ]


def data_of(text):
    return json.loads(re.search('id="data">(.*?)</script>', text, re.DOTALL)[1])


def test_the_leaderboard_ranks_runs(runs, tmp_path):
    text = write_comparison(runs, tmp_path / "out" / "page.html").read_text()
    head, *body = rows(text, "leaderboard-table")
    assert head[:5] == ["run", "status", "VALAccuracy", "lowestval_loss", "lowestloss"]
    assert head[5:7] == ["lr", "seed"]
    assert [row[2] for row in body] == ["0.91", "0.9", "0.89", "0.82", "0.81", "0.8"]
    assert body[0][0] == runs[5].name
    best = re.findall('<td class="n best" data-value="([^"]*)">', text)
    assert [float(b) for b in best] == pytest.approx([0.91, 0.41, 0.205])
    assert "the best of 6" in text


def test_links_lead_from_the_page_to_the_reports(runs, tmp_path):
    (runs[0] / "results" / "report.html").write_text("x")
    target = tmp_path / "other folder" / "page.html"
    text = write_comparison(runs, target).read_text()
    (link,) = re.findall(r'href="([^"#d][^"]*)"', text)
    assert (target.parent / link).resolve() == (runs[0] / "results" / "report.html").resolve()


def test_seeds_are_grouped_with_mean_and_interval(runs, tmp_path):
    read = read_runs(runs)
    groups = grouped(read)
    assert [(group.name, len(group.runs)) for group in groups] == [("lr 0.1", 3), ("lr 0.01", 3)]
    text = write_comparison(runs, tmp_path / "page.html").read_text()
    accuracies = [0.9 - 0.1 + seed / 100 for seed in range(3)]
    half = T_95[2] * statistics.stdev(accuracies) / math.sqrt(3)
    assert f'0.81<span class="dim"> \N{PLUS-MINUS SIGN} {half:.2g}</span>' in text


def test_a_setting_that_ran_once_has_no_interval(tmp_path):
    made = [make(tmp_path, i, {"lr": i, "seed": 1}, [2.0, 1.0], 0.5) for i in range(2)]
    text = write_comparison(made, tmp_path / "page.html").read_text()
    assert 'id="settings"' not in text
    assert "kinds" not in data_of(text)


def test_curves_are_overlaid_with_means_and_bands(runs):
    read = read_runs(runs)
    data = overlaid(read, grouped(read)).data
    chart = data["charts"][0]
    assert chart["title"] == "val_loss"  # validation first
    single = [line for line in chart["series"] if line["kind"] == "run"]
    means = [line for line in chart["series"] if line["kind"] == "group"]
    assert [line["value"] for line in single][:2] == [[1.0, 0.6, 0.5], [1.1, 0.7, 0.6]]
    assert means[0]["value"] == pytest.approx([1.1, 0.7, 0.6])
    half = T_95[2] * 0.1 / math.sqrt(3)
    assert means[0]["low"] == pytest.approx([1.1 - half, 0.7 - half, 0.6 - half], rel=1e-5)
    assert means[0]["high"] == pytest.approx([1.1 + half, 0.7 + half, 0.6 + half], rel=1e-5)
    assert data["axes"][means[0]["axis"]]["step"] == [1, 2, 3]
    assert data["kinds"] == ["run", "group"]


def test_a_mean_is_of_the_steps_that_all_have(tmp_path):
    made = [
        make(tmp_path, 0, {"seed": 0}, [3.0, 2.0, 1.0, 0.5]),
        make(tmp_path, 1, {"seed": 1}, [1.0, math.nan, 1.0]),
    ]
    (made[1] / "metrics" / "0001.jsonl").write_text(
        (made[1] / "metrics" / "0001.jsonl").read_text().replace("NaN", "null")
    )
    read = read_runs(made)
    (mean,) = [
        line
        for line in overlaid(read, grouped(read)).data["charts"][0]["series"]
        if line["kind"] == "group"
    ]
    assert mean["value"] == [2.0, 1.0]


@pytest.mark.parametrize("count", [2, 8])
def test_only_what_differs_is_listed(tmp_path, count):
    made = [
        make(tmp_path, i, {"lr": i % 2, "same": 1, "seed": i}, [2.0, 1.0]) for i in range(count)
    ]
    (made[0] / "git.json").write_text('{"commit": "abc", "branch": "main"}')
    text = write_comparison(made, tmp_path / "page.html").read_text()
    section = text[text.index('id="differences"') :]
    assert re.findall('<th scope="row">(.*?)</th>', section) == [
        "lr",
        "seed",
        "git commit",
        "git branch",
    ]
    shown = "0 \N{MULTIPLICATION SIGN}4, 1 \N{MULTIPLICATION SIGN}4" if count == 8 else "abc"
    assert shown in section


def test_parallel_coordinates_have_an_axis_for_what_differs(runs, tmp_path):
    read = read_runs(runs)
    drawing = parallel(read, scores_of(read))
    assert re.findall('class="title"[^>]*><title>(.*?)</title>', drawing) == [
        "lr",
        "lowest val_loss",
        "VAL Accuracy",
    ]
    places = re.findall('data-places="([^"]*)"', drawing)
    assert len(places) == 6
    assert all(len(place.split(" ")) == 3 for place in places)
    best = re.search('curve q0"[^>]*data-key="run-5" data-places="([^"]*)"', drawing)[1]
    assert best.split(" ")[2] == "52.0"  # at the upper end of the last axis


def test_axes_of_texts_and_of_missing_values(tmp_path):
    values = ["adam", None, "sgd", {"deep": [1]}, True]
    made = [
        make(tmp_path, i, {"x": v, "lr": 10.0**-i}, [2.0, 1.0 + i]) for i, v in enumerate(values)
    ]
    (made[1] / "hyperparams.json").write_text("{}")
    read = read_runs(made)
    drawing = parallel(read, scores_of(read))
    assert all(label in drawing for label in (">adam<", ">sgd<", ">0.0001<", ">1<"))
    assert "nan" not in drawing.lower()


def test_too_little_to_draw(tmp_path):
    made = [make(tmp_path, i, {"a": i}, [2.0, 1.0]) for i in range(2)]
    read = read_runs(made)
    assert parallel(read, scores_of(read)) is None
    assert leaderboard(read, scores_of(read), tmp_path / "p") is not None


def test_runs_without_anything_are_shown(tmp_path):
    made = [make(tmp_path, i, {}, []) for i in range(3)]
    (made[0] / "run.json").unlink()
    (made[1] / "hyperparams.json").write_text("{")
    text = write_comparison(made, tmp_path / "page.html").read_text()
    assert "run.json: missing" in text
    assert len(rows(text, "leaderboard-table")) == 4


def test_nothing_to_compare(tmp_path):
    with pytest.raises(ExperimentSetupError, match="needs runs"):
        write_comparison([], tmp_path / "page.html")
    with pytest.raises(RunFolderError):
        write_comparison([tmp_path / "gone"], tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_hundreds_of_runs_make_a_page_of_less_than_a_megabyte(tmp_path):
    losses = [1 / (1 + i) for i in range(200)]
    made = [
        make(tmp_path, i, {"lr": 10 ** -(i % 7), "width": i % 5, "seed": i % 3}, losses, i / 300)
        for i in range(300)
    ]
    text = write_comparison(made, tmp_path / "page.html").read_text()
    assert len(text) < 1_000_000
    assert len(rows(text, "leaderboard-table")) == 301
