"""Errors of tt-experiment.

Each is also the builtin that fits, so that code which knows nothing of this package can catch it::

    ExperimentError
    ├── ExperimentNameError (ValueError)        a name cannot be a folder name
    ├── RunFolderError      (ValueError)        a folder is not a run that can be read
    ├── ExperimentSetupError (ValueError)       arguments that do not make a run
    ├── ResultsError        (ValueError)        a result or prediction cannot be kept
    ├── StoreError          (ValueError)        a URL or mode that means no store
    ├── UploadError         (OSError)           files did not reach the store
    └── CheckpointError     (RuntimeError)      a checkpoint could not be saved or read
        ├── StateTreeError      (TypeError)         the state holds what no checkpoint can hold
        ├── CorruptCheckpoint   (ValueError)        the files are not what was written
        ├── FormatVersionError  (ValueError)        written by a newer version
        └── NoValidCheckpoint   (FileNotFoundError) there are checkpoints, and none is whole
"""

from __future__ import annotations

__all__ = [
    "CheckpointError",
    "CorruptCheckpoint",
    "ExperimentError",
    "ExperimentNameError",
    "ExperimentSetupError",
    "FormatVersionError",
    "NoValidCheckpoint",
    "ResultsError",
    "RunFolderError",
    "StateTreeError",
    "StoreError",
    "UploadError",
]


class ExperimentError(Exception):
    """Base of every error that this package raises."""


class ExperimentNameError(ExperimentError, ValueError):
    """A project or experiment name cannot be used as a folder name."""


class RunFolderError(ExperimentError, ValueError):
    """A folder is not a run, or its ``run.json`` cannot be read."""


class ExperimentSetupError(ExperimentError, ValueError):
    """The arguments of a loop or callback do not make a run."""


class StoreError(ExperimentError, ValueError):
    """A URL or a ``cloud_save_mode`` that means no store."""


class ResultsError(ExperimentError, ValueError):
    """A result or prediction cannot be kept without pickle, or a plot has no such format."""


class UploadError(ExperimentError, OSError):
    """Some files of a run did not reach the store; those that did are there whole."""


class CheckpointError(ExperimentError, RuntimeError):
    """A checkpoint could not be saved or read."""


class StateTreeError(CheckpointError, TypeError):
    """A state tree holds a value that cannot be written exactly."""


# The names below say what was found, as users say it: a corrupt checkpoint, no valid checkpoint.
class CorruptCheckpoint(CheckpointError, ValueError):  # noqa: N818 - a finding, not an "error"
    """Sizes, digests or contents are not what was written."""


class FormatVersionError(CheckpointError, ValueError):
    """The files were written in a format newer than this version reads."""


class NoValidCheckpoint(CheckpointError, FileNotFoundError):  # noqa: N818 - a finding, as above
    """There are checkpoints and none of them is whole."""
