"""Reports: what they hold, and every form they take."""

import builtins
import html.parser
import json
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_metrics._report.content import Row
from tt_metrics.api import (
    AbstractBaseMetric,
    AbstractResultPackage,
    AccuracyMetric,
    BinaryClassificationResultPackage,
    ClassificationResultPackage,
    ConfusionMatrixMetric,
    F1ScoreMetric,
    GeneralResultPackage,
    MeanSquaredErrorMetric,
    MetricInputError,
    MetricStateError,
    MetricTypeError,
    NoDataError,
    PreCalculatedResultPackage,
    PrecisionMetric,
    PrecisionRecallCurveAUCMetric,
    RecallMetric,
    RegressionResultPackage,
    Report,
    ROCAUCMetric,
    ROCCurveMetric,
)

HOSTILE = "<script>alert('x')</script>|a&b\n*b* `c` [d](e) _f_ \\ \x00"


def labels(classes=4, items=300):
    draw = np.random.default_rng(5)
    y = draw.integers(0, classes, items)
    return y, np.where(draw.random(items) < 0.6, y, draw.integers(0, classes, items))


def macro(*kinds):
    return [kind(average="macro") for kind in kinds]


def test_each_number_has_what_it_takes_to_judge_it():
    y, p = labels()
    accuracy, f1 = AccuracyMetric(y, p), F1ScoreMetric(y, p, average="macro")
    report = Report(accuracy, f1)
    first, second = report.rows
    low, high = accuracy.ci()
    assert (first.name, first.value, first.count) == ("Accuracy", float(accuracy), 300)
    assert (first.low, first.high, first.method) == (low, high, "wilson")
    assert first.signature == accuracy.signature
    assert (second.value, second.signature) == (float(f1), f1.signature)
    assert second.low is second.high is second.method is None
    assert repr(report) == "<Report 'Results' of 2 numbers>"


def test_intervals_that_must_be_drawn_are_drawn_on_request():
    y, p = labels()
    f1 = F1ScoreMetric(y, p, average="macro")
    (row,) = Report(f1, confidence=0.9, n_resamples=200, seed=3).rows
    expected = f1.ci(0.9, n_resamples=200, seed=3)
    assert (row.low, row.high, row.method) == (expected.low, expected.high, "bootstrap")
    (row,) = Report(AccuracyMetric(y, p), confidence=None, n_resamples=200).rows
    assert row.low is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_resamples": -5}, "n_resamples must be a whole number of at least 1; it is -5"),
        ({"n_resamples": 1.5}, "n_resamples must be a whole number of at least 1; it is 1.5"),
        ({"n_resamples": "9"}, "n_resamples must be a whole number"),
        ({"n_resamples": 10, "seed": -1}, "seed must be a whole number of at least 0; it is -1"),
        ({"confidence": "0.9"}, "confidence must be between 0 and 1, .* it is '0.9'"),
        ({"confidence": 1 - 2**-53, "n_resamples": 9}, "confidence must be at most"),
        ({"confidence": math.nan}, "confidence must be between 0 and 1"),
    ],
)
def test_settings_that_mean_nothing(settings, message):
    with pytest.raises(MetricInputError, match=message):
        Report(AccuracyMetric([0, 1], [0, 1]), **settings)


def test_a_result_that_is_too_often_undefined_has_no_interval():
    area = PrecisionRecallCurveAUCMetric([0, 0, 0, 1], [0.1, 0.2, 0.3, 0.4])
    (row,) = Report(area, n_resamples=50).rows
    assert (row.value, row.low, row.interval_signature) == (1.0, None, None)


def test_intervals_can_be_drawn_again():
    pd = pytest.importorskip("pandas")
    y, p = labels()
    f1 = F1ScoreMetric(y, p, average="macro")
    report = Report(AccuracyMetric(y, p), f1, {"loss": 0.5}, n_resamples=50, seed=7)
    expected = [
        "wilson|confidence:0.95",
        "bootstrap|confidence:0.95|n_resamples:50|seed:7",
        None,
    ]
    assert expected[1] == f1.ci(n_resamples=50, seed=7).signature
    plain = json.loads(report.to_json())["sections"][0]["numbers"]
    assert [row["interval_signature"] for row in plain] == expected
    frame = report.to_pandas()
    assert frame["interval_signature"].tolist()[:2] == expected[:2]
    assert pd.isna(frame["interval_signature"][2])
    assert Report.from_json(report.to_json()).rows == report.rows


def test_the_ends_of_an_interval_are_written_alike():
    def ends(low, high):
        report = Report({"a": 1.0})
        report.sections[0].rows[0] = Row("a", 1.0, low, high, "m")
        return str(report).splitlines()[-1]

    assert "[-0.0820, 0.0002]" in ends(-0.082, 2.444e-4)
    assert "[0.000e+00, 2.444e-04]" in ends(0.0, 2.444e-4)
    assert "[5.000e-01, 2.000e+06]" in ends(0.5, 2e6)
    assert "[0.0000, inf]" in ends(0.0, math.inf)
    assert "[nan, nan]" in ends(math.nan, math.nan)


def test_an_area_has_an_interval_without_drawing():
    draw = np.random.default_rng(0)
    y = draw.integers(0, 2, 100)
    area = ROCAUCMetric(y, y + draw.normal(size=100))
    (row,) = Report(area).rows
    assert (row.low, row.high) == tuple(area.ci(method="delong"))


def test_intervals_of_results_with_several_numbers():
    y, p = labels(3)
    recall = RecallMetric(y, p, average=None)
    rows = Report(recall, n_resamples=100).rows
    assert [row.name for row in rows] == ["Recall_0", "Recall_1", "Recall_2"]
    for row, (label, interval) in zip(rows, recall.ci(n_resamples=100).items(), strict=True):
        assert row.name == f"Recall_{label}"
        assert (row.low, row.high) == tuple(interval)


def test_drawing_needs_the_items():
    metric = MeanSquaredErrorMetric()
    metric.update([1.0, 2.0], [1.0, 3.0])
    with pytest.raises(MetricStateError, match="keep_items"):
        Report(metric, n_resamples=100)
    package = RegressionResultPackage().keep_items()
    package.update([1.0, 2.0, 3.0], [1.0, 3.0, 2.5])
    assert all(row.method == "bootstrap" for row in package.report(n_resamples=100).rows)


def test_an_evaluated_package_has_the_items():
    y, p = [1.0, 2.0, 3.0], [1.0, 3.0, 2.5]
    package = RegressionResultPackage()
    package.prepare_result_package(y, p)
    row = package.report(n_resamples=100).rows[0]
    assert (row.low, row.high) == tuple(MeanSquaredErrorMetric(y, p).ci(n_resamples=100))
    package.update([1.0], [2.0])  # now they are no longer all there is
    with pytest.raises(MetricStateError, match="keep_items"):
        package.report(n_resamples=100)


class Longest(AbstractBaseMetric):
    def __init__(self, y_true, y_predicted):
        super().__init__(y_true, y_predicted, "Longest", np_array=False)

    def calculate_metric(self):
        return max(self.y_predicted, key=len)


def test_results_that_are_no_numbers():
    report = Report(Longest(["a"], ["b", "cc"][:1]), n_resamples=20)
    (row,) = report.rows
    assert (row.value, row.low, row.count) == ("b", None, None)
    assert "b" in str(report)
    curve = Report(ROCCurveMetric([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4]))
    names = [row.name for row in curve.rows]
    assert names == ["ROC_curve_fpr", "ROC_curve_tpr", "ROC_curve_thresholds"]
    assert "array of shape (5,)" in str(curve)
    assert json.loads(curve.to_json())["sections"][0]["numbers"][0]["value"][-1] == 1.0


@pytest.mark.parametrize("names", [None, ["ant", "bee", "cat", "dog"]])
@pytest.mark.parametrize("zero_division", [0.0, 1.0])
def test_classes_as_in_scikit_learn(names, zero_division):
    sklearn = pytest.importorskip("sklearn.metrics")
    y, p = labels()
    p[p == 3] = 1  # a class that is never predicted
    if names:
        y, p = np.array(names)[y], np.array(names)[p]
    settings = {"average": "macro", "zero_division": zero_division}
    package = GeneralResultPackage([kind(**settings) for kind in (F1ScoreMetric, RecallMetric)])
    package.update(y, p)
    (section,) = package.report().sections
    (table,) = section.tables
    theirs = sklearn.classification_report(y, p, output_dict=True, zero_division=zero_division)
    for row in table.classes:
        check(row, theirs[str(row.label)])
    averages = {row.label: row for row in table.averages}
    check(averages["macro"], theirs["macro avg"])
    check(averages["weighted"], theirs["weighted avg"])
    assert averages["micro"].f1 == pytest.approx(theirs["accuracy"], rel=1e-12)
    assert len(theirs) == len(table.classes) + 3


def check(row, theirs):
    ours = {
        "precision": row.precision,
        "recall": row.recall,
        "f1-score": row.f1,
        "support": row.support,
    }
    assert ours == pytest.approx(theirs, rel=1e-12)


def test_classes_of_items_with_several_labels():
    sklearn = pytest.importorskip("sklearn.metrics")
    draw = np.random.default_rng(1)
    y, p = draw.integers(0, 2, (2, 50, 3))
    f1 = F1ScoreMetric(y, p, average="macro", multilabel=True)
    (table,) = Report(f1).sections[0].tables
    theirs = sklearn.classification_report(y, p, output_dict=True, zero_division=0)
    for row in (*table.classes, *table.averages):
        check(row, theirs[str(row.label)] if row in table.classes else theirs[f"{row.label} avg"])


def test_metrics_that_share_labels_share_one_table():
    y, p = labels()
    one, two = macro(F1ScoreMetric, RecallMetric)
    for metric in (one, two):
        metric.update(y, p)
    assert len(Report(one, two).sections[0].tables) == 1
    two.update(y, p)
    assert len(Report(one, two).sections[0].tables) == 2
    assert Report(MeanSquaredErrorMetric([1.0], [1.0])).sections[0].tables == []


def test_each_value_of_zero_division_has_its_table():
    y, p = [0, 1, 2, 2], [0, 1, 1, 1]
    metrics = [
        PrecisionMetric(average="macro"),
        F1ScoreMetric(average="macro", zero_division=math.nan),
        AccuracyMetric(),
    ]
    texts = []
    for order in (metrics, metrics[::-1]):
        package = GeneralResultPackage(order)
        package.prepare_result_package(y, p)
        report = package.report()
        tables = report.sections[0].tables
        assert [repr(table.zero_division) for table in tables] == ["0.0", "nan"]
        assert tables[0].classes[2].precision == 0.0
        assert math.isnan(tables[1].classes[2].precision)
        text = str(report)
        assert "class (zero_division=0.0)" in text
        assert "class (zero_division=nan)" in text
        assert Report.from_json(report.to_json()).to_json() == report.to_json()
        texts.append(str(tables))
    assert texts[0] == texts[1]
    same = Report(*(F1ScoreMetric(y, p, zero_division=math.nan, average="macro") for _ in "ab"))
    assert len(same.sections[0].tables) == 1  # nan or not, one table comes once
    assert "zero_division" not in str(same).split("F1_score|")[0]


def test_without_zero_division_there_is_one_table():
    y, p = labels()
    metrics = [kind(average="macro") for kind in (PrecisionMetric, RecallMetric)]
    package = GeneralResultPackage([*metrics, F1ScoreMetric(average="macro", zero_division=1.0)])
    package.prepare_result_package(y, p)
    (table,) = package.report().sections[0].tables
    assert table.zero_division is None


def test_a_confusion_matrix_is_shown_as_one():
    y, p = labels(3)
    metric = ConfusionMatrixMetric(y, p)
    report = Report(metric)
    (grid,) = report.sections[0].grids
    assert report.rows == []
    np.testing.assert_array_equal(grid.cells, metric.matrix)
    assert grid.labels == grid.columns == ["0", "1", "2"]
    lines = str(report).splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("Confusion_matrix "))
    shown = [[int(cell) for cell in line.split()[1:]] for line in lines[place + 1 : place + 4]]
    np.testing.assert_array_equal(shown, metric.matrix)
    assert "Confusion_matrix|positive_class_thresh:0.5|n:300|" in str(report)
    again = Report.from_json(report.to_json())
    assert again.sections[0].grids == [grid]


def test_sections_of_packages_metrics_and_dicts():
    y, p = labels(2)
    package = ClassificationResultPackage()
    package.update(y, p)
    other = PreCalculatedResultPackage({"BLEU": 27.3}, pkg_name="Translation")
    metric = AccuracyMetric(y, p)
    report = Report(metric, {"loss": 0.5}, package, package + other, {"x": {"a": 1, "b": 2}})
    names = [(section.name, [row.name for row in section.rows]) for section in report.sections]
    assert names == [
        ("", ["Accuracy", "loss"]),
        ("ClassificationResult", ["Accuracy"]),
        ("ClassificationResult", ["Accuracy"]),
        ("Translation", ["BLEU"]),
        ("", ["x_a", "x_b"]),
    ]


def test_what_was_added_to_packages_is_reported():
    package = ClassificationResultPackage()
    package.update([0, 1], [1, 1])
    package += {"loss": 0.5}
    assert [row.name for row in package.report().rows] == ["Accuracy", "loss"]
    both = package + {"a": 1}
    both += {"b": 2}
    sections = both.report(title="Both").sections
    assert [section.name for section in sections] == [
        "ClassificationResult",
        "PreCalculatedResult",
        "MultipleResult",
    ]
    assert [row.name for row in sections[-1].rows] == ["b"]


def test_a_package_of_ones_own_is_reported():
    class Misses(AbstractResultPackage):
        def prepare_results_dict(self):
            return {"Miss": float(abs(self.y_true - self.y_predicted).max())}

    package = Misses()
    with pytest.raises(NoDataError, match="Call prepare_result_package"):
        package.report()
    package.prepare_result_package([1], [3])
    (section,) = package.report().sections
    assert (section.name, section.rows[0].value) == ("Misses", 2.0)


def test_a_report_stays_as_it_was_made():
    metric = AccuracyMetric([1], [1])
    report = Report(metric)
    metric.update([1], [0])
    assert report.rows[0].value == 1.0


def test_what_a_report_cannot_be_made_of():
    with pytest.raises(MetricInputError, match="needs something to report"):
        Report()
    with pytest.raises(MetricTypeError, match=r"made of metrics, result packages, .* int came"):
        Report(3)
    with pytest.raises(NoDataError, match="must see data"):
        Report(AccuracyMetric())
    with pytest.raises(MetricInputError, match="confidence must be between 0 and 1"):
        Report({"a": 1}, confidence=95)


def full_report():
    draw = np.random.default_rng(2)
    y = draw.integers(0, 2, 60)
    package = BinaryClassificationResultPackage()
    package.update(y, np.clip(draw.normal(0.3 + 0.4 * y, 0.2), 0, 1))
    extra = {"nothing": math.nan, "much": math.inf, "little": -math.inf, "rows": [1.5, math.nan]}
    return Report(package, extra, ConfusionMatrixMetric(y, y), title="All")


def refuse(constant):
    raise AssertionError(f"JSON has no {constant}")


def test_json_is_json_and_comes_back():
    report = full_report()
    text = report.to_json()
    plain = json.loads(text, parse_constant=refuse)
    values = {row["name"]: row["value"] for row in plain["sections"][1]["numbers"]}
    assert values == {
        "nothing": "NaN",
        "much": "Infinity",
        "little": "-Infinity",
        "rows": [1.5, "NaN"],
    }
    again = Report.from_json(text)
    assert again.to_json() == text
    assert (again.title, again.confidence) == ("All", 0.95)
    assert str(again) == str(report)
    assert again.to_markdown() == report.to_markdown()
    assert again.rows[: len(report.sections[0].rows)] == list(report.sections[0].rows)
    assert math.isnan(again.rows[4].value)
    assert again.rows[5].value == math.inf
    assert "\n" not in report.to_json(indent=None)


def test_a_dict_comes_back():
    report = full_report()
    plain = report.to_dict()
    assert Report.from_dict(plain).to_json() == report.to_json()
    assert type(plain["sections"][0]["numbers"][0]["value"]) is float


@given(
    st.dictionaries(
        st.text(),
        st.one_of(st.floats(), st.integers(), st.booleans(), st.lists(st.floats()), st.none()),
        min_size=1,
    )
)
def test_any_results_go_through_json_and_every_form(results):
    report = Report(results, title="any")
    text = report.to_json()
    json.loads(text, parse_constant=refuse)
    assert Report.from_json(text).to_json() == text
    assert report.to_markdown()
    assert report.to_html()
    assert str(report)


def test_odd_values_become_plain():
    class Odd:
        def __str__(self):
            return "odd"

    values = {
        "numpy": np.float32(0.5),
        "count": np.int64(3),
        "array": np.arange(3),
        "tuple": (1, 2),
        "other": Odd(),
    }
    rows = Report(values).to_dict()["sections"][0]["numbers"]
    plain = {row["name"]: row["value"] for row in rows}
    assert plain == {"numpy": 0.5, "count": 3, "array": [0, 1, 2], "tuple": [1, 2], "other": "odd"}
    assert type(plain["numpy"]) is float
    assert type(plain["count"]) is int


def test_ragged_values_are_shown():
    text = str(Report({"x": [[1], [2, 3]], "y": [[1, 2], [3, 4]]}))
    assert "[[1], [2, 3]]" in text
    assert "array of shape (2, 2)" in text


def test_tensors_become_plain():
    torch = pytest.importorskip("torch")
    (row,) = Report({"loss": torch.tensor(0.5, requires_grad=True)}).to_dict()["sections"][0][
        "numbers"
    ]
    assert row["value"] == 0.5


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"title": 1, "sections": [{}]}', "3"])
def test_json_that_is_no_report(text):
    with pytest.raises(MetricInputError, match="A report"):
        Report.from_json(text)


def test_text_is_aligned():
    text = str(Report({"a": 0.5, "much_longer": -12.25, "count": 7, "tiny": 1e-9, "big": 1e9}))
    assert text.splitlines()[3:] == [
        "name             value",
        "a               0.5000",
        "much_longer   -12.2500",
        "count                7",
        "tiny         1.000e-09",
        "big          1.000e+09",
    ]


def test_text_shows_intervals_and_classes():
    y, p = labels(2)
    text = str(Report(AccuracyMetric(y, p), F1ScoreMetric(y, p), confidence=0.9))
    low, high = AccuracyMetric(y, p).ci(0.9)
    assert f"[{low:.4f}, {high:.4f}]" in text
    assert "90 % interval" in text
    assert "macro average" in text


def test_signatures_are_shown_without_what_was_not_set():
    y, p = labels(2)
    f1 = F1ScoreMetric(y, p, average="macro")
    assert "|labels:None" in f1.signature
    report = Report(f1)
    assert report.rows[0].signature == f1.signature
    for text in (str(report), report.to_markdown(), report.to_html()):
        assert "F1_score|" in text
        assert "average:macro|" in text
        assert ":None" not in text
        assert ":False" not in text


def test_markdown_shows_signatures_as_code():
    metric = AccuracyMetric([1], [1])
    line = Report(metric).to_markdown().splitlines()[-1]
    assert line.startswith("- `Accuracy|")
    assert line.endswith("`")
    assert "\\" not in line
    metric.metric_name = "`a``b"
    line = Report(metric).to_markdown().splitlines()[-1]
    assert line.startswith("- ``` `a``b|")
    assert line.endswith(" ```")


def hostile_report():
    metric = AccuracyMetric([HOSTILE, "b"], [HOSTILE, "b"])
    f1 = F1ScoreMetric([HOSTILE, "b"], [HOSTILE, "b"], average="macro")
    metric.metric_name = HOSTILE
    package = PreCalculatedResultPackage({HOSTILE: HOSTILE}, pkg_name=HOSTILE)
    matrix = ConfusionMatrixMetric([HOSTILE, "b"], [HOSTILE, "b"])
    return Report(metric, f1, matrix, package, title=HOSTILE)


class Tags(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.texts = set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        assert not {name for name, _ in attrs} & {"src", "href", "onload"}

    def handle_data(self, data):
        self.texts.append(data)


def test_html_shows_names_and_runs_nothing():
    report = hostile_report()
    for page in (report.to_html(), report._repr_html_()):
        assert "<script" not in page
        assert "http" not in page
        parser = Tags()
        parser.feed(page)
        assert "script" not in parser.tags
        assert {"table", "th", "td", "h2", "h3", "style"} <= parser.tags
        shown = "".join(c if c.isprintable() else " " for c in HOSTILE)
        assert parser.texts.count(shown) >= 5  # title, section, name, class, value
    assert report.to_html().startswith("<!DOCTYPE html>")


def test_markdown_keeps_its_tables_and_runs_nothing():
    text = hostile_report().to_markdown()
    assert "\x00" not in text
    code = [line for line in text.splitlines() if line.startswith("- `")]
    assert all(re.fullmatch(r"- (`+)(?!`).*(?<!`)\1", line) for line in code)
    assert "<" not in "".join(line for line in text.splitlines() if line not in code)
    for block in text.split("\n\n"):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        bars = [line.replace("\\\\", "").replace("\\|", "").count("|") for line in lines]
        assert len(set(bars)) <= 1, block
    for mark in ("\\*b\\*", "\\`c\\`", "\\[d\\]", "\\_f\\_"):
        assert mark in text


def test_markdown_is_a_table():
    text = Report({"Mean_miss": 0.5, "n": 3}, title="My results").to_markdown()
    assert text == (
        "# My results\n\n| name | value |\n| :-- | --: |\n| Mean_miss | 0.5000 |\n| n | 3 |\n"
    )


def test_pandas_round_trip():
    pd = pytest.importorskip("pandas")
    y, p = labels(3)
    package = GeneralResultPackage([AccuracyMetric, *macro(PrecisionMetric, RecallMetric)])
    package.update(y, p)
    report = Report(package, {"loss": 0.5}, ConfusionMatrixMetric(y, p))
    frame = report.to_pandas()
    numbers = frame[frame["section"] == "GeneralResult"].set_index("name")
    assert numbers["value"].to_dict() == package.get_results()
    assert numbers["count"].tolist() == [300] * 3
    assert pd.isna(frame.set_index("name").loc["loss", "count"])
    matrix = frame[frame["name"].str.startswith("Confusion_matrix_")]
    assert matrix["value"].sum() == 300
    classes = report.to_pandas("classes")
    first = report.sections[0].tables[0]
    own = classes[(classes["section"] == "GeneralResult") & (classes["kind"] == "class")]
    assert own["recall"].tolist() == [row.recall for row in first.classes]
    assert set(classes["kind"]) == {"class", "average"}
    with pytest.raises(MetricInputError, match="'numbers' or 'classes'"):
        report.to_pandas("rows")
    assert Report({"a": 1}).to_pandas("classes").empty


def test_without_pandas_the_error_says_what_to_install(monkeypatch):
    load = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "pandas":
            raise ImportError(name)
        return load(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install 'tt-metrics\[pandas\]'"):
        Report({"a": 1}).to_pandas()
