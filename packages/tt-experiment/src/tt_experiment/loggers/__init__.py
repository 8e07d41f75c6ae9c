"""Loggers: where a run's metrics go beside its own files. Hand them to an `Experiment`.

Each is called in a thread of its own, so that a slow one does not hold up training. Any object
with the methods of `tt_experiment.ports.Logger` is one.
"""

from tt_experiment.loggers.mlflow import MLflowLogger
from tt_experiment.loggers.system import SystemMetrics, read_system
from tt_experiment.loggers.tensorboard import TensorBoardLogger
from tt_experiment.loggers.wandb import WandbLogger

__all__ = ["MLflowLogger", "SystemMetrics", "TensorBoardLogger", "WandbLogger", "read_system"]
