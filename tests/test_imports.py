"""What importing a package loads: only what it says it needs, and nothing heavy before its use."""

import json
import subprocess
import sys
from functools import cache

import pytest

# The module that users import, and the third-party modules that may come with it: themselves, and
# whatever they load on their own.
MAY_LOAD = {
    "tt_cloud": [],
    "tt_cloud.api": [],
    "tt_cloud.commits": [],
    "tt_cloud.datasets": [],
    "tt_cloud.instance": [],
    "tt_cloud.mail": [],
    "tt_metrics": ["numpy"],
    "tt_metrics.api": ["numpy"],
    "tt_metrics.distributed": ["numpy", "torch", "torch.distributed"],
    "tt_nlp": ["numpy", "tt_metrics.api"],
    "tt_nlp.api": ["numpy", "tt_metrics.api"],
    "tt_loop": ["numpy", "torch", "tqdm"],
    "tt_loop.api": ["numpy", "torch", "tqdm"],
    "tt_parallel": ["numpy", "torch", "torch.distributed"],
    "tt_parallel.api": ["numpy", "torch", "torch.distributed"],
    "tt_experiment": ["numpy", "torch", "tt_loop.api", "safetensors.torch"],
    "tt_experiment.api": ["numpy", "torch", "tt_loop.api", "safetensors.torch"],
    "aitoolbox": [],
    "aitoolbox.cli": [],
}
HEAVY = {"boto3", "botocore", "google", "matplotlib", "nltk", "sklearn"}

REPORT = """
import importlib, json, sys
before = set(sys.modules)
for name in sys.argv[1:]:
    importlib.import_module(name)
loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
print(json.dumps(sorted(loaded - sys.stdlib_module_names)))
"""


@cache  # importing torch takes seconds
def third_party(*modules: str) -> set[str]:
    """Top-level names outside the standard library that a new interpreter loads for modules."""
    command = [sys.executable, "-c", REPORT, *modules]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=120)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("module", MAY_LOAD)
def test_an_import_loads_only_what_the_package_needs(module: str) -> None:
    allowed = third_party(*MAY_LOAD[module]) | {module.partition(".")[0]}
    loaded = third_party(module)
    assert loaded - allowed == set()
    assert loaded & HEAVY == set()


def test_the_measure_sees_what_is_imported() -> None:
    assert {"torch", "numpy"} <= third_party("torch", "numpy")
