import json
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tt_experiment._report.columns import of_history, read_columns
from tt_experiment.recorder import history, read_metrics

NAMES = st.sampled_from(["loss", "val_loss", "lr"])
VALUES = st.dictionaries(NAMES, st.floats(width=32) | st.just(math.nan), max_size=3)
RECORDS = st.lists(st.tuples(st.integers(0, 4), VALUES), max_size=8)
HEADS = st.tuples(st.integers(0, 4), st.none() | st.integers(0, 3))
SEGMENTS = st.lists(st.tuples(st.none() | HEADS, RECORDS, st.booleans()), max_size=4)


def write(folder, plan):
    for number, (head, records, torn) in enumerate(plan, 1):
        facts = {"attempt": number}
        if head is not None:
            facts |= {"resumed_from_step": head[0], "records_of_that_step": head[1]}
        lines = [json.dumps(facts)]
        for step, values in records:
            flags = {name: str(v) for name, v in values.items() if not math.isfinite(v)}
            numbers = {name: None if name in flags else v for name, v in values.items()}
            record = {"step": step, "epoch": step // 3, "time": 5.0 + step, "values": numbers}
            lines.append(json.dumps({**record, "nonfinite": flags} if flags else record))
        text = "\n".join(lines) + "\n"
        (folder / f"{number:04d}.jsonl").write_text(text + '{"step":3,"val' * torn)


def same(ours, theirs):
    return ours == theirs or (math.isnan(ours) and math.isnan(theirs))


@settings(max_examples=80, deadline=None)
@given(SEGMENTS)
def test_columns_hold_what_read_metrics_gives(plan):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as name:
        write(Path(name), plan)
        columns, records = read_columns(Path(name)), read_metrics(name)
    records.sort(key=lambda record: record["step"])
    assert sorted(columns.step.tolist()) == [record["step"] for record in records]
    assert sorted(columns.time.tolist()) == [record["time"] for record in records]
    expected = history(records)
    assert set(columns.curves) == set(expected)
    for curve_name, points in expected.items():
        curve = columns.curves[curve_name]
        order = np.argsort(columns.step[curve.rows], kind="stable")
        assert columns.step[curve.rows][order].tolist() == [step for step, _ in points]
        assert all(map(same, curve.values[order].tolist(), [value for _, value in points]))
    assert sum(a.records - a.rewound for a in columns.attempts) == len(records)
    for attempt, (_, written, _) in zip(columns.attempts, plan, strict=True):
        assert attempt.last_step == max((step for step, _ in written), default=None)


def test_no_records(tmp_path):
    columns = read_columns(tmp_path)
    assert columns.step.size == columns.epochs_done().size == 0
    assert columns.curves == {}
    (tmp_path / "0001.jsonl").write_text('{"attempt": 1')
    assert read_columns(tmp_path).attempts == []


def test_what_others_wrote_is_left_out(tmp_path):
    lines = [
        {"attempt": 1, "resumed_from_step": "zero"},
        {"step": 1, "values": {"a": 1, "b": "text", "c": [1], "d": None, "e": 10**400}},
        {"step": "two", "values": {"a": 2}},
        {"step": 3, "values": 4},
        {"step": 4, "values": {"a": 5, "d": None}, "nonfinite": {"d": "inf"}},
    ]
    (tmp_path / "0001.jsonl").write_text("\n".join(map(json.dumps, lines)))
    columns = read_columns(tmp_path)
    assert columns.step.tolist() == [1, 4]
    assert {name: curve.values.tolist() for name, curve in columns.curves.items()} == {
        "a": [1.0, 5.0],
        "d": [math.inf],
    }


def test_lists_of_a_history():
    columns = of_history({"loss": [3.0, 2.0, 1.0], "val": [5.0], "note": "x"})
    assert columns.step.tolist() == [1, 2, 3]
    assert columns.curves["val"].rows.tolist() == [0]
    assert columns.curves["loss"].values.tolist() == [3.0, 2.0, 1.0]
