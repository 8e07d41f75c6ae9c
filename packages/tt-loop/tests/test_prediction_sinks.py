"""Predictions written batch by batch and read back."""

import gc
import json
import os
import shutil
import tracemalloc
import zipfile
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from tt_loop.api import LoopStateError, LoopTypeError, LoopValueError, TrainLoop, TTModel
from tt_loop.evaluation.reader import join_predictions, read_predictions
from tt_loop.evaluation.sinks import MemmapSink, NpzSink
from tt_loop.protocols import PredictionSink

SINKS = {"npz": NpzSink, "folder": MemmapSink}

Pair = namedtuple("Pair", ["left", "right"])


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch) -> None:
    """Waiting for the disk is most of what writing small files takes."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture(params=SINKS)
def sink_of(request):
    return SINKS[request.param]


def written(sink, batches):
    """Write batches of outputs, numbered in their order, and read them."""
    first = 0
    with sink:
        for samples, outputs in batches:
            sink.write(range(first, first + samples), outputs)
            first += samples
    found = read_predictions(getattr(sink, "path", None) or sink.folder)
    assert found.ids.tolist() == list(range(first))
    return found.outputs


def plain(value):
    """Nested values as Python's own, sequences as lists."""
    if isinstance(value, torch.Tensor | np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return tuple(map(plain, value))
    return value if isinstance(value, str | int | float | None) else list(map(plain, value))


def test_sinks_fit_the_loop(tmp_path) -> None:
    assert isinstance(NpzSink(tmp_path / "a.npz"), PredictionSink)
    assert isinstance(MemmapSink(tmp_path / "a"), PredictionSink)
    assert list(tmp_path.iterdir()) == []


# What comes back


def test_nested_values_come_back_as_they_were_nested(sink_of, tmp_path) -> None:
    batches = [
        (
            n,
            {
                "y_pred": (
                    torch.full((n, 2), float(n)),
                    {"logits": torch.ones(n).double(), 7: None, "deep": [np.arange(n)]},
                ),
                "pair": Pair(torch.arange(n), ["a", "b", "c", "d"][:n]),
                "y_true": None,
                "nothing": {},
            },
        )
        for n in (3, 4)
    ]
    found = written(sink_of(tmp_path / "out"), batches)
    assert list(found) == ["y_pred", "pair", "y_true", "nothing"]
    assert plain(found["y_pred"]) == (
        [[3.0, 3.0]] * 3 + [[4.0, 4.0]] * 4,
        {"logits": [1.0] * 7, 7: None, "deep": [[0, 1, 2, 0, 1, 2, 3]]},
    )
    assert found["y_pred"][1]["logits"].dtype == np.float64
    assert found["pair"]._fields == Pair._fields
    assert plain(found["pair"]) == ([0, 1, 2, 0, 1, 2, 3], list("abcabcd"))
    assert found["y_true"] is None
    assert found["nothing"] == {}


def test_texts_and_plain_python_values_come_back(sink_of, tmp_path) -> None:
    names = ["", "naïve", "\0end\n", "漢字 🙂", "\ud800"]
    spans = [[], [[1, 2]], {"text": None, "at": [0.1, True]}, None, [float("inf"), 10**30]]
    numbers = {
        "flag": [True, False],
        "count": [1, -(2**62)],
        "score": [0.1, 2],
        "none": [1, None],
        "exact": [0.5, 2**53 + 1],
    }
    found = written(
        sink_of(tmp_path / "out"),
        [(5, {"names": names, "spans": spans}), (5, {"names": tuple(names), "spans": spans})],
    )
    assert list(found["names"]) == names * 2
    assert list(found["spans"]) == spans * 2
    found = written(sink_of(tmp_path / "numbers"), [(2, numbers)])
    assert plain(found) == numbers
    assert found["flag"].dtype == np.bool_
    assert found["count"].dtype == np.int64
    assert found["score"].dtype == np.float64


def test_arrays_of_texts_become_lists(sink_of, tmp_path) -> None:
    batches = [(2, {"name": np.array(["a", "bc"])}), (1, {"name": np.array(["longer"])})]
    assert list(written(sink_of(tmp_path / "out"), batches)["name"]) == ["a", "bc", "longer"]


def test_samples_of_different_shapes_come_back(sink_of, tmp_path) -> None:
    lengths = [3, 1, 0, 4, 4, 2]
    boxes = [torch.arange(k * 4.0).reshape(k, 4) for k in lengths]
    tokens = [np.arange(k) for k in lengths]
    padded = [torch.ones(2, 5, 3), torch.ones(2, 5, 3), torch.zeros(2, 7, 3)]
    found = written(
        sink_of(tmp_path / "out"),
        [
            (2, {"boxes": boxes[i : i + 2], "tokens": tokens[i : i + 2], "padded": padded[i // 2]})
            for i in (0, 2, 4)
        ],
    )
    for name, expected in (("boxes", boxes), ("tokens", tokens)):
        assert len(found[name]) == 6
        for sample, whole in zip(found[name], expected, strict=True):
            np.testing.assert_array_equal(sample, whole, strict=False)
    assert [sample.shape for sample in found["padded"]] == [(5, 3)] * 4 + [(7, 3)] * 2
    assert [sample.sum() for sample in found["padded"]] == [15.0] * 4 + [0.0] * 2
    assert [len(sample) for sample in found["tokens"][1:4]] == [1, 0, 4]
    assert len(found["tokens"][-1]) == 2


def test_what_turns_out_ragged_with_the_last_batch_is_read_alike(sink_of, tmp_path) -> None:
    batches = [(50, {"x": np.full((50, 2, 3), k)}) for k in range(4)] + [
        (1, {"x": np.ones((1, 1, 1))})
    ]
    batches = [(n, {"x": out["x"].astype(np.float32)}) for n, out in batches]
    found = written(sink_of(tmp_path / "out"), batches)["x"]
    expected = [sample for _, out in batches for sample in out["x"]]
    assert len(found) == 201
    assert all(map(np.array_equal, found, expected))


def test_a_mapping_for_each_sample_comes_back(sink_of, tmp_path) -> None:
    def detected(k):
        return {
            "boxes": torch.ones(k, 4),
            "label": torch.tensor(k),
            "name": "n" * k,
            "more": {"mask": torch.zeros(k, 2, dtype=torch.bool)},
        }

    found = written(
        sink_of(tmp_path / "out"),
        [
            (3, {"y_pred": [detected(k) for k in (2, 0, 1)]}),
            (1, {"y_pred": (detected(5),)}),
        ],
    )["y_pred"]
    assert len(found) == 4
    assert plain(found) == [plain(detected(k)) for k in (2, 0, 1, 5)]


DTYPES = [
    *[torch.float64, torch.float16, torch.complex64, torch.bool, torch.int8, torch.uint16],
    *[torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2, torch.complex32],
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_types_come_back_bit_for_bit(sink_of, tmp_path, dtype) -> None:
    bits = torch.arange(48, dtype=torch.uint8).reshape(3, 16) % (2 if dtype == torch.bool else 48)
    value = bits.view(dtype)
    ragged = [value[0], value[1, :1], value[2, :0]]
    found = written(
        sink_of(tmp_path / "out"),
        [(2, {"x": value[:2], "y": ragged[:2]}), (1, {"x": value[2:], "y": ragged[2:]})],
    )
    no_numpy = dtype in DTYPES[-4:]
    for samples, expected in ((found["x"], value), *zip(found["y"], ragged, strict=True)):
        assert isinstance(samples, torch.Tensor) == no_numpy
        tensor = torch.as_tensor(np.array(samples)) if not no_numpy else samples
        assert (tensor.dtype, tensor.shape) == (dtype, expected.shape)
        assert bits_of(tensor) == bits_of(expected)


def bits_of(tensor) -> list:
    return [sample.view(torch.uint8).tolist() for sample in tensor.reshape(-1, 1)]


def test_bfloat16_is_stored_as_its_bits_with_the_types_name(tmp_path) -> None:
    written(NpzSink(tmp_path / "a.npz"), [(2, {"y_pred": torch.tensor([1.0, -2.0]).bfloat16()})])
    with np.load(tmp_path / "a.npz") as archive:
        assert archive["y_pred"].dtype == np.uint16
        assert archive["y_pred"].tolist() == [0x3F80, 0xC000]
        columns = json.loads(archive["manifest.json"])["columns"]
    assert columns["y_pred"]["dtype"] == "torch.bfloat16"


@pytest.mark.parametrize(
    "values",
    [
        torch.arange(6.0).reshape(2, 3).t(),
        torch.ones(3, 2, requires_grad=True),
        torch.view_as_complex(torch.ones(3, 2)).conj(),
        np.arange(3, dtype=">i4"),
        np.array(["2020-01-01", "NaT", "1999-12-31"], "datetime64[D]"),
        np.array([(1, 2.0)] * 3, dtype=[("a", "i4"), ("b", "f8")]),
        np.asfortranarray(np.arange(12).reshape(3, 4)),
        np.zeros((3, 0, 2)),
        np.array([b"ab", b"c", b""]),
    ],
    ids=lambda values: f"{type(values).__name__} {values.dtype}",
)
def test_odd_layouts_and_types_come_back(sink_of, tmp_path, values) -> None:
    whole = values.detach().resolve_conj().numpy() if isinstance(values, torch.Tensor) else values
    for name, batches in (("one", [(3, values)]), ("two", [(1, values[:1]), (2, values[1:])])):
        found = written(sink_of(tmp_path / name), [(n, {"x": x}) for n, x in batches])["x"]
        np.testing.assert_array_equal(found, whole)
        assert found.dtype == whole.dtype.newbyteorder("=")


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_tensors_are_samples(sink_of, tmp_path) -> None:
    parts = [torch.ones(2, 3), torch.zeros(1, 3)]
    nested = torch.nested.nested_tensor(parts)
    found = written(sink_of(tmp_path / "out"), [(2, {"x": nested})])["x"]
    assert plain(found) == plain(parts)


shapes = st.tuples(st.integers(1, 4), st.sampled_from([(), (2,), (0,), (3, 1)]))
kinds = st.sampled_from([np.float32, np.float64, np.int16, np.uint8, np.bool_, np.complex128])


@settings(max_examples=10, deadline=None)
@given(st.data(), st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_whatever_is_written_comes_back(tmp_path_factory, data, sizes) -> None:
    folder = tmp_path_factory.mktemp("sinks")
    fixed = data.draw(arrays.arrays(data.draw(kinds), (sum(sizes), *data.draw(shapes)[1])))
    kind, ndim = data.draw(kinds), data.draw(st.integers(0, 3))
    ragged = [
        data.draw(arrays.arrays(kind, data.draw(st.tuples(*[st.integers(0, 3)] * ndim))))
        for _ in range(sum(sizes))
    ]
    texts = data.draw(st.lists(st.text(), min_size=sum(sizes), max_size=sum(sizes)))
    ends = np.cumsum(sizes)
    batches = [
        (
            n,
            {
                "f": fixed[end - n : end],
                "r": _objects(ragged[end - n : end]),
                "t": texts[end - n : end],
            },
        )
        for n, end in zip(sizes, ends.tolist(), strict=True)
    ]
    for sink in (NpzSink(folder / "a.npz"), MemmapSink(folder / "a")):
        found = written(sink, batches)
        np.testing.assert_array_equal(found["f"], fixed, strict=True)
        assert list(found["t"]) == texts
        for sample, expected in zip(found["r"], ragged, strict=True):
            np.testing.assert_array_equal(np.asarray(sample), expected, strict=True)


def _objects(samples):
    found = np.empty(len(samples), dtype=object)
    found[:] = samples
    return found


# Lists and tuples


def test_what_collating_makes_of_tuples_is_understood(sink_of, tmp_path) -> None:
    class Triples(Dataset):
        def __len__(self) -> int:
            return 7

        def __getitem__(self, index):
            return (float(index), f"n{index}"), {"twice": 2 * index}

    batches = [(len(b[1]["twice"]), {"y_true": b}) for b in DataLoader(Triples(), batch_size=3)]
    (number, name), more = written(sink_of(tmp_path / "out"), batches)["y_true"]
    assert number.tolist() == list(map(float, range(7)))
    assert list(name) == [f"n{i}" for i in range(7)]
    assert more["twice"].tolist() == list(range(0, 14, 2))


def test_a_list_that_could_be_two_things_is_refused(sink_of, tmp_path) -> None:
    square = [torch.ones(2), torch.zeros(2)]
    with pytest.raises(LoopValueError, match=r"y_pred is a list of 2 for 2 samples.*tuple"):
        written(sink_of(tmp_path / "list"), [(2, {"y_pred": square})])
    nulls = [{"a": None}, {"a": None}]
    assert plain(written(sink_of(tmp_path / "nulls"), [(2, {"y_pred": nulls})])["y_pred"]) == nulls
    first, second = written(sink_of(tmp_path / "tuple"), [(2, {"y_pred": tuple(square)})])["y_pred"]
    assert (first.tolist(), second.tolist()) == ([1, 1], [0, 0])
    found = written(sink_of(tmp_path / "objects"), [(2, {"y_pred": _objects(square)})])["y_pred"]
    assert plain(found) == [[1, 1], [0, 0]]


@pytest.mark.parametrize(
    ("batches", "told"),
    [
        ([{"a": np.ones(2)}, {"b": np.ones(2)}], r"mapping with the keys \['a'\]; here .*'b'"),
        ([{"a": np.ones(2)}, {"a": np.ones(2), "b": np.ones(2)}], "the structure of the first"),
        ([{"a": (np.ones(2),)}, {"a": np.ones(2)}], "a was a tuple of 1; here .* ndarray of shape"),
        ([{"a": (np.ones(2),)}, {"a": (np.ones(2),) * 2}], "a tuple of 1; here it is a tuple of 2"),
        ([{"a": None}, {"a": np.ones(2)}], "a was None; here it is a ndarray"),
        ([{"a": {"b": np.ones(2)}}, {"a": {"c": np.ones(2)}}], r"a was a mapping.*\['b'\]"),
        ([{"a": np.ones(2)}, {"a": np.ones(2, np.float32)}], "float64.*float32"),
        ([{"a": np.ones(2)}, {"a": np.ones((2, 1))}], "0 dimensions.* 1 dimensions"),
        ([{"a": ["x", "y"]}, {"a": np.ones(2)}], "text.*array"),
        ([{"a": ["x", "y"]}, {"a": [{}, {}]}], "text.*json"),
        (
            [{"a": np.ones(3)}],
            r"an entry for each of 2 samples, but a is a ndarray of shape \(3,\)",
        ),
        ([{"a": np.ones(())}], r"each of 2 samples, but a is a ndarray of shape \(\)"),
        ([{"a": ["x"] * 3}], "each of 2 samples; a is a list of 3"),
        ([{"a": [np.ones(2), np.ones((2, 2)), 1]}], "a is a list of 3"),
        ([{"a": ["x", "y"]}, {"a": ["x"]}], "a is a list of 1"),
        ([{"a": [torch.ones(3), torch.ones(3, 3)]}], "1 dimensions, float32 of 2 dimensions"),
        ([{"a": [{"b": torch.ones(3)}, {"c": torch.ones(3)}]}], "each sample of a was a mapping"),
    ],
)
def test_batches_that_do_not_go_together_are_refused(sink_of, tmp_path, batches, told) -> None:
    with pytest.raises(LoopValueError, match=told):
        written(sink_of(tmp_path / "out"), [(2, batch) for batch in batches])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "value",
    [
        "text",
        3,
        object(),
        np.array([[object(), 1]] * 2),
        [object(), 1],
        [(1, 2), "x"],
        [{1: 2}, {}],
        [1, 2j],
        [torch.ones(3), "x"],
        torch.eye(2).to_sparse(),
        np.ma.masked_array([1, 2], [True, False]),
        {(1, 2): np.ones(2)},
        {None: np.ones(2)},
        np.zeros(2, "V3"),
    ],
    ids=repr,
)
def test_what_only_pickle_could_keep_is_refused(sink_of, tmp_path, value) -> None:
    with pytest.raises(LoopTypeError):
        written(sink_of(tmp_path / "out"), [(2, {"a": value})])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ids", [[0.5, 1.5], ["a", "b"], [[0], [1]]])
def test_ids_must_be_numbers_of_samples(sink_of, tmp_path, ids) -> None:
    with pytest.raises(LoopTypeError, match="ids must be"):
        sink_of(tmp_path / "out").write(ids, {"a": np.ones(2)})
    assert list(tmp_path.iterdir()) == []


def test_names_become_safe_and_stay_apart(sink_of, tmp_path) -> None:
    outputs = {
        name: np.full(2, number)
        for number, name in enumerate(
            ["ids", "a.b", "../../up", "/", "A", "a", "x.offsets", "manifest", "é" * 300, "", " "]
        )
    }
    outputs |= {"a_": {"b": np.full(2, 99)}, "x": ["long", "short"]}
    found = written(sink_of(tmp_path / "inner" / "out"), [(2, outputs)])
    assert plain(found) == plain(outputs)
    assert [path.name for path in tmp_path.iterdir()] == ["inner"]
    written(MemmapSink(tmp_path / "folder"), [(2, outputs)])
    names = [path.name.casefold() for path in (tmp_path / "folder").iterdir()]
    assert len(names) == len(set(names)) == len(outputs) + 3  # ids, offsets and the manifest


# Complete or not at all


def test_numpy_reads_a_file_by_the_nested_names(tmp_path) -> None:
    written(
        NpzSink(tmp_path / "a.npz"), [(2, {"y_pred": (np.ones(2), {"logits": np.zeros((2, 3))})})]
    )
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        assert set(archive.files) == {"ids", "y_pred.0", "y_pred.1.logits", "manifest.json"}
        assert archive["y_pred.1.logits"].shape == (2, 3)


def test_equal_predictions_make_equal_files(tmp_path) -> None:
    for name in ("a", "b"):
        written(NpzSink(tmp_path / name), [(2, {"y_pred": np.ones(2), "name": ["a", "bc"]})])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_folder_is_read_as_mapped_memory(tmp_path) -> None:
    outputs = {"x": np.ones((4, 2)), "b": torch.ones(4).bfloat16(), "t": ["a"] * 4}
    found = written(MemmapSink(tmp_path / "out"), [(4, outputs)])
    assert isinstance(found["x"], np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        found["x"][0] = 3
    found["b"][0] = 3  # in memory only
    assert read_predictions(tmp_path / "out").outputs["b"][0] == 1


def test_nothing_is_there_before_the_sink_is_closed(sink_of, tmp_path) -> None:
    sink = sink_of(tmp_path / "out")
    sink.write([0, 1], {"x": np.ones(2)})
    with pytest.raises((LoopValueError, FileNotFoundError)):
        read_predictions(tmp_path / "out")
    for path in tmp_path.rglob("*.npy"):
        with pytest.raises((ValueError, EOFError)):
            np.load(path)
    sink.close()
    assert read_predictions(tmp_path / "out").outputs["x"].tolist() == [1, 1]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_after_a_failure_nothing_is_kept_and_an_older_file_stays(tmp_path, caplog) -> None:
    written(NpzSink(tmp_path / "a"), [(1, {"x": np.ones(1)})])
    before = (tmp_path / "a").read_bytes()
    for sink in (NpzSink(tmp_path / "a"), MemmapSink(tmp_path / "b")):

        def fail(sink):
            try:
                sink.write([0], {"x": np.zeros(1)})
                raise KeyboardInterrupt
            finally:
                sink.close()

        with pytest.raises(KeyboardInterrupt):
            fail(sink)
        with pytest.raises(LoopStateError, match="until it is closed"):
            sink.write([1], {"x": np.zeros(1)})
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == before
    assert caplog.text.count("not kept, because predicting failed: KeyboardInterrupt") == 2


def test_a_sink_made_before_an_error_is_handled_keeps_what_it_gets_then(sink_of, tmp_path) -> None:
    sink = sink_of(tmp_path / "out")
    try:
        raise ArithmeticError
    except ArithmeticError:
        sink.write([0], {"x": np.zeros(1)})
        sink.close()
    assert len(read_predictions(tmp_path / "out").ids) == 1


def test_a_with_block_that_fails_keeps_nothing(sink_of, tmp_path) -> None:
    def fail() -> None:
        with sink_of(tmp_path / "out") as sink:
            sink.write([0], {"x": np.zeros(1)})
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_predictions_made_while_an_error_is_handled_are_kept(sink_of, tmp_path) -> None:
    try:
        raise ArithmeticError
    except ArithmeticError:
        sink = sink_of(tmp_path / "out")
        sink.write([0], {"x": np.zeros(1)})
        sink.close()
    batches = iter([np.ones(1)])
    other = sink_of(tmp_path / "other")
    while True:
        try:
            other.write([0], {"x": next(batches)})
        except StopIteration:
            other.close()
            break
    for name in ("out", "other"):
        assert len(read_predictions(tmp_path / name).ids) == 1


def test_closing_twice_and_discarding_are_harmless(sink_of, tmp_path) -> None:
    sink = sink_of(tmp_path / "out")
    sink.write([0], {"x": np.zeros(1)})
    sink.close()
    sink.close()
    sink.discard()
    assert len(read_predictions(tmp_path / "out").ids) == 1
    other = sink_of(tmp_path / "other")
    other.discard()
    other.close()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_whenever_the_process_is_killed_nothing_looks_complete_that_is_not(
    sink_of, tmp_path, monkeypatch
) -> None:
    """What is on the disk at each flush is what a process killed there would leave."""
    place, flush, states = tmp_path / "place", os.fsync, []

    def spy(handle) -> None:
        flush(handle)
        states.append(tmp_path / f"state{len(states)}")
        shutil.copytree(place, states[-1])

    monkeypatch.setattr(os, "fsync", spy)
    written(
        sink_of(place / "out"),
        [(2, {"x": np.ones((2, 3)), "t": ["a", "bc"]}), (1, {"x": np.ones((1, 3)), "t": ["d"]})],
    )
    seen = []
    for state in states:
        try:
            seen.append(read_predictions(state / "out").outputs["t"][:])
        except (LoopValueError, FileNotFoundError):
            seen.append(None)
    assert seen == [None] * (len(seen) - 1) + [["a", "bc", "d"]]
    assert len(seen) > 4


def test_a_manifest_that_could_not_be_written_leaves_nothing(tmp_path, monkeypatch) -> None:
    def no_room(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", no_room)
    for sink in (NpzSink(tmp_path / "a"), MemmapSink(tmp_path / "b")):
        sink.write([0], {"x": np.ones(1)})
        with pytest.raises(OSError, match="No space"):
            sink.close()
    assert list(tmp_path.iterdir()) == []


def test_no_batches_make_empty_predictions(sink_of, tmp_path) -> None:
    sink = sink_of(tmp_path / "out")
    sink.write([], {})
    sink.close()
    ids, outputs = read_predictions(tmp_path / "out")
    assert (ids.tolist(), outputs) == ([], {})


def test_places_that_are_taken_are_refused(tmp_path) -> None:
    with pytest.raises(LoopValueError, match="is a folder"):
        NpzSink(tmp_path)
    written(MemmapSink(tmp_path / "out"), [(1, {"x": np.ones(1)})])
    with pytest.raises(LoopValueError, match="new or empty folder"):
        MemmapSink(tmp_path / "out")
    (tmp_path / "empty").mkdir()
    written(MemmapSink(tmp_path / "empty"), [(1, {"x": np.ones(1)})])


def test_two_sinks_of_one_folder_do_not_spoil_each_other(tmp_path) -> None:
    first, second = MemmapSink(tmp_path / "out"), MemmapSink(tmp_path / "out")
    first.write([0], {"x": np.ones(1)})
    with pytest.raises(FileExistsError):
        second.write([1], {"x": np.zeros(1)})
    first.close()
    assert read_predictions(tmp_path / "out").outputs["x"].tolist() == [1]


def test_a_known_number_of_samples_reserves_the_disk_and_is_checked(tmp_path) -> None:
    sink = MemmapSink(tmp_path / "out", samples=1000)
    sink.write([0], {"x": np.ones((1, 128))})
    if hasattr(os, "posix_fallocate"):
        assert (tmp_path / "out" / "x.npy").stat().st_size > 1000 * 128 * 8
    with pytest.raises(LoopStateError, match="of 1000 came 1"):
        sink.close()
    assert list(tmp_path.iterdir()) == []
    found = written(
        MemmapSink(tmp_path / "out", samples=3), [(2, {"x": np.ones(2)}), (1, {"x": np.ones(1)})]
    )
    assert found["x"].tolist() == [1, 1, 1]
    ragged = [(2, {"x": np.ones((2, 1000))}), (1, {"x": np.ones((1, 1))})]
    written(MemmapSink(tmp_path / "ragged", samples=3), ragged)
    header = (tmp_path / "out" / "x.npy").stat().st_size - 3 * 8
    assert (tmp_path / "ragged" / "x.npy").stat().st_size == header + 2001 * 8
    assert not (tmp_path / "ragged" / "x.shapes.npy").exists()


@pytest.mark.parametrize("damage", ["cut", "no manifest", "other format", "no array", "changed"])
def test_damaged_files_are_refused(tmp_path, damage) -> None:
    batch = [(300, {"x": np.arange(300.0)})]
    written(NpzSink(tmp_path / "a"), batch)
    written(MemmapSink(tmp_path / "b"), batch)
    if damage == "cut":
        for path in (tmp_path / "a", tmp_path / "b" / "x.npy"):
            path.write_bytes(path.read_bytes()[:1000])
    elif damage == "changed":
        content = bytearray((tmp_path / "a").read_bytes())
        content[3000] ^= 1
        (tmp_path / "a").write_bytes(content)
        (tmp_path / "b" / "x.npy").write_bytes(b"no array")
    else:
        change = {
            "no manifest": lambda parts: parts.pop("manifest.json"),
            "other format": lambda parts: parts.update({"manifest.json": b'{"format": "other"}'}),
            "no array": lambda parts: parts.pop("x.npy"),
        }[damage]
        with zipfile.ZipFile(tmp_path / "a") as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        change(parts)
        for path in (tmp_path / "b").iterdir():
            path.unlink()
        with zipfile.ZipFile(tmp_path / "a", "w") as archive:
            for name, content in parts.items():
                archive.writestr(name, content)
                (tmp_path / "b" / name).write_bytes(content)
    for name in "ab":
        with pytest.raises(LoopValueError, match="must be what a sink wrote to its end"):
            read_predictions(tmp_path / name)


def test_what_is_no_file_of_predictions_is_told(tmp_path) -> None:
    with pytest.raises(FileNotFoundError):
        read_predictions(tmp_path / "missing")
    np.savez(tmp_path / "own.npz", x=np.ones(1))
    (tmp_path / "text").write_text("text")
    for name in ("own.npz", "text", "."):
        with pytest.raises(LoopValueError, match="no valid manifest"):
            read_predictions(tmp_path / name)


# Memory


def _peak(folder, sink, batches) -> int:
    """The most memory that writing so many equal batches takes, beside the batch itself."""
    values = np.ones((64, 160))
    texts = ["some text"] * 64
    gc.collect()
    tracemalloc.start()
    try:
        with sink(folder / f"{sink.__name__}{batches}") as out:
            for number in range(batches):
                outputs = {"y_pred": values, "long": values[:, : 100 + number % 2], "name": texts}
                out.write(range(number * 64, (number + 1) * 64), outputs)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_number_of_samples(sink_of, tmp_path) -> None:
    _peak(tmp_path, sink_of, 1)  # what is made once
    few, many = _peak(tmp_path, sink_of, 5), _peak(tmp_path, sink_of, 100)
    assert many < few + 100_000  # 20 times the data, 13 million bytes more


def test_reading_a_folder_does_not_take_its_size_in_memory(tmp_path) -> None:
    _peak(tmp_path, MemmapSink, 40)
    tracemalloc.start()
    try:
        found = read_predictions(tmp_path / "MemmapSink40").outputs
        assert found["y_pred"][1000, 3] == 1
        assert found["long"][-1].shape == (101,)
        assert found["name"][77] == "some text"
        assert tracemalloc.get_traced_memory()[1] < 100_000  # of 5 million bytes
    finally:
        tracemalloc.stop()


# Several processes


def parts_of(tmp_path, sink, ids, outputs) -> list:
    paths = []
    for number, own in enumerate(ids):
        path = tmp_path / f"part{number}"
        with sink(path) as out:
            for start in range(0, len(own), 2):
                out.write(own[start : start + 2], outputs(own[start : start + 2]))
        paths.append(path)
    return paths


def _outputs(ids) -> dict:
    return {
        "y_pred": (np.array(ids)[:, None] * [1.0, 10.0], torch.tensor(ids).bfloat16()),
        "padded": np.ones((len(ids), max(ids) // 3 + 1)) * np.array(ids)[:, None],
        "name": [f"n{i}" for i in ids],
        "found": [{"boxes": torch.full((i % 3, 4), i), "label": torch.tensor(i)} for i in ids],
    }


@pytest.mark.parametrize("shares", [[[0, 1, 2], [3, 4, 5], [6]], [[6, 2, 4], [], [0, 5], [1, 3]]])
def test_parts_are_joined_in_the_data_sets_order(sink_of, tmp_path, shares) -> None:
    ids, found = join_predictions(parts_of(tmp_path, sink_of, shares, _outputs))
    assert ids.tolist() == list(range(7))
    assert found["y_pred"][0].tolist() == [[i, 10 * i] for i in range(7)]
    assert found["y_pred"][1].dtype == torch.bfloat16
    assert found["y_pred"][1].tolist() == list(range(7))
    assert [set(sample.tolist()) for sample in found["padded"]] == [{i} for i in range(7)]
    assert found["name"] == [f"n{i}" for i in range(7)]
    assert [row["label"] for row in found["found"]] == list(range(7))
    assert [row["boxes"].tolist() for row in found["found"]] == [
        [[i] * 4] * (i % 3) for i in range(7)
    ]


def test_parts_that_do_not_go_together_are_refused(tmp_path) -> None:
    def write(name, ids, outputs):
        with NpzSink(tmp_path / name) as sink:
            sink.write(ids, outputs)
        return tmp_path / name

    first = write("first", [0, 1], {"x": np.ones(2)})
    twice = write("twice", [1, 2], {"x": np.ones(2)})
    other = write("other", [2, 3], {"x": np.ones(2, np.float32)})
    named = write("named", [2, 3], {"z": np.ones(2)})
    with pytest.raises(LoopValueError, match=r"more than one of \[1\]"):
        join_predictions([first, twice])
    for odd in (other, named):
        with pytest.raises(LoopValueError, match="one structure and the same types"):
            join_predictions([first, odd])
    with pytest.raises(FileNotFoundError):
        join_predictions([first, tmp_path / "missing"])
    assert join_predictions([]).ids.tolist() == []


# Through the loop


class Nested(TTModel):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def get_loss(self, batch_data, criterion, device):
        return self.layer(batch_data[0]).mean()

    def get_predictions(self, batch_data, device):
        x, y = batch_data
        found = self.layer(x)
        return (found, {"class": found.argmax(1)}), y, {"name": [f"s{int(i)}" for i in y]}


def loop_and_loader():
    torch.manual_seed(0)
    x = torch.randn(13, 4)
    loader = DataLoader(TensorDataset(x, torch.arange(13)), batch_size=4, shuffle=True)
    return TrainLoop(Nested(), None, loader, None, None, None, progress=False), loader


def test_the_loop_writes_what_it_would_predict(sink_of, tmp_path) -> None:
    loop, loader = loop_and_loader()
    loop.predict_to(sink_of(tmp_path / "out"), loader)
    ids, outputs = read_predictions(tmp_path / "out")
    with torch.no_grad():
        expected = torch.cat([loop.model.layer(x) for x in loader.dataset.tensors[0].split(4)])
    assert ids.tolist() == list(range(13))
    assert np.array_equal(outputs["y_pred"][0], expected.numpy())
    assert outputs["y_pred"][1]["class"].tolist() == expected.argmax(1).tolist()
    assert outputs["y_true"].tolist() == list(range(13))
    assert list(outputs["name"]) == [f"s{i}" for i in range(13)]


def test_a_loop_that_fails_leaves_no_predictions(sink_of, tmp_path) -> None:
    loop, loader = loop_and_loader()

    class Failing:
        def __iter__(self):
            yield from itertools_two(loader)
            raise ArithmeticError("no more")

    with pytest.raises(ArithmeticError, match="no more"):
        loop.predict_to(sink_of(tmp_path / "out"), Failing())
    assert list(tmp_path.iterdir()) == []


def itertools_two(loader):
    batches = iter(loader)
    return [next(batches), next(batches)]


def test_ids_join_what_several_processes_predict(sink_of, tmp_path) -> None:
    from tt_loop.device import LocalCollective
    from tt_loop.evaluation.evaluator import Evaluator

    loop, loader = loop_and_loader()
    strategy, model = loop.ready()

    def process(rank):
        comm = LocalCollective()
        comm.rank, comm.world_size = rank, 3
        own = {"comm": comm, "evaluable": lambda _, m: m, "eval_rounds": lambda _, n: n}
        return type("Strategy", (), {**vars(strategy), **own})()

    paths = []
    for rank in range(3):
        path = tmp_path / str(rank)
        with sink_of(path) as sink:
            for ids, y_pred, y_true, _ in Evaluator(process(rank), model, None).stream(loader, "x"):
                sink.write(ids, {"y_pred": y_pred, "y_true": y_true})
        paths.append(path)
    ids, outputs = join_predictions(paths)
    assert ids.tolist() == outputs["y_true"].tolist() == list(range(13))
