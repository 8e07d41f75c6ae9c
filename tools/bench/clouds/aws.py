"""The command aws, version 1."""

import subprocess
import sysconfig
from pathlib import Path

from clouds.cell import Job

AWS = Path(sysconfig.get_path("scripts"), "aws")


def up(job: Job) -> None:
    command(job, "cp", "--recursive", str(job.folder), address(job))


def down(job: Job) -> None:
    command(job, "cp", "--recursive", address(job), str(job.folder))


def sync(job: Job) -> None:
    command(job, "sync", str(job.folder), address(job))


def command(job: Job, *words: str) -> None:
    line = [str(AWS), "--endpoint-url", job.endpoint, "s3", *words, "--only-show-errors"]
    subprocess.run(line, check=True, capture_output=True)


def address(job: Job) -> str:
    return f"s3://{job.bucket}/{job.prefix}"
