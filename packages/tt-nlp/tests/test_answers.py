"""Exact match and F1 of answers, by hand and on real questions."""

import json
import string
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

from tt_metrics.api import GeneralResultPackage, MetricError
from tt_nlp import ExactMatchTextMetric, F1TextMetric, NlpError, NlpInputError

XQUAD = Path(__file__).parents[4] / "shared" / "data" / "qa-xquad"


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The  Denver Broncos!", "denver broncos"),
        ("a cat, an owl and the dog", "cat owl and dog"),
        ("Anthem theory", "anthem theory"),
        ("U.S.A.", "usa"),
        ("the-end", "theend"),
        ("«The» end", "« » end"),
        ("the\tA\nan", ""),
    ],
)
def test_what_does_not_count(text, normal):
    assert ExactMatchTextMetric.normalize_answer(text) == normal
    assert F1TextMetric.get_tokens(text) == normal.split()


@pytest.mark.parametrize(
    ("expected", "given", "f1"),
    [
        ("the big cat", "big cat", 1.0),
        ("big cat", "small cat", 0.5),  # 1 of 2 and 1 of 2
        ("cat", "cat and dog", 0.5),  # precision 1/3, recall 1
        ("to be or not to be", "to to to", 4 / 9),  # 2 of 3, 2 of 6: each word counts once
        ("cat", "dog", 0.0),
        ("cat", "", 0.0),
        ("", "cat", 0.0),
        ("the", "a", 1.0),  # nothing is left of either
    ],
)
def test_f1_by_hand(expected, given, f1):
    assert F1TextMetric.compute_f1(expected, given) == pytest.approx(f1, rel=1e-15)
    assert F1TextMetric([expected], [given]).metric_result == pytest.approx(100 * f1, rel=1e-15)
    matches = ExactMatchTextMetric([expected], [given]).metric_result
    assert matches == (100 if f1 == 1 else 0)


def test_the_best_of_several_answers_counts():
    y = [["Santa Clara", "Levi's Stadium in Santa Clara"], ["1999"]]
    p = ["Levi's Stadium", "in 1999"]
    f1 = F1TextMetric(y, p, target_actual_text=True)
    assert f1.metric_result == pytest.approx(100 * (4 / 7 + 2 / 3) / 2, rel=1e-15)
    p[0] = "santa clara"
    assert ExactMatchTextMetric(y, p, target_actual_text=True) == 50


def test_words_are_one_answer_and_lists_of_words_are_several():
    words = [["levi", "'s", "stadium"]]
    assert ExactMatchTextMetric(words, [["Levi", "'s", "Stadium"]]) == 100
    assert ExactMatchTextMetric(words, ["levi s stadium"]) == 100
    for target_actual_text in (False, True):
        several = ExactMatchTextMetric([[["x"], ["y", "z"]]], [["y", "z"]], target_actual_text)
        assert several == 100


def test_arrays_of_texts():
    y, p = np.array(["the cat", "dog"]), np.array(["cat", "cow"])
    assert ExactMatchTextMetric(y, p) == 50
    assert F1TextMetric(y, p) == 50


@pytest.mark.parametrize(
    ("y_true", "y_predicted", "text", "message"),
    [
        ([], [], False, "at least one; 0 and 0 came"),
        (["a"], ["a", "b"], False, "one entry per item, and at least one; 1 and 2 came"),
        ("cat", ["cat"], False, "y_true must be a list with one entry per item; 'cat' came"),
        (["cat"], 3, False, "y_predicted must be a list with one entry per item; 3 came"),
        ([["New York", "NYC"]], ["NYC"], False, "'New York' is several.*target_actual_text=True"),
        (["cat"], [["New York"]], True, "strings in y_predicted is the words of one answer"),
        (["cat"], [7], False, "y_predicted must be a string or a list of words; 7 came"),
        ([[1]], ["cat"], True, "y_true must be a string or a list of words; 1 came"),
        ([[]], ["cat"], True, "at least one accepted answer; one has none"),
    ],
)
def test_what_is_no_answer(y_true, y_predicted, text, message):
    with pytest.raises(NlpInputError, match=message) as caught:
        ExactMatchTextMetric(y_true, y_predicted, text)
    assert isinstance(caught.value, (NlpError, MetricError, ValueError))


def test_no_words_are_an_empty_answer():
    assert ExactMatchTextMetric([[]], [[]]) == 100
    assert F1TextMetric([["cat"]], [[]]) == 0


def test_in_a_package_every_answer_is_read_once():
    package = GeneralResultPackage([ExactMatchTextMetric, F1TextMetric])
    package.update([["big", "cat"]], ["cat"])
    package.update([["dog"]], ["dog"])
    assert package.compute() == {"EM": 50, "F1": pytest.approx(100 * (2 / 3 + 1) / 2)}
    assert len(package.state["data"]) == 1


def test_metrics_that_read_targets_differently_do_not_share():
    metrics = [ExactMatchTextMetric(target_actual_text=True), F1TextMetric]
    package = GeneralResultPackage(metrics)
    package.update([["big", "cat"]], ["cat"])
    assert package.compute() == {"EM": 100, "F1": pytest.approx(100 * 2 / 3)}


def plain_words(text):
    """The normalisation again, by runs of characters instead of by a pattern."""
    kept = (char for char in text.lower() if char not in string.punctuation)
    runs = ["".join(run) for _, run in groupby(kept, key=str.isalnum)]
    return "".join(" " if run in {"a", "an", "the"} else run for run in runs).split()


def plain_f1(expected, given):
    left, shared = list(given), 0
    for word in expected:
        if word in left:
            left.remove(word)
            shared += 1
    if not shared:
        return float(not expected and not given)
    precision, recall = shared / len(given), shared / len(expected)
    return 2 * precision * recall / (precision + recall)


@pytest.mark.skipif(not XQUAD.is_dir(), reason="needs XQuAD in ../shared/data/qa-xquad")
@pytest.mark.parametrize("language", ["en", "de"])
def test_real_questions(language):
    articles = json.loads((XQUAD / f"xquad.{language}.json").read_text("utf-8"))["data"]
    paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
    y, p = [], []
    for paragraph in paragraphs:
        context = paragraph["context"]
        for question in paragraph["qas"]:
            answer = question["answers"][0]
            end = answer["answer_start"] + len(answer["text"])
            y.append([answer["text"]])
            p.append(context[max(0, answer["answer_start"] - len(y) % 7) : end])
    assert len(y) == 1190
    pairs = zip(y, p, strict=True)
    words = [(plain_words(accepted[0]), plain_words(given)) for accepted, given in pairs]
    em = np.mean([expected == given for expected, given in words])
    f1 = np.mean([plain_f1(expected, given) for expected, given in words])
    assert 0.1 < em < 0.9
    assert ExactMatchTextMetric(y, p, True).metric_result == pytest.approx(100 * em, rel=1e-12)
    assert F1TextMetric(y, p, True).metric_result == pytest.approx(100 * f1, rel=1e-12)
