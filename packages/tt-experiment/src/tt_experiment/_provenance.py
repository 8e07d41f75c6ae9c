"""Where a run came from: versions, machine, a few environment variables, and the state of git."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from tt_experiment.redact import redact_text

__all__ = ["environment", "git_state", "versions"]

_PACKAGES = (
    "torch",
    "numpy",
    "safetensors",
    "tt-loop",
    "tt-experiment",
    "tt-parallel",
    "tt-metrics",
    "tt-cloud",
    "tt-nlp",
    "aitoolbox-suite",
)
# Only what changes how a training runs is kept; the rest of the environment is nobody's business.
_PREFIXES = ("CUDA_", "CUBLAS_", "NCCL_", "OMP_", "MKL_", "TORCH_", "PYTORCH_", "SLURM_JOB_")
_NAMES = ("PYTHONHASHSEED", "WORLD_SIZE", "RANK", "LOCAL_RANK")
_MAX_DIFF = 1 << 20
_SECRET_FILES = (":(exclude,glob)**/" + name for name in (".env*", "*.pem", "*.key", "id_*"))
_DIFF = ("diff", "--no-ext-diff", "--no-textconv", "--no-color", "HEAD", "--", ".", *_SECRET_FILES)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that matter, where they are installed."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def environment() -> dict[str, Any]:
    """The machine and software that a run had."""
    return {
        "python": sys.version,
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu_count": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "cuda": torch.version.cuda,
        "devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "versions": versions(),
        "variables": {
            name: redact_text(value)
            for name, value in sorted(os.environ.items())
            if name.startswith(_PREFIXES) or name in _NAMES
        },
    }


def git_state(directory: Path) -> tuple[dict[str, Any], str] | None:
    """Commit, branch and changes of the repository that a directory is in.

    Returns:
        The facts and the diff against the last commit, both without secrets; ``None`` where there
        is no git or no commit.
    """
    commit = _git(directory, "rev-parse", "HEAD")
    top = _git(directory, "rev-parse", "--show-toplevel")
    if not commit or not top:
        return None
    root = Path(top.strip())
    status = (_git(root, "status", "--porcelain") or "").splitlines()
    diff = _git(root, *_DIFF) or ""
    facts = {
        "commit": commit.strip(),
        "branch": (_git(root, "rev-parse", "--abbrev-ref", "HEAD") or "").strip(),
        "remote": redact_text((_git(root, "config", "--get", "remote.origin.url") or "").strip()),
        "changed_files": sum(not line.startswith("??") for line in status),
        "untracked_files": sum(line.startswith("??") for line in status),
        "diff_cut": len(diff) > _MAX_DIFF,
    }
    return facts, redact_text(diff)[:_MAX_DIFF]


def _git(directory: Path, *arguments: str) -> str | None:
    program = shutil.which("git")
    if program is None:
        return None
    return _output([program, "-C", str(directory), "-c", "core.fsmonitor=false", *arguments])


def _output(command: Sequence[str]) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 - see the import
            command,
            capture_output=True,
            timeout=20,
            check=True,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace")
