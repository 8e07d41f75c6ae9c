"""Data are told again by a fingerprint."""

import json
import random

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from tt_experiment.folder import ExperimentFolder
from tt_experiment.provenance import Provenance, changed_data, fingerprints, loader_facts


class Noisy(Dataset):
    """Draws from every global generator."""

    def __len__(self):
        return 100

    def __getitem__(self, index):
        drawn = float(torch.rand(())) + float(np.random.rand()) + random.random()
        return {"x": np.full(2, index), "name": f"sample {index}", "noise": drawn}


class Stream(IterableDataset):
    """Has no length."""

    def __iter__(self):
        return iter(())


def of(data):
    return fingerprints({"data": data})["data"]


def test_a_data_set_is_told_by_its_length_and_samples():
    inputs, labels = torch.arange(60.0).reshape(20, 3), torch.arange(20)
    found = of(TensorDataset(inputs, labels))
    assert found["kind"].endswith("TensorDataset")
    assert (found["length"], found["samples"]) == (20, 16)
    assert found == of(TensorDataset(inputs.clone(), labels.clone()))
    changed = inputs.clone()
    changed[-1, -1] += 1
    assert of(TensorDataset(changed, labels))["sha256"] != found["sha256"]
    assert of(TensorDataset(inputs.flip(0), labels))["sha256"] != found["sha256"]
    assert of(TensorDataset(inputs[:19], labels[:19]))["length"] == 19


def test_drawing_data_sets_are_told_alike_and_nothing_is_moved():
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    first = of(Noisy())
    torch.rand(3)
    np.random.rand(3)
    assert of(Noisy()) == first
    torch.set_rng_state(states[0])
    np.random.seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    of(Noisy())
    after = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def test_a_stream_is_told_by_its_kind():
    assert set(of(Stream())) == {"kind"}


@pytest.mark.parametrize("make", [torch.tensor, np.array])
def test_arrays_are_told_by_their_content(make):
    assert of(make([1.0, 2.0])) == of(make([1.0, 2.0]))
    assert of(make([1.0, 2.0]))["sha256"] != of(make([1.0, 3.0]))["sha256"]
    assert of(make([[1.0, 2.0]]))["sha256"] != of(make([[1.0], [2.0]]))["sha256"]
    assert of(make([]))["shape"] == [0]


def test_a_large_array_is_read_in_spread_rows(monkeypatch):
    monkeypatch.setattr("tt_experiment._origin.fingerprint._WHOLE", 64)
    data = np.zeros((100, 8))
    other = data.copy()
    other[::] = 1
    assert of(data)["sha256"] != of(other)["sha256"]
    assert of(data) == of(data.copy())


def test_files_and_folders(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    file = of(tmp_path / "a")
    assert (file["bytes"], file["sha256"][:8]) == (3, "ba7816bf")
    folder = of(str(tmp_path))
    assert (folder["files"], folder["bytes"]) == (1, 3)
    (tmp_path / "b").write_bytes(b"")
    assert of(tmp_path)["sha256_of_listing"] != folder["sha256_of_listing"]


def test_a_run_keeps_them(tmp_path):
    run = ExperimentFolder.create(tmp_path, "p", "e")
    run.write_start({}, Provenance(data={"train": np.arange(3)}))
    assert json.loads(run.data_file.read_text())["train"]["shape"] == [3]
    other = ExperimentFolder.create(tmp_path, "p", "e")
    other.write_start({})
    assert not other.data_file.exists()


def test_facts_stay_facts():
    assert of({"version": 3, "api_key": "hunter2"}) == {"version": 3, "api_key": "<redacted>"}


def test_a_loader_is_told_without_reading_from_it():
    class Unreadable(Dataset):
        def __len__(self):
            return 7

        def __getitem__(self, index):
            raise AssertionError

    assert loader_facts(DataLoader(Unreadable()))["length"] == 7
    assert set(loader_facts(DataLoader(Stream()))) == {"kind"}
    assert loader_facts([1, 2]) == {"kind": "builtins.list", "length": 2}
    inputs = torch.arange(6.0)
    in_memory = loader_facts(DataLoader(TensorDataset(inputs), batch_size=2))
    assert in_memory == of(TensorDataset(inputs))


def test_reading_samples_of_somebodys_data_set_is_left_to_training():
    class Own(TensorDataset):
        def __getitem__(self, index):
            raise OSError("the file is not open yet")

    class Grumpy:
        def __len__(self):
            raise RuntimeError("a stream")

    assert loader_facts(DataLoader(Own(torch.ones(4))))["length"] == 4
    assert set(loader_facts(Grumpy())) == {"kind"}


def test_changed_data_are_told_in_words():
    kept = {"train": {"kind": "x", "length": 10}, "test": {"kind": "x"}}
    assert changed_data(kept, {"train": {"kind": "x", "length": 10}}) == []
    (said,) = changed_data(kept, {"train": {"kind": "x", "length": 9}, "new": {}})
    assert said == "train was kind x, length 10 and is kind x, length 9"
