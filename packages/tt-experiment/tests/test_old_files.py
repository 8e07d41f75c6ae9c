import hashlib
import os
import pathlib
import pickle
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from tt_experiment.errors import ImportFormatError
from tt_experiment.savers import PyTorchLocalModelLoader, read_old_checkpoint
from tt_experiment.savers.old_files import without_parallel_prefix

TIME = "2026-11-28_08-00-00"


def saved(path, **more):
    model = nn.Linear(3, 2)
    state = {
        "model_state_dict": model.state_dict(),
        "optimizer_state_dict": torch.optim.Adam(model.parameters()).state_dict(),
        "schedulers_state_dict": [],
        "epoch": 3,
        "iteration_idx": 120,
        "hyperparams": {"lr": 0.1},
    }
    torch.save(state | more, path)
    return model


def test_a_file_of_aitoolbox_is_read(tmp_path):
    model = saved(tmp_path / "m.pth")
    found = read_old_checkpoint(tmp_path / "m.pth")
    assert torch.equal(found["model_state_dict"]["weight"], model.weight)
    assert (found["epoch"], found["hyperparams"]) == (3, {"lr": 0.1})


def test_numbers_of_numpy_and_paths_are_rebuilt(tmp_path):
    hyperparams = {
        "lr": np.float64(0.1),
        "n": np.int32(7),
        "flag": np.bool_(True),
        "text": np.str_("ä"),
        "big": np.array([1, 2], ">i4"),
        "matrix": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "names": np.array(["a", "bcd"]),
        "empty": np.zeros((0, 3), np.complex64),
        "path": pathlib.Path("/data/x"),
        "nested": [(np.float32(1.5), {"a": np.arange(2)})],
    }
    saved(tmp_path / "m.pth", hyperparams=hyperparams)
    found = read_old_checkpoint(tmp_path / "m.pth")["hyperparams"]
    assert list(found) == list(hyperparams)
    for name in ("lr", "n", "flag", "text"):
        assert (found[name], found[name].dtype) == (hyperparams[name], hyperparams[name].dtype)
    for name in ("big", "matrix", "names", "empty"):
        np.testing.assert_array_equal(found[name], hyperparams[name])
        assert found[name].dtype == hyperparams[name].dtype
    assert str(found["path"]) == "/data/x"
    assert found["nested"][0][0] == 1.5
    assert found["nested"][0][1]["a"].tolist() == [0, 1]


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


class Own:
    """A class of a user's."""


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("what", ["evil", "own", "objects"])
def test_what_would_run_code_is_refused_and_named(tmp_path, monkeypatch, what, zipped):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    mark, path = tmp_path / "mark", tmp_path / "m.pth"
    value = {"evil": Evil(mark), "own": Own(), "objects": np.array([Own()], object)}[what]
    torch.save({"hyperparams": value}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ImportFormatError) as caught:
        read_old_checkpoint(path)
    assert not mark.exists()
    assert hashlib.sha256(path.read_bytes()).hexdigest() in str(caught.value)
    if zipped:
        expected = "mkdir" if what == "evil" else "Own"
        assert expected in str(caught.value)


def test_an_object_array_whose_bytes_are_said_to_be_pointers(tmp_path):
    """NumPy's own unpickling would take them for such."""

    class Pointers:
        def __reduce__(self):
            state = (1, (1,), np.dtype("O"), False, b"\x01" * 8)
            return (np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), state)

    torch.save({"hyperparams": Pointers()}, tmp_path / "m.pth")
    with pytest.raises(ImportFormatError, match="cannot be read safely"):
        read_old_checkpoint(tmp_path / "m.pth")


@pytest.mark.parametrize("content", [b"", b"nothing", pickle.dumps({"a": 1}), b"PK\x03\x04cut"])
def test_other_files_are_an_error(tmp_path, content):
    (tmp_path / "m.pth").write_bytes(content)
    with pytest.raises(ImportFormatError):
        read_old_checkpoint(tmp_path / "m.pth")


def test_damage_and_absence(tmp_path):
    path = tmp_path / "m.pth"
    with pytest.raises(FileNotFoundError):
        read_old_checkpoint(path)
    saved(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ImportFormatError, match="damaged"):
        read_old_checkpoint(path)
    torch.save([1, 2], path)
    with pytest.raises(ImportFormatError, match="Got list"):
        read_old_checkpoint(path)


def test_the_prefix_goes_only_where_all_have_it(tmp_path):
    weights = nn.Linear(1, 1).state_dict()
    saved(tmp_path / "m.pth", model_state_dict={f"module.{k}": v for k, v in weights.items()})
    assert set(read_old_checkpoint(tmp_path / "m.pth")["model_state_dict"]) == set(weights)
    assert set(without_parallel_prefix({"module.a": 1, "b": 2})) == {"module.a", "b"}
    assert without_parallel_prefix({}) == {}


def test_the_loader_reads_the_old_layout(tmp_path):
    folder = tmp_path / "p" / f"e_{TIME}" / "checkpoint_model"
    folder.mkdir(parents=True)
    model = saved(folder / f"model_e_{TIME}_E3.pth")
    loader = PyTorchLocalModelLoader(tmp_path)
    loader.load_model("p", "e", TIME, epoch_num=3)
    other = loader.init_model(nn.Linear(3, 2), used_data_parallel=False)
    assert torch.equal(other.weight, model.weight)
    optimizer = torch.optim.Adam(other.parameters(), lr=9.0)
    loader.init_optimizer(optimizer)
    assert optimizer.param_groups[0]["lr"] == 1e-3


def test_numbers_for_bytes_make_no_memory(tmp_path):
    class Huge:
        def __reduce__(self):
            make, arguments, _ = np.zeros(1).__reduce__()
            return make, arguments, (1, (1 << 20,), np.dtype("i1"), False, 1 << 20)

    torch.save({"model_state_dict": {}, "x": Huge()}, tmp_path / "a.pth")
    with pytest.raises(ImportFormatError, match="cannot be read safely"):
        read_old_checkpoint(tmp_path / "a.pth")


def test_an_archive_that_unpacks_to_more_than_it_is(tmp_path):
    torch.save({"model_state_dict": {"w": torch.zeros(1 << 20)}}, tmp_path / "a.pth")
    with (
        zipfile.ZipFile(tmp_path / "a.pth") as plain,
        zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for member in plain.infolist():
            packed.writestr(member.filename, plain.read(member))
    read_old_checkpoint(tmp_path / "a.pth")
    with pytest.raises(ImportFormatError, match="cannot be read safely"):
        read_old_checkpoint(tmp_path / "b.pth")
