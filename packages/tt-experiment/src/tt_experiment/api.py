"""The interface of tt-experiment: what users import. Nothing else is promised."""

from tt_experiment.callbacks import (
    ExperimentCheckpoint,
    ExperimentEndSave,
    ModelCheckpoint,
    ModelTrainEndSave,
    ModelTrainHistoryPlot,
)
from tt_experiment.checkpoints import BestPolicy, CheckpointFolder, SaveTicket
from tt_experiment.errors import (
    CheckpointError,
    CorruptCheckpoint,
    ExperimentError,
    ExperimentNameError,
    ExperimentSetupError,
    FormatVersionError,
    NoValidCheckpoint,
    ResultsError,
    RunFolderError,
    StateTreeError,
    StoreError,
    UploadError,
)
from tt_experiment.experiment import Experiment, ExperimentRecorder
from tt_experiment.folder import ExperimentFolder
from tt_experiment.plots import plot_history
from tt_experiment.ports import BlobInfo, BlobStore
from tt_experiment.recorder import JsonLinesRecorder, read_metrics
from tt_experiment.report import write_report
from tt_experiment.results import load_model, read_results, save_model, save_results
from tt_experiment.stores import open_store
from tt_experiment.train_loops import (
    TrainLoopCheckpoint,
    TrainLoopCheckpointEndSave,
    TrainLoopEndSave,
)
from tt_experiment.upload import mirror

__all__ = [
    "BestPolicy",
    "BlobInfo",
    "BlobStore",
    "CheckpointError",
    "CheckpointFolder",
    "CorruptCheckpoint",
    "Experiment",
    "ExperimentCheckpoint",
    "ExperimentEndSave",
    "ExperimentError",
    "ExperimentFolder",
    "ExperimentNameError",
    "ExperimentRecorder",
    "ExperimentSetupError",
    "FormatVersionError",
    "JsonLinesRecorder",
    "ModelCheckpoint",
    "ModelTrainEndSave",
    "ModelTrainHistoryPlot",
    "NoValidCheckpoint",
    "ResultsError",
    "RunFolderError",
    "SaveTicket",
    "StateTreeError",
    "StoreError",
    "TrainLoopCheckpoint",
    "TrainLoopCheckpointEndSave",
    "TrainLoopEndSave",
    "UploadError",
    "load_model",
    "mirror",
    "open_store",
    "plot_history",
    "read_metrics",
    "read_results",
    "save_model",
    "save_results",
    "write_report",
]
