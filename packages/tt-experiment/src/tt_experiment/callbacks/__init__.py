"""Callbacks that keep a run. Callbacks that are given the same names share one run."""

from tt_experiment.callbacks._experiment import AbstractExperimentCallback
from tt_experiment.callbacks.checkpoint import (
    ExperimentCheckpoint,
    ModelCheckpoint,
    ModelIterationCheckpoint,
)
from tt_experiment.callbacks.email import EmailNotification
from tt_experiment.callbacks.end_save import ExperimentEndSave, ModelTrainEndSave
from tt_experiment.callbacks.history import (
    GradDistributionPlot,
    ModelTrainHistoryBaseCB,
    ModelTrainHistoryFileWriter,
    ModelTrainHistoryPlot,
)
from tt_experiment.callbacks.log_upload import LogUpload
from tt_experiment.callbacks.model_load import ModelLoadContinueTraining
from tt_experiment.callbacks.performance import ModelPerformanceEvaluation
from tt_experiment.callbacks.step_metrics import StepMetrics
from tt_experiment.callbacks.tensorboard import (
    TensorboardFullTracking,
    TensorboardReporterBaseCB,
    TensorboardTrainBatchLoss,
    TensorboardTrainHistoryMetric,
)
from tt_experiment.callbacks.wandb import AlertConfig, WandBTracking

__all__ = [
    "AbstractExperimentCallback",
    "AlertConfig",
    "EmailNotification",
    "ExperimentCheckpoint",
    "ExperimentEndSave",
    "GradDistributionPlot",
    "LogUpload",
    "ModelCheckpoint",
    "ModelIterationCheckpoint",
    "ModelLoadContinueTraining",
    "ModelPerformanceEvaluation",
    "ModelTrainEndSave",
    "ModelTrainHistoryBaseCB",
    "ModelTrainHistoryFileWriter",
    "ModelTrainHistoryPlot",
    "StepMetrics",
    "TensorboardFullTracking",
    "TensorboardReporterBaseCB",
    "TensorboardTrainBatchLoss",
    "TensorboardTrainHistoryMetric",
    "WandBTracking",
]
