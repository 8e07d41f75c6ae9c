"""boto3's transfer manager, one for all files, with many threads and large parts."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from clouds.cell import Job

boto3: Any = import_module("boto3")
core: Any = import_module("botocore.config")
transfer: Any = import_module("s3transfer.manager")

THREADS = 16
PART = 32 << 20


def up(job: Job) -> None:
    both(job, lambda manager, path, key: manager.upload(path, job.bucket, key))


def down(job: Job) -> None:
    both(job, lambda manager, path, key: manager.download(job.bucket, key, path))


def both(job: Job, submit: Callable[[Any, str, str], Any]) -> None:
    pool = core.Config(max_pool_connections=THREADS)
    client = boto3.client("s3", endpoint_url=job.endpoint, config=pool)
    sizes = {"multipart_threshold": PART, "multipart_chunksize": PART}
    config = transfer.TransferConfig(max_request_concurrency=THREADS, **sizes)
    with transfer.TransferManager(client, config) as manager:
        futures = [submit(manager, path, key) for path, key in job.pairs()]
        for future in futures:
            future.result()
