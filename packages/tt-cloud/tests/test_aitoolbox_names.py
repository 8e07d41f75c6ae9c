import inspect
import os
import re
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest

from tt_cloud import MailError, MissingDependency, NotFound, ObjectInfo, UnsafeKey, open_store
from tt_cloud._mail.plain import text_of
from tt_cloud.aws.data_access import AbstractDatasetFetcher, BaseDataLoader, BaseDataSaver
from tt_cloud.aws.model_load import BaseModelLoader, PyTorchS3ModelLoader
from tt_cloud.aws.model_save import (
    AbstractModelSaver,
    BaseModelSaver,
    KerasS3ModelSaver,
    PyTorchS3ModelSaver,
)
from tt_cloud.aws.ports import (
    LocalModelSaver,
    LocalPyTorchModelLoader,
    LocalResultsSaver,
    SavedFile,
)
from tt_cloud.aws.results_save import AbstractResultsSaver, BaseResultsSaver, S3ResultsSaver
from tt_cloud.aws.simple_email_service import SESSender
from tt_cloud.google_cloud.data_access import (
    BaseGoogleStorageDataLoader,
    BaseGoogleStorageDataSaver,
)
from tt_cloud.google_cloud.model_load import (
    BaseModelGoogleStorageLoader,
    PyTorchGoogleStorageModelLoader,
)
from tt_cloud.google_cloud.model_save import (
    BaseModelGoogleStorageSaver,
    KerasGoogleStorageModelSaver,
    PyTorchGoogleStorageModelSaver,
)
from tt_cloud.google_cloud.results_save import (
    BaseResultsGoogleStorageSaver,
    GoogleStorageResultsSaver,
)
from tt_cloud.names import gcs_available_options, s3_available_options

RESULT = "bucket_name='model-result'"
PREFIX = f"{RESULT}, cloud_dir_prefix=''"
FOLDER = "local_model_result_folder_path='~/project/model_result'"
MODEL_SAVER = f"{PREFIX}, {FOLDER}, checkpoint_model=False"
DATA = "bucket_name='dataset-store', local_{}_folder_path='~/project/data'"

SIGNATURES = {
    BaseDataSaver: RESULT,
    BaseDataLoader: DATA.format("base_data"),
    BaseModelLoader: f"local_model_loader, {FOLDER}, {PREFIX}",
    PyTorchS3ModelLoader: f"{FOLDER}, {PREFIX}",
    BaseModelSaver: f"{PREFIX}, checkpoint_model=False",
    PyTorchS3ModelSaver: MODEL_SAVER,
    KerasS3ModelSaver: MODEL_SAVER,
    BaseResultsSaver: PREFIX,
    S3ResultsSaver: f"{PREFIX}, {FOLDER}",
    SESSender: "sender_name, sender_email, recipient_email, aws_region='eu-west-1'",
    BaseGoogleStorageDataSaver: RESULT,
    BaseGoogleStorageDataLoader: DATA.format("dataset"),
    BaseModelGoogleStorageLoader: f"local_model_loader, {FOLDER}, {PREFIX}",
    PyTorchGoogleStorageModelLoader: f"{FOLDER}, {PREFIX}",
    BaseModelGoogleStorageSaver: f"{PREFIX}, checkpoint_model=False",
    PyTorchGoogleStorageModelSaver: MODEL_SAVER,
    KerasGoogleStorageModelSaver: MODEL_SAVER,
    BaseResultsGoogleStorageSaver: PREFIX,
    GoogleStorageResultsSaver: f"{PREFIX}, {FOLDER}",
}

EXPERIMENT = "project_name, experiment_name, experiment_timestamp"
METHODS = {
    BaseDataSaver.save_file: "local_file_path, cloud_file_path",
    BaseDataSaver.save_folder: "local_folder_path, cloud_folder_path",
    BaseDataLoader.load_file: "cloud_file_path, local_file_path",
    BaseDataLoader.exists_local_data_folder: "data_folder_name, protect_local_folder=True",
    BaseDataLoader.preproc_dataset_available: "preproc_dataset_name",
    AbstractDatasetFetcher.fetch_dataset: "dataset_name=None, protect_local_folder=True",
    BaseModelLoader.load_model: (
        f"{EXPERIMENT}, model_save_dir='checkpoint_model', epoch_num=None, **kwargs"
    ),
    PyTorchS3ModelLoader.init_model: "model, used_data_parallel=False",
    PyTorchS3ModelLoader.init_optimizer: "optimizer, device='cuda'",
    PyTorchS3ModelLoader.init_scheduler: (
        "scheduler_callbacks_list, ignore_saved=False, ignore_missing_saved=False"
    ),
    PyTorchS3ModelLoader.init_amp: "amp_scaler",
    AbstractModelSaver.save_model: (
        f"model, {EXPERIMENT}=None, epoch=None, iteration_idx=None, protect_existing_folder=True"
    ),
    PyTorchS3ModelSaver.save_model: (
        f"model, {EXPERIMENT}=None, epoch=None, iteration_idx=None, protect_existing_folder=True"
    ),
    BaseModelSaver.create_experiment_cloud_storage_folder_structure: EXPERIMENT,
    BaseResultsSaver.create_experiment_cloud_storage_folder_structure: EXPERIMENT,
    AbstractResultsSaver.save_experiment_results: (
        f"result_package, training_history, {EXPERIMENT}=None, save_true_pred_labels=False, "
        "separate_files=False, protect_existing_folder=True"
    ),
    S3ResultsSaver.save_experiment_results: (
        f"result_package, training_history, {EXPERIMENT}=None, save_true_pred_labels=False, "
        "separate_files=False, protect_existing_folder=True"
    ),
    SESSender.send_email: "subject, body, attachment_file_paths=None",
}


def written(call: Any) -> str:
    """The arguments as AIToolbox has them: without self, types and what was added by keyword."""
    found = inspect.signature(call).parameters.values()
    kept = [p for p in found if p.name != "self" and p.kind is not p.KEYWORD_ONLY]
    return ", ".join(str(p.replace(annotation=p.empty)) for p in kept)


@pytest.mark.parametrize("kind", SIGNATURES, ids=lambda kind: kind.__name__)
def test_classes_are_made_as_in_aitoolbox(kind: type) -> None:
    assert written(kind) == SIGNATURES[kind]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__qualname__)
def test_methods_are_called_as_in_aitoolbox(method: Any) -> None:
    assert written(method) == METHODS[method]


def test_the_options_are_those_of_aitoolbox() -> None:
    assert s3_available_options == ["s3", "aws_s3", "aws"]
    assert gcs_available_options == ["gcs", "google_storage", "google storage"]


def test_what_was_a_subclass_is_one() -> None:
    assert issubclass(PyTorchGoogleStorageModelSaver, PyTorchS3ModelSaver)
    assert issubclass(PyTorchGoogleStorageModelSaver, BaseModelGoogleStorageSaver)
    assert issubclass(BaseModelGoogleStorageSaver, BaseGoogleStorageDataSaver)
    assert issubclass(PyTorchGoogleStorageModelLoader, BaseGoogleStorageDataLoader)
    assert issubclass(GoogleStorageResultsSaver, BaseResultsGoogleStorageSaver)


# -- stand-ins for tt-experiment


class Saver:
    """Writes models and results as text, and remembers how it was made."""

    def __init__(self, folder: str, checkpoint_model: bool = False) -> None:
        self.folder = Path(folder).expanduser()
        self.kind = "checkpoint_model" if checkpoint_model else "model"

    def save_model(
        self,
        model: Any,
        project_name: str,
        experiment_name: str,
        experiment_timestamp: str | None = None,
        epoch: int | None = None,
        iteration_idx: int | None = None,
        protect_existing_folder: bool = True,
    ) -> SavedFile:
        number = "" if epoch is None else f"_E{epoch}"
        number += "" if iteration_idx is None else f"_ITER{iteration_idx}"
        experiment = f"{experiment_name}_{experiment_timestamp}"
        name = f"model_{experiment}{number}.pth"
        path = self.folder / project_name / experiment / self.kind / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(model)
        return name, path

    def save_experiment_results(
        self,
        result_package: Any,
        training_history: Any,
        project_name: str,
        experiment_name: str,
        experiment_timestamp: str | None = None,
        save_true_pred_labels: bool = False,
        protect_existing_folder: bool = True,
    ) -> list[SavedFile]:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "everything"
        path.write_text(f"{result_package} {training_history} {save_true_pred_labels}")
        return [("results.json", path), ("plots/loss.png", str(path))]

    def save_experiment_results_separate_files(
        self,
        result_package: Any,
        training_history: Any,
        project_name: str,
        experiment_name: str,
        experiment_timestamp: str | None = None,
        save_true_pred_labels: bool = False,
        protect_existing_folder: bool = True,
    ) -> list[SavedFile]:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "history"
        path.write_text(training_history)
        return [("history.json", path)]


class Loader:
    """Reads what `Saver` wrote."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder).expanduser()

    def load_model(
        self,
        project_name: str,
        experiment_name: str,
        experiment_timestamp: str,
        model_save_dir: str = "checkpoint_model",
        epoch_num: int | None = None,
        **kwargs: Any,
    ) -> Any:
        experiment = f"{experiment_name}_{experiment_timestamp}"
        number = "" if epoch_num is None else f"_E{epoch_num}"
        folder = self.folder / project_name / experiment / model_save_dir
        return (folder / f"model_{experiment}{number}.pth").read_text(), kwargs

    def init_model(self, model: Any, used_data_parallel: bool = False) -> Any:
        return ("model", model, used_data_parallel)

    def init_optimizer(self, optimizer: Any, device: str = "cuda") -> Any:
        return ("optimizer", optimizer, device)

    def init_scheduler(
        self,
        scheduler_callbacks_list: list[Any],
        ignore_saved: bool = False,
        ignore_missing_saved: bool = False,
    ) -> Any:
        return ("scheduler", scheduler_callbacks_list, ignore_saved, ignore_missing_saved)

    def init_amp(self, amp_scaler: Any) -> Any:
        return ("amp", amp_scaler)


_a: LocalModelSaver = Saver("")
_b: LocalResultsSaver = Saver("")
_c: LocalPyTorchModelLoader = Loader("")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a package were installed that brings the above."""
    group = "tt_cloud.local_savers"
    brings = {
        "pytorch_model_saver": "Saver",
        "keras_model_saver": "Saver",
        "results_saver": "Saver",
        "pytorch_model_loader": "Loader",
    }
    entries = EntryPoints(EntryPoint(name, f"here:{of}", group) for name, of in brings.items())

    def entry_points(**wanted: str) -> EntryPoints:
        assert wanted == {"group": group}
        return entries

    monkeypatch.setattr("tt_cloud._aitoolbox.local.entry_points", entry_points)
    monkeypatch.setattr(EntryPoint, "load", lambda entry: globals()[entry.attr])


@pytest.fixture
def store(tmp_path: Path) -> Any:
    return open_store(tmp_path / "bucket")


def keys(store: Any) -> list[str]:
    return [info.key for info in store.list()]


TIME = "2026-11-28_08-00-00"


# -- files and folders


@pytest.mark.parametrize("kind", [BaseDataSaver, BaseGoogleStorageDataSaver])
def test_files_and_folders_are_saved(kind: type[BaseDataSaver], store: Any, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    (folder / "plots").mkdir(parents=True)
    (folder / "plots" / "a.png").write_bytes(b"1")
    saver = kind(store=store)
    saver.save_file(str(folder / "plots" / "a.png"), "/somewhere/a.png")
    saver.save_folder(str(folder), "whole/")
    assert keys(store) == ["somewhere/a.png", "whole/plots/a.png"]


def test_the_home_directory_is_understood(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a").write_bytes(b"1")
    saver = BaseDataSaver(store=store)
    saver.save_file("~/x/a", "a")
    saver.save_folder("~/x", "x")
    BaseDataLoader(store=store).load_file("a", "~/x/b")
    assert keys(store) == ["a", "x/a"]
    assert (tmp_path / "x" / "b").read_bytes() == b"1"


def test_a_folder_that_is_not_there_is_an_error(store: Any, tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="none"):
        BaseDataSaver(store=store).save_folder(tmp_path / "none", "x")


@pytest.mark.parametrize("kind", [BaseDataLoader, BaseGoogleStorageDataLoader])
def test_a_file_is_loaded_unless_it_is_equal(
    kind: type[BaseDataLoader], store: Any, tmp_path: Path
) -> None:
    loader = kind("bucket", tmp_path, store=store)
    target = tmp_path / "deep" / "a"
    store.put("a", b"12345")
    loader.load_file("a", target)
    assert target.read_bytes() == b"12345"
    os.utime(target, (0, 0))
    loader.load_file("a", target)
    assert target.stat().st_mtime == 0  # it was not written again
    for wrong in (b"123", b"54321"):
        target.write_bytes(wrong)
        loader.load_file("a", target)
        assert target.read_bytes() == b"12345"


def test_a_file_without_a_digest_to_compare_is_loaded_again(tmp_path: Path) -> None:
    class Plain:
        url = "s3://bucket"
        got = 0

        def head(self, key: str) -> ObjectInfo:
            return ObjectInfo(key, 1, None)

        def get(self, key: str, target: Path) -> ObjectInfo:
            self.got += 1
            target.write_bytes(b"1")
            return ObjectInfo(key, 1, None)

    store: Any = Plain()
    loader = BaseDataLoader("bucket", tmp_path, store=store)
    loader.load_file("a", tmp_path / "a")
    loader.load_file("a", tmp_path / "a")
    assert store.got == 2


def test_a_missing_object_is_not_found_although_there_is_a_file(store: Any, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(NotFound, match="bucket/a"):
        BaseDataLoader(store=store).load_file("a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"old"


def test_a_local_folder_is_seen_and_never_deleted(store: Any, tmp_path: Path) -> None:
    loader = BaseDataLoader("bucket", tmp_path, store=store)
    assert not loader.exists_local_data_folder("set")
    (tmp_path / "set").mkdir()
    assert loader.exists_local_data_folder("set")
    assert not loader.exists_local_data_folder("set", protect_local_folder=False)
    assert (tmp_path / "set").is_dir()


# -- models


SAVERS: list[Any] = [
    PyTorchS3ModelSaver,
    KerasS3ModelSaver,
    PyTorchGoogleStorageModelSaver,
    KerasGoogleStorageModelSaver,
]


@pytest.mark.parametrize("kind", SAVERS)
def test_models_are_saved(kind: Any, installed: None, store: Any, tmp_path: Path) -> None:
    saver = kind("ignored", "/prefix/", tmp_path, store=store)
    where, time, local = saver.save_model("weights", "project", "exp", TIME)
    key = f"prefix/project/exp_{TIME}/model/model_exp_{TIME}.pth"
    assert keys(store) == [key]
    assert store.read(key) == b"weights"
    assert where.endswith(f"bucket/{key}")
    assert time == TIME
    assert Path(local).read_text() == "weights"


def test_checkpoints_have_their_own_folder(installed: None, store: Any, tmp_path: Path) -> None:
    saver = PyTorchS3ModelSaver("b", "", str(tmp_path), checkpoint_model=True, store=store)
    saver.save_model("weights", "project", "exp", TIME, epoch=3, iteration_idx=7)
    folder = f"project/exp_{TIME}/checkpoint_model"
    assert keys(store) == [f"{folder}/model_exp_{TIME}_E3_ITER7.pth"]
    made = saver.create_experiment_cloud_storage_folder_structure("project", "exp", TIME)
    assert made == folder


def test_a_model_without_a_timestamp_gets_one(installed: None, store: Any, tmp_path: Path) -> None:
    saver = PyTorchS3ModelSaver(local_model_result_folder_path=tmp_path, store=store)
    where, time, _ = saver.save_model("weights", "project", "exp")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", time)
    assert where.endswith(f"project/exp_{time}/model/model_exp_{time}.pth")


@pytest.mark.parametrize("kind", [PyTorchS3ModelLoader, PyTorchGoogleStorageModelLoader])
def test_models_are_loaded(kind: Any, installed: None, store: Any, tmp_path: Path) -> None:
    saver = PyTorchS3ModelSaver("b", "prefix", tmp_path / "there", True, store=store)
    saver.save_model("weights", "project", "exp", TIME, epoch=1)
    loader = kind(tmp_path / "here", "b", "prefix", store=store)
    model, options = loader.load_model("project", "exp", TIME, epoch_num=1, map_location="cpu")
    assert model == "weights"
    assert options == {"map_location": "cpu"}
    with pytest.raises(NotFound, match="E2"):
        loader.load_model("project", "exp", TIME, epoch_num=2)


def test_what_was_loaded_is_put_where_it_belongs(installed: None, store: Any) -> None:
    loader = PyTorchS3ModelLoader(store=store)
    assert loader.init_model(1, True) == ("model", 1, True)
    assert loader.init_optimizer(2) == ("optimizer", 2, "cuda")
    assert loader.init_scheduler([3], ignore_saved=True) == ("scheduler", [3], True, False)
    assert loader.init_amp(4) == ("amp", 4)


def test_a_model_is_not_loaded_to_elsewhere(installed: None, store: Any, tmp_path: Path) -> None:
    loader = PyTorchS3ModelLoader(tmp_path / "here", store=store)
    with pytest.raises(UnsafeKey):
        loader.load_model("..", "exp", TIME)


# -- results


@pytest.mark.parametrize("kind", [S3ResultsSaver, GoogleStorageResultsSaver])
def test_results_are_saved(kind: Any, installed: None, store: Any, tmp_path: Path) -> None:
    saver = kind("b", "prefix", tmp_path, store=store)
    where, time = saver.save_experiment_results("R", "H", "project", "exp", TIME, True)
    folder = f"prefix/project/exp_{TIME}/results"
    assert keys(store) == [f"{folder}/plots/loss.png", f"{folder}/results.json"]
    assert store.read(f"{folder}/results.json") == b"R H True"
    assert where.endswith(f"bucket/{folder}")
    assert time == TIME
    saver.save_experiment_results("R", "H", "project", "exp", TIME, separate_files=True)
    assert store.read(f"{folder}/history.json") == b"H"


@pytest.mark.parametrize("kind", [BaseResultsSaver, BaseResultsGoogleStorageSaver])
def test_all_know_where_results_are(kind: Any, store: Any) -> None:
    made = kind("b", "x", store=store).create_experiment_cloud_storage_folder_structure
    assert made("project", "exp", TIME) == f"x/project/exp_{TIME}/results"


# -- what they need


@pytest.mark.parametrize(
    "kind", [*SAVERS, S3ResultsSaver, GoogleStorageResultsSaver, PyTorchS3ModelLoader]
)
def test_without_a_local_part_they_say_what_to_install(
    kind: Any, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tt_cloud._aitoolbox.local.entry_points", lambda group: EntryPoints())
    with pytest.raises(MissingDependency, match="pip install tt-experiment"):
        kind(store=store)


def test_a_local_part_can_be_given(store: Any, tmp_path: Path) -> None:
    local = Saver(str(tmp_path))
    PyTorchS3ModelSaver(store=store, local_saver=local).save_model("w", "p", "e", TIME)
    S3ResultsSaver(store=store, local_saver=local).save_experiment_results("r", "h", "p", "e", TIME)
    loader = PyTorchS3ModelLoader(tmp_path, store=store, local_model_loader=Loader(str(tmp_path)))
    assert loader.load_model("p", "e", TIME, "model")[0] == "w"


@pytest.mark.slow
def test_nothing_is_connected_when_they_are_made(
    installed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("boto3", reason="needs tt-cloud[s3]")
    pytest.importorskip("google.cloud.storage", reason="needs tt-cloud[gcs]")
    import socket

    def refuse(*words: Any) -> None:
        pytest.fail("connected")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    for kind in SIGNATURES:
        if kind in (BaseModelLoader, BaseModelGoogleStorageLoader):
            kind(Loader(""))
        elif kind is not SESSender:
            kind()
    assert PyTorchS3ModelSaver().store.url == "s3://model-result"
    assert PyTorchGoogleStorageModelSaver().store.url == "gs://model-result"
    assert BaseGoogleStorageDataLoader().store.url == "gs://dataset-store"


@pytest.mark.slow
def test_they_work_with_s3(
    installed: None,
    s3_endpoint: str,
    s3_bucket: str,
    s3_client: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_endpoint)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    saver = PyTorchS3ModelSaver(s3_bucket, "prefix", tmp_path / "there", True)
    where, _, _ = saver.save_model("weights", "project", "exp", TIME, epoch=1)
    bucket, _, key = where.partition("/")
    assert s3_client.get_object(Bucket=bucket, Key=key)["Body"].read() == b"weights"
    loader = PyTorchS3ModelLoader(tmp_path / "here", s3_bucket, "prefix")
    assert loader.load_model("project", "exp", TIME, epoch_num=1)[0] == "weights"


@pytest.mark.slow
def test_they_work_with_google(
    installed: None,
    gcs_endpoint: str,
    gcs_bucket: str,
    gcs_client: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_endpoint)
    saver = PyTorchGoogleStorageModelSaver(gcs_bucket, "prefix", tmp_path / "there", True)
    where, _, _ = saver.save_model("weights", "project", "exp", TIME, epoch=1)
    bucket, _, key = where.partition("/")
    assert gcs_client.bucket(bucket).blob(key).download_as_bytes() == b"weights"
    loader = PyTorchGoogleStorageModelLoader(tmp_path / "here", gcs_bucket, "prefix")
    assert loader.load_model("project", "exp", TIME, epoch_num=1)[0] == "weights"


# -- mails


def test_mails_are_sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("botocore", reason="needs tt-cloud[s3]")
    sent: list[Any] = []

    class Client:
        def send_raw_email(self, **call: Any) -> dict[str, str]:
            sent.append(call)
            return {"MessageId": "m1"}

    monkeypatch.setattr("tt_cloud._boto.client", lambda *options: Client())
    (tmp_path / "a.txt").write_text("attached")
    sender = SESSender("Trainer", "trainer@example.org", "me@example.org")
    page = "<h1>Done</h1><style>p{}</style><p>Loss &lt; 1<br>fine</p>"
    assert sender.send_email("s", page, [str(tmp_path / "a.txt")]) == "m1"
    data = sent[0]["RawMessage"]["Data"]
    assert sent[0]["Source"] == "trainer@example.org"
    assert sent[0]["Destinations"] == ["me@example.org"]
    assert b"Done\r\n\r\nLoss < 1\r\nfine" in data
    assert page.encode() in data
    assert b'filename="a.txt"' in data


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("plain", "plain"),
        ("a<br>b", "a\nb"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\n\nc"),
        ("<ul><li>a</li><li>b &amp; c</li></ul>", "a\n\nb & c"),
        ("<head><title>t</title></head><script>x</script>a", "a"),
        ("a  \n  b", "a\nb"),
        ("<b>unclosed", "unclosed"),
        ("</style>a", "a"),
    ],
)
def test_a_page_has_a_text(page: str, text: str) -> None:
    assert text_of(page) == text


def test_a_sender_is_checked() -> None:
    with pytest.raises(MailError):
        SESSender("Trainer\nBcc: x@y.z", "trainer@example.org", "me@example.org")
