import html.parser
import json
import logging
import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tt_experiment._intervals import intervals_of
from tt_experiment._report.chart_data import wants_log
from tt_experiment._report.columns import Columns, of_history
from tt_experiment._report.curves import best_of, curves
from tt_experiment._report.metric_names import groups
from tt_experiment._report.parts import date, duration, flat, shorten, size
from tt_experiment._report.svg import Mark, Series, axis, line_chart, number, ticks
from tt_experiment._report.thin import thinned
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
    "</script><script>alert(1)</script>",
    "</script x><!--<script x",
    "javascript:alert(1)",
    "<!--",
    "]]><x>",
    "&lt;b&gt;",
    "\x00\x1b[31m\ud800",
]
VOID = {"meta", "link", "input"}
TAGS = {"html", "head", "meta", "link", "title", "style", "body", "main", "header", "footer", "nav"}
TAGS |= {"section", "div", "p", "h1", "h2", "h3", "span", "b", "code", "pre", "a", "ul", "li"}
TAGS |= {"table", "caption", "thead", "tbody", "tr", "th", "td", "dl", "dt", "dd", "details"}
TAGS |= {"summary", "button", "label", "input", "figure", "script"}
TAGS |= {"svg", "line", "text", "path", "circle"}


class Page(html.parser.HTMLParser):
    """Checks that a page is well nested, of known elements, and with no script but its own two."""

    def __init__(self, text):
        super().__init__()
        self.open, self.text, self.links, self.scripts, self.attributes = [], "", [], [], []
        self.feed(text)
        self.close()
        assert self.open == []
        assert len(self.scripts) == 2
        self.data = json.loads(self.scripts[0])

    def handle_starttag(self, tag, attrs):
        assert tag in TAGS
        if tag not in VOID:
            self.open.append(tag)
        self.attributes.append((tag, dict(attrs)))
        for name, value in attrs:
            assert not name.startswith("on")
            assert name != "style"
            if name in ("href", "src"):
                self.links.append(value)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_comment(self, data):
        pytest.fail("a comment came in")

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif self.open and self.open[-1] != "style":
            self.text += data

    @property
    def files(self):
        return [link for link in self.links if not link.startswith(("#", "data:,"))]


@pytest.fixture
def run(tmp_path):
    return ExperimentFolder.create(tmp_path, "project", "exp")


def begin(run, hyperparams, **facts):
    """As `write_start`, without asking git and the machine, which takes its time."""
    facts = {"project": "project", "experiment": "exp", "status": "running", **facts}
    run.run_file.write_text(json.dumps({"format": "tt-run/1", "attempts": [], **facts}))
    run.hyperparams_file.write_text(json.dumps(hyperparams))


def fill(run, name="loss"):
    """A whole run in which everything that has a name has this one."""
    hyperparams = {name: name, "nested": {name: [1, {"a": name}]}, "off": None, "empty": {}}
    begin(run, hyperparams, versions={name: name})
    run.environment_file.write_text(json.dumps({name: name, "variables": {name: name}}))
    recorder = JsonLinesRecorder(run)
    recorder.open(RunInfo(0, 0, 1, name))
    store = CheckpointFolder(run.checkpoints, retention=BestPolicy(name, "min", 3))
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


def cells(text, row):
    """Texts of the cells of the row that begins with a text."""
    (found,) = re.findall(rf"<tr[^>]*><t[hd][^>]*>{row}</t[hd]>(.*?)</tr>", text)
    return [re.sub("<[^>]*>", "", cell) for cell in re.findall("<td[^>]*>(.*?)</td>", found)]


def test_the_page_shows_the_run(run):
    recorder = fill(run)
    other = ExperimentFolder.create(run.path.parent.parent, "project", "other")
    other.write_start({})
    run.environment_file.write_bytes(other.environment_file.read_bytes())
    recorder.close("completed")
    text = page(run)
    parsed = Page(text)
    headings = ("Results", "Learning curves", "Hyperparameters", "Checkpoints", "Attempts")
    for heading in (*headings, "Environment", "Events", "Files"):
        assert heading in parsed.text
    for fact in ("exp", "completed", "latest", "loss once", "tt-experiment"):
        assert fact in parsed.text
    assert '<span class="dim">nested.</span>loss' in text
    assert text.count('class="still"') == 1  # training and validation share one
    assert len(re.findall('class="curve ', text)) == 2
    assert "../hyperparams.json" in parsed.files
    assert "../checkpoint_model/step-0000000001/MANIFEST.json" in parsed.files
    assert '<span class="badge completed">completed</span>' in text


def test_the_data_are_the_numbers_of_the_metrics_file(run):
    recorder = JsonLinesRecorder(run)
    begin(run, {})
    recorder.open(RunInfo(0, 0, 1, "s"))
    values = [0.1 + 0.2, 1e-300, math.nan, math.inf, -math.inf, 7.0]
    for step, value in enumerate(values):
        recorder.scalars(
            step, {"val_loss": value, "once": 1.0} if not step else {"val_loss": value}, epoch=0
        )
    data = Page(page(run)).data
    ((curve,),) = [chart["series"] for chart in data["charts"]]
    assert curve["value"] == [0.1 + 0.2, 1e-300, "nan", "inf", "-inf", 7.0]
    assert data["axes"][curve["axis"]]["step"] == [0, 1, 2, 3, 4, 5]
    assert curve["total"] == 6
    assert curve["best"] == 1


def test_the_page_loads_nothing_and_runs_only_its_own_script(run):
    import base64
    import hashlib

    fill(run)
    text = page(run)
    parsed = Page(text)
    assert all(link.startswith("../") for link in parsed.files)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|@import|url\((?!#)", text)
    (policy,) = re.findall('Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    (style,) = re.findall("<style>(.*?)</style>", text, re.DOTALL)
    for content, kind in ((parsed.scripts[1], "script-src"), (style, "style-src")):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy


@pytest.mark.parametrize("payload", PAYLOADS)
def test_names_stay_text(run, payload):
    fill(run, payload)
    (run.path / "logs").mkdir()
    (run.path / "logs" / "javascript:alert(1)?#%.txt").write_text("")
    (run.path / "git.diff").write_text(f"+{payload}".replace("\ud800", ""))
    parsed = Page(page(run))
    shown = re.sub("[\x00-\x1f\ud800]", "\ufffd", payload)
    assert parsed.text.count(shown) >= 8
    assert "../logs/javascript%3Aalert%281%29%3F%23%25.txt" in parsed.files
    assert payload in [
        line["name"].removeprefix("train_") for c in parsed.data["charts"] for line in c["series"]
    ]


@settings(max_examples=15, deadline=None)
@given(st.text(min_size=1, max_size=40))
def test_any_name_stays_text(name):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        run = ExperimentFolder.create(folder, "project", "exp")
        run.run_file.write_text(json.dumps({"format": "tt-run/1", "project": name, "attempts": []}))
        run.hyperparams_file.write_text(json.dumps({name: {name: name}}))
        recorder = JsonLinesRecorder(run)
        recorder.open(RunInfo(0, 0, 1, name))
        for step in range(2):
            recorder.scalars(step, {name: step}, epoch=0)
        recorder.event(name, {name: name})
        recorder.close("completed")
        save_results(run, {name: {name: 1.0, "m": {name: {"a": 1}, f"{name}2": {"a": 2}}}})
        data = Page(page(run)).data
        assert [c["series"][0]["name"] for c in data["charts"]] == [name]


def test_a_run_that_has_just_begun(run):
    begin(run, {})
    parsed = Page(page(run))
    assert "running" in parsed.text
    for heading in ("Results", "Learning curves", "Hyperparameters", "Checkpoints", "Attempts"):
        assert f"#{heading.lower().replace(' ', '-')}" not in parsed.links


def test_a_run_that_was_killed_says_so(run):
    fill(run)
    assert "running or killed" in Page(page(run)).text


def test_attempts_tell_what_was_done_again(run):
    begin(run, {})
    recorder = JsonLinesRecorder(run)
    for first, last in ((0, 7), (5, 9)):
        recorder.open(RunInfo(first, 0, 1, "s"))
        for step in range(first + 1, last + 1):
            recorder.scalars(step, {"val_loss": 1 / step}, epoch=0)
    recorder.close("completed")
    text = page(run)
    assert cells(text, 1)[:2] == ["5", "9"] or cells(text, "1")[:2] == ["0", "7"]
    assert "2 steps" in text
    data = Page(text).data
    (curve,) = data["charts"][0]["series"]
    assert data["axes"][0]["step"] == list(range(1, 10))  # no step twice
    assert curve["value"] == [1 / step for step in range(1, 10)]
    assert [(m["label"], m["step"]) for m in data["marks"]] == [("attempt 2", 5)]


def test_what_a_killed_attempt_did_after_its_last_record_is_not_known(run):
    begin(run, {})
    recorder = JsonLinesRecorder(run)
    recorder.open(RunInfo(0, 0, 1, "s"))
    recorder.scalars(4, {"val_loss": 1.0}, epoch=0)
    JsonLinesRecorder(run).open(RunInfo(4, 0, 1, "s"))
    assert cells(page(run), 1)[-1] == "nothing recorded"


def test_a_failed_run_says_why_on_top(run):
    recorder = fill(run)
    recorder.event("exception", {"type": "RuntimeError", "text": "no <memory>"})
    recorder.close("failed")
    begin(run, {}, status="failed")
    (alerts,) = re.findall(r'<ul class="alerts">(.*?)</ul>', page(run))
    assert "RuntimeError: no &lt;memory&gt;" in alerts


def test_hyperparameters_have_all_their_digits(run):
    begin(run, {"seed": 20240131, "lr": 0.100002})
    text = page(run)
    assert cells(text, "seed")[0] == "20240131"
    assert cells(text, "lr")[0] == "0.100002"


def test_names_of_attempts_do_not_lie_on_each_other():
    points = [(float(step), 1.0) for step in range(101)]
    marks = [Mark(step, f"attempt {i}") for i, step in enumerate([10, 12, 60], 2)]
    drawn = line_chart("x", [Series("loss", points, 0)], marks=marks)
    assert re.findall(r">(attempt \d)</text>", drawn) == ["attempt 2", "attempt 4"]
    assert len(re.findall("<title>attempt", drawn)) == 3


def test_a_damaged_run_shows_what_there_is(run):
    fill(run).close("failed")
    run.results_file.write_text("{")
    run.hyperparams_file.write_text("[]")
    run.environment_file.write_bytes(b"\xff\xfe")
    (run.checkpoints / "step-0000000001" / "MANIFEST.json").write_text("")
    (run.checkpoints / "PINNED.json").write_text("?")
    with (run.metrics / "0001.jsonl").open("a") as file:
        file.write(
            '{"step": 50, "values": {"val_loss": "text", "other": [1]}}\n{"step": "x", "values"'
        )
    run.events_file.write_bytes(run.events_file.read_bytes()[:-20] + b"\n\x00\x00\n{}")
    parsed = Page(page(run))
    assert "missing or damaged" in parsed.text
    assert "hyperparams.json is damaged" in parsed.text
    assert "results.json is damaged" in parsed.text
    assert "PINNED.json" in parsed.text
    assert "#hyperparameters" not in parsed.links
    assert "#learning-curves" in parsed.links


STRANGE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "results",
                    "nonfinite",
                    "intervals",
                    "low",
                    "high",
                    "value",
                    "attempts",
                    "number",
                    "started",
                    "ended",
                    "status",
                    "from_step",
                    "versions",
                    "packages",
                    "variables",
                    "a",
                    "training_history",
                    "project",
                    "experiment",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=30, deadline=None)
@given(
    run_facts=st.dictionaries(
        st.sampled_from(["attempts", "status", "versions", "experiment", "created", "parent"]),
        STRANGE,
    ),
    results=STRANGE,
    other=STRANGE,
)
def test_facts_of_another_program_never_make_it_fail(run_facts, results, other):
    import tempfile

    logging.getLogger("tt_experiment.report").disabled = True
    try:
        with tempfile.TemporaryDirectory() as folder:
            run = ExperimentFolder.create(folder, "project", "exp")
            run.run_file.write_text(json.dumps({"format": "tt-run/1", **run_facts}))
            run.results.mkdir()
            run.results_file.write_text(
                json.dumps({"results": {"VAL": results}, "intervals": other})
            )
            for path in (run.environment_file, run.git_file, run.hyperparams_file, run.data_file):
                path.write_text(json.dumps(other))
            Page(page(run))
    finally:
        logging.getLogger("tt_experiment.report").disabled = False


def test_a_part_that_fails_is_told_and_the_others_are_shown(run, monkeypatch, caplog):
    from tt_experiment._report import story

    fill(run)

    def fail(*_):
        raise ZeroDivisionError("nobody thought of it")

    monkeypatch.setattr(story, "attempts", fail)
    parsed = Page(page(run))
    assert "could not be made: nobody thought of it" in parsed.text
    assert "#attempts" not in parsed.links
    assert "#checkpoints" in parsed.links
    assert "left out" in caplog.text


def test_results_of_another_program_are_shown(run):
    fill(run)
    run.results_file.write_text('{"results": {"VAL": 3, "TEST": {"a": {"b": 4}}}}')
    text = page(run)
    assert cells(text, "value") == ["3"]
    assert cells(text, "a.b") == ["4"]


def test_results_have_their_intervals(run):
    begin(run, {})
    interval = {"low": 0.9, "high": 0.96, "method": "wilson", "count": 359, "confidence": 0.95}
    results = {
        "VAL": {"Accuracy": 0.93, "F1": {"value": 0.5, "low": 0.4, "high": 0.6}, "Loss": math.nan}
    }
    save_results(run, results, about={"intervals": {"VAL": {"Accuracy": interval}}})
    text = page(run)
    assert cells(text, "Accuracy")[:2] == ["0.93", "0.9 to 0.96wilson, 95%, n = 359"]
    assert cells(text, "F1")[:2] == ["0.5", "0.4 to 0.6"]
    assert cells(text, "Loss")[0] == "nan"


@pytest.mark.parametrize("as_dict", [True, False])
def test_a_confusion_matrix_has_sums_and_shares(run, as_dict):
    begin(run, {})
    matrix = {"cat": {"cat": 8, "dog": 2}, "dog": {"cat": 0, "dog": 0}}
    content = matrix if as_dict else [list(row.values()) for row in matrix.values()]
    save_results(run, {"VAL": {"Confusion_matrix": content}})
    text = page(run)
    assert cells(text, "cat" if as_dict else "0") == ["8", "2", "10"]
    assert cells(text, "sum") == ["8", "2", "10"]
    assert 'data-count="8" data-share="80.0%"' in text
    assert 'data-count="0" data-share="0.0%"' in text


def test_a_table_of_results_is_a_table(run):
    begin(run, {})
    save_results(
        run, {"VAL": {"classes": {"cat": {"f1": 0.5, "n": 3}, "dog": {"f1": 0.25, "n": 4}}}}
    )
    assert cells(page(run), "dog") == ["0.25", "4"]


def test_the_best_checkpoint_of_each_score_is_marked_without_hints(run):
    begin(run, {})
    store = CheckpointFolder(run.checkpoints)
    scores = {1: (0.5, 0.2), 2: (0.1, 0.9), 3: (math.nan, 0.9)}
    for step, (loss, accuracy) in scores.items():
        state = {"model": {"w": torch.ones(1)}}
        store.save(
            state, step=step, scores={"val_loss": loss, "val_acc": accuracy}
        ).wait_committed()
    store.pin(2, "for the paper")
    for hint in ("LATEST", "BEST"):
        (run.checkpoints / hint).unlink(missing_ok=True)
    text = page(run)
    best = re.findall('<td class="n best" data-value="([^"]*)">', text)
    assert best == ["0.1", "0.9"]  # both of step 2: of equals the older
    assert "pinned: for the paper" in text


def test_system_metrics_are_drawn_over_the_steps_they_belong_to(run):
    begin(run, {})
    records = [
        json.dumps({"step": s, "epoch": 0, "time": 1000.0 + s, "values": {"loss": 1.0}})
        for s in (0, 100)
    ]
    run.metrics.mkdir()
    (run.metrics / "0001.jsonl").write_text("\n".join(['{"resumed_from_step": 0}', *records, ""]))
    (run.path / "system").mkdir()
    lines = [json.dumps({"time": 1000.0 + t, "values": {"cpu_percent": t}}) for t in (0, 50, 100)]
    (run.path / "system" / "0001.jsonl").write_text(
        "\n".join(['{"format": "tt-system/1"}', *lines, ""])
    )
    data = Page(page(run)).data
    (curve,) = data["charts"][1]["series"]
    assert (curve["name"], curve["value"]) == ("cpu_percent", [0.0, 50.0, 100.0])
    assert data["axes"][curve["axis"]]["step"] == [0, 50, 100]


def test_a_history_that_a_saver_kept_is_drawn(run):
    begin(run, {})
    save_results(run, {"VAL": {"a": 1}}, about={"training_history": {"loss": [3.0, 2.0], "n": 3}})
    (chart,) = Page(page(run)).data["charts"]
    assert chart["series"][0]["value"] == [3.0, 2.0]


def test_checkpoints_of_a_newer_version_are_told(run):
    from tt_experiment._checkpoint.files import FORMAT
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


def test_what_is_long_is_cut_and_says_so(run):
    begin(run, {})
    run.hyperparams_file.write_text(json.dumps({f"h{i}": "x" * 5000 for i in range(1200)}))
    (run.path / "logs").mkdir()
    for i in range(450):
        (run.path / "logs" / f"{i}.txt").write_text("")
    (run.path / "git.diff").write_text("+long\n" * 100_000)
    run.events_file.write_text(
        '{"time":"2026-01-01T00:00:00+00:00","kind":"note","data":{"x":"' + "y" * 3000 + '"}}\n'
    )
    run.events_file.write_text(run.events_file.read_text() * 1000)
    run.metrics.mkdir()
    names = {f"metric_{i}": 0.1 + i for i in range(400)}
    records = [
        json.dumps({"step": s, "epoch": 0, "time": s / 7, "values": names}) for s in range(40)
    ]
    (run.metrics / "0001.jsonl").write_text("\n".join(['{"resumed_from_step": 0}', *records, ""]))
    text = page(run)
    for said in (
        "and 700 more in hyperparams.json",
        "(5000 characters)",
        "This is the beginning; the whole is in <a",
        "750 events in the middle are left out",
        "250 more metrics are in the metrics file",
    ):
        assert said in text
    assert re.search(r"and \d+ more<", text)  # files
    assert len(text) < 1_000_000


@pytest.mark.slow
def test_a_million_records_make_a_page_of_less_than_a_megabyte(run):
    begin(run, {})
    run.metrics.mkdir()
    with (run.metrics / "0001.jsonl").open("w") as file:
        file.write('{"format":"tt-metrics/1","attempt":1,"resumed_from_step":0}\n')
        for s in range(1_000_000):
            spike = 99.5 if s == 543_210 else 1 / (1 + s)
            file.write(
                f'{{"step":{s},"epoch":{s // 1000},"time":{s / 8},"values":{{"loss":{spike!r}}}}}\n'
            )
    text = page(run)
    assert len(text) < 1_000_000
    parsed = Page(text)
    assert "points shown" in parsed.text
    (curve,) = parsed.data["charts"][0]["series"]
    assert 99.5 in curve["value"]  # no peak is lost
    assert curve["total"] == 1_000_000
    steps = parsed.data["axes"][0]["step"]
    assert steps[0] == 0
    assert steps[-1] == 999_999
    assert all(v in (99.5, 1 / (1 + s)) for s, v in zip(steps, curve["value"], strict=True))


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
    steps, values = np.array([1, 2, 3, 4]), np.array([0.5, 0.2, math.nan, 0.9])
    assert best_of("val_loss", steps, values) == (2, 0.2, 1)
    assert best_of("val_accuracy", steps, values) == (4, 0.9, 3)
    assert best_of("learning_rate", steps, values) is None
    assert best_of("loss", steps[:1], np.array([math.nan])) is None


def test_which_scale():
    assert wants_log([np.array([1000.0, 1.0])], "min")
    assert not wants_log([np.array([1000.0, 0.0])], "min")
    assert not wants_log([np.array([1000.0, 1.0])], "max")
    assert not wants_log([np.array([math.nan])], "min")


def test_nothing_to_draw():
    assert curves(of_history({}), []).content is None


def test_epochs_done():
    step, epoch = np.arange(1, 8), np.array([0, 0, 0, 1, 1, 1, 2.0])
    done = Columns(step, epoch, epoch, [], {}).epochs_done()
    assert done.tolist() == pytest.approx([1 / 3, 2 / 3, 1, 4 / 3, 5 / 3, 2, 7 / 3], abs=1e-4)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(
    "values",
    [[1.0, 1.0], [0.0, 0.0], [math.nan, math.nan], [1e-30, 2e-30], [-1e30, 1e30], [1e9, 1e9 + 1]],
)
def test_a_chart_of_any_numbers_has_finite_places(values, log):
    chart = line_chart(
        "x", [Series("x", list(enumerate(values)), 0)], log=log, marks=[Mark(1, "m")]
    )
    paths = "".join(re.findall(r' d="([^"]*)"', chart))
    places = [float(n) for n in re.findall(r"[ML ](-?[\d.]+)", paths)]
    assert all(0 <= place <= 640 for place in places)
    assert "nan" not in chart
    shown = sum(math.isfinite(v) and (v > 0 or not log) for v in values)
    circles = chart.count("<circle")
    assert len(places) == 2 * shown
    assert circles == (shown if shown == 1 else 0)


def test_a_gap_where_a_value_is_missing():
    points = [(1, 1.0), (2, math.nan), (3, 2.0), (4, 2.0)]
    chart = line_chart("x", [Series("x", points, 0, best=(1, 1.0), band=[(1, 0.5, 2), (3, 1, 3)])])
    path = re.search(r'class="curve s0" d="([^"]*)"', chart)[1]
    assert path.count("M") == 2
    assert chart.count('class="dot s0"') == 1  # a point between gaps is no line
    assert 'class="band s0"' in chart
    assert "best: 1 at step 1" in chart


def test_ticks_are_round():
    assert ticks(axis([0, 1], 0, 1), 5) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert ticks(axis([0, 3], 0, 1), 8, whole=True) == [0, 1, 2, 3]
    assert ticks(axis([0.02, 300], 0, 1, log=True), 8) == pytest.approx([0.1, 1, 10, 100])
    numbers = [0.1 + 0.2, 3.0, 1e-7, 1e12, 20240131, math.nan, True, 10**400]
    shown = ["0.3", "3", "1e-07", "1e+12", "20240131", "nan", "True"]
    assert [number(n) for n in numbers[:-1]] == shown
    assert number(numbers[-1]).startswith("1000")


def test_values_as_people_read_them():
    assert [size(n) for n in (5, 1500, 2.5e6, 4e9)] == ["5 B", "1.5 kB", "2.5 MB", "4 GB"]
    times = [duration(s) for s in (None, 5.25, 65, 3700, 200_000)]
    assert times == ["\u2013", "5.25 s", "1 min 5 s", "1 h 1 min", "2 d 7 h"]
    assert date("2026-01-02T03:04:05+01:00") == "2026-01-02 02:04:05 UTC"
    assert [date("yesterday"), date(3)] == ["\u2013", "\u2013"]
    assert flat({"a": {"b": 1, "c": {}}}) == {"a.b": 1, "a.c": {}}
    assert shorten("x" * 10, 4) == "xxxx \u2026 (10 characters)"


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 400), st.integers(8, 60))
def test_thinning_keeps_ends_and_peaks(seed, size, limit):
    random = np.random.default_rng(seed)
    array = random.standard_cauchy(size)
    array[random.random(size) < random.random()] = random.choice([math.nan, math.inf, -math.inf])
    kept = thinned(array, limit)
    assert len(kept) <= max(limit, 8)
    assert (np.diff(kept) > 0).all()
    assert {0, size - 1} <= set(kept.tolist())
    finite = array[np.isfinite(array)]
    if finite.size:
        assert finite.min() in array[kept]
        assert finite.max() in array[kept]


def test_thinning_keeps_a_gap():
    values = np.ones(10_000)
    values[3000:5000] = math.nan
    kept = thinned(values, 100)
    assert np.isnan(values[kept]).any()


class Package:
    """A result package with a report like those of tt-metrics."""

    def __init__(self, document):
        self.document = document

    def report(self):
        return self

    def to_dict(self):
        return self.document


def test_intervals_that_a_result_package_knows(caplog):
    numbers = [
        {"name": "Accuracy", "value": 0.5, "low": 0.4, "high": 0.6, "method": "wilson", "count": 9},
        {"name": "F1", "value": 0.5, "low": None, "high": None, "method": None, "count": None},
    ]
    document = {"confidence": 0.9, "sections": [{"name": "VAL", "numbers": numbers}]}
    found = intervals_of(Package(document))
    facts = {"low": 0.4, "high": 0.6, "method": "wilson", "count": 9, "confidence": 0.9}
    assert found == {"Accuracy": facts}
    assert intervals_of(object()) == {}
    assert not caplog.records
    assert intervals_of(Package({"sections": 3})) == {}
    assert "no intervals for Package" in caplog.text
