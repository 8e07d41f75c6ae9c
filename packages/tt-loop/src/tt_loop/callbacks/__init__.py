"""Callbacks: things that happen beside training."""

from tt_loop.callbacks.anomaly import GradientAnomalyReport, GradientReport
from tt_loop.callbacks.averaging import EMA, SWA
from tt_loop.callbacks.base import AbstractCallback, Callback
from tt_loop.callbacks.batch_size_finder import BatchSizeFinder
from tt_loop.callbacks.checkpoint import Checkpoint
from tt_loop.callbacks.early_stopping import EarlyStopping
from tt_loop.callbacks.function import FunctionOnTrainLoop
from tt_loop.callbacks.grad_distribution import (
    GradDistributionPlot,
    GradientHistogram,
    GradientOutput,
)
from tt_loop.callbacks.grad_stats import GradientStatsPrint
from tt_loop.callbacks.gradient import GradNormClip, GradValueClip
from tt_loop.callbacks.handler import CallbacksHandler
from tt_loop.callbacks.history_format import MetricHistoryRename, TrainHistoryFormatter
from tt_loop.callbacks.history_output import HistoryOutput, HistoryTextFile, ModelTrainHistoryOutput
from tt_loop.callbacks.listing import ListRegisteredCallbacks
from tt_loop.callbacks.lr_finder import LRFinder, LRFinderResult
from tt_loop.callbacks.memory import MemoryMonitor
from tt_loop.callbacks.performance import (
    Evaluated,
    ModelPerformanceEvaluation,
    ModelPerformancePrintReport,
    evaluate_package,
    evaluate_whole,
)
from tt_loop.callbacks.predictions_same import AllPredictionsSame
from tt_loop.callbacks.process_data import DistributedSamplerSetEpoch, InMultiProcessDataLoad
from tt_loop.callbacks.profiler import Profiler
from tt_loop.callbacks.subset import DataSubsetTestRun
from tt_loop.callbacks.terminate_on_nan import TerminateOnNaN
from tt_loop.callbacks.threshold import ThresholdEarlyStopping
from tt_loop.callbacks.throughput import Throughput, ThroughputMonitor

__all__ = [
    "EMA",
    "SWA",
    "AbstractCallback",
    "AllPredictionsSame",
    "BatchSizeFinder",
    "Callback",
    "CallbacksHandler",
    "Checkpoint",
    "DataSubsetTestRun",
    "DistributedSamplerSetEpoch",
    "EarlyStopping",
    "Evaluated",
    "FunctionOnTrainLoop",
    "GradDistributionPlot",
    "GradNormClip",
    "GradValueClip",
    "GradientAnomalyReport",
    "GradientHistogram",
    "GradientOutput",
    "GradientReport",
    "GradientStatsPrint",
    "HistoryOutput",
    "HistoryTextFile",
    "InMultiProcessDataLoad",
    "LRFinder",
    "LRFinderResult",
    "ListRegisteredCallbacks",
    "MemoryMonitor",
    "MetricHistoryRename",
    "ModelPerformanceEvaluation",
    "ModelPerformancePrintReport",
    "ModelTrainHistoryOutput",
    "Profiler",
    "TerminateOnNaN",
    "ThresholdEarlyStopping",
    "Throughput",
    "ThroughputMonitor",
    "TrainHistoryFormatter",
    "evaluate_package",
    "evaluate_whole",
]
