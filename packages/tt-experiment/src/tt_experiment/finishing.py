"""Ending the machine once the run is provably elsewhere.

::

    with EndInstance(current_instance(), loop.experiment, "terminate"):
        loop.fit(num_epochs=10)
"""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Literal, Self

from tt_experiment.errors import ExperimentSetupError, UploadError
from tt_experiment.experiment import Experiment
from tt_experiment.ports import BlobStore, Instance
from tt_experiment.remote import verify_run

__all__ = ["EndInstance", "end_instance"]

_log = logging.getLogger(__name__)
Action = Literal["stop", "terminate"]
_LOST = {"stop": ("memory:",), "terminate": ("memory:", "file:")}  # stores that end with it


def end_instance(
    instance: Instance,
    store: BlobStore,
    prefix: str,
    action: Action = "stop",
    *,
    read_back: bool = False,
) -> None:
    """End the machine after the sealed run in a store was verified; the process goes with it.

    Args:
        instance: The machine.
        store: Where the run is; not on the machine itself.
        prefix: Key of the run.
        action: ``"stop"`` keeps the disk, ``"terminate"`` does not.
        read_back: Verify by fetching every file.

    Raises:
        UploadError: The run is not whole there. The machine goes on, and so it does when the
            instance refuses, with its own error.
        ExperimentSetupError: The store is lost with the machine, or there is no such action.
    """
    _check(store, action)
    where = f"{store.url}/{prefix}"
    try:
        found = verify_run(store, prefix, read_back=read_back)
    except (OSError, ValueError) as error:
        msg = f"the machine goes on, because {where} cannot be verified: {error}"
        raise UploadError(msg) from error
    if not found.whole:
        name, problem = next(iter(found.problems.items()))
        msg = (
            f"the machine goes on, because {len(found.problems)} files of {where} are not as they "
            f"were sealed, e.g. {name}: {problem}. Try: tt-experiment sync"
        )
        raise UploadError(msg)
    _log.warning("%s is whole (%d files): %s the machine now", where, found.files, action)
    if action == "stop":
        instance.stop()
    else:
        instance.terminate()


class EndInstance:
    """Ends the machine after what is done inside ``with``, and keeps it when that is not safe.

    At the end of the block it waits for the upload, has the sealed run in the store verified, and
    only then ends the machine. Otherwise the machine goes on, and the error says why. Whatever is
    no failure of the training, like Ctrl-C, a notice of interruption or a pending upload, never
    ends it.

    Args:
        instance: The machine, as ``tt_cloud.instance.current_instance()``.
        experiment: The run, with a store.
        action: ``"stop"`` keeps the disk, ``"terminate"`` does not.
        after_failure: End it also when the block raised; the error is raised all the same.
        read_back: Verify by fetching every file.

    Raises:
        ExperimentSetupError: The run has no store, or one that is lost with the machine.
    """

    def __init__(
        self,
        instance: Instance,
        experiment: Experiment,
        action: Action = "stop",
        *,
        after_failure: bool = False,
        read_back: bool = False,
    ) -> None:
        if experiment.store is None:
            msg = "a machine is ended after its run is in a store. The experiment has none: give it"
            raise ExperimentSetupError(msg)
        _check(experiment.store, action)
        self.instance, self.experiment, self.action = instance, experiment, action
        self.after_failure, self.read_back = after_failure, read_back

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if error is None:
            self._end()
        elif self.after_failure and isinstance(error, Exception):
            try:
                self._end()
            except Exception as why:  # what ended the training is what is raised
                _log.error("%s", why)
        else:
            _log.warning("the machine goes on, because the training ended by %s", kind)

    def _end(self) -> None:
        experiment, store = self.experiment, self.experiment.store
        if not experiment.is_started() or store is None:
            msg = "the machine goes on, because no run was started"
            raise UploadError(msg)
        experiment.upload()
        prefix = experiment.prefix(experiment.folder)
        end_instance(self.instance, store, prefix, self.action, read_back=self.read_back)


def _check(store: BlobStore, action: str) -> None:
    if action not in _LOST:
        msg = f"a machine is ended by 'stop' or 'terminate'. Got {action!r}"
        raise ExperimentSetupError(msg)
    if store.url.startswith(_LOST[action]):
        msg = f"{store.url} is lost with the machine by {action!r}: copy the run to a bucket"
        raise ExperimentSetupError(msg)
