"""obstore: 16 files at once from one event loop; large files in parts."""

import asyncio
from collections.abc import Awaitable, Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from clouds.cell import Job

library: Any = import_module("obstore")
stores: Any = import_module("obstore.store")

AT_ONCE = 16
PART = 16 << 20


def up(job: Job) -> None:
    async def one(store: Any, path: Path, key: str) -> None:
        content = path.read_bytes() if job.files > 1 else path
        await library.put_async(store, key, content, chunk_size=PART, max_concurrency=AT_ONCE)

    asyncio.run(all_files(job, one))


def down(job: Job) -> None:
    asyncio.run(all_files(job, whole if job.files > 1 else ranges))


async def whole(store: Any, path: Path, key: str) -> None:
    answer = await library.get_async(store, key)
    path.write_bytes(memoryview(await answer.bytes_async()))


async def ranges(store: Any, path: Path, key: str) -> None:
    size = (await library.head_async(store, key))["size"]
    limit = asyncio.Semaphore(AT_ONCE)

    async def part(start: int) -> None:
        async with limit:
            end = min(start + PART, size)
            data = await library.get_range_async(store, key, start=start, end=end)
            with path.open("r+b") as file:
                file.seek(start)
                file.write(memoryview(data))

    path.touch()
    await asyncio.gather(*(part(start) for start in range(0, size, PART)))


async def all_files(job: Job, one: Callable[[Any, Path, str], Awaitable[None]]) -> None:
    settings = {"endpoint": job.endpoint, "region": "us-east-1"}
    options = {"client_options": {"allow_http": True}, "virtual_hosted_style_request": False}
    store = stores.S3Store(job.bucket, **settings, **options)
    limit = asyncio.Semaphore(AT_ONCE)

    async def limited(path: str, key: str) -> None:
        async with limit:
            await one(store, Path(path), key)

    await asyncio.gather(*(limited(path, key) for path, key in job.pairs()))
