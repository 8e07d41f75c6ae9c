"""Run the Python blocks of the documents as tests, and leave out GPU tests where there is no GPU.

The blocks of one document share a namespace and an empty working directory, and run in order.
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

try:
    from sybil import Sybil
    from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser
except ModuleNotFoundError:
    pass  # the isolated environments test one package, without the tools for documents
else:
    HOME = Path.cwd()

    def enter(namespace: dict[str, Any]) -> None:
        """Begin a document as a script in an empty folder."""
        namespace["__name__"] = "__main__"
        folder = TemporaryDirectory(prefix="document-")
        namespace["_folder"] = folder
        os.chdir(folder.name)

    def leave(namespace: dict[str, Any]) -> None:
        """Remove what the document wrote."""
        os.chdir(HOME)
        namespace["_folder"].cleanup()

    pytest_collect_file = Sybil(
        parsers=[PythonCodeBlockParser(), SkipParser()],
        patterns=["README.md", "packages/*/README.md", "docs/*.md"],
        setup=enter,
        teardown=leave,
    ).pytest()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked ``gpu`` where there is none."""
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if not on_gpu:
        return  # importing torch takes seconds
    import torch

    if not torch.cuda.is_available():
        for item in on_gpu:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
