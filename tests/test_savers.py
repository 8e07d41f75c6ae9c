"""Savers, loaders and mails of tt-experiment with its siblings' stores, packages and SES."""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import torch
from torch import nn

from tt_cloud import NotFound, open_store
from tt_cloud.aws.model_load import PyTorchS3ModelLoader
from tt_cloud.aws.model_save import PyTorchS3ModelSaver
from tt_cloud.aws.ports import LocalModelSaver, LocalPyTorchModelLoader, LocalResultsSaver
from tt_cloud.aws.results_save import S3ResultsSaver
from tt_cloud.google_cloud.model_save import PyTorchGoogleStorageModelSaver
from tt_cloud.mail import SESMailer
from tt_experiment.callbacks import EmailNotification
from tt_experiment.experiment import Experiment
from tt_experiment.folder import ExperimentFolder
from tt_experiment.ports import Mailer
from tt_experiment.results import read_predictions, read_results
from tt_experiment.savers import (
    FullPyTorchExperimentGoogleStorageSaver,
    FullPyTorchExperimentLocalSaver,
    FullPyTorchExperimentS3Saver,
    PyTorchLocalModelLoader,
    PyTorchLocalModelSaver,
    timestamp_of,
)
from tt_experiment.savers import (
    LocalResultsSaver as OwnResultsSaver,
)
from tt_metrics.api import (
    BinaryClassificationResultPackage,
    ClassificationResultPackage,
    PreCalculatedResultPackage,
)

TIME = "2026-11-28_08-00-00"
WHERE = ("project", "exp", TIME)

_saver: LocalModelSaver = PyTorchLocalModelSaver()
_results: LocalResultsSaver = OwnResultsSaver()
_loader: LocalPyTorchModelLoader = PyTorchLocalModelLoader("")
_mailer: Mailer = SESMailer("a@example.org", "b@example.org")


def evaluated(pkg: Any = None) -> Any:
    package = pkg or ClassificationResultPackage()
    package.prepare_result_package([0, 1, 1], [0, 1, 0], hyperparameters={"lr": 0.1})
    return package


def states(model: nn.Module) -> dict[str, Any]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return {
        "model_state_dict": model.state_dict(),
        "optimizer_state_dict": optimizer.state_dict(),
        "epoch": 0,
        "hyperparams": {},
    }


def test_savers_of_tt_cloud_write_and_read_our_files(tmp_path: Path) -> None:
    store = open_store(tmp_path / "bucket")
    model = nn.Linear(3, 2)
    saver = PyTorchS3ModelSaver(
        local_model_result_folder_path=tmp_path / "here", checkpoint_model=True, store=store
    )
    path, _, _ = saver.save_model(states(model), *WHERE, epoch=0)
    assert path.endswith(f"checkpoint_model/model_exp_{TIME}_E0.safetensors")
    loader = PyTorchS3ModelLoader(tmp_path / "there", store=store)
    loader.load_model(*WHERE, epoch_num=0)
    other = loader.init_model(nn.Linear(3, 2))
    assert torch.equal(other.weight, model.weight)
    with pytest.raises(NotFound):
        loader.load_model(*WHERE, epoch_num=1)
    place, _ = S3ResultsSaver(
        local_model_result_folder_path=tmp_path / "here", store=store
    ).save_experiment_results(evaluated(), {"loss": [2.0, 1.0]}, *WHERE)
    keys = [info.key for info in store.list(f"project/exp_{TIME}/results/")]
    assert [key.rpartition("results/")[2] for key in keys] == ["plots/loss.png", "results.json"]
    assert place.endswith("/results")


def test_an_old_model_in_a_bucket_is_still_found(tmp_path: Path) -> None:
    store, model = open_store(tmp_path / "bucket"), nn.Linear(3, 2)
    torch.save(states(model), tmp_path / "old.pth")
    name = f"model_exp_{TIME}.pth"
    store.put(f"project/exp_{TIME}/model/{name}", tmp_path / "old.pth")
    loader = PyTorchS3ModelLoader(tmp_path / "there", store=store)
    loader.load_model(*WHERE, "model")
    assert torch.equal(loader.init_model(nn.Linear(3, 2)).weight, model.weight)


def test_google_has_the_same_local_saver(tmp_path: Path) -> None:
    saver = PyTorchGoogleStorageModelSaver(
        local_model_result_folder_path=tmp_path, store=open_store(tmp_path / "bucket")
    )
    assert type(saver.local_saver) is PyTorchLocalModelSaver


@pytest.mark.parametrize("scheme", ["file", "memory"])
@pytest.mark.parametrize(
    "kind", [FullPyTorchExperimentS3Saver, FullPyTorchExperimentGoogleStorageSaver]
)
def test_a_whole_experiment_reaches_a_store_of_tt_cloud(
    tmp_path: Path, kind: type[FullPyTorchExperimentS3Saver], scheme: str
) -> None:
    store: Any = open_store(
        f"memory://b-{uuid4().hex}" if scheme == "memory" else (tmp_path / "b").as_uri()
    )
    saver = kind("project", "exp", local_model_result_folder_path=tmp_path / "here", store=store)
    saver.save_experiment(states(nn.Linear(3, 2)), evaluated(), {"loss": [2.0, 1.0]}, TIME)
    prefix = f"project/exp_{TIME}/"
    for path in (tmp_path / "here" / prefix).rglob("*"):
        inside = path.relative_to(tmp_path / "here" / prefix)
        if path.is_file() and not inside.parts[0].startswith("."):
            store.get(f"{prefix}{inside.as_posix()}", tmp_path / "copy")
            assert (tmp_path / "copy").read_bytes() == path.read_bytes()
    assert store.head(f"{prefix}MANIFEST.json") is not None


def test_packages_side_by_side_keep_their_predictions(tmp_path: Path) -> None:
    binary = BinaryClassificationResultPackage()
    binary.prepare_result_package([0, 1, 1], [0.25, 0.75, 0.5])
    both = evaluated() + binary
    OwnResultsSaver(tmp_path).save_experiment_results(both, {}, *WHERE, save_true_pred_labels=True)
    folder = ExperimentFolder(tmp_path / "project" / f"exp_{TIME}")
    assert read_results(folder) == both.get_results()
    predicted = read_predictions(folder)["BinaryClassificationResult"][1]
    np.testing.assert_array_equal(predicted, [0.25, 0.75, 0.5])


def test_intervals_keep_their_names(tmp_path: Path) -> None:
    row = evaluated().report(n_resamples=20).sections[0].rows[0]
    package = PreCalculatedResultPackage({"Accuracy": row})
    OwnResultsSaver(tmp_path).save_experiment_results(package, {}, *WHERE)
    folder = ExperimentFolder(tmp_path / "project" / f"exp_{TIME}")
    found = read_results(folder)["PreCalculatedResult"]["Accuracy"]
    assert (found["value"], found["low"], found["high"]) == (row.value, row.low, row.high)


def test_a_saver_keeps_how_sure_the_numbers_are(tmp_path: Path) -> None:
    OwnResultsSaver(tmp_path).save_experiment_results(evaluated(), {"loss": [1.0]}, *WHERE)
    path = tmp_path / "project" / f"exp_{TIME}" / "results" / "results.json"
    (intervals,) = json.loads(path.read_text())["intervals"].values()
    assert intervals["Accuracy"]["low"] < 2 / 3 < intervals["Accuracy"]["high"]


def test_a_loop_of_ones_own(tmp_path: Path) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(32, 4), torch.randint(0, 2, (32,))
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    experiment = Experiment("digits", "linear", tmp_path, hyperparams={"lr": 0.1})
    experiment.start()
    history: dict[str, list[float]] = {"loss": []}
    for epoch in range(3):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no types here
        optimizer.step()
        history["loss"].append(loss.item())
        state = {"model": model.state_dict(), "optimizers": [optimizer.state_dict()]}
        experiment.save(state, step=epoch + 1, scores={"loss": loss.item()})
    package = ClassificationResultPackage()
    package.prepare_result_package(y.numpy(), model(x).argmax(1).numpy())
    saver = FullPyTorchExperimentLocalSaver("digits", "linear", tmp_path)
    saver.save_experiment(model, package, history, timestamp_of(experiment.folder))
    experiment.finish("completed")
    experiment.folder.verify()
    best = experiment.best("loss", "min")
    assert best is not None
    assert torch.equal(experiment.load(best)["model"]["weight"], model.weight)
    assert experiment.results() == {"ClassificationResult": package.get_results()}


def test_mails_go_by_ses_unless_told_otherwise() -> None:
    callback = EmailNotification("Me, myself", "a@example.org", "b@example.org")
    assert isinstance(callback.mailer, SESMailer)
    sender = callback.mailer.sender
    assert (sender.display_name, sender.addr_spec) == ("Me, myself", "a@example.org")
