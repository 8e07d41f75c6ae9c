"""What is written down about where a run comes from."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tt_experiment.errors import ExperimentSetupError

if TYPE_CHECKING:
    from tt_loop.api import TrainLoop

__all__ = [
    "Provenance",
    "changed_data",
    "data_of",
    "fingerprints",
    "loader_facts",
    "training_script",
]


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a run keeps of the code and the data that made it.

    Args:
        source_dirs: Folders and files of source code that go into ``source_code.zip``.
        script: The training script; by default the program that runs.
        diff: Keep the changes against the last git commit.
        data: What was trained and tested on, by name (``"train"``), to be told again by a
            fingerprint: a file or folder, a tensor or array, a mapping of facts, or a data set with
            a length, of which some samples are read.
    """

    source_dirs: Sequence[Path | str] = ()
    script: Path | str | os.PathLike[str] | None = None
    diff: bool = True
    data: Mapping[str, Any] = field(default_factory=dict)


def training_script(provenance: Provenance, hyperparams: Mapping[str, Any]) -> Path | None:
    """The training script: as said, or as the hyperparameters say, else the program that runs.

    Raises:
        ExperimentSetupError: What was said is no file.
    """
    said = provenance.script or hyperparams.get("experiment_file_path")
    if said is not None:
        if not isinstance(said, str | os.PathLike) or not Path(said).is_file():
            msg = f"the training script must be a file, got {said!r}."
            raise ExperimentSetupError(msg)
        return Path(said)
    main = Path(getattr(sys.modules.get("__main__"), "__file__", None) or "")
    return main if main.suffix == ".py" and main.is_file() else None


def fingerprints(data: Mapping[str, Any]) -> dict[str, Any]:
    """What tells data again, by name; see `Provenance`."""
    from tt_experiment._origin.fingerprint import fingerprint  # here: readers of runs start faster

    return {name: fingerprint(each) for name, each in data.items()}


def loader_facts(loader: Any) -> dict[str, Any]:
    """What is known of a loader's data without reading it; content only where it is in memory."""
    from torch.utils.data import TensorDataset  # as above

    data = getattr(loader, "dataset", loader)
    if type(data) is TensorDataset:  # of a subclass, reading may have effects
        return fingerprints({"data": data})["data"]  # type: ignore[no-any-return]  # facts
    facts: dict[str, Any] = {"kind": f"{type(data).__module__}.{type(data).__qualname__}"}
    with contextlib.suppress(Exception):  # a stream has no length, each says so in its own way
        facts["length"] = len(data)
    return facts


def data_of(loop: TrainLoop) -> dict[str, dict[str, Any]]:
    """What is known of a loop's data, by ``train``, ``validation`` and ``test``."""
    loaders = {
        "train": loop.train_loader,
        "validation": loop.validation_loader,
        "test": loop.test_loader,
    }
    return {name: loader_facts(each) for name, each in loaders.items() if each is not None}


def changed_data(kept: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What is different between the data of a run and those that it is to go on with, in words."""
    return [
        f"{name} was {_said(kept[name])} and is {_said(now[name])}"
        for name in kept
        if name in now and kept[name] != now[name]
    ]


def _said(facts: Mapping[str, Any]) -> str:
    shown = {name: str(value)[:40] for name, value in facts.items()}
    return ", ".join(f"{name} {value}" for name, value in shown.items())
