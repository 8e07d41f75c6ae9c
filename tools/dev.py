"""Run one of the project's commands on a machine that has only Python 3.11 or newer.

    python tools/dev.py demo
    python tools/dev.py test

Hatch goes into its own environment below ``.hatch``, the project into ``.venv``; nothing outside
the checkout changes but Hatch's and pip's own caches.
"""

import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HATCH = ROOT / ".hatch"
PYTHON = HATCH / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def install_hatch() -> None:
    """Put Hatch into ``.hatch`` once, with the pip of the running Python."""
    if not PYTHON.exists():
        venv.create(HATCH)  # without pip: Debian's Python has no ensurepip
    pip = [sys.executable, "-m", "pip", "--python", str(PYTHON)]
    subprocess.run([*pip, "install", "--quiet", "hatch>=1.18,<2"], check=True)


def main() -> int:
    install_hatch()
    return subprocess.run([PYTHON, "-m", "hatch", "run", *sys.argv[1:]], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
