"""Run one of the project's commands on a machine that has only Python 3.11 or newer and pip.

    python tools/dev.py demo
    python tools/dev.py test

Everything after the file's name goes to ``hatch run``: ``lint:check``, ``docs:build`` and the other
scripts of hatch.toml too. Hatch lives in ``.hatch``, the project in ``.venv``; outside the checkout
only Hatch's and pip's own caches change.
"""

import os
import subprocess
import sys
import venv
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HATCH = ROOT / ".hatch"
PYTHON = HATCH / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def install_hatch() -> None:
    """Put Hatch into ``.hatch`` with the pip of the running Python, or find that it is there."""
    if find_spec("pip") is None:
        sys.exit(
            f"{sys.executable} has no pip, and Hatch is installed with it.\n"
            "Install it: on Debian and Ubuntu `apt install python3-pip`, "
            "on Fedora `dnf install python3-pip`."
        )
    if not PYTHON.exists():
        # Without pip: Debian's Python has no ensurepip, and refuses packages outside of an
        # environment. Its pip installs into this one from outside.
        venv.create(HATCH, symlinks=os.name != "nt")
    pip = [sys.executable, "-m", "pip", "--python", str(PYTHON), "install", "--quiet"]
    pins = ["--constraint", str(ROOT / "constraints.txt")]
    subprocess.run([*pip, *pins, "hatch>=1.18,<2"], check=True)


def main() -> int:
    if sys.version_info < (3, 11):  # noqa: UP036 - older ones come here too, and shall be told
        sys.exit(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}.")
    if len(sys.argv) == 1 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        return 0 if len(sys.argv) > 1 else 2
    try:
        install_hatch()
    except subprocess.CalledProcessError as failed:
        return failed.returncode  # pip has said why
    return subprocess.run([PYTHON, "-m", "hatch", "run", *sys.argv[1:]], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
