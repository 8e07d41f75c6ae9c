"""What tt-parallel raises. Each error is also the builtin that fits, so either can be caught.

::

    ParallelError
    ├── ParallelValueError (ValueError)    an option that cannot work
    ├── NotTransferable (TypeError)        an object that cannot be sent to a process
    └── WorkerError (RuntimeError)         a process of the run failed
"""

__all__ = ["NotTransferable", "ParallelError", "ParallelValueError", "WorkerError"]


class ParallelError(Exception):
    """Base of all errors of tt-parallel."""


class ParallelValueError(ParallelError, ValueError):
    """An option that cannot work."""


class NotTransferable(ParallelError, TypeError):  # noqa: N818  # reads as what it says
    """An object that cannot be sent to another process."""


class WorkerError(ParallelError, RuntimeError):
    """A process of the run failed; the message has its rank and its traceback."""
