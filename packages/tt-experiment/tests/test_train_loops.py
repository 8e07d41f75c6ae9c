"""Loops and callbacks that keep a run."""

import json
import logging
import zipfile

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tt_experiment.api import (
    BestPolicy,
    CheckpointError,
    CheckpointFolder,
    Experiment,
    ExperimentFolder,
    ExperimentSetupError,
    ModelCheckpoint,
    ModelTrainEndSave,
    ModelTrainHistoryPlot,
    Provenance,
    StoreError,
    TrainLoopCheckpoint,
    TrainLoopCheckpointEndSave,
    TrainLoopEndSave,
    UploadError,
    load_model,
    open_store,
    read_metrics,
)
from tt_experiment.errors import UploadPending
from tt_experiment.folder import run_files
from tt_experiment.outbox import Patience
from tt_experiment.recorder import read_events
from tt_experiment.testing import MemoryBlobStore
from tt_loop.api import Callback, Checkpoint, ModelPerformanceEvaluation, TrainLoop


class Share:
    """A result package: the share of right answers."""

    pkg_name = "Share"

    def __init__(self) -> None:
        self.hyperparameters = None

    def prepare_result_package(self, y_true, y_predicted, hyperparameters=None, **kwargs):
        self.hyperparameters = hyperparameters
        self.results = {"share": float((y_true == y_predicted.argmax(1)).float().mean())}

    def get_results(self):
        return self.results


class Memory(MemoryBlobStore):
    """A store that can be told to fail."""

    def __init__(self) -> None:
        super().__init__()
        self.failing: Exception | None = None
        self.before = self.fail

    def fail(self, method, key) -> None:
        if self.failing is not None:
            raise self.failing


def parts():
    torch.manual_seed(0)
    features = torch.randn(40, 4)
    loader = DataLoader(TensorDataset(features, (features.sum(1) > 0).long()), batch_size=8)
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return model, loader, loader, loader, optimizer, nn.CrossEntropyLoss()


def tracked(kind, root, *, name: str = "run", **options):
    hyperparams = {"lr": 0.1, "api_key": "sk-1234567890abcdefghij"}
    names = ("project", name, root, hyperparams)
    return kind(*parts(), *names, **{"progress": False, **options})


def test_full_tracking_keeps_everything(tmp_path) -> None:
    package = Share()
    loop = tracked(
        TrainLoopCheckpointEndSave, tmp_path / "runs", test_result_package=package, source_dirs=[]
    )
    assert not (tmp_path / "runs").exists()  # nothing is written before training
    model = loop.fit(num_epochs=3, callbacks=[ModelTrainHistoryPlot(train_end=True)])

    folder = loop.experiment.folder
    assert folder.path.parent == tmp_path / "runs" / "project"
    assert folder.path.name.startswith("run_")
    run = folder.run()
    assert run["status"] == "completed"
    assert "sk-1234" not in "".join(p.read_text(errors="ignore") for p in folder.path.glob("*.*"))
    assert [r["step"] for r in read_metrics(folder.path)] == [5, 10, 15, 15]
    assert read_metrics(folder.path)[-1]["values"].keys() == {"train_end_test_loss"}
    steps = sorted(path.name for path in folder.checkpoints.glob("step-*"))
    assert steps == ["step-0000000005", "step-0000000010", "step-0000000015"]
    for name, value in load_model(folder.model).items():
        assert torch.equal(value, model.state_dict()[name])
    y_pred, y_true, _ = loop.predict_on_test_set()
    assert loop.experiment.results() == {"Share_TEST": {"share": package.results["share"]}}
    with np.load(folder.predictions_file) as kept:
        assert np.array_equal(kept["Share_TEST/y_true"], y_true.numpy())
        assert np.array_equal(kept["Share_TEST/y_predicted"], y_pred.numpy())
    assert {p.name for p in folder.plots.iterdir()} >= {"loss.png", "val_loss.png"}
    assert "val_loss" in folder.report_file.read_text()
    kinds = [event["kind"] for event in read_events(folder.events_file)]
    assert kinds == ["start", "checkpoint", "checkpoint", "checkpoint", "end"]
    folder.verify()  # sealed, and nothing was written afterwards
    assert package.hyperparameters["lr"] == 0.1


def test_a_second_run_stands_beside_the_first(tmp_path) -> None:
    for _ in range(2):
        tracked(TrainLoopCheckpoint, tmp_path).fit(num_epochs=1)
    assert len(list((tmp_path / "project").iterdir())) == 2


class Die(Callback):
    def __init__(self, epoch: int) -> None:
        super().__init__("die", execution_order=500)
        self.epoch = epoch

    def on_epoch_end(self) -> None:
        if self.train_loop_obj.epochs_done == self.epoch:
            raise MemoryError("too much")


def test_a_checkpoint_goes_on_to_the_same_bits(tmp_path) -> None:
    whole = tracked(TrainLoopCheckpoint, tmp_path, name="whole")
    whole.fit(num_epochs=4)

    broken = tracked(TrainLoopCheckpoint, tmp_path, name="broken")
    with pytest.raises(MemoryError):
        broken.fit(num_epochs=4, callbacks=[Die(2)])
    folder = broken.experiment.folder
    assert folder.run()["status"] == "failed"
    assert "failed" in folder.report_file.read_text()

    resumed = tracked(TrainLoopCheckpoint, tmp_path, name="resumed")
    resumed.load_state_dict(broken.experiment.load(broken.experiment.latest()))
    resumed.fit(num_epochs=4)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name])
    assert whole.train_history.state_dict() == resumed.train_history.state_dict()


def test_only_the_best_and_the_newest_checkpoints_stay(tmp_path) -> None:
    class Measure(Callback):
        def __init__(self) -> None:
            super().__init__("measure")

        def on_epoch_end(self) -> None:
            value = [0.9, 0.1, 0.2, 0.3][self.train_loop_obj.epoch]
            self.train_loop_obj.insert_metric_result_into_history("val_acc", value)

    loop = tracked(
        TrainLoopCheckpoint, tmp_path, rm_subopt_local_models="val_acc", num_best_checkpoints_kept=1
    )
    loop.fit(num_epochs=4, callbacks=[Measure()])
    kept = sorted(path.name for path in loop.experiment.folder.checkpoints.glob("step-*"))
    assert kept == ["step-0000000005", "step-0000000020"]
    assert loop.experiment.best("val_acc", "max").step == 5


def test_keeping_the_best_by_what_nobody_measures_is_an_error(tmp_path) -> None:
    loop = tracked(TrainLoopCheckpoint, tmp_path, rm_subopt_local_models="val_F1")
    with pytest.raises(ExperimentSetupError, match=r"'val_F1'.*'val_loss'\]"):
        loop.fit(num_epochs=1)
    rarely = ModelPerformanceEvaluation(Share(), eval_frequency=2)
    loop = tracked(TrainLoopCheckpoint, tmp_path, rm_subopt_local_models="val_share")
    loop.fit(num_epochs=3, callbacks=[rarely])
    assert loop.experiment.best("val_share", "max").step == 10
    loop = tracked(TrainLoopCheckpoint, tmp_path, rm_subopt_local_models=True)
    loop.fit(num_epochs=3)
    assert loop.experiment.retention.metric == "loss"


def test_the_store_gets_the_run(tmp_path, caplog) -> None:
    store = Memory()
    loop = tracked(TrainLoopEndSave, tmp_path, val_result_package=Share(), store=store)
    loop.fit(num_epochs=1)
    folder = loop.experiment.folder.path
    local = {path.relative_to(tmp_path).as_posix() for path in run_files(folder)}
    assert {key for key in store.objects if "/.claims/" not in key} == local
    assert store.stored[-1].endswith(f"{folder.name}/MANIFEST.json")
    assert not caplog.records


def test_a_store_that_fails_later_costs_nothing_but_is_said(tmp_path, caplog) -> None:
    class LoseNetwork(Callback):
        def on_epoch_begin(self) -> None:
            experiment = self.train_loop_obj.experiment
            experiment.store.failing = ConnectionError("no network")
            experiment.outbox.patience = Patience(give_up=0.05)

    store = Memory()
    loop = tracked(TrainLoopCheckpoint, tmp_path, store=store)
    with caplog.at_level(logging.WARNING), pytest.raises(UploadPending, match="no network") as end:
        loop.fit(num_epochs=1, callbacks=[LoseNetwork("lose network")])
    assert end.value.code == 3
    loop.experiment.folder.verify()
    assert caplog.records
    store.failing = None
    loop.experiment.outbox.patience = Patience()
    assert loop.experiment.upload() > 5
    assert loop.experiment.upload() == 0


def test_a_store_that_cannot_be_written_to_is_said_before_training(tmp_path) -> None:
    store = Memory()
    store.failing = PermissionError("no right")
    loop = tracked(TrainLoopCheckpoint, tmp_path, store=store)
    with pytest.raises(UploadError, match="no right"):
        loop.fit(num_epochs=1)
    assert loop.total_iteration_idx == -1
    (failed,) = (tmp_path / "project").iterdir()
    assert ExperimentFolder(failed).run()["status"] == "failed"
    store.failing = None
    loop.fit(num_epochs=1)  # tried anew, as a run of its own
    assert loop.experiment.folder.path != failed
    loop.experiment.folder.verify()


def test_callbacks_with_the_same_names_share_a_run(tmp_path) -> None:
    names = ("project", "mine", tmp_path, {"lr": 1})
    checkpoint = ModelCheckpoint(*names)
    end = ModelTrainEndSave(*names, val_result_package=Share())
    model, train, validation, test, optimizer, criterion = parts()
    loop = TrainLoop(model, train, validation, test, optimizer, criterion, progress=False)
    loop.fit(num_epochs=1, callbacks=[end, checkpoint, ModelTrainHistoryPlot(file_format="pdf")])
    (run,) = (tmp_path / "project").iterdir()
    assert checkpoint.experiment is end.experiment
    assert {"checkpoint_model", "model", "results"} <= {path.name for path in run.iterdir()}
    ExperimentFolder(run).verify()


def test_callbacks_that_name_two_runs_are_refused(tmp_path) -> None:
    model, train, validation, test, optimizer, criterion = parts()
    for other in (
        ModelCheckpoint("project", "other", tmp_path, {"lr": 1}),
        ModelCheckpoint("project", "mine", tmp_path, {"lr": 2}),
    ):
        first = ModelTrainEndSave("project", "mine", tmp_path, {"lr": 1}, Share())
        loop = TrainLoop(model, train, validation, test, optimizer, criterion, progress=False)
        with pytest.raises(ExperimentSetupError, match="keeps one run"):
            loop.fit(num_epochs=1, callbacks=[first, other])


def test_a_tracking_loop_shares_its_run_with_callbacks(tmp_path) -> None:
    loop = tracked(TrainLoopEndSave, tmp_path, val_result_package=Share())
    keep = ModelCheckpoint(
        "project", "run", tmp_path, loop.hyperparams, rm_subopt_local_models=True
    )
    loop.fit(num_epochs=1, callbacks=[keep])
    assert keep.experiment is loop.experiment
    assert loop.experiment.latest().step == 5
    assert len(list((tmp_path / "project").iterdir())) == 1


def test_a_run_is_opened_again(tmp_path) -> None:
    loop = tracked(TrainLoopCheckpoint, tmp_path)
    loop.fit(num_epochs=1)
    again = Experiment.open(loop.experiment.folder.path)
    assert again.latest() == loop.experiment.latest()
    again.folder.verify()
    again.save({"model": {}}, step=99, scores={})
    assert not again.folder.manifest_file.exists()  # the seal is of the past


def test_the_model_is_kept_whatever_its_evaluation_does(tmp_path) -> None:
    class Broken(Share):
        def prepare_result_package(self, y_true, y_predicted, hyperparameters=None, **kwargs):
            hyperparameters["mine"] = 1
            raise ZeroDivisionError

    loop = tracked(TrainLoopEndSave, tmp_path, val_result_package=Broken())
    with pytest.raises(ZeroDivisionError):
        loop.fit(num_epochs=1)
    assert load_model(loop.experiment.folder.model).keys() == {"weight", "bias"}
    assert "mine" not in loop.hyperparams


def test_one_package_may_serve_both_sets(tmp_path) -> None:
    class Nested(Share):
        results: dict = {}  # noqa: RUF012  # reused on purpose

        def prepare_result_package(self, y_true, y_predicted, hyperparameters=None, **kwargs):
            self.results.setdefault("deep", {})["sum"] = float(y_predicted.sum())

    package = Nested()
    model, train, validation, _, optimizer, criterion = parts()
    test = [[torch.zeros(2, 4), torch.zeros(2, dtype=torch.long)]]
    loop = TrainLoopEndSave(
        model, train, validation, test, optimizer, criterion, "p", "e", tmp_path, {},
        val_result_package=package, test_result_package=package, progress=False,
    )  # fmt: skip
    loop.fit(num_epochs=1)
    kept = loop.experiment.results()
    assert kept["Share_VAL"] != kept["Share_TEST"]


class Failed:
    """The ticket of a save that failed."""

    def wait_staged(self) -> None: ...

    def wait_committed(self, timeout=None, /):
        raise CheckpointError("no space")


def test_a_checkpoint_that_failed_does_not_end_training(tmp_path, monkeypatch, caplog) -> None:
    loop = tracked(TrainLoopCheckpoint, tmp_path)
    save = CheckpointFolder.save
    steps = []

    def sometimes(self, tree, /, *, step, **options):
        steps.append(step)
        if step == 10:
            return Failed()
        return save(self, tree, step=step, **options)

    monkeypatch.setattr(CheckpointFolder, "save", sometimes)
    with caplog.at_level(logging.ERROR):
        loop.fit(num_epochs=4)
    assert steps == [5, 10, 15, 20]
    assert "no space" in caplog.text
    kinds = [event["kind"] for event in read_events(loop.experiment.folder.events_file)]
    assert kinds.count("checkpoint") == 3


def test_two_runs_never_share_a_place_in_the_store(tmp_path) -> None:
    store, stamp = Memory(), "2026-01-01_00-00-00"
    Experiment("p", "e", tmp_path / "one", store=store).start(stamp)
    with pytest.raises(UploadError, match="already"):
        Experiment("p", "e", tmp_path / "two", store=store).start(stamp)


def test_the_seal_in_the_store_goes_when_the_run_goes_on(tmp_path) -> None:
    store = Memory()
    loop = tracked(TrainLoopCheckpoint, tmp_path, store=store)
    loop.fit(num_epochs=1)
    prefix = f"project/{loop.experiment.folder.path.name}"
    seal = f"{prefix}/MANIFEST.json"
    assert seal in store.objects

    class Look(Callback):
        def on_train_end(self) -> None:
            assert seal not in store.objects

    loop.fit(num_epochs=1, callbacks=[Look("look", execution_order=200)])
    assert seal in store.objects


@pytest.mark.parametrize("script", ["missing.py", 3])
def test_a_script_that_is_not_there_is_an_error(tmp_path, script) -> None:
    with pytest.raises(ExperimentSetupError, match="training script"):
        Experiment("p", "e", tmp_path, hyperparams={"experiment_file_path": script}).start()


def test_source_dirs_take_files_and_must_exist(tmp_path) -> None:
    (tmp_path / "one.py").write_text("x = 1\n")
    experiment = Experiment(
        "p", "e", tmp_path / "runs", provenance=Provenance(source_dirs=[tmp_path / "one.py"])
    )
    experiment.start()
    with zipfile.ZipFile(experiment.folder.path / "source_code.zip") as archive:
        assert "one.py/one.py" in archive.namelist()
    with pytest.raises(ExperimentSetupError, match="does not"):
        Experiment(
            "p", "e", tmp_path / "runs", provenance=Provenance(source_dirs=[tmp_path / "two"])
        ).start()


def test_nothing_is_removed_while_nobody_knows_what_is_best(tmp_path) -> None:
    store = CheckpointFolder(tmp_path, retention=BestPolicy("val_x", "max"))
    for step in (1, 2, 3):
        store.save({"model": {}}, step=step, scores={"loss": 1.0}).wait_committed()
    assert len(list(tmp_path.glob("step-*"))) == 3


def test_errors_are_kept_by_the_smallest(tmp_path) -> None:
    class Measure(Callback):
        def on_epoch_end(self) -> None:
            value = [0.9, 0.1, 0.2][self.train_loop_obj.epoch]
            self.train_loop_obj.insert_metric_result_into_history("val_mae", value)

    for policy in ("val_mae", BestPolicy("val_mae", "min")):
        loop = tracked(
            TrainLoopCheckpoint,
            tmp_path,
            rm_subopt_local_models=policy,
            num_best_checkpoints_kept=1,
        )
        loop.fit(num_epochs=3, callbacks=[Measure("measure")])
        assert loop.experiment.best("val_mae", "min").step == 10


def test_plots_need_a_run(tmp_path) -> None:
    model, train, *_ = parts()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loop = TrainLoop(model, train, None, None, optimizer, nn.CrossEntropyLoss(), progress=False)
    with pytest.raises(ExperimentSetupError, match="TrainLoopEndSave"):
        loop.fit(num_epochs=1, callbacks=[ModelTrainHistoryPlot()])


def test_an_experiment_is_a_checkpoint_store_for_any_loop(tmp_path) -> None:
    experiment = Experiment("p", "e", tmp_path)
    model, train, *_ = parts()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loop = TrainLoop(model, train, None, None, optimizer, nn.CrossEntropyLoss(), progress=False)
    loop.fit(num_epochs=2, callbacks=[Checkpoint(experiment)])
    assert experiment.latest().step == 10
    assert experiment.is_running()
    experiment.finish("completed")
    assert not experiment.is_running()


def test_predictions_that_only_pickle_keeps_are_left_out_with_a_warning(tmp_path, caplog) -> None:
    class Objects(Share):
        def prepare_result_package(self, y_true, y_predicted, hyperparameters=None, **kwargs):
            self.results = {"n": len(y_true)}

    loop = tracked(
        TrainLoopEndSave,
        tmp_path,
        val_result_package=Objects(),
        pred_transform_fn=lambda batches: [object() for _ in batches],
    )
    with caplog.at_level(logging.WARNING):
        loop.fit(num_epochs=1)
    assert "predictions are not kept" in caplog.text
    assert loop.experiment.results() == {"Share_VAL": {"n": 5}}
    assert not loop.experiment.folder.predictions_file.exists()


def test_the_script_named_in_the_hyperparameters_is_kept(tmp_path) -> None:
    script = tmp_path / "train_it.py"
    script.write_text("print('hello')\n")
    experiment = Experiment("p", "e", tmp_path, hyperparams={"experiment_file_path": str(script)})
    experiment.start()
    experiment.start()  # once
    assert (experiment.folder.path / "train_it.py").read_text() == "print('hello')\n"
    assert len(list((tmp_path / "p").iterdir())) == 1


def test_recording_before_a_run_has_begun_is_harmless(tmp_path, caplog) -> None:
    recorder = Experiment("p", "e", tmp_path).recorder
    recorder.scalars(1, {"a": 1.0}, epoch=0)
    assert "'e' has not begun: step 1 is not recorded" in caplog.text
    recorder.event("note", {})
    recorder.close("completed")
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("kind", "options", "rule"),
    [
        (TrainLoopEndSave, {}, "At least one result package"),
        (TrainLoopCheckpointEndSave, {"val_result_package": 3}, "must be a ResultPackage, got int"),
        (TrainLoopCheckpoint, {"store": Memory(), "cloud_save_mode": "s3"}, "once"),
        (TrainLoopCheckpoint, {"cloud_save_mode": "ftp"}, "'google storage'; got 'ftp'"),
        (TrainLoopCheckpoint, {"name": " "}, "must not be empty"),
        (TrainLoopCheckpoint, {"iteration_save_freq": -1}, "a number of batches, or 0"),
        (TrainLoopCheckpoint, {"store": 3}, "a URL or a folder, got int"),
        (TrainLoopCheckpoint, {"recorder": Memory()}, "records into its run"),
    ],
)
def test_arguments_that_make_no_run_are_refused(tmp_path, kind, options, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        tracked(kind, tmp_path, **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [TrainLoopEndSave, TrainLoopCheckpointEndSave])
def test_a_result_package_without_its_loader_is_refused(tmp_path, kind) -> None:
    model, train, _, test, optimizer, criterion = parts()
    arguments = (model, train, None, test, optimizer, criterion, "p", "e", tmp_path, {})
    with pytest.raises(ExperimentSetupError, match="needs a validation_loader"):
        kind(*arguments, val_result_package=Share())


class Entry:
    def __init__(self, name: str) -> None:
        self.name = name

    def load(self):
        def factory(url: str) -> Memory:
            store = Memory()
            store.url = f"{self.name} opens {url}"
            return store

        return factory


def test_stores_are_found_by_the_scheme_of_their_url(monkeypatch, tmp_path) -> None:
    known = [Entry(name) for name in ("s3", "gs", "file")]
    monkeypatch.setattr("tt_experiment.stores.entry_points", lambda group: known)
    assert open_store("s3://b/x").url == "s3 opens s3://b/x"
    assert open_store("/tmp/x").url == "file opens /tmp/x"
    assert Experiment("p", "e", tmp_path, store=tmp_path).store.url == f"file opens {tmp_path}"
    with pytest.raises(StoreError, match=r"'ftp' \(installed: file, gs, s3\).*pip install"):
        open_store("ftp://x")
    for mode, url in (("aws", "s3://b/p"), ("gcs", "gs://b/p")):
        loop = tracked(
            TrainLoopCheckpoint,
            tmp_path,
            cloud_save_mode=mode,
            bucket_name="b",
            cloud_dir_prefix="p",
        )
        assert loop.experiment.store.url.endswith(url)
    assert tracked(TrainLoopCheckpoint, tmp_path, cloud_save_mode="local").experiment.store is None


def test_hyperparameters_of_the_caller_are_not_changed(tmp_path) -> None:
    hyperparams = {"lr": 0.1}
    loop = TrainLoopCheckpoint(*parts(), "p", "e", tmp_path, hyperparams, progress=False)
    loop.fit(num_epochs=1)
    assert hyperparams == {"lr": 0.1}
    saved = json.loads(loop.experiment.folder.hyperparams_file.read_text())
    assert saved["lr"] == 0.1
