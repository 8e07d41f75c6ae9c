"""One turn: the work of one client in a process of its own.

python -m clouds.cell FILE STEP JOB
"""

import json
import os
import resource
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from clouds.peers import Peer

LIMIT = 600.0  # seconds
HERE = Path(__file__).parents[1]


class Job(NamedTuple):
    """Files of a folder, and where their objects are."""

    endpoint: str
    bucket: str
    prefix: str
    folder: Path
    files: int

    @property
    def names(self) -> list[str]:
        return [f"{number:05}.bin" for number in range(self.files)]

    def pairs(self) -> list[tuple[str, str]]:
        """Paths and keys."""
        return [(str(self.folder / name), f"{self.prefix}/{name}") for name in self.names]


class Times(NamedTuple):
    """Seconds: CPU of the process in all, CPU of the work, and wall clock of the work."""

    whole: float
    work: float
    wall: float


def run(peer: "Peer", step: str, job: Job) -> Times:
    """Start the process, and read the clocks."""
    began = cpu(resource.RUSAGE_CHILDREN)
    words = [peer.file, step, json.dumps(job, default=str)]
    done = subprocess.run(
        [sys.executable, "-m", "clouds.cell", *words],
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=True,
    )
    work, wall = map(float, done.stdout.split()[-2:])
    return Times(cpu(resource.RUSAGE_CHILDREN) - began, work, wall)


def cpu(*whose: int) -> float:
    used = [resource.getrusage(each) for each in whose]
    return sum(each.ru_utime + each.ru_stime for each in used)


def main() -> None:
    file, step, text = sys.argv[1:]
    endpoint, bucket, prefix, folder, files = json.loads(text)
    job = Job(endpoint, bucket, prefix, Path(folder), files)
    work = getattr(import_module(f"clouds.{file}"), step)
    everybody = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    began, used = time.monotonic(), cpu(*everybody)
    work(job)
    print(cpu(*everybody) - used, time.monotonic() - began)
    sys.stdout.flush()
    os._exit(0)  # one of the clients crashes now and then while Python ends


if __name__ == "__main__":
    main()
