"""What is public, and what importing it loads."""

import importlib
import json
import subprocess
import sys

import pytest

LOADED = """
import importlib, json, sys
importlib.import_module(sys.argv[1])
tops = {name.partition(".")[0] for name in sys.modules} - sys.stdlib_module_names
print(json.dumps(sorted(tops - {"__main__", "sitecustomize"})))
"""


@pytest.mark.parametrize("module", ["tt_nlp", "tt_nlp.api"])
def test_only_numpy_and_tt_metrics_are_loaded(module):
    def loaded(name):
        done = subprocess.run([sys.executable, "-c", LOADED, name], capture_output=True, check=True)
        return set(json.loads(done.stdout))

    # What numpy loads by itself, and editable installs at the start, is not ours to forbid.
    assert loaded(module) - loaded("numpy") == {"tt_metrics", "tt_nlp"}


@pytest.mark.parametrize("name", ["tt_nlp", "tt_nlp.api"])
def test_all_lists_the_public_names_in_order(name):
    module = importlib.import_module(name)
    public = {
        key
        for key, value in vars(module).items()
        if not key.startswith("_") and getattr(value, "__module__", "").startswith("tt_nlp")
    }
    assert module.__all__ == sorted(public)
