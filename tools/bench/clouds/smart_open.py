"""smart_open: a stream for each object, one client for all."""

import shutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from clouds.cell import Job

boto3: Any = import_module("boto3")
library: Any = import_module("smart_open")

CHUNK = 1 << 20


def up(job: Job) -> None:
    for path, url, client in addresses(job):
        with path.open("rb") as file, library.open(url, "wb", transport_params=client) as stream:
            shutil.copyfileobj(file, stream, CHUNK)


def down(job: Job) -> None:
    for path, url, client in addresses(job):
        with library.open(url, "rb", transport_params=client) as stream, path.open("wb") as file:
            shutil.copyfileobj(stream, file, CHUNK)


def addresses(job: Job) -> Iterator[tuple[Path, str, dict[str, Any]]]:
    client = {"client": boto3.client("s3", endpoint_url=job.endpoint)}
    for path, key in job.pairs():
        yield Path(path), f"s3://{job.bucket}/{key}", client
