"""Where programs keep on this machine what they can get again."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_dir(purpose: str) -> Path:
    """This package's folder for a purpose, in the user's cache directory; not made yet."""
    return _users() / "tt-cloud" / purpose


def _users() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
