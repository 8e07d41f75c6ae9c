"""The interface of tt-experiment: what users import. Nothing else is promised.

AIToolbox's savers and loaders are in `tt_experiment.savers`.
"""

from tt_experiment.callbacks import (
    AbstractExperimentCallback,
    AlertConfig,
    EmailNotification,
    ExperimentCheckpoint,
    ExperimentEndSave,
    GradDistributionPlot,
    LogUpload,
    ModelCheckpoint,
    ModelIterationCheckpoint,
    ModelLoadContinueTraining,
    ModelPerformanceEvaluation,
    ModelTrainEndSave,
    ModelTrainHistoryBaseCB,
    ModelTrainHistoryFileWriter,
    ModelTrainHistoryPlot,
    StepMetrics,
    TensorboardFullTracking,
    TensorboardReporterBaseCB,
    TensorboardTrainBatchLoss,
    TensorboardTrainHistoryMetric,
    WandBTracking,
)
from tt_experiment.checkpoints import (
    BestPolicy,
    CheckpointFolder,
    CheckpointInfo,
    Retention,
    SaveTicket,
)
from tt_experiment.comparison import (
    write_comparison,
)
from tt_experiment.errors import (
    CheckpointError,
    CheckpointMismatch,
    CorruptCheckpoint,
    ExperimentError,
    ExperimentNameError,
    ExperimentSetupError,
    FormatVersionError,
    ImportFormatError,
    MissingDependency,
    NoValidCheckpoint,
    Preempted,
    QueryError,
    ResultsError,
    RootError,
    RunFolderError,
    RunLockedError,
    StateTreeError,
    StoreError,
    UploadError,
    UploadPending,
)
from tt_experiment.experiment import (
    Experiment,
)
from tt_experiment.finishing import (
    EndInstance,
    end_instance,
)
from tt_experiment.folder import (
    ExperimentFolder,
)
from tt_experiment.loggers import (
    MLflowLogger,
    SystemMetrics,
    TensorBoardLogger,
    WandbLogger,
    read_system,
)
from tt_experiment.mailers import (
    open_mailer,
)
from tt_experiment.outbox import (
    Outbox,
    Patience,
    Progress,
)
from tt_experiment.plots import (
    plot_history,
)
from tt_experiment.ports import (
    BlobInfo,
    BlobStore,
    Instance,
    Logger,
    Mailer,
    RunFacts,
)
from tt_experiment.preemption import (
    SpotNotice,
)
from tt_experiment.provenance import (
    Provenance,
)
from tt_experiment.recorder import (
    EVENTS,
    JsonLinesRecorder,
    LineProblem,
    metrics_problems,
    read_metrics,
)
from tt_experiment.recording import (
    ExperimentRecorder,
)
from tt_experiment.remote import (
    RemoteRun,
    Verified,
    fetch_run,
    verify_run,
)
from tt_experiment.report import (
    write_report,
)
from tt_experiment.results import (
    load_model,
    read_predictions,
    read_results,
    save_model,
    save_results,
)
from tt_experiment.resume import (
    resume_from,
)
from tt_experiment.runs import (
    RunSummary,
    find_runs,
    summarise,
)
from tt_experiment.stores import (
    open_store,
)
from tt_experiment.train_loops import (
    TrainLoopCheckpoint,
    TrainLoopCheckpointEndSave,
    TrainLoopEndSave,
)
from tt_experiment.upload import (
    SyncReport,
    mirror,
    sync,
)

__all__ = [
    "EVENTS",
    "AbstractExperimentCallback",
    "AlertConfig",
    "BestPolicy",
    "BlobInfo",
    "BlobStore",
    "CheckpointError",
    "CheckpointFolder",
    "CheckpointInfo",
    "CheckpointMismatch",
    "CorruptCheckpoint",
    "EmailNotification",
    "EndInstance",
    "Experiment",
    "ExperimentCheckpoint",
    "ExperimentEndSave",
    "ExperimentError",
    "ExperimentFolder",
    "ExperimentNameError",
    "ExperimentRecorder",
    "ExperimentSetupError",
    "FormatVersionError",
    "GradDistributionPlot",
    "ImportFormatError",
    "Instance",
    "JsonLinesRecorder",
    "LineProblem",
    "LogUpload",
    "Logger",
    "MLflowLogger",
    "Mailer",
    "MissingDependency",
    "ModelCheckpoint",
    "ModelIterationCheckpoint",
    "ModelLoadContinueTraining",
    "ModelPerformanceEvaluation",
    "ModelTrainEndSave",
    "ModelTrainHistoryBaseCB",
    "ModelTrainHistoryFileWriter",
    "ModelTrainHistoryPlot",
    "NoValidCheckpoint",
    "Outbox",
    "Patience",
    "Preempted",
    "Progress",
    "Provenance",
    "QueryError",
    "RemoteRun",
    "ResultsError",
    "Retention",
    "RootError",
    "RunFacts",
    "RunFolderError",
    "RunLockedError",
    "RunSummary",
    "SaveTicket",
    "SpotNotice",
    "StateTreeError",
    "StepMetrics",
    "StoreError",
    "SyncReport",
    "SystemMetrics",
    "TensorBoardLogger",
    "TensorboardFullTracking",
    "TensorboardReporterBaseCB",
    "TensorboardTrainBatchLoss",
    "TensorboardTrainHistoryMetric",
    "TrainLoopCheckpoint",
    "TrainLoopCheckpointEndSave",
    "TrainLoopEndSave",
    "UploadError",
    "UploadPending",
    "Verified",
    "WandBTracking",
    "WandbLogger",
    "end_instance",
    "fetch_run",
    "find_runs",
    "load_model",
    "metrics_problems",
    "mirror",
    "open_mailer",
    "open_store",
    "plot_history",
    "read_metrics",
    "read_predictions",
    "read_results",
    "read_system",
    "resume_from",
    "save_model",
    "save_results",
    "summarise",
    "sync",
    "verify_run",
    "write_comparison",
    "write_report",
]
