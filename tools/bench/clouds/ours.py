"""tt-cloud: a folder at once, several files side by side."""

from clouds.cell import Job
from tt_cloud import TreeStore, open_store


def store(job: Job) -> TreeStore:
    return open_store(f"s3://{job.bucket}/{job.prefix}", endpoint_url=job.endpoint)


def up(job: Job) -> None:
    store(job).upload_tree(job.folder)


def down(job: Job) -> None:
    store(job).download_tree("", job.folder)


def sync(job: Job) -> None:
    store(job).sync(job.folder)
