"""tt-cloud: file by file."""

from clouds.cell import Job
from clouds.ours import store


def up(job: Job) -> None:
    here = store(job)
    for name in job.names:
        here.put(name, job.folder / name)


def down(job: Job) -> None:
    here = store(job)
    for name in job.names:
        here.get(name, job.folder / name)
