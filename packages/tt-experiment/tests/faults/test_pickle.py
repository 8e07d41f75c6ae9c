"""Neither saving nor loading has anything to do with pickle."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tt_experiment
from tt_experiment.api import ExperimentFolder, load_model, save_model, save_results
from tt_experiment.checkpoints import CheckpointFolder

from .forks import Forks
from .states import as_stored, tree

CODE = Path(tt_experiment.__file__).parent
EXPLICIT = ("testing.py", "imports")  # a test kit, and what reads the files of old tools on demand
MODULES = sorted(p for p in CODE.rglob("*.py") if p.relative_to(CODE).parts[0] not in EXPLICIT)
FORBIDDEN = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}


def imported(path: Path) -> set[str]:
    """Top-level names of what a module imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add((node.module or "").partition(".")[0])
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(CODE)))
def test_no_module_imports_it(path: Path) -> None:
    assert not imported(path) & FORBIDDEN


def calls(path: Path) -> list[ast.Call]:
    nodes = ast.walk(ast.parse(path.read_text("utf-8")))
    return [node for node in nodes if isinstance(node, ast.Call)]


def test_torch_loads_only_with_weights_only() -> None:
    for path in MODULES:
        for call in calls(path):
            name = ast.unparse(call.func)
            options = {word.arg: ast.unparse(word.value) for word in call.keywords}
            if name == "torch.load":
                assert options.get("weights_only") == "True", path
            if name in ("np.load", "numpy.load"):
                assert options.get("allow_pickle", "False") == "False", path


def everything(path: Path) -> None:
    """Save and load in a process in which no pickle can be made or read."""
    poison()
    store = CheckpointFolder(path / "checkpoint_model")
    for value in (1, 2):
        store.save(tree(value), step=value, scores={"loss": 1.0}).wait_committed()
    assert as_stored(store.path) == [1, 2]
    folder = ExperimentFolder.create(path, "p", "e")
    folder.write_start({"lr": 0.1, "object": object()})
    save_model(folder, {"w": torch.ones(3)})
    assert torch.equal(load_model(folder.model)["w"], torch.ones(3))
    save_results(folder, {"package": {"a": 1}}, {"package": (np.ones(2), ["x", "y"])})
    folder.seal()
    folder.verify()


def poison() -> None:
    def poisoned(*_: Any, **__: Any) -> Any:
        raise AssertionError("pickle is used")

    for name in ("pickle", "_pickle"):
        for function in ("dump", "dumps", "load", "loads", "Pickler", "Unpickler"):
            setattr(sys.modules[name], function, poisoned)
    torch.save = torch.load = poisoned


def test_it_works_with_pickle_poisoned(forks: Forks, memory: Path) -> None:
    assert forks.run(everything, memory) == 0
