"""Callbacks: things that happen beside training."""

from tt_loop.callbacks.base import AbstractCallback, Callback
from tt_loop.callbacks.checkpoint import Checkpoint
from tt_loop.callbacks.early_stopping import EarlyStopping
from tt_loop.callbacks.gradient import GradNormClip, GradValueClip
from tt_loop.callbacks.handler import CallbacksHandler
from tt_loop.callbacks.performance import (
    Evaluated,
    ModelPerformanceEvaluation,
    ModelPerformancePrintReport,
    evaluate_package,
    evaluate_whole,
)

__all__ = [
    "AbstractCallback",
    "Callback",
    "CallbacksHandler",
    "Checkpoint",
    "EarlyStopping",
    "Evaluated",
    "GradNormClip",
    "GradValueClip",
    "ModelPerformanceEvaluation",
    "ModelPerformancePrintReport",
    "evaluate_package",
    "evaluate_whole",
]
