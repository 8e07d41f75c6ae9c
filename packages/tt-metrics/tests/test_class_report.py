"""Scores of every label, against scikit-learn's classification_report."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from tt_metrics.api import Confusion, LabelCounts, class_report

pairs = st.integers(1, 30).flatmap(
    lambda n: st.tuples(
        *[st.lists(st.sampled_from([0, 1, 2, 7]), min_size=n, max_size=n)] * 2,
        st.none() | st.lists(st.floats(0.1, 10), min_size=n, max_size=n),
    )
)


def near(value):
    return pytest.approx(value, rel=1e-12, abs=1e-12, nan_ok=True)


def filled(state, y, p, weight=None):
    state.update(y, p, weight)
    return state


def expect_equal(report, expected):
    assert report.keys() == expected.keys()
    for name, line in expected.items():
        assert report[name] == near(line), name


@pytest.mark.parametrize("labels", [None, [2, 0, 7, 1, 5]])
@settings(max_examples=40)
@given(data=pairs, zero_division=st.sampled_from([0.0, 1.0, math.nan]))
def test_one_label_per_item(labels, data, zero_division):
    y, p, weight = data
    report = class_report(
        filled(Confusion(labels=labels), y, p, weight), zero_division=zero_division
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of labels that do not occur
        expected = oracle.classification_report(
            y,
            p,
            labels=labels,
            sample_weight=weight,
            zero_division=zero_division,
            output_dict=True,
        )
    if "accuracy" not in expected:  # scikit-learn takes labels that do not occur for a selection
        expected["accuracy"] = expected.pop("micro avg")["f1-score"]
    assert list(report.to_dict())[: len(report.labels)] == [str(label) for label in report.labels]
    expect_equal(report.to_dict(), expected)


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), zero_division=st.sampled_from([0.0, 1.0, math.nan]))
def test_several_labels_per_item(seed, zero_division):
    y, p = (np.random.default_rng(seed).random((2, 6, 3)) < 0.3).astype(int)
    report = class_report(
        filled(LabelCounts(labels=["a", "b", "c"]), y, p), zero_division=zero_division
    )
    expected = oracle.classification_report(
        y, p, target_names=["a", "b", "c"], zero_division=zero_division, output_dict=True
    )
    del expected["samples avg"]  # no function of the counts per label
    assert report.accuracy is None
    expect_equal(report.to_dict(), expected)


def test_texts():
    y, p = ["b", "a", "c", "a"], ["b", "b", "c", "a"]
    report = class_report(filled(Confusion(), y, p))
    assert report.labels == ("a", "b", "c")
    assert report.support.tolist() == [2, 1, 1]
    assert report.averages["micro"].precision == report.accuracy == 0.75
    expect_equal(report.to_dict(), oracle.classification_report(y, p, output_dict=True))
