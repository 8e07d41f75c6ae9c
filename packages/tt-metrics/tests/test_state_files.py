"""States in files: what comes back, what is refused, and that a file is whole or not there."""

import doctest
import io
import json
import math
import os
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tt_metrics._core.state_file
from tt_metrics._core.packing import pack, unpack
from tt_metrics.api import (
    AbstractBaseMetric,
    AccuracyMetric,
    ClassificationResultPackage,
    F1ScoreMetric,
    GeneralResultPackage,
    MeanSquaredErrorMetric,
    MetricStateError,
    NoDataError,
    load_state,
    save_state,
)


def test_the_examples_in_the_docstrings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"AccuracyMetric": AccuracyMetric}
    result = doctest.testmod(tt_metrics._core.state_file, extraglobs=names)
    assert result.attempted > 0
    assert result.failed == 0


def assert_same(one, other):
    """Equal in type, value and, for arrays, dtype and bits."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert list(one) == list(other)
        for a, b in zip(one.values(), other.values(), strict=True):
            assert_same(a, b)
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    elif isinstance(one, np.ndarray):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert one.tobytes() == other.tobytes()
    elif isinstance(one, float):
        assert one.hex() == other.hex()
    else:
        assert one == other


def through_bytes(value):
    stream = io.BytesIO()
    pack(value, stream)
    return unpack(stream, "it")


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
ARRAY = st.sampled_from(
    [
        np.arange(6).reshape(2, 3),
        np.array(1.5, np.float32),
        np.zeros((0, 4), bool),
        np.array(["a", "ü\udc80", ""]),
        np.array([math.nan, -0.0, math.inf]),
        np.arange(12, dtype=">i2").reshape(3, 4).T,
    ]
)
KEY = st.text() | st.integers() | st.tuples(st.text(), st.booleans())
TREE = st.recursive(
    PLAIN | ARRAY,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(KEY, inner, max_size=4)
    ),
    max_leaves=12,
)


@given(TREE)
def test_whatever_a_state_may_hold_comes_back_as_it_was(value):
    assert_same(through_bytes(value), value)


def test_numbers_of_numpy_become_numbers_of_python():
    assert_same(through_bytes([np.float32(0.5), np.int8(3), np.str_("a")]), [0.5, 3, "a"])


class Longest(AbstractBaseMetric):
    def __init__(self, y_true, y_predicted):
        super().__init__(y_true, y_predicted, "Longest", np_array=False)

    def calculate_metric(self):
        return max(map(len, self.y_predicted))


def texts():
    metric = F1ScoreMetric(["a", "ü", "a"], ["ü", "ü", "a"], average="macro", zero_division=1.0)
    metric.metric_name = "Name of my own"
    return metric


def kept():
    metric = MeanSquaredErrorMetric().keep_items()
    metric.update([1.0, 2.0], [1.5, 2.5])
    metric.update(np.array([1e300, -0.0]), [1e300, 1.0], weight=[2.0, 0.5])
    return metric


def identified():
    metric = AccuracyMetric()
    metric.update([0, 1, 1], [0, 1, 0], sample_ids=["x", "y", "z"])
    return metric


@pytest.mark.parametrize(
    "metric",
    [
        AccuracyMetric([0, 1, 2], [0, 2, 2]),
        texts(),
        kept(),
        identified(),
        Longest(["a"], ["bc", "def"]),
        Longest([["a", "b"], ["c"]], (["d"], ["e", "f"])),
    ],
)
def test_a_metric_made_from_a_file_is_the_same(tmp_path, metric):
    path = tmp_path / "metric.state"
    save_state(path, metric.state)
    again = type(metric).from_state(load_state(path))
    assert again.compute() == metric.compute()
    assert_same(load_state(path), metric.state)


def test_an_empty_metric_comes_back_empty(tmp_path):
    save_state(tmp_path / "s", AccuracyMetric().state)
    with pytest.raises(NoDataError):
        AccuracyMetric.from_state(load_state(tmp_path / "s")).compute()


def test_a_metric_from_a_file_goes_on_and_knows_its_samples(tmp_path):
    save_state(tmp_path / "s", identified().state)
    metric = AccuracyMetric.from_state(load_state(tmp_path / "s"))
    metric.update([1, 0], [1, 0], sample_ids=["y", "new"])  # y has been there
    assert (metric.count, float(metric)) == (4, 0.75)


def test_a_package_takes_in_what_a_file_holds(tmp_path):
    labels = ["cat", "dog"]
    metrics = [AccuracyMetric(labels=labels), F1ScoreMetric(labels=labels, average="macro")]
    package = GeneralResultPackage(metrics)
    package.update(["cat", "dog", "cat"], ["cat", "cat", "cat"])
    save_state(tmp_path / "s", package.state)
    again = GeneralResultPackage(metrics)
    again.merge(load_state(tmp_path / "s"))
    assert again.compute() == package.compute()


def test_tensors_become_arrays(tmp_path):
    class Tensor:
        def __init__(self, values):
            self.values = values

        def detach(self):
            return self

        def cpu(self):
            return self

        def numpy(self):
            return np.array(self.values)

        def __len__(self):
            return len(self.values)

    metric = Longest([], [[0]])
    metric.reset()
    metric.update(Tensor([1]), Tensor([[2, 3], [4, 5]]))
    save_state(tmp_path / "s", metric.state)
    [array] = load_state(tmp_path / "s")["data"][0]["y_predicted"]
    np.testing.assert_array_equal(array, [[2, 3], [4, 5]])


def test_equal_states_give_equal_files(tmp_path):
    for name in "ab":
        save_state(tmp_path / name, texts().state)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_numpy_reads_the_arrays_and_anyone_the_rest(tmp_path):
    save_state(tmp_path / "s.npz", F1ScoreMetric([0, 1, 1], [0, 1, 0]).state)
    with np.load(tmp_path / "s.npz") as archive:
        np.testing.assert_array_equal(archive["0"], [[1, 0], [1, 1]])
    with zipfile.ZipFile(tmp_path / "s.npz") as archive:
        assert json.loads(archive.read("state.json"))["tt-metrics state"] == 1


@pytest.mark.parametrize(
    "odd",
    [
        object(),
        b"bytes",
        {1, 2},
        1j,
        np.array([object()]),
        np.array([{}, None]),
    ],
)
def test_what_needs_pickle_is_refused_and_nothing_is_left(tmp_path, odd):
    path = tmp_path / "s"
    save_state(path, AccuracyMetric([0], [0]).state)
    before = path.read_bytes()
    with pytest.raises(MetricStateError, match=f"{type(odd).__name__}.* came"):
        save_state(path, AccuracyMetric().state | {"odd": [odd]})
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


@pytest.mark.parametrize("no_state", [AccuracyMetric([0], [0]), {"data": []}, None])
def test_only_states_are_written(tmp_path, no_state):
    with pytest.raises(MetricStateError, match="must be a dict with the entry 'format'"):
        save_state(tmp_path / "s", no_state)
    assert list(tmp_path.iterdir()) == []


def archive(**members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as out:
        for name, content in members.items():
            out.writestr(name.replace("_", "."), content)
    return stream.getvalue()


def tree(content):
    return json.dumps({"tt-metrics state": 1, "content": content})


def objects():
    stream = io.BytesIO()
    np.save(stream, np.array([{}]), allow_pickle=True)
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no archive at all",
        archive(other="x"),
        archive(state_json="no JSON"),
        archive(state_json="[]"),
        archive(state_json="{}"),
        archive(state_json='{"tt-metrics state": "one"}'),
        archive(state_json='{"tt-metrics state": 1}'),
        archive(state_json=tree({"array": 0})),
        archive(state_json=tree({"array": "../x"})),
        archive(state_json=tree({"dict": [["a"]]})),
        archive(state_json=tree({"dict": [[["a"], 1]]})),
        archive(state_json=tree({"float": "x"})),
        archive(state_json=tree({"what": 1})),
        archive(state_json=tree({"dict": [], "more": 1})),
        archive(state_json="[" * 100_000),
        archive(state_json=tree({"array": 0}), **{"0.npy": b"no array"}),
        archive(state_json=tree({"array": 0}), **{"0.npy": objects()}),
    ],
)
def test_a_file_with_something_else_is_refused(tmp_path, content):
    (tmp_path / "s").write_bytes(content)
    with pytest.raises(MetricStateError, match=r"s must be what save_state wrote, and whole"):
        load_state(tmp_path / "s")


@pytest.mark.parametrize("content", [[1, 2], 3, {"dict": []}])
def test_a_file_without_a_state_is_refused(tmp_path, content):
    (tmp_path / "s").write_bytes(archive(state_json=tree(content)))
    with pytest.raises(MetricStateError, match="state"):
        load_state(tmp_path / "s")


def test_damage_is_found(tmp_path):
    path = tmp_path / "s"
    save_state(path, MeanSquaredErrorMetric([1.0, 2.0], [3.0, 5.0]).state)
    whole = path.read_bytes()
    archive = zipfile.ZipFile(path)
    inside = [info.header_offset + 30 + len(info.filename) for info in archive.infolist()]
    archive.close()
    for place in (inside[0] + 40, inside[-1] + 150):  # in the JSON; in an array's numbers
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(MetricStateError, match="must be what save_state wrote, and whole"):
            load_state(path)
    for size in range(0, len(whole), 97):
        path.write_bytes(whole[:size])
        with pytest.raises(MetricStateError):
            load_state(path)


def test_newer_versions_are_named(tmp_path):
    state = AccuracyMetric([0], [0]).state
    with pytest.raises(MetricStateError, match="newer tt-metrics: upgrade"):
        save_state(tmp_path / "s", state | {"format": state["format"] + 1})
    for content in (
        json.dumps({"tt-metrics state": 2, "something": "else"}),
        tree({"dict": [["format", state["format"] + 1]]}),
    ):
        (tmp_path / "s").write_bytes(archive(state_json=content))
        with pytest.raises(MetricStateError, match="newer tt-metrics: upgrade"):
            load_state(tmp_path / "s")


def test_a_missing_file_or_folder_is_told_as_python_does(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_state(tmp_path / "s")
    with pytest.raises(FileNotFoundError):
        save_state(tmp_path / "no" / "s", AccuracyMetric().state)


def test_a_state_file_is_readable_by_whom_the_umask_allows(tmp_path):
    save_state(tmp_path / "s", AccuracyMetric().state)
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "s").stat().st_mode == (tmp_path / "plain").stat().st_mode


WRITER = """
import sys
from tt_metrics.api import MeanSquaredErrorMetric, save_state
values = list(range(20_000))
states = []
for count in (1_000, 20_000):
    metric = MeanSquaredErrorMetric().keep_items()
    metric.update(values[:count], values[:count])
    states.append(metric.state)
save_state(sys.argv[1], states[0])
print("ready", flush=True)
while True:
    for state in states:
        save_state(sys.argv[1], state)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="kill -9 is POSIX")
def test_a_killed_process_leaves_a_whole_file(tmp_path):
    path = tmp_path / "s"
    for pause in (0.0, 0.013, 0.031):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout.readline() == b"ready\n"
            time.sleep(pause)
            writer.send_signal(signal.SIGKILL)
        assert MeanSquaredErrorMetric.from_state(load_state(path)).count in (1_000, 20_000)


def test_packages_do_not_mix(tmp_path):
    save_state(tmp_path / "s", GeneralResultPackage([MeanSquaredErrorMetric]).state)
    with pytest.raises(MetricStateError, match="packages with the same metrics"):
        ClassificationResultPackage().merge(load_state(tmp_path / "s"))
