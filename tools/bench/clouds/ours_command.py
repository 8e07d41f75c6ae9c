"""The command tt-cloud."""

import subprocess
import sys

from clouds.cell import Job


def up(job: Job) -> None:
    command(job, "cp", "-r", str(job.folder), address(job))


def down(job: Job) -> None:
    command(job, "cp", "-r", address(job), str(job.folder))


def sync(job: Job) -> None:
    command(job, "sync", str(job.folder), address(job))


def command(job: Job, *words: str) -> None:
    line = [sys.executable, "-m", "tt_cloud", *words, "--endpoint-url", job.endpoint]
    subprocess.run(line, check=True, capture_output=True)


def address(job: Job) -> str:
    return f"s3://{job.bucket}/{job.prefix}"
