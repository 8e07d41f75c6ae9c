"""s3fs: lists of files at once."""

from importlib import import_module
from typing import Any

from clouds.cell import Job

library: Any = import_module("s3fs")


def system(job: Job) -> Any:
    return library.S3FileSystem(endpoint_url=job.endpoint)


def up(job: Job) -> None:
    paths, keys = zip(*job.pairs(), strict=True)
    system(job).put(list(paths), [f"{job.bucket}/{key}" for key in keys])


def down(job: Job) -> None:
    paths, keys = zip(*job.pairs(), strict=True)
    system(job).get([f"{job.bucket}/{key}" for key in keys], list(paths))
