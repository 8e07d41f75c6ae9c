"""Folders that AIToolbox left, as runs: all that is plain comes over, and nothing of them runs."""

import collections
import datetime as dt
import functools
import json
import math
import os
import pickle
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tt_experiment._command.main import main
from tt_experiment.checkpoints import CheckpointFolder
from tt_experiment.errors import ImportFormatError
from tt_experiment.folder import ExperimentFolder
from tt_experiment.imports import _pickles
from tt_experiment.imports._pickles import read_pickle
from tt_experiment.imports.aitoolbox import experiments_in, import_aitoolbox
from tt_experiment.results import load_model, read_predictions
from tt_experiment.runs import summarise

NAME = "my exp_2021-03-04_05-06-07"
HISTORY = {"loss": [3.0, 2.0, 1.0], "val_loss": [3.0, math.nan, 0.5], "short": [7.0]}


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch '{self.mark}'",)


@pytest.fixture
def mark(tmp_path):
    """A file that must not be there in the end."""
    path = tmp_path / "pwned"
    yield path
    assert not path.exists()


@functools.cache
def weights():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randn(5, 3)).sum().backward()
    optimizer.step()
    return model, optimizer


def state(epoch, iteration, **more):
    model, optimizer = weights()
    hyperparams = {
        "lr": np.float64(0.1),
        "path": Path("/x"),
        "layers": (1, 2),
        "api_key": "sk-12345678",
    }
    return {
        "model_state_dict": model.state_dict(),
        "optimizer_state_dict": optimizer.state_dict(),
        "schedulers_state_dict": [{"last_epoch": epoch}],
        "epoch": epoch,
        "iteration_idx": iteration,
        "hyperparams": hyperparams,
        **more,
    }


@pytest.fixture
def old(tmp_path):
    """An experiment as AIToolbox lays it out."""
    folder = tmp_path / "old" / "proj" / NAME
    for name in ("checkpoint_model", "model", "results/plots", "tensorboard/x"):
        (folder / name).mkdir(parents=True)
    for epoch in range(3):
        torch.save(
            state(epoch, 4 * epoch + 3), folder / f"checkpoint_model/model_{NAME}_E{epoch}.pth"
        )
    torch.save(state(1, 5), folder / f"checkpoint_model/model_{NAME}_E1_ITER5.pth")
    torch.save(state(2, 11), folder / f"model/model_{NAME}.pth")
    (folder / "hyperparams_list.txt").write_text(
        "lr:\t0.2\nname:\tabc\nnote:\ta\nb\nbatch:\t[1, 2]\n"
    )
    (folder / "train.py").write_text("KEY = 'AKIAIOSFODNN7EXAMPLE'\nprint(1)\n")
    with zipfile.ZipFile(folder / "source_code.zip", "w") as archive:
        archive.writestr("src/a.py", "x = 1\n")
        archive.writestr("src/.env", "TOKEN=1\n")
        archive.writestr("../../escaped.py", "x = 2\n")
    document = {
        "y_true": np.arange(3),
        "y_predicted": np.ones(3, np.float32),
        "experiment_name": "my exp",
        "experiment_results_local_path": "/old",
        "results": {"accuracy": np.float64(0.5), "loss": math.nan},
        "hyperparameters": {"lr": 0.3, "batch": 16},
        "training_history": HISTORY,
    }
    (folder / f"results/results_hyperParams_hist_{NAME}.p").write_bytes(pickle.dumps(document))
    (folder / "results/plots/loss.png").write_bytes(b"a picture")
    (folder / "tensorboard/x/events.out.tfevents.1").write_bytes(b"events")
    (folder / "model/model.h5").write_bytes(b"keras")
    return folder


def test_an_experiment_comes_over(old, tmp_path):
    before = {p: p.read_bytes() for p in old.rglob("*") if p.is_file()}
    done = import_aitoolbox(old, tmp_path / "new")
    assert done.path == tmp_path / "new" / "proj" / NAME
    assert set(done.left_out) == {"model/model.h5"}
    run = summarise(done.path)
    assert (run.project, run.experiment, run.status) == ("proj", "my exp", "completed")
    moment = dt.datetime(2021, 3, 4, 5, 6, 7).astimezone(dt.UTC)
    assert dt.datetime.fromisoformat(run.created) == moment
    assert run.hyperparams["lr"] == 0.1  # the checkpoint's goes before the results' and the text
    assert run.hyperparams["batch"] == 16
    assert (run.hyperparams["name"], run.hyperparams["note"]) == ("abc", "a\nb")
    assert run.hyperparams["layers"] == "[1,2]"
    assert "sk-12345678" not in "".join(p.read_text() for p in done.path.glob("hyper*"))
    assert run.results["results/accuracy"] == 0.5
    assert math.isnan(run.results["results/loss"])
    assert {name: metric.points for name, metric in run.metrics.items()} == {
        "loss": 3,
        "val_loss": 3,
        "short": 1,
    }
    assert run.metrics["val_loss"].min_step == 3
    true, predicted = read_predictions(ExperimentFolder(done.path))["results"]
    assert true.tolist() == [0, 1, 2]
    assert predicted.dtype == np.float32
    assert (done.path / "results/plots/loss.png").read_bytes() == b"a picture"
    assert (done.path / "tensorboard/x/events.out.tfevents.1").read_bytes() == b"events"
    assert before == {p: p.read_bytes() for p in old.rglob("*") if p.is_file()}
    assert main(["verify", str(done.path)]) == 0
    assert main(["report", str(done.path)]) == 0


def test_checkpoints_are_those_of_the_old_run(old, tmp_path):
    done = import_aitoolbox(old, tmp_path / "new")
    store = CheckpointFolder(done.path / "checkpoint_model")
    found = [(info.step, info.epoch, info.scores.get("loss")) for info in store.entries()]
    assert found == [(12, 3, 1.0), (8, 2, 2.0), (6, 2, 2.0), (4, 1, 3.0)]
    assert store.best("val_loss", "min").step == 12
    tree = store.load(store.latest())
    model, optimizer = weights()
    assert tree["model"].keys() == model.state_dict().keys()
    assert all(
        torch.equal(tree["model"][name], value) for name, value in model.state_dict().items()
    )
    other = torch.optim.Adam(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).parameters())
    other.load_state_dict(tree["optimizers"][0])
    assert torch.equal(
        other.state_dict()["state"][0]["exp_avg"], optimizer.state_dict()["state"][0]["exp_avg"]
    )
    assert tree["aitoolbox"]["schedulers_state_dict"] == [{"last_epoch": 2}]
    assert torch.equal(load_model(done.path / "model")["0.weight"], model.state_dict()["0.weight"])


def test_sources_lose_their_secrets_and_stay_inside(old, tmp_path):
    done = import_aitoolbox(old, tmp_path / "new")
    with zipfile.ZipFile(done.path / "source_code.zip") as archive:
        names = archive.namelist()
    assert "src/a.py" in names
    assert not [name for name in names if ".env" in name or name.startswith(("/", ".."))]
    assert "AKIAIOSFODNN7EXAMPLE" not in (done.path / "train.py").read_text()
    assert not list(tmp_path.glob("**/escaped.py"))


def test_imported_once(old, tmp_path, capsys):
    first = import_aitoolbox(old, tmp_path / "new")
    again = import_aitoolbox(old, tmp_path / "new")
    assert again == first
    assert len(list((tmp_path / "new" / "proj").iterdir())) == 1
    other = import_aitoolbox(old, old.parent.parent)  # beside it
    assert other.path == old.parent / f"{NAME}_2"
    assert [path.name for path in experiments_in(old.parent.parent)] == [NAME]
    words = ["import", "aitoolbox", str(old.parent), "--root", str(tmp_path / "new"), "--json"]
    assert main(words) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["imported"][0]["path"] == str(first.path)
    assert list(document["imported"][0]["left_out"]) == ["model/model.h5"]


def test_an_import_that_was_cut_short_leaves_no_run(old, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("tt_experiment.imports._old_experiment.save_results", full)
        with pytest.raises(OSError, match="No space"):
            import_aitoolbox(old, tmp_path / "new")
    done = import_aitoolbox(old, tmp_path / "new")
    assert summarise(done.path).problems == ()


def test_separate_files_and_json(old, tmp_path):
    (old / "results" / f"results_hyperParams_hist_{NAME}.p").unlink()
    packages = {"pkg_VAL": {"f1": 0.5, "matrix": np.eye(2)}, "pkg_TEST": {"f1": 0.25}}
    labels = {"pkg_VAL": [1, 2], "pkg_TEST": ["a", "b"]}
    files = {
        "results_x.p": {"results": packages},
        "train_history_x.p": {"training_history": HISTORY},
        "true_pred_labels_x.p": {"y_true": labels, "y_predicted": labels},
    }
    for name, content in files.items():
        (old / "results" / name).write_bytes(pickle.dumps(content))
    (old / "results" / "hyperparams_x.json").write_text('{"hyperparameters": {"from": "json"}}')
    done = import_aitoolbox(old, tmp_path / "new")
    run = summarise(done.path)
    assert run.results == {"pkg_VAL/f1": 0.5, "pkg_TEST/f1": 0.25}
    assert run.hyperparams["from"] == "json"
    assert run.metrics["loss"].points == 3
    assert set(read_predictions(ExperimentFolder(done.path))) == {"pkg_VAL", "pkg_TEST"}


def test_what_would_run_code_is_left_out_and_the_rest_comes(old, tmp_path, mark):
    torch.save(state(0, 3, hyperparams=Evil(mark)), old / f"checkpoint_model/model_{NAME}_E0.pth")
    torch.save({"model_state_dict": Evil(mark)}, old / f"model/model_{NAME}.pth")
    results = old / "results" / f"results_hyperParams_hist_{NAME}.p"
    results.write_bytes(pickle.dumps({"results": {"a": 1}, "hyperparameters": Evil(mark)}))
    (old / "checkpoint_model" / f"model_{NAME}_E9.pth").write_bytes(b"PK\x03\x04 no archive")
    (old / "checkpoint_model" / "link").symlink_to(tmp_path)
    done = import_aitoolbox(old, tmp_path / "new")
    assert set(done.left_out) == {
        f"checkpoint_model/model_{NAME}_E0.pth",
        f"checkpoint_model/model_{NAME}_E9.pth",
        f"model/model_{NAME}.pth",
        f"results/results_hyperParams_hist_{NAME}.p",
        "checkpoint_model/link",
        "model/model.h5",
    }
    for name, reason in done.left_out.items():
        if name.endswith((".pth", ".p")):
            assert "sha256" in reason
    assert "posix.system" in done.left_out[f"results/results_hyperParams_hist_{NAME}.p"]
    steps = [i.step for i in CheckpointFolder(done.path / "checkpoint_model").entries()]
    assert steps == [12, 8, 6]
    assert json.loads((done.path / "run.json").read_text())["imported"]["left_out"] == done.left_out


def test_weights_come_without_a_state_that_cannot_be_kept(old, tmp_path):
    torch.save(state(0, 3, amp={1, 2}), old / f"checkpoint_model/model_{NAME}_E0.pth")
    done = import_aitoolbox(old, tmp_path / "new")
    assert "all but its weights" in done.left_out[f"checkpoint_model/model_{NAME}_E0.pth"]
    store = CheckpointFolder(done.path / "checkpoint_model")
    assert list(store.load(store.entries()[-1].ref)) == ["model"]


@pytest.mark.parametrize(
    "archive",
    [
        b"no zip",
        b"",
        b"PK\x05\x06" + bytes(18),
    ],
)
def test_archives_that_are_none(old, tmp_path, archive):
    (old / "source_code.zip").write_bytes(archive)
    done = import_aitoolbox(old, tmp_path / "new")
    assert ("source_code.zip" in done.left_out) or len(archive) == 22


def test_a_bomb_is_not_unpacked(old, tmp_path):
    with zipfile.ZipFile(old / "source_code.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            archive.writestr(f"src/{number}.py", bytes(80_000_000))
    done = import_aitoolbox(old, tmp_path / "new")
    assert "no sources are that large" in done.left_out["source_code.zip"]


@pytest.mark.parametrize("name", ["nothing", "old/proj"])
def test_what_is_no_experiment(tmp_path, old, name):
    with pytest.raises(ImportFormatError, match="is a folder <name>_<YYYY"):
        import_aitoolbox(tmp_path / name, tmp_path / "new")
    with pytest.raises(ImportFormatError):
        experiments_in(tmp_path / "nothing")
    assert not (tmp_path / "new").exists()


# Pickles


def read(tmp_path, data):
    path = Path(tmp_path, "x.p")
    path.write_bytes(data)
    return read_pickle(path)


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3),
        st.tuples(inner, inner),
    ),
    max_leaves=10,
)


@settings(max_examples=60, deadline=None)
@given(plain, st.integers(0, 5))
def test_plain_values_come_back(tmp_path_factory, value, protocol):
    data = pickle.dumps(value, protocol)
    assert repr(read(tmp_path_factory.mktemp("p"), data)) == repr(value)


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize(
    "value",
    [
        np.float64(0.1),
        np.int32(-7),
        np.bool_(True),
        np.arange(12).reshape(3, 4),
        np.asfortranarray(np.random.default_rng(0).normal(size=(3, 4))),
        np.arange(3, dtype=">i2"),
        np.array(["a", "bc"]),
        np.array(1.5),
        np.empty((0, 3), np.float16),
        collections.OrderedDict(a=np.float32(1)),
        [np.zeros(2), {"x": (np.ones(1), None)}],
    ],
    ids=repr,
)
def test_numbers_and_arrays_of_numpy_come_back(tmp_path, value, protocol):
    found = read(tmp_path, pickle.dumps(value, protocol))
    assert repr(found).replace("OrderedDict", "") == repr(
        dict(value) if isinstance(value, dict) else value
    )
    if isinstance(value, np.ndarray):
        assert (found.dtype, found.shape) == (value.dtype, value.shape)
        assert np.array_equal(found, value)


def test_a_training_history_is_its_curves(tmp_path, monkeypatch):
    name = "aitoolbox.experiment.training_history"
    module = types.ModuleType(name)

    class TrainingHistory:
        def __init__(self):
            self.has_validation = True
            self.train_history = HISTORY

    TrainingHistory.__module__, TrainingHistory.__qualname__ = name, "TrainingHistory"
    module.TrainingHistory = TrainingHistory
    for parent in ("aitoolbox", "aitoolbox.experiment"):
        monkeypatch.setitem(sys.modules, parent, type(sys)(parent))
    monkeypatch.setitem(sys.modules, name, module)
    data = pickle.dumps({"training_history": TrainingHistory()})
    monkeypatch.delitem(sys.modules, name)
    assert repr(read(tmp_path, data)) == repr({"training_history": HISTORY})


class Subclass(dict):
    pass


def calls(module, name, *arguments):
    """A pickle that calls something, without having it."""
    words = b"".join(pickle.dumps(argument, 0)[:-1] for argument in arguments)
    return f"c{module}\n{name}\n(".encode() + words + b"tR."


HOSTILE = {
    "os.system": calls("os", "system", "touch MARK"),
    "posix": calls("posix", "system", "touch MARK"),
    "subprocess": calls("subprocess", "check_output", ["touch", "MARK"]),
    "eval": calls("builtins", "eval", "__import__('os').system('touch MARK')"),
    "exec": calls("__builtin__", "exec", "open('MARK', 'w')"),
    "open": calls("io", "open", "MARK", "w"),
    "getattr": calls("builtins", "getattr", "x", "upper"),
    "import": calls("importlib", "import_module", "os"),
    "numpy's own": calls("numpy", "load", "MARK"),
    "numpy.core": calls("numpy.core.multiarray", "fromfile", "MARK"),
    "runstring": calls("numpy.testing._private.utils", "runstring", "open('MARK', 'w')", {}),
    "torch": calls("torch", "load", "MARK"),
    "torch storage": calls("torch.storage", "_load_from_bytes", b"x"),
    "copyreg": calls("copyreg", "_reconstructor", 1, 2, 3),
    "a class of ours": calls("tt_experiment.savers.old_files", "_Array"),
    "dotted": calls("collections", "OrderedDict.fromkeys", [1]),
    "dotted globals": b"\x80\x04\x8c\x0bcollections\x8c\x1cOrderedDict.__init__.__globals__\x93.",
    "codecs": calls("_codecs", "encode", "x", "rot13"),
    "operator": calls("operator", "attrgetter", "system"),
    "functools": calls("functools", "partial", 1),
    "types": calls("types", "CodeType"),
    "ctypes": calls("ctypes", "CDLL", "libc.so.6"),
    "webbrowser": calls("webbrowser", "open", "http://localhost"),
    "a subclass": pickle.dumps(Subclass(a=1)),
    "a function": pickle.dumps(calls),
    "a set": pickle.dumps({1, 2}, 2),
    "a date": pickle.dumps(dt.date(2020, 1, 1)),
    "a tensor": pickle.dumps(torch.zeros(1)),
    "objects in an array": pickle.dumps(np.array([{}], dtype=object)),
    "a persistent id": b"Pos.system\n.",
    "a binary persistent id": b"\x80\x02X\x01\x00\x00\x00xQ.",
    "an extension": b"\x80\x02\x82\x01.",
    "changing a maker": b"ccollections\nOrderedDict\n(dS'a'\nI1\nsb.",
    "slots of a maker": b"\x80\x02ccollections\nOrderedDict\nN}X\x05\x00\x00\x00_makeK\x01s\x86b.",
    "changing a class": b"caitoolbox.experiment.training_history\nTrainingHistory\n(dS'a'\nI1\nsb.",
    "slots of a class": b"\x80\x02caitoolbox.experiment.training_history\nTrainingHistory\n"
    b"N}X\x06\x00\x00\x00curvesK\x01s\x86b.",
    "a huge array": b"\x80\x02cnumpy\nndarray\n.",
    "nothing": b"",
    "cut": pickle.dumps([1, 2, 3])[:-3],
    "noise": bytes(range(256)),
    "deep": b"(" * 100_000 + b"t" * 100_000 + b".",
    "a loop": b"\x80\x02]q\x00h\x00a.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_are_refused(tmp_path, monkeypatch, name, mark):
    monkeypatch.chdir(tmp_path)
    data = HOSTILE[name].replace(b"MARK", b"pwned")
    if name == "a huge array":  # a name alone is nothing
        with pytest.raises(AttributeError):
            read(tmp_path, data).shape  # noqa: B018 - there is no such thing
        return
    with pytest.raises(ImportFormatError, match=r"sha256 [0-9a-f]{64}.* cannot be read safely"):
        read(tmp_path, data)
    assert read(tmp_path, pickle.dumps(collections.OrderedDict(a=1))) == {"a": 1}


def test_a_list_that_holds_itself_a_billion_times(tmp_path, monkeypatch):
    monkeypatch.setattr(_pickles, "_MAX_VALUES", 10_000)
    value = []
    for _ in range(40):
        value = [value, value]
    with pytest.raises(ImportFormatError, match="more than"):
        read(tmp_path, pickle.dumps(value))


def test_arrays_that_lie_about_their_size(tmp_path):
    data = pickle.dumps(np.arange(4), 2)
    for before, after in (
        (b"K\x04\x85", b"K\xff\x85"),
        (b"i8", b"O8"),
        (b"i8", b"V9"),
        (b"i8", b"m8"),
    ):
        lie = data.replace(before, after, 1)
        assert lie != data
        with pytest.raises(ImportFormatError):
            read(tmp_path, lie)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_mutated_pickles_are_read_or_refused(tmp_path_factory, data):
    good = pickle.dumps({"a": np.arange(3), "h": [1.5, "x"], "o": collections.OrderedDict(b=1)}, 2)
    broken = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        read(tmp_path_factory.mktemp("m"), bytes(broken))
    except ImportFormatError:
        return
    except (MemoryError, pickle.UnpicklingError) as error:  # pragma: no cover - would be a defect
        pytest.fail(repr(error))


IMPORTS = """
import sys
from pathlib import Path
from tt_experiment.errors import ImportFormatError
from tt_experiment.imports._pickles import read_pickle
before = set(sys.modules)
for path in map(Path, sys.argv[1:]):
    try:
        read_pickle(path)
    except ImportFormatError as error:
        assert f"it names {path.stem}.anything" in str(error)
    else:
        sys.exit(1)
print(sorted({path.stem for path in map(Path, sys.argv[1:])} & (set(sys.modules) - before)))
"""


@pytest.mark.slow
def test_a_refused_name_is_not_even_imported(tmp_path):
    paths = [tmp_path / f"{name}.p" for name in ("this", "antigravity", "wsgiref", "turtle")]
    for path in paths:
        path.write_bytes(calls(path.stem, "anything"))
    command = [sys.executable, "-c", IMPORTS, *paths]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("put", [b"r" + (1 << 24).to_bytes(4, "little"), b"p16777216\n"])
def test_a_place_far_out_makes_no_room_for_all_before_it(tmp_path, put):
    (tmp_path / "a.p").write_bytes(b"\x80\x02]" + put + b".")
    with pytest.raises(ImportFormatError, match="puts a value at place 16777216"):
        read_pickle(tmp_path / "a.p")


def test_damage_within_an_archive(old, tmp_path):
    with zipfile.ZipFile(old / "source_code.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.py", "x = 1\n" * 1000)
    content = bytearray((old / "source_code.zip").read_bytes())
    content[36:44] = b"\xff" * 8  # of the compressed bytes
    (old / "source_code.zip").write_bytes(content)
    done = import_aitoolbox(old, tmp_path / "new")
    assert "must be a zip archive" in done.left_out["source_code.zip"]
