"""Runs in the formats of other tools, read back by those tools."""

import csv
import json
import math
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tt_experiment._command.main import main
from tt_experiment.checkpoints import CheckpointFolder
from tt_experiment.errors import CheckpointError, CorruptCheckpoint, ExperimentSetupError
from tt_experiment.exports.csv_files import write_csv
from tt_experiment.exports.mlflow import export_mlflow
from tt_experiment.exports.parquet import write_parquet
from tt_experiment.exports.pth import export_pth
from tt_experiment.exports.tensorboard import export_tensorboard
from tt_experiment.folder import ExperimentFolder
from tt_experiment.results import save_model
from tt_experiment.runs import summarise
from tt_loop.api import GeneralLRScheduler, TrainLoop

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "=cmd|' /C calc'!A0"]


def make(root, name="e_1", *, params=None, metrics=None, results=None, **facts):
    """A run whose metrics are pairs of step and values."""
    path = Path(root, "p", name)
    path.mkdir(parents=True)
    run = {"format": "tt-run/1", "id": f"id-{name}", "project": "p", "experiment": "e"}
    run |= {"status": "completed", "created": "2026-01-02T03:04:05+00:00", "attempts": []}
    (path / "run.json").write_text(json.dumps(run | facts))
    (path / "hyperparams.json").write_text(json.dumps(params or {}))
    (path / "metrics").mkdir()
    lines = [{"resumed_from_step": 0}]
    for step, values in metrics or []:
        flags = {key: str(v) for key, v in values.items() if not math.isfinite(v)}
        plain = {key: None if key in flags else v for key, v in values.items()}
        line = {"step": step, "epoch": step // 10, "time": 1.7e9 + step / 8, "values": plain}
        lines.append(line | ({"nonfinite": flags} if flags else {}))
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (path / "metrics" / "0001.jsonl").write_text(text)
    if results:
        (path / "results").mkdir()
        (path / "results" / "results.json").write_text(json.dumps({"results": results}))
    return summarise(path)


METRICS = [
    (1, {"loss": 3.0, "acc": 0.1}),
    (2, {"loss": math.nan}),
    (15, {"loss": math.inf, "acc": 0.5}),
]
RUNS = {
    "e_1": {
        "params": {"lr": 0.1, "n": 3, "amp": True, "mixed": 1, "none": None},
        "metrics": METRICS,
    },
    "e_2": {"params": {"lr": 1, "n": 2**70, "mixed": "x"}, "results": {"val": {"f1": 0.25}}},
}


@pytest.fixture
def runs(tmp_path):
    return [make(tmp_path, name, **options) for name, options in RUNS.items()]


def expected_values(run):
    return [
        (run.name, run.id, step, step // 10, 1.7e9 + step / 8, 1, name, value)
        for step, values in METRICS
        for name, value in values.items()
    ]


def same(found, expected):
    """Rows are equal, and NaN is equal to NaN."""
    return [*map(repr, map(tuple, found))] == [*map(repr, expected)]


# CSV


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_csv_has_a_row_for_each_run_and_each_value(runs, tmp_path):
    first, second = write_csv(runs, tmp_path / "out")
    assert (first.name, second.name) == ("runs.csv", "metrics.csv")
    head, *rows = read_csv(first)
    table = [dict(zip(head, row, strict=True)) for row in rows]
    assert head[:4] == ["project", "experiment", "name", "id"]
    assert [row["name"] for row in table] == ["e_1", "e_2"]
    assert [row["param.lr"] for row in table] == ["0.1", "1"]
    assert [row["param.n"] for row in table] == ["3", str(2**70)]
    assert [row["param.amp"] for row in table] == ["true", ""]
    assert [row["param.none"] for row in table] == ["", ""]
    assert [row["metric.loss"] for row in table] == ["inf", ""]
    assert [row["result.val/f1"] for row in table] == ["", "0.25"]
    head, *rows = read_csv(second)
    assert head == ["run", "id", "step", "epoch", "time", "attempt", "metric", "value"]
    kinds = (str, str, int, int, float, int, str, float)
    found = [tuple(kind(cell) for kind, cell in zip(kinds, row, strict=True)) for row in rows]
    assert same(found, expected_values(runs[0]))
    assert write_csv(runs, tmp_path / "out") == [first, second]  # in place of the old ones
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["metrics.csv", "runs.csv"]


@pytest.mark.parametrize("formula", FORMULAS)
def test_no_cell_is_a_formula(tmp_path, formula):
    run = make(
        tmp_path,
        params={formula: formula, "x": formula},
        metrics=[(1, {formula: -1.0})],
        results={formula: {"a": -2}},
        project=formula,
        status=formula,
    )
    for path in write_csv([run], tmp_path / "out"):
        for row in read_csv(path):
            for cell in row:
                assert not cell.startswith(("=", "+", "@", "\t", "\r"))
                if cell.startswith("-"):
                    float(cell)


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=8), max_size=4))
def test_any_text_comes_back_from_csv(tmp_path_factory, params):
    root = tmp_path_factory.mktemp("r")
    head, row = read_csv(write_csv([make(root, params=params)], root / "out")[0])
    found = dict(zip(head, row, strict=True))
    for name, text in params.items():
        cell = found[f"param.{name}".encode("utf-8", "replace").decode()]
        assert cell.removeprefix("'") == text.encode("utf-8", "replace").decode().removeprefix("'")


def test_pandas_reads_the_csv(runs, tmp_path):
    pandas = pytest.importorskip("pandas")
    first, second = write_csv(runs, tmp_path / "out")
    values = pandas.read_csv(second)
    assert same(list(values.itertuples(index=False, name=None)), expected_values(runs[0]))
    table = pandas.read_csv(first)
    assert table["param.lr"].tolist() == [0.1, 1.0]
    assert table["metric.loss"].tolist()[0] == math.inf


# Parquet


def test_parquet_keeps_types(runs, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    first, second = write_parquet(runs, tmp_path / "out")
    table = parquet.read_table(first).to_pydict()
    assert table["name"] == ["e_1", "e_2"]
    assert table["attempts"] == [0, 0]
    assert table["param.lr"] == [0.1, 1.0]
    assert table["param.n"] == [3.0, float(2**70)] or table["param.n"] == ["3", str(2**70)]
    assert table["param.amp"] == [True, None]
    assert table["param.mixed"] == ["1", "x"]
    assert table["param.none"] == [None, None]
    assert table["metric.loss"] == [math.inf, None]
    assert table["result.val/f1"] == [None, 0.25]
    rows = [tuple(row.values()) for row in parquet.read_table(second).to_pylist()]
    assert same(rows, expected_values(runs[0]))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "metrics.parquet",
        "runs.parquet",
    ]


def test_parquet_of_nothing_and_of_odd_names(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    first, second = write_parquet([], tmp_path / "none")
    assert (parquet.read_table(first).num_rows, parquet.read_table(second).num_rows) == (0, 0)
    run = make(tmp_path, params={"\ud800": "\ud800"}, metrics=[(1, {"\ud800": 1.0})])
    first, second = write_parquet([run], tmp_path / "odd")
    assert parquet.read_table(first).to_pydict()["param.?"] == ["?"]
    assert parquet.read_table(second).to_pydict()["metric"] == ["?"]


# TensorBoard


def test_tensorboard_reads_curves_with_their_times(runs, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    target = export_tensorboard(runs[0], tmp_path / "tb")
    assert target == tmp_path / "tb" / "p" / "e_1"
    events = accumulator.EventAccumulator(str(target), {"scalars": 0})
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"loss", "acc"}
    for name in ("loss", "acc"):
        found = [(e.step, e.value, e.wall_time) for e in events.Scalars(name)]
        expected = [(s, v[name], 1.7e9 + s / 8) for s, v in METRICS if name in v]
        assert [(s, t) for s, _, t in found] == [(s, t) for s, _, t in expected]
        assert [v for _, v, _ in found] == pytest.approx([v for _, v, _ in expected], nan_ok=True)
    with pytest.raises(ExperimentSetupError, match="exported once"):
        export_tensorboard(runs[0], tmp_path / "tb")


def test_tensorboard_has_hyperparameters_and_results(runs, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    plugin = pytest.importorskip("tensorboard.plugins.hparams.plugin_data_pb2")
    target = export_tensorboard(runs[1], tmp_path / "tb")
    events = accumulator.EventAccumulator(str(target))
    events.Reload()
    assert [e.value for e in events.Scalars("val/f1")] == [0.25]
    data = plugin.HParamsPluginData.FromString(
        events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    )
    found = data.session_start_info.hparams
    assert found["lr"].number_value == 1
    assert found["mixed"].string_value == "x"


# MLflow


@pytest.fixture
def tracking(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = (tmp_path / "mlruns").as_uri()
    return uri, mlflow.MlflowClient(tracking_uri=uri)


def test_mlflow_has_all_of_a_run(runs, tracking):
    uri, client = tracking
    found = client.get_run(export_mlflow(runs[0], uri))
    assert found.info.status == "FINISHED"
    assert found.info.start_time == 1767323045000
    assert client.get_experiment(found.info.experiment_id).name == "p"
    assert found.data.params == {"lr": "0.1", "n": "3", "amp": "True", "mixed": "1", "none": "None"}
    assert found.data.tags["tt.run_id"] == "id-e_1"
    for name in ("loss", "acc"):
        history = client.get_metric_history(found.info.run_id, name)
        rows = [(m.step, m.value, m.timestamp) for m in history]
        expected = [(s, v[name], round(1.7e12 + s * 125)) for s, v in METRICS if name in v]
        assert same(sorted(rows), sorted(expected))
    results = client.get_run(export_mlflow(runs[1], uri)).data.metrics
    assert results == {"val/f1": 0.25}


def test_a_run_is_in_mlflow_once(runs, tracking, monkeypatch):
    uri, client = tracking
    with monkeypatch.context() as patch:
        patch.setattr("tt_experiment.exports.mlflow.values_of", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            export_mlflow(runs[0], uri)
    first = export_mlflow(runs[0], uri)
    assert export_mlflow(runs[0], uri) == first
    place = client.get_experiment_by_name("p").experiment_id
    assert [run.info.run_id for run in client.search_runs([place])] == [first]


def test_many_values_go_to_mlflow(tmp_path, tracking):
    uri, client = tracking
    params = {f"p{i}": i for i in range(250)}
    run = make(tmp_path, params=params, metrics=[(i, {"x": float(i)}) for i in range(1, 2502)])
    found = export_mlflow(run, uri)
    assert len(client.get_run(found).data.params) == 250
    assert len(client.get_metric_history(found, "x")) == 2501


# .pth


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))

    def get_loss(self, batch, criterion, device):
        return criterion(self.layers(batch[0].to(device)), batch[1].to(device))

    get_loss_eval = get_loss

    def get_predictions(self, batch, device):
        return self.layers(batch[0]), batch[1], {}


def parts():
    """A model, and an optimizer whose groups are in an order that is not the model's."""
    torch.manual_seed(0)
    model = Model()
    weights = [p for name, p in model.named_parameters() if name.endswith("weight")]
    others = [p for name, p in model.named_parameters() if not name.endswith("weight")]
    groups = [{"params": others, "lr": 0.1}, {"params": weights, "weight_decay": 0.01}]
    return model, torch.optim.AdamW(groups, lr=0.01)


def alike(found, expected):
    if isinstance(expected, torch.Tensor):
        return torch.equal(found, expected)
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(alike(found[k], expected[k]) for k in found)
    if isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(map(alike, found, expected))
    return found == expected


def test_a_checkpoint_is_what_torch_reads(tmp_path):
    run = make(tmp_path, params={"lr": 0.01, "layers": [4]})
    model, optimizer = parts()
    data = [(torch.randn(4, 3), torch.ones(4, 1)) for _ in range(5)]
    steps = GeneralLRScheduler(torch.optim.lr_scheduler.StepLR, step_size=2)
    loop = TrainLoop(model, data, None, None, optimizer, nn.MSELoss())
    loop.fit(num_epochs=3, callbacks=[steps])
    store = CheckpointFolder(run.path / "checkpoint_model")
    store.save(loop.state_dict(), step=15, scores={}).wait_committed()

    file = export_pth(run.path, tmp_path / "out" / "model.pth")
    state = torch.load(file, weights_only=True)
    assert (state["epoch"], state["iteration_idx"]) == (2, 14)
    assert state["hyperparams"] == {"lr": 0.01, "layers": [4]}
    assert list(state) == [
        "model_state_dict",
        "optimizer_state_dict",
        "schedulers_state_dict",
        "epoch",
        "iteration_idx",
        "hyperparams",
    ]
    assert alike(state["model_state_dict"], dict(model.state_dict()))
    assert alike(state["optimizer_state_dict"], optimizer.state_dict())
    (schedule,) = state["schedulers_state_dict"]
    scheduler = steps.schedulers[0].state_dict()
    assert {key: schedule[key] for key in ("last_epoch", "step_size", "gamma")} == {
        key: scheduler[key] for key in ("last_epoch", "step_size", "gamma")
    }
    other, its_optimizer = parts()  # and a bare loop goes on from it
    other.load_state_dict(state["model_state_dict"])
    its_optimizer.load_state_dict(state["optimizer_state_dict"])
    for each, its in ((model, optimizer), (other, its_optimizer)):
        its.zero_grad()
        each.get_loss(data[0], nn.MSELoss(), "cpu").backward()
        its.step()
    assert alike(dict(other.state_dict()), dict(model.state_dict()))


def test_old_readers_read_it(tmp_path):
    from tt_experiment.savers.old_files import read_old_checkpoint

    run = make(tmp_path, params={"lr": 0.1})
    model, optimizer = parts()
    store = CheckpointFolder(run.path / "checkpoint_model")
    several = {"model": model.state_dict(), "optimizers": [optimizer.state_dict()] * 2}
    store.save(several, step=1, scores={}).wait_committed()
    state = read_old_checkpoint(export_pth(run.path, tmp_path / "x.pth"))
    assert len(state["optimizer_state_dict"]) == 2
    assert alike(state["optimizer_state_dict"][1], optimizer.state_dict())


def test_which_state_is_written(tmp_path):
    run = make(tmp_path)
    with pytest.raises(CheckpointError, match="It has neither"):
        export_pth(run.path, tmp_path / "x.pth")
    save_model(ExperimentFolder(run.path), {"w": torch.zeros(1)})
    assert weight(export_pth(run.path, tmp_path / "x.pth")) == 0
    store = CheckpointFolder(run.path / "checkpoint_model")
    for step in (1, 2):
        store.save(
            {"model": {"w": torch.full((1,), float(step))}}, step=step, scores={}
        ).wait_committed()
    assert weight(export_pth(run.path, tmp_path / "x.pth")) == 2
    assert weight(export_pth(run.path, tmp_path / "x.pth", step=1)) == 1
    with pytest.raises(CheckpointError, match="Got step 3, and there are: 2, 1"):
        export_pth(run.path, tmp_path / "x.pth", step=3)
    weights = run.path / "checkpoint_model" / "step-0000000002" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(CorruptCheckpoint):
        export_pth(run.path, tmp_path / "x.pth", step=2)
    assert weight(tmp_path / "x.pth") == 1  # the file that was there is whole
    assert weight(export_pth(run.path, tmp_path / "y.pth")) == 1  # the next older, as resume does
    assert [path.name for path in tmp_path.glob(".tmp*")] == []


def weight(file):
    return torch.load(file, weights_only=True)["model_state_dict"]["w"].item()


# The command


def test_the_command_exports(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TT_EXPERIMENT_ROOT", str(tmp_path))
    for name in ("e_1", "e_2"):
        run = make(tmp_path, name, metrics=METRICS)
        save_model(ExperimentFolder(run.path), {"w": torch.zeros(1)})
    for to, target, written in [
        ("csv", "csv", ["csv/runs.csv", "csv/metrics.csv"]),
        ("pth", "pth", ["pth/e_2.pth", "pth/e_1.pth"]),
    ]:
        assert main(["export", "--all", "--to", to, "--target", target, "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert (document["to"], sorted(document["written"])) == (to, sorted(written))
        assert all(Path(name).is_file() for name in written)
    assert main(["export", "e_1", "--to", "pth", "--target", "one.pth"]) == 0
    assert capsys.readouterr().out == "one.pth\n"
    assert main(["export", "e_1", "--to", "pth", "--target", "one.pth", "--step", "4"]) == 1


def test_a_run_that_cannot_be_exported_keeps_no_other_from_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TT_EXPERIMENT_ROOT", str(tmp_path))
    for name in ("e_1", "e_2", "e_3"):
        run = make(tmp_path, name)
        if name != "e_2":
            save_model(ExperimentFolder(run.path), {"w": torch.zeros(1)})
    assert main(["export", "--all", "--to", "pth", "--target", "out", "--json"]) == 1
    answer = capsys.readouterr()
    document = json.loads(answer.out)
    assert sorted(document["written"]) == ["out/e_1.pth", "out/e_3.pth"]
    assert [Path(name).name for name in document["failed"]] == ["e_2"]
    assert "e_2" in answer.err
    assert "It has neither" in answer.err


def test_a_missing_library_is_named_with_its_extra(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TT_EXPERIMENT_ROOT", str(tmp_path))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    make(tmp_path)
    assert main(["export", "e_1", "--to", "parquet", "--target", str(tmp_path / "x")]) == 1
    assert "pip install 'tt-experiment[parquet]'" in capsys.readouterr().err
