"""Callbacks that evaluate during training, and show the history."""

from tt_experiment.api import ModelTrainHistoryPlot
from tt_loop.api import ModelPerformanceEvaluation, ModelPerformancePrintReport

__all__ = ["ModelPerformanceEvaluation", "ModelPerformancePrintReport", "ModelTrainHistoryPlot"]
