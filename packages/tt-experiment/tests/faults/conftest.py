"""A place without a slow disk below it, and processes that die cheaply."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .forks import Forks

SHARED = Path("/dev/shm")


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory, in memory where the system has such a place."""
    path = tmp_path
    if SHARED.is_dir():
        path = Path(tempfile.mkdtemp(prefix="tt-faults-", dir=SHARED))
    monkeypatch.chdir(path)
    yield path
    if path != tmp_path:
        shutil.rmtree(path)


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    server = Forks()
    yield server
    server.close()
