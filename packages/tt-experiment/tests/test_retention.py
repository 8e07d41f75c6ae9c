import itertools
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_experiment.retention import BestPolicy, Retention

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Saved:
    serial: int
    step: int = 0
    created: datetime = NOON
    scores: dict = field(default_factory=dict)
    finite: bool = True


def saved(*values, metric="loss"):
    """One per value, the step its place; `None` has no score."""
    return [
        Saved(n, n, NOON + timedelta(minutes=n), {} if value is None else {metric: value})
        for n, value in enumerate(values)
    ]


def serials(checkpoints):
    return [checkpoint.serial for checkpoint in checkpoints]


MOMENTS = st.integers(-100, 100).map(lambda n: NOON + timedelta(minutes=n))
SCORES = st.dictionaries(
    st.sampled_from(["loss", "acc"]), st.sampled_from([0.0, 1.0, 2.0, math.nan, math.inf])
)
MANY = st.lists(
    st.builds(Saved, st.integers(0, 99), st.integers(0, 20), MOMENTS, SCORES, st.booleans()),
    unique_by=lambda checkpoint: checkpoint.serial,
)
POLICIES = st.lists(
    st.builds(
        BestPolicy,
        st.sampled_from(["loss", "acc"]),
        st.sampled_from(["min", "max"]),
        st.integers(1, 3),
    ),
    max_size=2,
)
RULES = st.builds(
    Retention,
    last=st.none() | st.integers(1, 4),
    best=POLICIES,
    within=st.none() | st.integers(1, 60).map(lambda n: timedelta(minutes=n)),
    every_steps=st.none() | st.integers(1, 5),
)


@given(MANY, RULES)
def test_a_union_of_rules(checkpoints, rules):
    """Against rules that are each written out on their own."""
    kept = set(serials(rules.keep(checkpoints)))
    ordered = sorted(checkpoints, key=lambda c: -c.serial)
    has_rules = rules.last or rules.best or rules.within or rules.every_steps
    known = all(
        any(not math.isnan(c.scores.get(p.metric, math.nan)) for c in ordered) for p in rules.best
    )
    if not ordered or not has_rules or not known:
        assert kept == set(serials(ordered))
        return
    expected = {ordered[0].serial, *serials(ordered[: rules.last or 0])}
    expected |= set(serials([c for c in ordered if c.finite][:1]))
    for policy in rules.best:
        sign = -1 if policy.mode == "max" else 1
        values = [
            (sign * c.scores[policy.metric], c.serial) for c in ordered if policy.metric in c.scores
        ]
        numbers = [item for item in values if not math.isnan(item[0])]
        expected |= {serial for _, serial in sorted(numbers)[: policy.count]}
    for c in ordered:
        if rules.within and ordered[0].created - c.created <= rules.within:
            expected.add(c.serial)
        if rules.every_steps and c.step % rules.every_steps == 0:
            expected.add(c.serial)
    assert kept == expected


@given(MANY, RULES)
def test_the_newest_always_stays_and_order_does_not_matter(checkpoints, rules):
    kept = rules.keep(checkpoints)
    assert serials(rules.keep(checkpoints[::-1])) == serials(kept)
    assert serials(kept) == sorted(serials(kept), reverse=True)
    if checkpoints:
        assert kept[0].serial == max(serials(checkpoints))


@pytest.mark.parametrize("values", list(itertools.permutations([0.9, 0.1, 0.2, 0.3])))
@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_best_is_the_one_that_had_the_value(values, mode):
    """AIToolbox paired a checkpoint with the value of the epoch after it, and deleted the best."""
    kept = Retention(best=BestPolicy("Mean_absolute_error", mode)).keep(
        saved(*values, metric="Mean_absolute_error")
    )
    best = min(values) if mode == "min" else max(values)
    assert {c.scores["Mean_absolute_error"] for c in kept} == {best, values[-1]}


def test_each_of_several_metrics_has_its_own_mode():
    checkpoints = [
        Saved(0, scores={"loss": 0.1, "acc": 0.1}),
        Saved(1, scores={"loss": 0.9, "acc": 0.9}),
        Saved(2, scores={"loss": 0.5, "acc": 0.5}),
        Saved(3, scores={"loss": 0.6, "acc": 0.6}),
    ]
    rule = Retention(best=[BestPolicy("loss", "min"), BestPolicy("acc", "max")])
    assert serials(rule.keep(checkpoints)) == [3, 1, 0]


def test_until_a_metric_comes_all_stay():
    rule = Retention(last=1, best=[BestPolicy("loss", "min"), BestPolicy("acc", "max")])
    assert rule.unknown(saved(0.5, 0.4, 0.3)) == ["acc"]
    assert len(rule.keep(saved(0.5, 0.4, 0.3))) == 3
    assert len(Retention(last=1, best=BestPolicy("loss", "min")).keep(saved(None, math.nan))) == 2


def test_a_clock_that_goes_back_deletes_nothing_that_is_new():
    """Another trainer, going by times, deletes the two newest and keeps the oldest."""
    checkpoints = [Saved(n, n, NOON + timedelta(minutes=n)) for n in range(4)]
    back = [Saved(n, n, NOON + timedelta(minutes=n - 60)) for n in range(4, 6)]
    assert serials(Retention(last=2).keep(checkpoints + back)) == [5, 4]
    assert serials(Retention(within=timedelta(minutes=1)).keep(checkpoints + back)) == [
        5,
        4,
        3,
        2,
        1,
        0,
    ]


def test_within_goes_by_the_age_beside_the_newest():
    checkpoints = [Saved(n, n, NOON + timedelta(hours=n)) for n in range(5)]
    assert serials(Retention(within=timedelta(hours=2)).keep(checkpoints)) == [4, 3, 2]


def test_every_steps():
    checkpoints = [Saved(n, 10 * n) for n in range(1, 8)]
    assert serials(Retention(every_steps=30).keep(checkpoints)) == [7, 6, 3]


def test_the_newest_that_is_finite_outlives_those_that_are_not():
    checkpoints = [Saved(0), Saved(1), Saved(2, finite=False), Saved(3, finite=False)]
    assert serials(Retention(last=1).keep(checkpoints)) == [3, 1]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"last": 0}, "last=0"),
        ({"last": True}, "last=True"),
        ({"last": 1.5}, r"last=1\.5"),
        ({"every_steps": -1}, "every_steps=-1"),
        ({"within": timedelta(0)}, "above zero"),
        ({"best": ["loss"]}, "BestPolicy objects"),
    ],
)
def test_rules_that_mean_nothing(rules, message):
    with pytest.raises(ValueError, match=message):
        Retention(**rules)


def test_policies_that_mean_nothing():
    with pytest.raises(ValueError, match="'min' or 'max'"):
        BestPolicy("loss", "lowest")
    with pytest.raises(ValueError, match="count=0"):
        BestPolicy("loss", "min", 0)
