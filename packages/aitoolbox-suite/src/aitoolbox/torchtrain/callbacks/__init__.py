"""All callbacks in one place."""

from aitoolbox.torchtrain.callbacks.abstract import AbstractCallback
from aitoolbox.torchtrain.callbacks.basic import EarlyStopping
from aitoolbox.torchtrain.callbacks.gradient import GradNormClip, GradValueClip
from aitoolbox.torchtrain.callbacks.model_save import ModelCheckpoint, ModelTrainEndSave
from aitoolbox.torchtrain.callbacks.performance_eval import (
    ModelPerformanceEvaluation,
    ModelPerformancePrintReport,
    ModelTrainHistoryPlot,
)

__all__ = [
    "AbstractCallback",
    "EarlyStopping",
    "GradNormClip",
    "GradValueClip",
    "ModelCheckpoint",
    "ModelPerformanceEvaluation",
    "ModelPerformancePrintReport",
    "ModelTrainEndSave",
    "ModelTrainHistoryPlot",
]
