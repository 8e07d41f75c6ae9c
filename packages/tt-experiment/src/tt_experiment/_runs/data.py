"""Whether a run goes on with the data that it had."""

from __future__ import annotations

import logging
from typing import Any

from tt_experiment import _json
from tt_experiment.errors import CheckpointMismatch
from tt_experiment.experiment import Experiment
from tt_experiment.folder import ExperimentFolder
from tt_experiment.provenance import changed_data, data_of, fingerprints
from tt_experiment.redact import redact
from tt_loop.api import TrainLoop

__all__ = ["check_data"]

_log = logging.getLogger(__name__)


def check_data(loop: TrainLoop, experiment: Experiment, run: ExperimentFolder, inside: Any) -> None:
    """Compare a loop's data with those that a run wrote down when it began; tell what differs.

    Args:
        loop: The loop that goes on.
        experiment: What it says of its data besides.
        run: The run.
        inside: Where in an epoch its state is; ``None`` between two.

    Raises:
        CheckpointMismatch: An epoch would go on with another number of training samples.
    """
    kept = _kept(run)
    data = fingerprints({**data_of(loop), **experiment.provenance.data}) if kept else {}
    now = _json.load_object(_json.dumps(redact(data)))
    changes = changed_data(kept, now)
    if not changes:
        return
    said = f"The data of {run.path} have changed: {'; '.join(changes)}"
    if inside is not None and _length(kept) != _length(now):
        msg = (
            f"An epoch goes on with the samples that it began with. {said}. Go on from a "
            "checkpoint between two epochs, or with the data of the run."
        )
        raise CheckpointMismatch(msg)
    if loop.is_main_process():
        _log.warning("%s. What follows is not what the run would have been.", said)


def _kept(run: ExperimentFolder) -> dict[str, Any]:
    try:
        kept = _json.load_object(run.data_file.read_bytes())
    except FileNotFoundError:  # of an older run, or one without loaders
        return {}
    except (OSError, ValueError) as error:
        _log.warning("the data cannot be compared with those of the run: %s", error)
        return {}
    return {name: facts for name, facts in kept.items() if isinstance(facts, dict)}


def _length(data: dict[str, Any]) -> Any:
    return data.get("train", {}).get("length")
