"""boto3 as its documentation shows it: a client, and a call for each file."""

from importlib import import_module
from typing import Any

from clouds.cell import Job

boto3: Any = import_module("boto3")


def up(job: Job) -> None:
    client = boto3.client("s3", endpoint_url=job.endpoint)
    for path, key in job.pairs():
        client.upload_file(path, job.bucket, key)


def down(job: Job) -> None:
    client = boto3.client("s3", endpoint_url=job.endpoint)
    for path, key in job.pairs():
        client.download_file(job.bucket, key, path)
