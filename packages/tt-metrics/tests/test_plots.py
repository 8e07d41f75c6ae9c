"""Pictures: what is drawn, and that all of it can be read."""

import io
import subprocess
import sys
import threading

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from tt_metrics.api import (
    AccuracyMetric,
    AveragePrecisionMetric,
    BinaryClassificationResultPackage,
    CalibrationErrorMetric,
    ConfusionMatrixMetric,
    F1ScoreMetric,
    MeanSquaredErrorMetric,
    MetricInputError,
    MetricTypeError,
    NoDataError,
    ROCAUCMetric,
    ROCCurveMetric,
)
from tt_metrics.plot import (
    confusion_matrix,
    precision_recall_curve,
    reliability_diagram,
    roc_curve,
)

CURVES = [roc_curve, precision_recall_curve]


def binary(seed=0, items=200):
    draw = np.random.default_rng(seed)
    y = draw.integers(0, 2, items)
    return y, np.clip(draw.normal(0.35 + 0.3 * y, 0.2), 0, 1)


def classes(count, items=500):
    draw = np.random.default_rng(1)
    y = draw.integers(0, count, items)
    scores = draw.normal(size=(items, count))
    scores[np.arange(items), y] += 1
    return y, scores


def drawn(figure):
    """The axes, once everything is in its place and nothing sticks out."""
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    box, whole = figure.get_tightbbox(), figure.get_size_inches()
    assert box.x0 > -0.02
    assert box.y0 > -0.02
    assert box.x1 < whole[0] + 0.02
    assert box.y1 < whole[1] + 0.02
    return figure.axes


def lines(axes):
    return {line.get_label(): line.get_xydata() for line in axes.get_lines()}


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


@pytest.mark.parametrize("normalize", [None, "true", "pred", "all"])
def test_a_confusion_matrix_shows_its_numbers(normalize):
    y, scores = classes(4)
    metric = ConfusionMatrixMetric(y, scores, normalize=normalize)
    axes = drawn(confusion_matrix(metric, normalize=normalize))[0]
    shown = np.array([text.get_text() for text in axes.texts], float).reshape(4, 4)
    np.testing.assert_allclose(shown, metric.matrix, atol=0.0051)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")
    assert axes.get_title() == "Confusion matrix"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1", "2", "3"]


def test_numbers_stand_out_from_their_cells():
    y, scores = classes(5)
    axes = drawn(confusion_matrix(F1ScoreMetric(y, scores, average="macro")))[0]
    (image,) = axes.get_images()
    for text in axes.texts:
        column, row = (int(place) for place in text.get_position())
        cell = np.dot(image.to_rgba(image.get_array())[row, column, :3], [0.299, 0.587, 0.114])
        assert abs(cell - (text.get_color() == "white")) > 0.45


def test_matrices_of_many_classes_and_large_counts():
    y = np.arange(100)
    axes = drawn(confusion_matrix(ConfusionMatrixMetric(y, y)))[0]
    assert not axes.texts
    assert len(axes.get_xticklabels()) <= 50
    metric = ConfusionMatrixMetric(labels=[0, 1])
    metric.update([0, 1], [0, 1], weight=[2.5, 1e6])
    texts = [text.get_text() for text in confusion_matrix(metric).axes[0].texts]
    assert texts == ["2.50", "0.00", "0.00", "1e+06"]
    whole = ConfusionMatrixMetric(labels=[0, 1])
    whole.update(np.zeros(123_456, int), np.zeros(123_456, int))
    assert confusion_matrix(whole).axes[0].texts[0].get_text() == "1.2e+05"


def test_names_are_shown_as_they_are():
    names = ["$x^2$", "a\nb", "a very long name of a class indeed"]
    figure = confusion_matrix(ConfusionMatrixMetric(names, names), title="$5")
    axes = drawn(figure)[0]
    shown = [label.get_text() for label in axes.get_yticklabels()]
    assert shown == ["$x^2$", "a b", "a very long name ..."]
    assert not any(label.get_parse_math() for label in axes.get_yticklabels())
    y, scores = binary()
    axes = drawn(roc_curve({"$x$": ROCAUCMetric(y, scores)}, title="$5"))[0]
    assert not any(text.get_parse_math() for text in axes.get_legend().get_texts())


def test_a_roc_curve_is_that_of_scikit_learn():
    sklearn = pytest.importorskip("sklearn.metrics")
    y, scores = binary()
    axes = drawn(roc_curve(ROCAUCMetric(y, scores)))[0]
    area = sklearn.roc_auc_score(y, scores)
    assert legend(axes) == ["chance", f"AUC {area:.3f}"]
    points = lines(axes)[f"AUC {area:.3f}"]
    false, true, _ = sklearn.roc_curve(y, scores, drop_intermediate=False)
    np.testing.assert_allclose(points, np.column_stack([false, true]), atol=1e-12)
    assert axes.get_aspect() == 1
    assert axes.get_xlabel() == "False positive rate"


def test_a_precision_recall_curve_is_that_of_scikit_learn():
    sklearn = pytest.importorskip("sklearn.metrics")
    y, scores = binary()
    axes = drawn(precision_recall_curve(AveragePrecisionMetric(y, scores)))[0]
    score = sklearn.average_precision_score(y, scores)
    assert legend(axes) == [f"AP {score:.3f}", "chance"]
    points = lines(axes)[f"AP {score:.3f}"][1:]
    precision, recall, _ = sklearn.precision_recall_curve(y, scores)
    kept = slice(-2, None, -1)  # from the highest threshold down, without the added end
    np.testing.assert_allclose(points, np.column_stack([recall, precision])[kept], atol=1e-12)
    heights = [line[0, 1] for line in lines(axes).values() if len(line) == 2]
    assert y.mean() in heights


@pytest.mark.parametrize("draw", CURVES)
def test_several_curves_by_name(draw):
    metrics = {name: ROCAUCMetric(*binary(seed)) for seed, name in enumerate(("old", "new"))}
    axes = drawn(draw(metrics, title="Two"))[0]
    assert sum(text.startswith(("old (A", "new (A")) for text in legend(axes)) == 2
    assert axes.get_title() == "Two"
    named = [line for line in axes.get_lines() if line.get_label().startswith(("old", "new"))]
    assert len({line.get_color() for line in named}) == 2


@pytest.mark.parametrize("draw", CURVES)
def test_a_curve_for_each_class(draw):
    y, scores = classes(3)
    metric = ROCAUCMetric(y, scores)
    assert [text[:4] for text in legend(drawn(draw(metric))[0]) if text != "chance"] == [
        "0 (A",
        "1 (A",
        "2 (A",
    ]
    some = legend(drawn(draw({"m": metric}, labels=[2, 0]))[0])
    assert [text[:6] for text in some if text != "chance"] == ["m: 2 (", "m: 0 ("]
    with pytest.raises(MetricInputError, match=r"among \[0, 1, 2\]; 7 came"):
        draw(metric, labels=[7])


def test_many_items_make_few_points_on_the_same_curve():
    y, scores = binary(items=20_000)
    draw = np.random.default_rng(0)
    metric = ROCAUCMetric(y, scores + draw.normal(0, 1e-9, len(y)))
    (points,) = (line for name, line in lines(roc_curve(metric).axes[0]).items() if "AUC" in name)
    assert len(points) <= 2000
    area = np.trapezoid if hasattr(np, "trapezoid") else np.trapz
    assert area(points[:, 1], points[:, 0]) == pytest.approx(float(metric), abs=1e-3)
    np.testing.assert_array_equal(points[[0, -1]], [[0, 0], [1, 1]])


def test_other_metrics_and_packages_over_the_same_state():
    y, scores = binary()
    package = BinaryClassificationResultPackage()
    package.update(y, scores)
    expected = legend(roc_curve(ROCAUCMetric(y, scores)).axes[0])
    for source in (package, ROCCurveMetric(y, scores), AveragePrecisionMetric(y, scores)):
        assert legend(roc_curve(source).axes[0]) == expected
    texts = [text.get_text() for text in confusion_matrix(package).axes[0].texts]
    matrix = ConfusionMatrixMetric(y, scores).matrix
    assert texts == [str(cell) for cell in matrix.ravel()]


def test_more_curves_than_colours_still_differ():
    metrics = {str(seed): ROCAUCMetric(*binary(seed, 20)) for seed in range(9)}
    styles = [
        (line.get_color(), line.get_linestyle())
        for line in drawn(roc_curve(metrics))[0].get_lines()
    ]
    assert len(set(styles)) == 10


@pytest.mark.parametrize("num_bins", [5, 15])
def test_a_reliability_diagram(num_bins):
    y, p = binary(items=2000)
    metric = CalibrationErrorMetric(y, p, num_bins=num_bins)
    above, below = drawn(reliability_diagram({"model": metric}))
    label = f"model (ECE {float(metric):.3f})"
    assert legend(above) == ["perfectly calibrated", label]
    bins = np.ceil(p * num_bins).clip(1, None)
    expected = [(p[bins == b].mean(), y[bins == b].mean()) for b in np.unique(bins)]
    np.testing.assert_allclose(lines(above)[label], expected, atol=1e-12)
    (steps,) = below.patches
    assert steps.get_data().values.sum() == 2000
    assert (below.get_xlabel(), below.get_ylabel()) == ("Confidence", "Items")
    left, right = (axes.get_window_extent() for axes in (above, below))
    assert left.width == pytest.approx(right.width, rel=0.01)


@pytest.mark.parametrize(
    ("draw", "metric", "message"),
    [
        (confusion_matrix, MeanSquaredErrorMetric([1.0], [1.0]), "is of a confusion matrix"),
        (roc_curve, AccuracyMetric([1], [1]), "is of rankings"),
        (precision_recall_curve, 3, "is of rankings"),
        (reliability_diagram, {"a": AccuracyMetric([1], [1])}, "is of a calibration"),
    ],
)
def test_metrics_that_have_nothing_to_show(draw, metric, message):
    with pytest.raises(MetricTypeError, match=message):
        draw(metric)


@pytest.mark.parametrize(
    ("draw", "metric"),
    [
        (confusion_matrix, ConfusionMatrixMetric()),
        (roc_curve, ROCAUCMetric()),
        (precision_recall_curve, ROCAUCMetric()),
        (reliability_diagram, CalibrationErrorMetric()),
    ],
)
def test_without_data_there_is_no_picture(draw, metric):
    with pytest.raises(NoDataError, match="A picture needs data"):
        draw(metric)


def test_what_cannot_be_drawn():
    with pytest.raises(MetricInputError, match="the dict of metrics is empty"):
        roc_curve({})
    with pytest.raises(MetricInputError, match="normalize must be"):
        confusion_matrix(ConfusionMatrixMetric([1], [1]), normalize="rows")
    with pytest.raises(MetricInputError, match="label 1 has 2 and 0"):
        roc_curve(ROCCurveMetric([1, 1], [0.1, 0.2]))
    with pytest.raises(MetricInputError, match="label 1 has 0 and 2"):
        precision_recall_curve(ROCCurveMetric([0, 0], [0.1, 0.2]))


def test_only_positives_still_have_a_precision():
    axes = drawn(precision_recall_curve(AveragePrecisionMetric([1, 1], [0.1, 0.2])))[0]
    assert legend(axes) == ["AP 1.000", "chance"]


def test_drawing_in_threads_touches_nothing_shared():
    y, scores = binary()
    metric, figures = ROCAUCMetric(y, scores), []
    threads = [
        threading.Thread(target=lambda: figures.append(drawn(roc_curve(metric)))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(figures) == 4


WITHOUT_MATPLOTLIB = """
sys.modules["matplotlib"] = None
try:
    import tt_metrics.plot
except ImportError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import tt_metrics.plot; print('matplotlib.pyplot' in sys.modules)", "False"),
        ("import tt_metrics; print('matplotlib' in sys.modules)", "False"),
        (
            WITHOUT_MATPLOTLIB,
            "tt_metrics.plot needs matplotlib: pip install 'tt-metrics[plot]'",
        ),
    ],
)
def test_what_importing_loads(code, said):
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}"], capture_output=True, check=True, text=True
    )
    assert done.stdout.strip() == said
