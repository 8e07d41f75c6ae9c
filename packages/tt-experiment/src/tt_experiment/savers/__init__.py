"""Savers and loaders for a training loop of your own.

Train by hand, with an `Experiment` as the store of checkpoints, and save everything at the end::

    experiment = Experiment("digits", "linear", "results", hyperparams={"lr": 0.1})
    experiment.start()
    history = {"loss": []}
    for epoch in range(3):
        loss = train_one_epoch(model, optimizer)
        history["loss"].append(loss)
        state = {"model": model.state_dict(), "optimizers": [optimizer.state_dict()]}
        experiment.save(state, step=epoch + 1, scores={"loss": loss})

    package = ClassificationResultPackage()
    package.prepare_result_package(y_true, y_predicted)
    saver = FullPyTorchExperimentLocalSaver("digits", "linear", "results")
    saver.save_experiment(model, package, history, timestamp_of(experiment.folder))
    experiment.finish("completed")

Without an `Experiment`, ``save_experiment`` makes the run itself. The modules: `experiment_savers`
(everything), `model_savers`, `results_savers`, `loaders`, `remover`, `reporting`, `folders`,
`model_file` (the format of a model's file), `old_files` (AIToolbox's ``.pth``).
"""

from tt_experiment.savers.experiment_savers import (
    AbstractExperimentSaver,
    BaseFullExperimentGoogleStorageSaver,
    BaseFullExperimentLocalSaver,
    BaseFullExperimentS3Saver,
    BaseFullExperimentSaver,
    FullKerasExperimentGoogleStorageSaver,
    FullKerasExperimentLocalSaver,
    FullKerasExperimentS3Saver,
    FullPyTorchExperimentGoogleStorageSaver,
    FullPyTorchExperimentLocalSaver,
    FullPyTorchExperimentS3Saver,
)
from tt_experiment.savers.folders import SaverFolders, timestamp_of
from tt_experiment.savers.loaders import (
    AbstractLocalModelLoader,
    KerasLocalModelLoader,
    PyTorchLocalModelLoader,
)
from tt_experiment.savers.model_file import read_model_file, write_model_file
from tt_experiment.savers.model_savers import (
    AbstractLocalModelSaver,
    BaseLocalModelSaver,
    KerasLocalModelSaver,
    PyTorchLocalModelSaver,
)
from tt_experiment.savers.old_files import read_old_checkpoint
from tt_experiment.savers.remover import LocalSubOptimalModelRemover
from tt_experiment.savers.reporting import (
    GradientPlotter,
    HyperParamSourceReporter,
    TrainingHistoryPlotter,
    TrainingHistoryWriter,
)
from tt_experiment.savers.results_savers import (
    AbstractLocalResultsSaver,
    BaseLocalResultsSaver,
    LocalResultsSaver,
)

__all__ = [
    "AbstractExperimentSaver",
    "AbstractLocalModelLoader",
    "AbstractLocalModelSaver",
    "AbstractLocalResultsSaver",
    "BaseFullExperimentGoogleStorageSaver",
    "BaseFullExperimentLocalSaver",
    "BaseFullExperimentS3Saver",
    "BaseFullExperimentSaver",
    "BaseLocalModelSaver",
    "BaseLocalResultsSaver",
    "FullKerasExperimentGoogleStorageSaver",
    "FullKerasExperimentLocalSaver",
    "FullKerasExperimentS3Saver",
    "FullPyTorchExperimentGoogleStorageSaver",
    "FullPyTorchExperimentLocalSaver",
    "FullPyTorchExperimentS3Saver",
    "GradientPlotter",
    "HyperParamSourceReporter",
    "KerasLocalModelLoader",
    "KerasLocalModelSaver",
    "LocalResultsSaver",
    "LocalSubOptimalModelRemover",
    "PyTorchLocalModelLoader",
    "PyTorchLocalModelSaver",
    "SaverFolders",
    "TrainingHistoryPlotter",
    "TrainingHistoryWriter",
    "read_model_file",
    "read_old_checkpoint",
    "timestamp_of",
    "write_model_file",
]
