"""Callbacks that write into a run, or tell of it."""

import csv
import hashlib
import inspect
import json
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tt_experiment import callbacks
from tt_experiment.callbacks import (
    AbstractExperimentCallback,
    EmailNotification,
    ExperimentCheckpoint,
    GradDistributionPlot,
    LogUpload,
    ModelCheckpoint,
    ModelPerformanceEvaluation,
    ModelTrainEndSave,
    ModelTrainHistoryFileWriter,
    ModelTrainHistoryPlot,
)
from tt_experiment.errors import (
    ExperimentSetupError,
    MissingDependency,
    Preempted,
    ResultsError,
    StoreError,
)
from tt_experiment.experiment import Experiment
from tt_experiment.folder import ExperimentFolder
from tt_experiment.results import read_predictions, read_results
from tt_loop.api import Callback, TrainLoop


class Package:
    """A result package that writes nothing."""

    pkg_name = "Errors"

    def __init__(self):
        self.told = []

    def set_experiment_dir_path_for_additional_results(self, *where):
        self.told.append(where)

    def prepare_result_package(self, y_true, y_predicted, hyperparameters=None, **kwargs):
        self.kwargs = kwargs
        self.results = {"mean": float((y_true - y_predicted).abs().mean())}

    def get_results(self):
        return self.results


def loop_of(**options):
    torch.manual_seed(0)
    model = nn.Linear(2, 1)
    loader = DataLoader(TensorDataset(torch.randn(8, 2), torch.randn(8, 1)), batch_size=4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return TrainLoop(
        model, loader, loader, None, optimizer, nn.MSELoss(), progress=False, **options
    )


def checkpoint(root, **more):
    return ModelCheckpoint("p", "e", root, {"lr": 0.1, "api_key": "sk-1"}, **more)


def run_in(root):
    (path,) = (path for path in (root / "p").iterdir() if path.is_dir())
    return ExperimentFolder(path)


class Watch(Callback):
    """Keeps what the message service had after each epoch."""

    def __init__(self):
        super().__init__("Watch", execution_order=2000)
        self.seen = []

    def on_epoch_end(self):
        service = self.train_loop_obj.message_service
        self.seen.append({key: service.read_messages(key) for key in service.message_store})


NAMED = (
    "project_name=None, experiment_name=None, local_model_result_folder_path=None, "
    "cloud_save_mode=None, bucket_name=None, cloud_dir_prefix=None"
)
SIGNATURES = {
    AbstractExperimentCallback: f"callback_name, {NAMED}, execution_order=0, "
    "device_idx_execution=None",
    ModelPerformanceEvaluation: "result_package, args=None, on_each_epoch=True, "
    "on_train_data=False, on_val_data=True, eval_frequency=None, "
    "if_available_output_to_project_dir=True",
    ModelTrainHistoryPlot: f"epoch_end=True, train_end=False, file_format='png', {NAMED}",
    ModelTrainHistoryFileWriter: f"epoch_end=True, train_end=False, file_format='txt', {NAMED}",
    GradDistributionPlot: "model_layers_extract_def, grad_plots_dir_name='grad_distribution', "
    f"file_format='png', {NAMED}",
    LogUpload: f"log_file_path='~/project/training.log', fail_if_cloud_missing=True, {NAMED}",
    EmailNotification: "sender_name, sender_email, recipient_email, project_name=None, "
    "experiment_name=None, aws_region='eu-west-1', *, mailer=None",
}


@pytest.mark.parametrize("kind", SIGNATURES)
def test_the_arguments_are_those_that_users_know(kind):
    found = inspect.signature(kind).parameters.values()
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in found]
    assert str(inspect.Signature(bare)) == f"({SIGNATURES[kind]})"


# -- which run


@pytest.mark.parametrize("first", [True, False])
def test_callbacks_with_the_same_names_share_a_run_in_any_order(tmp_path, first):
    named = ModelTrainHistoryPlot(True, False, "png", "p", "e", tmp_path)
    callbacks = [named, checkpoint(tmp_path)] if first else [checkpoint(tmp_path), named]
    loop_of().fit(2, callbacks=callbacks)
    run = run_in(tmp_path)
    assert run.run()["status"] == "completed"
    assert json.loads(run.hyperparams_file.read_text())["lr"] == 0.1
    assert (run.plots / "loss.png").exists()
    run.verify()


def test_a_callback_that_has_all_names_makes_a_run(tmp_path):
    loop_of().fit(
        1, callbacks=[ModelTrainHistoryFileWriter(True, False, "txt", "p", "e", tmp_path)]
    )
    run = run_in(tmp_path)
    assert run.run()["status"] == "completed"
    assert (run.results / "results.txt").exists()


def test_a_callback_that_names_another_run_is_refused(tmp_path):
    other = ModelTrainHistoryPlot(project_name="other")
    with pytest.raises(ExperimentSetupError, match="project_name 'other', and the run's is 'p'"):
        loop_of().fit(1, callbacks=[checkpoint(tmp_path), other])


@pytest.mark.parametrize("kind", [ModelTrainHistoryPlot, LogUpload])
def test_without_a_run_it_is_said_before_training(kind):
    loop = loop_of()
    with pytest.raises(ExperimentSetupError, match="there is none"):
        loop.fit(1, callbacks=[kind()])
    assert loop.epochs_done == 0


def test_names_and_store_are_taken_from_the_run(tmp_path, memory):
    class Asks(AbstractExperimentCallback):
        def on_train_begin(self):
            self.try_infer_experiment_details(infer_cloud_details=True)

    callback = Asks("asks")
    run = Experiment("p", "e", tmp_path, store=memory)
    loop_of().fit(1, callbacks=[callback, ExperimentCheckpoint(run)])
    assert (callback.project_name, callback.experiment_name) == ("p", "e")
    assert callback.local_model_result_folder_path == tmp_path
    assert (callback.cloud_save_mode, callback.bucket_name) == ("s3", "bucket")
    assert callback.cloud_dir_prefix == "pre"


# -- history


def test_tables_hold_the_history(tmp_path):
    writers = [ModelTrainHistoryFileWriter(True, True, kind) for kind in ("csv", "tsv", "txt")]
    watch, loop = Watch(), loop_of()
    loop.fit(3, callbacks=[checkpoint(tmp_path), *writers, watch])
    results = run_in(tmp_path).results
    for kind, delimiter in (("csv", ","), ("tsv", "\t")):
        for prefix in ("", "train_end_"):
            with (results / f"{prefix}results.{kind}").open(newline="") as file:
                rows = list(csv.DictReader(file, delimiter=delimiter))
            assert [float(row["val_loss"]) for row in rows] == loop.train_history["val_loss"]
    assert "val_loss" in (results / "results.txt").read_text()
    key = "ModelTrainHistoryFileWriter_results_file_local_paths"
    paths = [[str(results / f"results.{kind}")] for kind in ("csv", "tsv", "txt")]
    assert [seen[key] for seen in watch.seen] == [paths] * 3


def test_a_metric_is_no_formula_in_a_spreadsheet(tmp_path):
    class Formula(Callback):
        def on_epoch_end(self):
            self.train_loop_obj.insert_metric_result_into_history('=HYPERLINK("x")', 1.0)

    writer = ModelTrainHistoryFileWriter(file_format="csv")
    loop_of().fit(1, callbacks=[checkpoint(tmp_path), Formula("formula"), writer])
    with (run_in(tmp_path).results / "results.csv").open(newline="") as file:
        header = next(csv.reader(file))
    assert '\'=HYPERLINK("x")' in header


def test_plots_are_messages_too(tmp_path):
    watch = Watch()
    loop_of().fit(2, callbacks=[checkpoint(tmp_path), ModelTrainHistoryPlot(), watch])
    run = run_in(tmp_path)
    first, second = (seen["ModelTrainHistoryPlot_results_file_local_paths"] for seen in watch.seen)
    assert first == [[]]  # a curve needs two values
    assert set(second[0]) == {str(path) for path in run.plots.iterdir()}


@pytest.mark.parametrize("kind", [ModelTrainHistoryPlot, ModelTrainHistoryFileWriter])
def test_formats_and_moments_that_are_none(kind):
    with pytest.raises(ExperimentSetupError, match="'jpg'"):
        kind(file_format="jpg")
    with pytest.raises(ExperimentSetupError, match="got neither"):
        kind(epoch_end=False)


def test_a_disk_that_fails_ends_no_training(tmp_path, monkeypatch, caplog):
    def full(*_):
        raise OSError(28, "no space left on device")

    monkeypatch.setattr("tt_experiment.callbacks.history.replace_file", full)
    loop = loop_of()
    loop.fit(1, callbacks=[checkpoint(tmp_path), ModelTrainHistoryFileWriter()])
    assert loop.epochs_done == 1
    assert "could not be written" in caplog.text


@pytest.mark.parametrize("file_format", ["png", "pdf"])
def test_gradients_are_drawn_although_they_are_gone_at_the_epochs_end(tmp_path, file_format):
    plot = GradDistributionPlot(lambda model: [model], "grads", file_format)
    loop_of().fit(2, callbacks=[plot, checkpoint(tmp_path)])
    folder = run_in(tmp_path).results / "grads"
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.p*"))
    expected = ["epoch_0.pdf", "epoch_1.pdf"]
    assert names == (
        expected if file_format == "pdf" else ["epoch_0/layer_0.png", "epoch_1/layer_0.png"]
    )
    with pytest.raises(ResultsError, match="jpg"):
        GradDistributionPlot(lambda model: [model], file_format="jpg")


# -- evaluations


def test_a_package_is_told_the_folder_of_the_run(tmp_path):
    package, loose, told = Package(), Package(), Package()
    callbacks = [
        ModelPerformanceEvaluation(package, {}),
        ModelPerformanceEvaluation(loose, {}, if_available_output_to_project_dir=False),
        checkpoint(tmp_path),
        ModelTrainEndSave("p", "e", tmp_path, {"lr": 0.1, "api_key": "sk-1"}, told),
    ]
    loop = loop_of()
    loop.fit(2, callbacks=callbacks)
    run = run_in(tmp_path)
    for each in (package, told):
        project, experiment, stamp, root = each.told[-1]
        assert root / project / f"{experiment}_{stamp}" == run.path
    assert loose.told == []
    assert len(loop.train_history["val_mean"]) == 4
    assert (told.pkg_name, told.kwargs) == ("Errors", {})


def test_without_a_run_evaluations_go_on(tmp_path):
    package, loop = Package(), loop_of()
    loop.fit(1, callbacks=[ModelPerformanceEvaluation(package)])
    assert package.told == []
    assert "val_mean" in loop.train_history


def test_a_package_keeps_its_name_over_several_fits(tmp_path):
    package = Package()
    end = ModelTrainEndSave("p", "e", tmp_path, {}, val_result_package=package)
    loop = loop_of()
    loop.fit(1, callbacks=[end])
    loop.fit(1)
    run = run_in(tmp_path)
    assert list(read_results(run)) == ["Errors_VAL"]
    assert list(read_predictions(run)) == ["Errors_VAL"]
    assert package.pkg_name == "Errors"


# -- mails


class Mailer:
    """Keeps what it is to send."""

    def __init__(self, failure=None):
        self.sent, self.failure = [], failure

    def send(self, subject, text, /, *, html=None, attachments=()):
        if self.failure:
            raise self.failure
        names = [path.name for path in attachments]
        self.sent.append((subject, text, html, names, [path.read_bytes() for path in attachments]))
        return "id"


def mail(mailer, **more):
    return EmailNotification("Name", "a@example.org", "b@example.org", mailer=mailer, **more)


def test_mails_tell_what_was_measured(tmp_path):
    mailer = Mailer()
    callbacks = [
        checkpoint(tmp_path),
        ModelTrainHistoryPlot(),
        ModelTrainHistoryFileWriter(),
        mail(mailer),
    ]
    loop = loop_of()
    loop.fit(2, callbacks=callbacks)
    subjects = [subject for subject, *_ in mailer.sent]
    assert subjects == ["p: e: epoch 0 done", "p: e: epoch 1 done", "p: e: training done"]
    _, text, page, names, contents = mailer.sent[1]
    value = loop.train_history["val_loss"][-1]
    assert f"val_loss: {value}" in text
    assert f"<li>val_loss: {value}</li>" in page
    assert "lr: 0.1" in text
    assert set(names) >= {"loss.png", "val_loss.png", "results.txt"}
    assert all(contents)
    for part in (text, page):
        assert "sk-1" not in part
        assert "redacted" in part


def test_names_are_text_in_a_mail():
    class Evil(Callback):
        def on_epoch_end(self):
            self.train_loop_obj.insert_metric_result_into_history("<script>x</script>", "a&b")

    mailer = Mailer()
    loop = loop_of()
    loop.hyperparams = {"<b>": "</li><img src=x>", "n": 1}
    callback = mail(mailer, project_name="a\r\nBcc: c@example.org", experiment_name="<i>")
    loop.fit(1, callbacks=[Evil("evil"), callback])
    subject, text, page, *_ = mailer.sent[0]
    assert "\n" not in subject
    assert "\r" not in subject
    assert "<script>" not in page
    assert "<img" not in page
    assert "&lt;script&gt;" in callback.get_metric_list_html()
    assert "&lt;img src=x&gt;" in callback.get_hyperparams_html()
    assert "<script>x</script>: a&b" in text


def test_a_mail_that_is_refused_ends_no_training(caplog):
    loop = loop_of()
    secret = "AKIAIOSFODNN7EXAMPLE"
    loop.fit(2, callbacks=[mail(Mailer(ConnectionError(f"key {secret} refused")))])
    assert loop.epochs_done == 2
    assert caplog.text.count("a mail was not sent") == 3
    assert secret not in caplog.text


def test_a_failing_training_is_told_with_its_reason():
    class Fails(Callback):
        def on_epoch_end(self):
            raise RuntimeError("<it> broke")

    mailer = Mailer()
    with pytest.raises(RuntimeError, match="broke"):
        loop_of().fit(1, callbacks=[Fails("fails"), mail(mailer)])
    (subject, text, page, *_) = mailer.sent[-1]
    assert subject == "training: training failed"
    assert "RuntimeError: <it> broke" in text
    assert "&lt;it&gt; broke" in page


def test_files_that_no_mail_takes_stay_out(tmp_path, caplog):
    class Large(Callback):
        def on_epoch_end(self):
            service = self.train_loop_obj.message_service
            for name, size in (("small", 10), ("large", 8_000_000)):
                (tmp_path / name).write_bytes(b"x" * size)
                key = "ModelTrainHistoryPlot_results_file_local_paths"
                service.write_message(key, [(name, str(tmp_path / name))])  # as AIToolbox does

    mailer = Mailer()
    loop_of().fit(1, callbacks=[Large("large"), mail(mailer)])
    assert mailer.sent[0][3] == ["small"]
    assert "not attached" in caplog.text


def test_without_a_provider_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setattr("tt_experiment.mailers.entry_points", lambda group: [])
    with pytest.raises(MissingDependency, match="pip install 'tt-cloud"):
        EmailNotification("n", "a@example.org", "b@example.org")


# -- logs


class Memory:
    """A store."""

    url = "s3://bucket/pre"

    def __init__(self):
        self.content, self.down = {}, False

    def put(self, key, source, /, *, sha256=None, if_absent=False):
        if self.down:
            raise ConnectionError("down")
        if if_absent and key in self.content:
            raise FileExistsError(key)
        self.content[key] = source if isinstance(source, bytes) else source.read_bytes()
        return self.head(key)

    def get(self, key, target, /):
        if key not in self.content:
            raise FileNotFoundError(key)
        target.write_bytes(self.content[key])
        return self.head(key)

    def head(self, key, /):
        if key not in self.content:
            return None
        data = self.content[key]
        return SimpleNamespace(key=key, size=len(data), sha256=hashlib.sha256(data).hexdigest())

    def list(self, prefix="", /):
        return iter([self.head(key) for key in sorted(self.content) if key.startswith(prefix)])

    def delete(self, key, /):
        self.content.pop(key, None)


@pytest.fixture
def memory():
    return Memory()


def test_a_log_is_kept_without_secrets(tmp_path):
    log = tmp_path / "training.log"
    log.write_bytes(b"epoch 0\nAKIAIOSFODNN7EXAMPLE\n\xff\n")
    loop_of().fit(1, callbacks=[LogUpload(log, fail_if_cloud_missing=False), checkpoint(tmp_path)])
    kept = (run_in(tmp_path).logs / "training.log").read_bytes()
    assert kept.startswith(b"epoch 0\n")
    assert kept.endswith(b"\xff\n")
    assert b"AKIAIOSFODNN7EXAMPLE" not in kept


def test_a_log_needs_a_store_unless_told_otherwise(tmp_path):
    loop = loop_of()
    with pytest.raises(ExperimentSetupError, match="fail_if_cloud_missing=False"):
        loop.fit(1, callbacks=[LogUpload(tmp_path / "x.log"), checkpoint(tmp_path)])
    assert loop.epochs_done == 0


def test_the_log_of_a_training_that_fails_reaches_the_store(tmp_path, memory, monkeypatch):
    class Fails(Callback):
        def on_batch_end(self):
            raise RuntimeError("broke")

    log = tmp_path / "training.log"
    log.write_text("why\n")
    monkeypatch.setattr("tt_experiment.callbacks._experiment.open_store", lambda url: memory)
    upload = LogUpload(log, cloud_save_mode="s3", bucket_name="bucket", cloud_dir_prefix="pre")
    with pytest.raises(RuntimeError, match="broke"):
        loop_of().fit(1, callbacks=[checkpoint(tmp_path), upload, Fails("fails")])
    key = f"{run_in(tmp_path).path.relative_to(tmp_path).as_posix()}/logs/training.log"
    assert memory.content[key] == b"why\n"


def test_a_missing_log_and_a_store_that_is_down_are_logged(tmp_path, memory, monkeypatch, caplog):
    monkeypatch.setattr("tt_experiment.callbacks._experiment.open_store", lambda url: memory)
    memory.down = True
    loop = loop_of()
    here = tmp_path / "a.log"
    here.write_text("x")
    callbacks = [LogUpload(path, cloud_save_mode="s3") for path in (tmp_path / "none.log", here)]
    loop.fit(1, callbacks=[checkpoint(tmp_path), *callbacks])
    assert loop.epochs_done == 1
    assert "the log is not copied" in caplog.text
    assert "a copy failed: down" in caplog.text


class Raises(Callback):
    """Ends a training."""

    def __init__(self, error):
        super().__init__("raises")
        self.error = error

    def on_epoch_end(self):
        raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Preempted("SIGTERM")])
def test_who_asks_a_training_to_end_gets_no_mail_of_a_failure(error):
    mailer = Mailer()
    with pytest.raises(type(error)):
        loop_of().fit(1, callbacks=[Raises(error), mail(mailer)])
    assert mailer.sent[-1][0].endswith("training interrupted")


def test_a_store_that_nobody_provides_is_said_before_training(tmp_path, monkeypatch):
    monkeypatch.setattr("tt_experiment.stores.entry_points", lambda group: [])
    names = {"project_name": "p", "experiment_name": "e", "cloud_save_mode": "s3"}
    run = Experiment("p", "e", tmp_path)
    plot = ModelTrainHistoryPlot(**names)
    loop = loop_of()
    loop.experiment = run
    run.start()
    with pytest.raises(StoreError, match="pip install"):
        loop.fit(1, callbacks=[plot])
    assert loop.total_iteration_idx == -1


@pytest.mark.parametrize("kind", [k for k in vars(callbacks).values() if inspect.isclass(k)])
def test_callbacks_that_only_look_keep_no_checkpoint_waiting(kind):
    is_base = kind.__name__ == "AbstractExperimentCallback"
    if issubclass(kind, Callback):
        assert kind.may_change_weights is is_base
