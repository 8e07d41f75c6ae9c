"""Errors of tt-experiment.

Each is also the builtin that fits, so that code which knows nothing of this package can catch it::

    ExperimentError
    ├── ExperimentNameError (ValueError)        a name cannot be a folder name
    ├── RunFolderError      (ValueError)        a folder is not a run that can be read
    │   └── RunLockedError      (BlockingIOError)   another process writes to the run
    ├── RootError           (OSError)           the folder of all projects cannot be used
    ├── ExperimentSetupError (ValueError)       arguments that do not make a run
    ├── ResultsError        (ValueError)        a result or prediction cannot be kept
    ├── StoreError          (ValueError)        a URL or mode that means no store
    ├── UploadError         (OSError)           files did not reach the store
    ├── UploadPending       (SystemExit)        the same at the end of a fit: exit status 3
    ├── MissingDependency   (ImportError)       a library that an extra brings is not installed
    ├── QueryError          (ValueError)        a filter or sort order of runs that means nothing
    ├── ImportFormatError   (ValueError)        files of another tool that cannot be read safely
    └── CheckpointError     (RuntimeError)      a checkpoint could not be saved or read
        ├── StateTreeError      (TypeError)         the state holds what no checkpoint can hold
        ├── CorruptCheckpoint   (ValueError)        the files are not what was written
        ├── CheckpointMismatch  (ValueError)        it belongs to another model or optimizer
        ├── FormatVersionError  (ValueError)        written by a newer version
        └── NoValidCheckpoint   (FileNotFoundError) there are checkpoints, and none is whole

`Preempted` (a `SystemExit`, exit status 75) is no error: the run was asked to end, is committed,
and can be gone on with.
"""

from __future__ import annotations

__all__ = [
    "CheckpointError",
    "CheckpointMismatch",
    "CorruptCheckpoint",
    "ExperimentError",
    "ExperimentNameError",
    "ExperimentSetupError",
    "FormatVersionError",
    "ImportFormatError",
    "MissingDependency",
    "NoValidCheckpoint",
    "Preempted",
    "QueryError",
    "ResultsError",
    "RootError",
    "RunFolderError",
    "RunLockedError",
    "StateTreeError",
    "StoreError",
    "UploadError",
    "UploadPending",
]


class ExperimentError(Exception):
    """Base of every error that this package raises."""


class ExperimentNameError(ExperimentError, ValueError):
    """A project or experiment name cannot be used as a folder name."""


class RootError(ExperimentError, OSError):
    """The folder of all projects cannot be made or written to."""


class RunFolderError(ExperimentError, ValueError):
    """A folder is not a run, or its ``run.json`` cannot be read."""


class RunLockedError(RunFolderError, BlockingIOError):
    """Another process writes to the run."""


class ExperimentSetupError(ExperimentError, ValueError):
    """The arguments of a loop or callback do not make a run."""


class StoreError(ExperimentError, ValueError):
    """A URL or a ``cloud_save_mode`` that means no store."""


class ResultsError(ExperimentError, ValueError):
    """A result or prediction cannot be kept without pickle, or a plot has no such format."""


class UploadError(ExperimentError, OSError):
    """Some files of a run did not reach the store; those that did are there whole."""


class UploadPending(ExperimentError, SystemExit):  # noqa: N818 - a state of things, no failure
    """The run is complete on disk, and something of it is not in the store yet: exit status 3.

    ``tt-experiment sync`` brings the rest up.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = 3


class Preempted(SystemExit):
    """A signal or a notice asked the run to end, and its state is committed: exit status 75.

    75 is ``EX_TEMPFAIL`` of sysexits.h: start the same command again.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = 75


class MissingDependency(ExperimentError, ImportError):  # noqa: N818 - names what is missing
    """A library that an extra of this package brings is not installed."""


class QueryError(ExperimentError, ValueError):
    """A filter, a sort order or a name of a run that means nothing, or more than one thing."""


class ImportFormatError(ExperimentError, ValueError):
    """Files of another tool are not what they should be, or cannot be read without running code."""


class CheckpointError(ExperimentError, RuntimeError):
    """A checkpoint could not be saved or read."""


class StateTreeError(CheckpointError, TypeError):
    """A state tree holds a value that cannot be written exactly."""


# The names below say what was found, as users say it: a corrupt checkpoint, no valid checkpoint.
class CorruptCheckpoint(CheckpointError, ValueError):  # noqa: N818 - a finding, not an "error"
    """Sizes, digests or contents are not what was written."""


class CheckpointMismatch(CheckpointError, ValueError):  # noqa: N818 - a finding, as above
    """A checkpoint is whole and belongs to another model, optimizer or data set."""


class FormatVersionError(CheckpointError, ValueError):
    """The files were written in a format newer than this version reads."""


class NoValidCheckpoint(CheckpointError, FileNotFoundError):  # noqa: N818 - a finding, as above
    """There are checkpoints and none of them is whole."""
