"""The interface of tt-loop: what users and sibling packages import. Nothing else is promised."""

from tt_loop.callbacks import (
    AbstractCallback,
    Callback,
    Checkpoint,
    EarlyStopping,
    Evaluated,
    GradNormClip,
    GradValueClip,
    ModelPerformanceEvaluation,
    ModelPerformancePrintReport,
    evaluate_package,
    evaluate_whole,
)
from tt_loop.data import to_device
from tt_loop.device import FullPrecision, InProcess, LocalCollective, SingleDevice
from tt_loop.direction import direction_of, known_direction
from tt_loop.errors import (
    EmptyLoaderError,
    LoopError,
    LoopStateError,
    LoopTypeError,
    LoopValueError,
    MissingPackageError,
)
from tt_loop.evaluation import append_predictions, keep_list_transf, torch_cat_transf
from tt_loop.history import TrainingHistory
from tt_loop.loop import TrainLoop
from tt_loop.model import AbstractModelFeedDefinition, ModelWrap, TTBasicModel, TTModel
from tt_loop.protocols import (
    CheckpointRef,
    CheckpointStore,
    Collective,
    Launcher,
    Metric,
    Precision,
    Recorder,
    ResultPackage,
    RunInfo,
    StepReport,
    Strategy,
    Ticket,
    Tree,
)

__all__ = [
    "AbstractCallback",
    "AbstractModelFeedDefinition",
    "Callback",
    "Checkpoint",
    "CheckpointRef",
    "CheckpointStore",
    "Collective",
    "EarlyStopping",
    "EmptyLoaderError",
    "Evaluated",
    "FullPrecision",
    "GradNormClip",
    "GradValueClip",
    "InProcess",
    "Launcher",
    "LocalCollective",
    "LoopError",
    "LoopStateError",
    "LoopTypeError",
    "LoopValueError",
    "Metric",
    "MissingPackageError",
    "ModelPerformanceEvaluation",
    "ModelPerformancePrintReport",
    "ModelWrap",
    "Precision",
    "Recorder",
    "ResultPackage",
    "RunInfo",
    "SingleDevice",
    "StepReport",
    "Strategy",
    "TTBasicModel",
    "TTModel",
    "Ticket",
    "TrainLoop",
    "TrainingHistory",
    "Tree",
    "append_predictions",
    "direction_of",
    "evaluate_package",
    "evaluate_whole",
    "keep_list_transf",
    "known_direction",
    "to_device",
    "torch_cat_transf",
]
