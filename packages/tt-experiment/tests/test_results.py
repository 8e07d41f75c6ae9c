import json
import math
import os
from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tt_experiment import _durable
from tt_experiment.errors import CorruptCheckpoint, FormatVersionError, ResultsError, StateTreeError
from tt_experiment.folder import ExperimentFolder
from tt_experiment.results import (
    load_model,
    read_predictions,
    read_results,
    save_model,
    save_results,
)


@dataclass
class Sizes:
    first: int
    rest: tuple


@pytest.fixture
def run(tmp_path):
    return ExperimentFolder.create(tmp_path, "p", "e")


def test_results_of_every_plain_kind(run):
    results = {
        "VAL": {
            "accuracy": np.float32(0.5),
            "loss": math.nan,
            "confusion": np.array([[1, 2], [3, 4]]),
            "per_class": {"a": torch.tensor(1.5)},
            "pair": (1, math.inf),
            "signature": "bleu|13a",
        }
    }
    path = save_results(run, results)
    document = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert document["format"] == "tt-results/1"
    assert document["nonfinite"] == {"VAL/loss": "nan", "VAL/pair/1": "inf"}
    assert read_results(run) == {
        "VAL": {
            "accuracy": 0.5,
            "loss": None,
            "confusion": [[1, 2], [3, 4]],
            "per_class": {"a": 1.5},
            "pair": [1, None],
            "signature": "bleu|13a",
        }
    }
    assert not run.predictions_file.exists()


def test_results_that_json_does_not_have_are_refused(run):
    with pytest.raises(ResultsError, match="results are numbers"):
        save_results(run, {"VAL": {"model": object()}})
    assert not run.results_file.exists()


def test_predictions_come_back_without_pickle(run):
    predictions = {
        "VAL": ([1, 0], torch.tensor([0.9, 0.1], dtype=torch.bfloat16, requires_grad=True)),
        "TEST": (np.array(["a", "b"]), torch.tensor([[1, 2]])),
    }
    save_results(run, {}, predictions)
    with np.load(run.predictions_file, allow_pickle=False) as arrays:
        assert set(arrays) == {f"{p}/{y}" for p in predictions for y in ("y_true", "y_predicted")}
        assert arrays["VAL/y_true"].tolist() == [1, 0]
        assert arrays["VAL/y_predicted"].dtype == np.float32
        assert arrays["TEST/y_true"].tolist() == ["a", "b"]


def test_predictions_that_make_no_array_come_back_as_they_were(run):
    predictions = {
        "texts": (["a", "longer\0"], ["", "b"]),
        "ragged": ([[1], [1, 2], []], [torch.tensor([0.5]), torch.tensor([1.5, 2.5])]),
        "dicts": ([{"start": 1, "score": math.inf}, {}], [None, (1, "x")]),
        "a/b.json/y_true": ([1, 2], [[1], [2, 3]]),
    }
    save_results(run, {}, predictions)
    found = read_predictions(run)
    assert list(found) == list(predictions)
    assert found["texts"] == predictions["texts"]
    assert found["ragged"][0] == predictions["ragged"][0]
    tensors = zip(found["ragged"][1], predictions["ragged"][1], strict=True)
    assert all(torch.equal(one, other) for one, other in tensors)
    assert found["dicts"] == predictions["dicts"]
    assert found["a/b.json/y_true"][1] == [[1], [2, 3]]


def test_numpy_texts_in_lists_and_object_arrays_are_kept(run):
    ragged = np.empty(2, dtype=object)
    ragged[:] = [[1], [2, 3]]
    save_results(run, {}, {"VAL": (list(np.array(["a", "bc"])), ragged)})
    assert read_predictions(run) == {"VAL": (["a", "bc"], [[1], [2, 3]])}


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text()) | st.lists(st.lists(st.integers())) | st.lists(values))
def test_any_list_of_plain_values_is_exact(tmp_path_factory, samples):
    run = ExperimentFolder.create(tmp_path_factory.mktemp("run"), "p", "e")
    save_results(run, {}, {"VAL": ([0], samples)})
    found = read_predictions(run)["VAL"][1]
    assert (found.tolist() if isinstance(found, np.ndarray) else found) == samples


@pytest.mark.parametrize("samples", [np.array([object()]), [object(), 1], [{1, 2}]])
def test_predictions_that_need_pickle_are_refused(run, samples):
    with pytest.raises(ResultsError, match="VAL/y_predicted cannot be kept, because objects"):
        save_results(run, {"VAL": {}}, {"VAL": ([1], samples)})
    assert not run.results_file.exists()


def test_damaged_predictions_are_an_error(run):
    save_results(run, {}, {"VAL": ([1], ["a"])})
    content = run.predictions_file.read_bytes()
    for damaged in (content[:-30], b"nothing", b""):
        run.predictions_file.write_bytes(damaged)
        with pytest.raises(ResultsError, match="as they were written"):
            read_predictions(run)


def test_data_classes_in_results_keep_their_fields(run):
    interval = namedtuple("Interval", "value low high")(0.5, 0.4, math.nan)
    save_results(
        run, {"VAL": {"acc": interval, "sizes": Sizes(1, (2, 3))}}, about={"loss": [math.inf]}
    )
    document = json.loads(run.results_file.read_text())
    assert document["results"]["VAL"] == {
        "acc": {"value": 0.5, "low": 0.4, "high": None},
        "sizes": {"first": 1, "rest": [2, 3]},
    }
    assert document["loss"] == [None]
    assert document["nonfinite"] == {"VAL/acc/high": "nan", "/loss/0": "inf"}


def model():
    return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))


def same(a, b):
    return list(a) == list(b) and all(torch.equal(a[key], b[key]) for key in a)


def test_a_model_comes_back(run):
    state = model().state_dict()
    path = save_model(run, state)
    assert path == run.model
    loaded = load_model(path)
    assert same(loaded, state)
    model().load_state_dict(loaded)
    assert {p.name for p in path.iterdir()} == {"model.safetensors", "state.json", "MANIFEST.json"}
    assert json.loads((path / "MANIFEST.json").read_text())["format"] == "tt-model/1"


def test_a_model_saved_again_replaces(run):
    for value in (1.0, 2.0, 3.0):
        save_model(run, {"w": torch.tensor(value)})
        assert load_model(run.model)["w"] == value
    assert [p.name for p in run.path.iterdir()] == ["model"]


class FailsAt:
    CHANGES = ("open", "write", "fsync", "mkdir", "rename", "unlink", "rmdir")

    def __init__(self, at):
        self.at, self.count = at, 0

    def __getattr__(self, name):
        real = getattr(os, name)
        if name not in self.CHANGES:
            return real

        def call(*args, **kwargs):
            self.count += 1
            if self.count >= self.at:  # and nothing after it works either, as after a kill
                raise OSError(5, "Input/output error")
            return real(*args, **kwargs)

        return call


def test_replacing_a_model_never_leaves_none(tmp_path, monkeypatch):
    for at in range(1, 100):
        run = ExperimentFolder.create(tmp_path, "p", str(at))
        save_model(run, {"w": torch.tensor(1.0)})
        failing = FailsAt(at)
        monkeypatch.setattr(_durable, "os", failing)
        try:
            save_model(run, {"w": torch.tensor(2.0)})
        except OSError:
            pass
        finally:
            monkeypatch.undo()
        assert load_model(run.model)["w"] in (1.0, 2.0)
        save_model(run, {"w": torch.tensor(3.0)})
        assert load_model(run.model)["w"] == 3.0
        if failing.count < at:
            break
    assert at > 20


def test_a_model_is_verified(run):
    save_model(run, model().state_dict())
    path = run.model / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptCheckpoint, match="sha256"):
        load_model(run.model)
    with pytest.raises(CorruptCheckpoint, match="missing or damaged"):
        load_model(run.path / "none")


def test_a_model_of_a_newer_format(run):
    from tt_experiment._manifest import Manifest

    save_model(run, {})
    manifest = Manifest.read(run.model, "tt-model/1")
    changed = Manifest("tt-model/2", manifest.facts, manifest.files)
    (run.model / "MANIFEST.json").write_bytes(changed.dumps())
    with pytest.raises(FormatVersionError):
        load_model(run.model)


def test_a_state_that_cannot_be_kept_changes_nothing(run):
    with pytest.raises(StateTreeError):
        save_model(run, {"f": print})
    assert list(run.path.iterdir()) == []
