"""What a process spends on an import, beyond starting Python."""

import subprocess
import sys
import time

from clouds.cell import cpu
from clouds.table import row

IMPORTS = {
    "pass": "",
    "import tt_cloud": "",
    "import tt_cloud._command.main": "",
    "import boto3": "boto3",
    "import obstore": "obstore",
    "import smart_open": "smart_open",
    "import s3fs": "s3fs",
}


def compare(rounds: int) -> None:
    """The least of all rounds, processes taking turns."""
    import resource

    taken: dict[str, list[tuple[float, float]]] = {code: [] for code in IMPORTS}
    for number in range(rounds * 5 + 1):
        for code in IMPORTS if number % 2 else reversed(IMPORTS):
            began, used = time.perf_counter(), cpu(resource.RUSAGE_CHILDREN)
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
            wall = time.perf_counter() - began
            if done.returncode == 0 and number:  # the first one may write bytecode
                taken[code].append((cpu(resource.RUSAGE_CHILDREN) - used, wall))
    bare = [min(column) for column in zip(*taken["pass"], strict=True)]
    row("code", "CPU ms beyond `pass`", "wall ms beyond `pass`")
    row("---", "---", "---")
    for code, turns in taken.items():
        if turns:
            least = [min(column) for column in zip(*turns, strict=True)]
            row(f"`{code}`", *(f"{1e3 * (a - b):.0f}" for a, b in zip(least, bare, strict=True)))
