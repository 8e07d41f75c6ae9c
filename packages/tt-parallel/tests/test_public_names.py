"""The public names are what they are said to be, and their examples run."""

import doctest
import importlib
import pkgutil

import pytest

import tt_parallel

MODULES = [name for _, name, _ in pkgutil.walk_packages(tt_parallel.__path__, "tt_parallel.")]


@pytest.mark.parametrize("name", MODULES)
def test_every_module_lists_its_public_names(name: str) -> None:
    module = importlib.import_module(name)
    assert list(module.__all__) == sorted(set(module.__all__))
    for public in module.__all__:
        assert getattr(module, public).__doc__
    assert doctest.testmod(module).failed == 0
