"""Where a run came from: command, packages, machine, seeds, a few variables, the state of git."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from tt_experiment._origin.secrets import REDACTED, is_secret_key, redact_text

__all__ = ["command", "environment", "git_state", "tracked_files", "versions", "whereabouts"]

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
    """The command, machine and software that a run had."""
    return {
        "command": command(),
        "python": sys.version,
        "platform": platform.platform(),
        "hardware": _hardware(),
        "torch": _torch_settings(),
        "versions": versions(),
        "packages": _packages(),
        "variables": {
            name: redact_text(value)
            for name, value in sorted(os.environ.items())
            if name.startswith(_PREFIXES) or name in _NAMES
        },
    }


def whereabouts() -> dict[str, Any]:
    """Which process on which machine this is."""
    return {"host": socket.gethostname(), "pid": os.getpid()}


def command() -> dict[str, Any]:
    """What was typed, without secrets: as words, so that it can be run again."""
    words = [sys.executable, *sys.orig_argv[1:]]
    shown = [_word(before, word) for before, word in zip(["", *words], words, strict=False)]
    return {"argv": shown, "cwd": str(Path.cwd())}


def _word(before: str, word: str) -> str:
    """A word without a secret: ``--token=abc``, ``db.password=abc``, or what follows a name."""
    if before.startswith("-") and "=" not in before and is_secret_key(before.lstrip("-")):
        return REDACTED
    name, given, _ = word.partition("=")
    return f"{name}={REDACTED}" if given and is_secret_key(name) else redact_text(word)


def _hardware() -> dict[str, Any]:
    import torch  # here: readers of runs start faster without

    return {
        "machine": platform.machine(),
        "processor": _processor(),
        "cpu_count": os.cpu_count(),
        "memory_bytes": _memory(),
        "accelerators": [
            {"name": device.name, "memory_bytes": device.total_memory}
            for device in map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
        ],
    }


def _processor() -> str:
    """The processor's name as Linux tells it, else what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not on this system
        return None


def _torch_settings() -> dict[str, Any]:
    """What decides the bits of a training beside the program."""
    import torch  # as above

    return {
        "initial_seed": torch.initial_seed(),
        "threads": torch.get_num_threads(),
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "cuda": torch.version.cuda,
    }


def _packages() -> dict[str, str]:
    """Every installed distribution, as ``pip freeze`` tells them."""
    found = {}
    for distribution in metadata.distributions():
        about = distribution.metadata  # parsed anew each time it is asked for
        if name := about["Name"]:  # half-removed packages have none
            found[name.lower()] = about["Version"]
    return dict(sorted(found.items()))


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
    shown = redact_text(diff[: 2 * _MAX_DIFF])  # before the cut: half a secret has no form
    return facts, shown[:_MAX_DIFF]


def tracked_files(directory: Path) -> frozenset[str] | None:
    """Names, relative to a folder, of the files in it that git tracks; ``None`` without any."""
    listing = _git(directory, "ls-files", "-z", "--cached")
    return frozenset(listing.split("\0")[:-1]) if listing else None


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
