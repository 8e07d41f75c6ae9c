"""Filters and orders over runs, against an evaluator of its own in plain Python."""

import math
import operator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tt_experiment.errors import QueryError
from tt_experiment.query import Query, sort_runs
from tt_experiment.runs import MetricSummary, RunSummary


def a_run(name="r", *, params=None, metrics=None, results=None, **facts):
    curves = {
        key: MetricSummary(9, 1, 9, value, value - 1, 3, value + 1, 5)
        for key, value in (metrics or {}).items()
    }
    given = {
        "project": "p",
        "experiment": "e",
        "status": "completed",
        "created": "2026-11-28T09:00",
    }
    return RunSummary(
        path=Path("runs", "p", name),
        id=f"id-{name}",
        ended=None,
        attempts=1,
        parent=None,
        hyperparams=params or {},
        metrics=curves,
        results=results or {},
        **given | facts,
    )


RUN = a_run(
    params={
        "lr": 1e-3,
        "optimizer": "adam",
        "amp": True,
        "model.layers": 4,
        "drop": None,
        "a b": 1,
    },
    metrics={"val_loss": 0.25, "acc": 0.9, "test loss": 2.0, "broken": math.nan, "lr": 7.0},
    results={"pkg/f1": 0.5, "acc": 0.1},
)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("val_loss<0.3 and lr>=1e-3 and optimizer=='adam' and status!=failed", True),
        ("val_loss < .3", True),
        ("val_loss>=0.25", True),
        ("0.2 < val_loss <= 0.25", True),
        ("0.2 < val_loss < 0.25", False),
        ("0.3 > val_loss", True),
        ("lr = 0.001", True),
        ("lr == +1E-3", True),
        ("acc > -inf and acc < inf", True),
        ("optimizer == adam", True),
        ('optimizer == "adam"', True),
        ("optimizer == Adam", False),
        ("optimizer ~ ADA", True),
        ("optimizer ~ 'x'", False),
        ("optimizer in (sgd, adam)", True),
        ("optimizer not in (sgd, 'rmsprop')", True),
        ("optimizer not in (sgd, adam)", False),
        ("model.layers in (4, 8)", True),
        ("amp == true and amp != false", True),
        ("amp == 1 or amp > 0", False),  # a truth is no number
        ("amp != 1", True),
        ("lr < 'a' or lr == '0.001'", False),  # a number is no text
        ("`a b` == 1", True),
        ("last.`test loss` > 1.5 and max.`test loss` == 3", True),
        ("min.val_loss == -0.75 and best.val_loss == -0.75", True),
        ("best.acc == 1.9 and metric.acc == 0.9 and acc == 0.9", True),  # metrics before results
        ("result.acc == 0.1 and pkg/f1 == 0.5 and result.pkg/f1 == 0.5", True),
        ("lr == 0.001 and param.lr == 0.001 and last.lr == 7", True),  # hyperparameters first
        ("created >= 2026-11-28 and created < 2026-11-29", True),
        ("created >= 2026-11-28T10:00", False),
        ("project == p and experiment == e and name == r and id ~ 'id-' and attempts == 1", True),
        ("status == completed or nothing == 1 and nothing == 2", True),  # and binds closer
        ("(status == completed or nothing == 1) and nothing == 2", False),
        ("not status == failed and not (lr > 1)", True),
        ("not not lr < 1", True),
        ("val_loss < acc", True),  # two names
        ("optimizer == 'it\\'s'", False),
        # what is missing, or no number
        ("nothing == none and nothing == null", True),
        ("nothing != none", False),
        ("none == drop", True),
        ("drop == none", True),
        ("drop != none", False),
        ("parent == none and ended == None", True),
        ("lr != none and broken != none", True),
        ("nothing == nan or lr == nan", False),
        ("broken == nan and broken == NaN", True),
        ("broken != nan or nothing != nan", False),
        ("lr != nan and optimizer != nan", True),
        ("broken < 1 or broken >= 1 or broken == broken or broken != 1", False),
        ("nothing < 1 or nothing >= 1 or nothing != 1 or nothing == 1", False),
        ("nothing != 'x' or nothing ~ 'x' or nothing not in (1, 2)", False),
        ("not nothing < 1", True),
        ("nothing in (1, none)", True),
        ("none in (none)", True),
    ],
)
def test_a_filter_means_what_the_module_says(text, holds):
    assert Query(text).matches(RUN) is holds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a name or a value"),
        ("   ", "a name or a value"),
        ("lr", "a comparison"),
        ("lr <", "a name or a value here. Got the end"),
        ("lr < 1 and", "a name or a value"),
        ("lr < 1 lr > 2", "'and', 'or' or the end here. Got 'lr' at character 8"),
        ("(lr < 1", r"'\)' here"),
        ("lr in 1", r"'\(' here"),
        ("lr in ()", "a name or a value"),
        ("lr not 1", "'in' here"),
        ("lr < none", "compared by == or !=. Got '<'"),
        ("nan ~ lr", "compared by == or !="),
        ("lr + 1 < 2", "Got '\\+' at character 4.*backticks"),
        ("test loss < 1", "a comparison like"),
        ("a;b", "Got ';' at character 2"),
        ("`` == 1", "Got '`'"),
        ("'open", 'Got "\'"'),
        ("and == 1", "a name or a value"),
        ("lr == " + "(" * 200, "a name or a value"),
        ("(" * 200 + "lr == 1" + ")" * 200, "at most 50 brackets"),
        ("not " * 200 + "lr == 1", "at most 50 brackets"),
        ("lr == 1" + " " * 20_000 + "and", "at most 10000 characters"),
        ("__import__('os').system('x')", "Got '.' at character 17"),
    ],
)
def test_what_is_no_filter_is_told_with_its_place(text, message):
    with pytest.raises(QueryError, match=message):
        Query(text)


@given(st.text(max_size=60) | st.text(alphabet="lr<>=!~()'\"`.,and ornot1e-\\", max_size=40))
@example("`" * 10_001)
@example("'\\")
def test_no_text_does_anything_but_filter(text):
    try:
        query = Query(text)
    except QueryError:
        return
    assert query.matches(RUN) in (True, False)


NAMES = ("lr", "optimizer", "amp", "val_loss", "broken", "drop", "nothing", "model.layers")
VALUES = {
    "lr": 1e-3,
    "optimizer": "adam",
    "amp": True,
    "val_loss": 0.25,
    "broken": math.nan,
    "drop": None,
    "nothing": None,
    "model.layers": 4,
}
SIGNS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
SIGNS |= {"==": operator.eq, "!=": operator.ne}
constants = st.sampled_from([0.25, 1e-3, 4.0, -1.0, "adam", "zz", True, False])


def holds(name, sign, constant):
    """What a comparison with a constant is, said in another way."""
    value = VALUES[name]
    if value is None or value != value:
        return False

    def kind(item):
        return "truth" if isinstance(item, bool) else "text" if isinstance(item, str) else "number"

    if kind(value) != kind(constant):
        return sign == "!="
    return SIGNS[sign](value, constant)


def text_of(constant):
    return str(constant).lower() if isinstance(constant, bool) else repr(constant)


leaves = st.builds(
    lambda name, sign, constant: (
        f"{name} {sign} {text_of(constant)}",
        holds(name, sign, constant),
    ),
    st.sampled_from(NAMES),
    st.sampled_from(sorted(SIGNS)),
    constants,
)
filters = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda a: (f"not ({a[0]})", not a[1]), inner),
        st.builds(lambda a, b: (f"({a[0]}) and ({b[0]})", a[1] and b[1]), inner, inner),
        st.builds(lambda a, b: (f"({a[0]}) or ({b[0]})", a[1] or b[1]), inner, inner),
    ),
    max_leaves=8,
)


@settings(max_examples=300)
@given(filters)
def test_combined_filters_agree_with_plain_python(pair):
    text, expected = pair
    assert Query(text).matches(RUN) is expected


def test_a_misspelt_name_is_told_with_those_that_are_like_it():
    runs = [a_run("a"), RUN]
    assert Query("val_loss < 1").select(runs) == [RUN]  # one run without it is fine
    with pytest.raises(QueryError, match="Got 'val_los': did you mean val_loss"):
        Query("val_los < 1").select(runs)
    with pytest.raises(QueryError, match=r"Got 'best\.qqqq': `show` lists"):
        Query("best.qqqq < 1").select(runs)
    with pytest.raises(QueryError, match="did you mean"):
        Query("lr == `optimizr`").select(runs)
    assert Query("optimizer == sgdd").select(runs) == []  # on the right, a bare word is text
    assert Query("what < 1").select([]) == []


def test_a_word_on_the_right_is_a_name_where_a_run_has_it():
    runs = [a_run("a", params={"x": 1, "y": 1}), a_run("b", params={"x": "y"})]
    assert Query("x == y").select(runs) == runs


def ordered(runs, order):
    return [run.name for run in sort_runs(runs, order)]


def test_orders():
    runs = [
        a_run("a", params={"x": 2, "y": 1}),
        a_run("b", params={"x": 1, "y": 2}),
        a_run("c", params={"x": 1, "y": 1}),
        a_run("d", params={"x": "text"}),
        a_run("e", params={"x": math.nan}),
        a_run("f", params={"x": None}),
        a_run("g", params={"x": "also"}),
    ]
    assert ordered(runs, "x") == ["b", "c", "a", "g", "d", "e", "f"]
    assert ordered(runs, "-x") == ["a", "b", "c", "d", "g", "e", "f"]
    assert ordered(runs, "x,y") == ["c", "b", "a", "g", "d", "e", "f"]
    assert ordered(runs, "x, -y") == ["b", "c", "a", "g", "d", "e", "f"]
    assert ordered(runs, "-name")[0] == "g"


def test_an_order_by_odd_names():
    runs = [a_run("a", metrics={"x,y": 1.0}), a_run("b", metrics={"x,y": 0.0})]
    assert ordered(runs, "max.`x,y`") == ["b", "a"]
    assert ordered(runs, "-`x,y`,name") == ["a", "b"]
    for nothing in ("", ",", "-", "x,,y", "``"):
        with pytest.raises(QueryError, match=r"a sort order is|must be one that a run has"):
            sort_runs(runs, nothing)
    with pytest.raises(QueryError, match="Got 'nam': did you mean name"):
        sort_runs(runs, "nam")


@given(st.lists(st.sampled_from([1.0, 2.0, math.nan, math.inf, -math.inf, "a", "b", None, True])))
def test_any_values_can_be_sorted_and_nothing_comes_last(values):
    runs = [a_run(f"{i:03d}", params={"x": value}) for i, value in enumerate(values)]
    if not runs:
        return
    for order in ("x", "-x"):
        found = [run.hyperparams["x"] for run in sort_runs(runs, order)]
        kinds = [
            2 if v is None or v != v else 1 if isinstance(v, str) else 0  # numbers, text, nothing
            for v in found
        ]
        assert kinds == sorted(kinds)
        numbers = [v for v, kind in zip(found, kinds, strict=True) if kind == 0]
        assert numbers == sorted(numbers, reverse=order == "-x")
