"""What tt-loop raises. Each error is also the builtin that fits, so either can be caught.

::

    LoopError
    ├── LoopValueError (ValueError)      a setting that cannot work
    │   └── EmptyLoaderError             a loader without batches
    ├── LoopTypeError (TypeError)        an object of the wrong kind
    ├── LoopStateError (RuntimeError)    a call at the wrong moment, a state that does not fit
    ├── NonFiniteError (FloatingPointError)  a loss or gradient that is NaN or infinite
    └── MissingPackageError (ImportError)  a name that no installed package provides
"""

__all__ = [
    "EmptyLoaderError",
    "LoopError",
    "LoopStateError",
    "LoopTypeError",
    "LoopValueError",
    "MissingPackageError",
    "NonFiniteError",
]


class LoopError(Exception):
    """Base of all errors of tt-loop."""


class LoopValueError(LoopError, ValueError):
    """A setting that cannot work."""


class EmptyLoaderError(LoopValueError):
    """A loader that yields no batch."""


class LoopTypeError(LoopError, TypeError):
    """An object of the wrong kind."""


class LoopStateError(LoopError, RuntimeError):
    """A call at the wrong moment, or a saved state that does not fit."""


class NonFiniteError(LoopError, FloatingPointError):
    """A loss or a gradient that is NaN or infinite."""


class MissingPackageError(LoopError, ImportError):
    """A name, such as a ``gpu_mode``, that no installed package provides."""
