import html.parser
import math
import re

import pytest
import torch

from tt_experiment._report_curves import best_of, curve_cards, groups
from tt_experiment._report_parts import size
from tt_experiment._svg import Series, _thin, _ticks, line_chart, number
from tt_experiment.checkpoints import BestPolicy, CheckpointFolder
from tt_experiment.errors import RunFolderError
from tt_experiment.folder import ExperimentFolder
from tt_experiment.recorder import JsonLinesRecorder
from tt_experiment.report import write_report
from tt_experiment.results import save_results
from tt_loop.api import RunInfo

PAYLOADS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg/onload=alert(1)>",
    "</style><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "javascript:alert(1)",
    "<!--",
    "]]><x>",
    "&lt;b&gt;",
    "\x00\x1b[31m\ud800",
]
VOID = {"meta"}
TAGS = {"html", "head", "meta", "title", "style", "body", "main", "header", "section", "div", "p"}
TAGS |= {"h1", "h2", "h3", "span", "b", "code", "table", "thead", "tbody", "tr", "th", "td", "a"}
TAGS |= {"details", "summary", "svg", "line", "text", "path", "circle"}


class Page(html.parser.HTMLParser):
    """Checks that a page is well nested, of known elements, and without anything that runs."""

    def __init__(self, text):
        super().__init__()
        self.open, self.text, self.links, self.used = [], "", [], set()
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert tag in TAGS
        self.used.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            assert not name.startswith("on")
            if name in ("href", "src"):
                self.links.append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_comment(self, data):
        pytest.fail("a comment came in")

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def run(tmp_path):
    return ExperimentFolder.create(tmp_path, "project", "exp")


def fill(run, name="loss"):
    """A whole run in which everything that has a name has this one."""
    run.write_start({name: name, "nested": {name: [1, {"a": name}]}, "off": None, "empty": {}})
    recorder = JsonLinesRecorder(run)
    recorder.open(RunInfo(0, 0, 1, name))
    store = CheckpointFolder(run.checkpoints, keep_best=BestPolicy(name, "min", 3))
    for step in range(1, 4):
        recorder.scalars(step * 10, {f"val_{name}": 1 / step, f"train_{name}": step}, epoch=step)
        store.save({"model": {"w": torch.ones(1)}}, step=step, scores={name: step}).wait_committed()
    recorder.scalars(40, {f"{name} once": 0.25}, epoch=4)
    save_results(run, {name: {name: name, "matrix": [[1, 2], [3, 4]], "list": [1, name], "x": 0.5}})
    return recorder


def page(run):
    path = write_report(run)
    assert path == run.report_file
    return path.read_text("utf-8")


def test_the_page_shows_the_run(run):
    recorder = fill(run)
    recorder.close("completed")
    text = page(run)
    parsed = Page(text)
    for heading in ("Results", "Learning curves", "Hyperparameters", "Checkpoints", "Attempts"):
        assert heading in parsed.text
    for fact in (
        "exp",
        "completed",
        "nested.loss",
        "latest",
        "best",
        "loss once",
        "tt-experiment",
    ):
        assert fact in parsed.text
    assert text.count("<svg") == 1  # training and validation share one
    assert text.count('class="curve ') == 2
    assert "val_loss: 0.33333 at step 30" in parsed.text
    assert "../hyperparams.json" in parsed.links
    assert "../checkpoint_model/step-0000000001/MANIFEST.json" in parsed.links
    assert re.search(r'<span class="badge completed">completed</span>', text)


def test_the_page_loads_and_runs_nothing(run):
    fill(run)
    text = page(run)
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in text
    parsed = Page(text)
    assert all(link.startswith("../") for link in parsed.links)
    assert not re.search(r"<script|https?://|@import|url\(", text)
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


@pytest.mark.parametrize("payload", PAYLOADS)
def test_names_stay_text(run, payload):
    fill(run, payload)
    (run.path / "logs").mkdir()
    (run.path / "logs" / "javascript:alert(1)?#%.txt").write_text("")
    parsed = Page(page(run))
    shown = re.sub("[\x00-\x1f\ud800]", "\ufffd", payload)
    assert parsed.text.count(shown) >= 8
    assert "../logs/javascript%3Aalert%281%29%3F%23%25.txt" in parsed.links


def test_a_run_that_has_just_begun(run):
    run.write_start({})
    parsed = Page(page(run))
    assert "running" in parsed.text
    for heading in ("Results", "Learning curves", "Hyperparameters", "Checkpoints", "Attempts"):
        assert heading not in parsed.text


def test_a_run_that_was_killed_says_so(run):
    fill(run)
    assert "no farewell" in Page(page(run)).text


def test_a_damaged_run_shows_what_there_is(run):
    fill(run).close("failed")
    run.results_file.write_text("{")
    run.hyperparams_file.write_text("[]")
    (run.checkpoints / "step-0000000001" / "MANIFEST.json").write_text("")
    (run.checkpoints / "BEST").unlink()
    parsed = Page(page(run))
    assert "missing or damaged" in parsed.text
    assert "Hyperparameters" not in parsed.text
    assert "Learning curves" in parsed.text


def test_results_of_another_program_are_shown(run):
    fill(run)
    run.results_file.write_text('{"results": {"VAL": 3, "TEST": {"a": {"b": 4}}}}')
    assert "VALvalue3" in Page(page(run)).text
    assert "a.b4" in Page(page(run)).text


def test_checkpoints_of_a_newer_version_are_told(run):
    from tt_experiment._checkpoint_files import FORMAT
    from tt_experiment._manifest import Manifest

    fill(run)
    path = run.checkpoints / "step-0000000002"
    manifest = Manifest.read(path, FORMAT)
    newer = Manifest("tt-checkpoint/9", manifest.facts, manifest.files)
    (path / "MANIFEST.json").write_bytes(newer.dumps())
    assert "tt-checkpoint/9" in Page(page(run)).text


def test_a_folder_that_is_no_run(run):
    with pytest.raises(RunFolderError):
        write_report(run)


def test_many_files_are_cut(run, monkeypatch):
    from tt_experiment import report

    fill(run)
    monkeypatch.setattr(report, "_MAX_FILES", 5)
    assert "more" in Page(page(run)).text
    assert [size(n) for n in (5, 1500, 2.5e6, 4e9)] == ["5 B", "1.5 kB", "2.5 MB", "4 GB"]


def test_which_metrics_share_a_chart():
    names = [
        "accumulated_loss",
        "val_loss",
        "lr",
        "val_acc",
        "train_acc",
        "f1_VAL",
        "loss",
        "f1_TRAIN",
    ]
    assert groups(names) == [
        ["accumulated_loss", "loss", "val_loss"],
        ["lr"],
        ["train_acc", "val_acc"],
        ["f1_TRAIN", "f1_VAL"],
    ]


def test_what_is_best():
    points = [(1, 0.5), (2, 0.2), (3, math.nan), (4, 0.9)]
    assert best_of("val_loss", points) == (2, 0.2)
    assert best_of("val_accuracy", points) == (4, 0.9)
    assert best_of("learning_rate", points) is None
    assert best_of("loss", [(1, math.nan)]) is None


def test_nothing_to_draw():
    assert curve_cards({}) is None


@pytest.mark.parametrize(
    "values",
    [[1.0, 1.0], [0.0, 0.0], [math.nan, math.nan], [1e-30, 2e-30], [-1e30, 1e30], [1e9, 1e9 + 1]],
)
def test_a_chart_of_any_numbers_has_finite_places(values):
    chart = line_chart("x", [Series("x", list(enumerate(values)), 0)])
    places = [
        float(n)
        for n in re.findall(r"[ML ](-?[\d.]+)", "".join(re.findall(r' d="([^"]*)"', chart)))
    ]
    assert all(0 <= place <= 640 for place in places)
    assert "nan" not in chart.replace("<title>", "")
    assert len(places) == 2 * sum(map(math.isfinite, values))


def test_a_gap_where_a_value_is_missing():
    chart = line_chart("x", [Series("x", [(1, 1.0), (2, math.nan), (3, 2.0)], 0)])
    (path,) = re.findall(r' d="([^"]*)"', chart)
    assert path.count("M") == 2


def test_ticks_are_round():
    assert _ticks(0, 1, 5) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert _ticks(0, 3, 8, whole=True) == [0, 1, 2, 3]
    assert [number(n) for n in (0.1 + 0.2, 3.0, 1e-7, 1e12, math.nan, True)] == [
        "0.3",
        "3",
        "1e-07",
        "1e+12",
        "nan",
        "True",
    ]


def test_a_million_points_are_thinned_and_no_spike_is_lost():
    points = [(step, 1.0) for step in range(100_000)]
    points[54_321] = (54_321, 99.0)
    points[100] = (100, math.nan)
    points[1000:2000] = [(step, math.nan) for step in range(1000, 2000)]
    thin = _thin(points)
    assert len(thin) <= 600
    assert (54_321, 99.0) in thin
    assert thin == sorted(thin)
