"""The train loop, and the loops that keep what comes out of it."""

from tt_experiment.api import TrainLoopCheckpoint, TrainLoopCheckpointEndSave, TrainLoopEndSave
from tt_loop.api import TrainLoop

__all__ = ["TrainLoop", "TrainLoopCheckpoint", "TrainLoopCheckpointEndSave", "TrainLoopEndSave"]
