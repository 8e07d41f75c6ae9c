"""Callbacks that save the model and its results."""

from tt_experiment.api import ModelCheckpoint, ModelTrainEndSave

__all__ = ["ModelCheckpoint", "ModelTrainEndSave"]
