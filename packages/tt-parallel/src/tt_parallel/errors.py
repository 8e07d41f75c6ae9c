"""What tt-parallel raises. Each error is also the builtin that fits, so either can be caught.

::

    ParallelError
    ├── ParallelValueError (ValueError)    an option that cannot work
    ├── ParallelStateError (RuntimeError)  a call at the wrong moment
    ├── UnusedParameters (RuntimeError)    parameters that took no part in a loss
    ├── OutOfSync (RuntimeError)           parameters that differ between the processes
    ├── NotTransferable (TypeError)        an object that cannot be sent to a process
    ├── RendezvousError (RuntimeError)     processes that could not meet
    ├── LauncherError (RuntimeError)       a launcher's variables make no group
    └── WorkerError (RuntimeError)         a process of the run failed
"""

__all__ = [
    "LauncherError",
    "NotTransferable",
    "OutOfSync",
    "ParallelError",
    "ParallelStateError",
    "ParallelValueError",
    "RendezvousError",
    "UnusedParameters",
    "WorkerError",
]


class ParallelError(Exception):
    """Base of all errors of tt-parallel."""


class ParallelValueError(ParallelError, ValueError):
    """An option that cannot work."""


class ParallelStateError(ParallelError, RuntimeError):
    """A call at a moment at which it cannot be answered."""


class UnusedParameters(ParallelError, RuntimeError):  # noqa: N818  # reads as what it says
    """Parameters that took no part in a loss, so that their gradients are not averaged."""


class OutOfSync(ParallelError, RuntimeError):  # noqa: N818  # reads as what it says
    """Parameters that differ between the processes, which must be the same."""


class NotTransferable(ParallelError, TypeError):  # noqa: N818  # reads as what it says
    """An object that cannot be sent to another process."""


class RendezvousError(ParallelError, RuntimeError):
    """The processes of a run could not meet."""


class LauncherError(ParallelError, RuntimeError):
    """What torchrun, Slurm or MPI has set does not tell which group to join."""


class WorkerError(ParallelError, RuntimeError):
    """A process of the run failed; the message has its rank and its traceback."""
