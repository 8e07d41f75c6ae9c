"""The two services as the fault tests see them: which request is which, and what is really there.

Whatever is asked here goes around the proxy, through the services' own clients.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from email.utils import formatdate
from time import time
from typing import Any, ClassVar, NamedTuple
from urllib.parse import parse_qs, quote, urlsplit
from urllib.request import urlopen

from .proxy import Action, Answer, FaultProxy, Request, Rule, reply, value

PAGE = b"<!DOCTYPE html><html><body>Welcome to our network! Please sign in.</body></html>"


SKEW = 600  # seconds that the servers here forgive a client that believes in them


class Where(NamedTuple):
    """A kind of request: method, pattern of its path and query, and of a header."""

    method: str
    pattern: str
    header: tuple[str, str] | None = None


class Side(ABC):
    """One service."""

    name: ClassVar[str]
    scheme: ClassVar[str]
    requests: ClassVar[Mapping[str, Where]]
    part: ClassVar[int]
    options: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, endpoint: str, bucket: str, client: Any) -> None:
        self.endpoint = endpoint
        self.bucket = bucket
        self.client = client

    def inject(
        self, proxy: FaultProxy, where: str, action: Action, *, skip: int = 0, times: int | None = 1
    ) -> Rule:
        """Have the proxy do that to a kind of request."""
        method, pattern, header = self.requests[where]
        return proxy.inject(method, pattern, action, header=header, skip=skip, times=times)

    def answer(self, name: str) -> Answer:
        """What the service says when something is wrong, or what somebody else says for it."""
        if name in _ANYBODY:
            return _ANYBODY[name]
        return self._own_answer(name)

    def usual(self, proxy: FaultProxy) -> Action:
        """What the proxy does for a server that lacks it."""
        return Action()

    @abstractmethod
    def _own_answer(self, name: str) -> Answer: ...

    @abstractmethod
    def read(self, key: str) -> bytes | None:
        """The object; ``None`` where there is none."""

    @abstractmethod
    def write(self, key: str, data: bytes) -> None:
        """Put an object there as somebody else would."""

    @abstractmethod
    def remove(self, key: str) -> None:
        """Delete it."""

    @abstractmethod
    def keys(self, prefix: str) -> list[str]:
        """All objects below."""

    @abstractmethod
    def unfinished(self, prefix: str) -> list[str]:
        """Ids of uploads in parts that were begun below and are not finished."""

    @abstractmethod
    def forget_uploads(self, prefix: str) -> None:
        """Drop them, as a lifecycle rule would."""


class S3Side(Side):
    name = "s3"
    scheme = "s3"
    part = 5 << 20  # the least that it takes
    options: ClassVar = {"region": "us-east-1"}
    requests: ClassVar = {
        "put": Where("PUT", r"^[^?]*$"),
        "get": Where("GET", r"^/[^/?]+/[^?]+$"),
        "head": Where("HEAD", r""),
        "list": Where("GET", r"list-type=2"),
        "delete": Where("DELETE", r"^[^?]*$"),
        "delete many": Where("POST", r"\?delete"),
        "copy": Where("PUT", r"^[^?]*$", ("x-amz-copy-source", ".")),
        "begin": Where("POST", r"\?uploads"),
        "part": Where("PUT", r"partNumber="),
        "finish": Where("POST", r"\?uploadId="),
        "abandon": Where("DELETE", r"uploadId="),
    }
    _errors: ClassVar = {
        "slow down": (503, "SlowDown"),
        "broken": (500, "InternalError"),
        "expired": (403, "ExpiredToken"),
        "expired, 400": (400, "ExpiredToken"),
        "denied": (403, "AccessDenied"),
        "no bucket": (404, "NoSuchBucket"),
        "no object": (404, "NoSuchKey"),
        "no upload": (404, "NoSuchUpload"),
        "conflict": (409, "ConditionalRequestConflict"),
        "aborted": (409, "OperationAborted"),
        "timeout": (400, "RequestTimeout"),
        "bad digest": (400, "BadDigest"),
        "not implemented": (501, "NotImplemented"),
        "no md5": (400, "MissingContentMD5"),
        "no length": (411, "MissingContentLength"),
        "unheard of": (418, "Teapot"),
        "error in 200": (200, "InternalError"),
        "slow down in 200": (200, "SlowDown"),
    }

    def _own_answer(self, name: str) -> Answer:
        if name == "throttled":
            return _xml(429, "TooManyRequests", Retry_After="0")
        if name == "skewed":
            return _xml(403, "RequestTimeTooSkewed", Date=formatdate(time() + SKEW, usegmt=True))
        if name == "elsewhere":
            return _xml(301, "PermanentRedirect", x_amz_bucket_region="eu-west-1")
        return _xml(*self._errors[name])

    def read(self, key: str) -> bytes | None:
        try:
            return bytes(self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read())
        except self.client.exceptions.NoSuchKey:
            return None

    def write(self, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=key, Body=data)

    def remove(self, key: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=key)

    def keys(self, prefix: str) -> list[str]:
        answer = self.client.list_objects_v2(Bucket=self.bucket, Prefix=prefix)
        return [entry["Key"] for entry in answer.get("Contents", ())]

    def unfinished(self, prefix: str) -> list[str]:
        return [upload["UploadId"] for upload in self._uploads(prefix)]

    def forget_uploads(self, prefix: str) -> None:
        for upload in self._uploads(prefix):
            names = {"Key": upload["Key"], "UploadId": upload["UploadId"]}
            self.client.abort_multipart_upload(Bucket=self.bucket, **names)

    def _uploads(self, prefix: str) -> Sequence[Mapping[str, Any]]:
        answer = self.client.list_multipart_uploads(Bucket=self.bucket)
        return [one for one in answer.get("Uploads", ()) if one["Key"].startswith(prefix)]


class GoogleSide(Side):
    name = "gcs"
    scheme = "gs"
    part = 1 << 20
    options: ClassVar = {"anonymous": True}
    requests: ClassVar = {
        "put": Where("POST", r"uploadType=multipart"),
        "get": Where("GET", r"alt=media"),
        "head": Where("GET", r"/o/[^/?]+(\?(?!.*alt=media).*)?$"),
        "list": Where("GET", r"/o(\?|$)"),
        "delete": Where("DELETE", r"/o/"),
        "copy": Where("POST", r"/(rewriteTo|copyTo)/"),
        "begin": Where("POST", r"uploadType=resumable"),
        "part": Where("PUT", r"upload_id=", ("content-range", r"bytes \d")),
        "ask": Where("PUT", r"upload_id=", ("content-range", r"bytes \*")),
        "finish": Where("PUT", r"upload_id=", ("x-goog-hash", r".")),
        "abandon": Where("DELETE", r"upload_id="),
    }
    _errors: ClassVar = {
        "slow down": (503, "backendError"),
        "broken": (500, "internalError"),
        "expired": (401, "authError"),
        "denied": (403, "forbidden"),
        "no bucket": (404, "notFound"),
        "no object": (404, "notFound"),
        "no upload": (404, "notFound"),
        "gone": (410, "gone"),
        "conflict": (409, "conflict"),
        "timeout": (408, "requestTimeout"),
        "unheard of": (418, "teapot"),
    }

    def usual(self, proxy: FaultProxy) -> Action:
        return Progress(self, proxy)

    def _own_answer(self, name: str) -> Answer:
        if name == "throttled":
            return _json(429, "rateLimitExceeded", Retry_After="0")
        return _json(*self._errors[name])

    def read(self, key: str) -> bytes | None:
        blob = self.client.bucket(self.bucket).get_blob(key)
        return None if blob is None else bytes(blob.download_as_bytes())

    def write(self, key: str, data: bytes) -> None:
        self.client.bucket(self.bucket).blob(key).upload_from_string(data)

    def remove(self, key: str) -> None:
        self.client.bucket(self.bucket).blob(key).delete()

    def keys(self, prefix: str) -> list[str]:
        return [blob.name for blob in self.client.list_blobs(self.bucket, prefix=prefix)]

    def unfinished(self, prefix: str) -> list[str]:
        return []  # sessions are not listed, and expire by themselves

    def forget_uploads(self, prefix: str) -> None:
        pass


class Progress(Action):
    """Tells how far a resumable upload is: the emulator takes that question for the end of it.

    Like the service, it keeps what came whole, and gives the object once that is there.
    """

    def __init__(self, side: GoogleSide, proxy: FaultProxy) -> None:
        self._side = side
        self._proxy = proxy

    def request(self, request: Request) -> Request | Answer:
        if not value(request.headers, "content-range").startswith("bytes */"):
            return request
        kept = 0
        for entry in list(self._proxy.history):
            sent = _SPAN.match(value(entry.headers, "content-range"))
            if entry.target != request.target or sent is None:
                continue
            if entry.answered in (200, 201):
                return self._object(request)
            if entry.answered == 308:
                kept = int(sent[1]) + 1
        return reply(308, Range=f"bytes=0-{kept - 1}") if kept else reply(308)

    def _object(self, request: Request) -> Answer:
        key = parse_qs(urlsplit(request.target).query)["name"][0]
        path = f"{self._side.endpoint}/storage/v1/b/{self._side.bucket}/o/{quote(key, safe='')}"
        with urlopen(path) as answer:
            return reply(200, answer.read(), Content_Type="application/json")


_SPAN = re.compile(r"bytes \d+-(\d+)/")

_ANYBODY = {
    "page": reply(200, PAGE, Content_Type="text/html"),
    "page, 403": reply(403, PAGE, Content_Type="text/html"),
    "page, 404": reply(404, PAGE, Content_Type="text/html"),
    "page, 502": reply(502, PAGE, Content_Type="text/html"),
    "page, 503": reply(503, PAGE, Content_Type="text/html"),
    "rubbish": reply(200, b'<?xml version="1.0"?><a {"kind": [', Content_Type="application/xml"),
    "rubbish, 500": reply(500, b"\x00\xff<Error><Code>", Content_Type="application/xml"),
    "nothing": reply(200),
}


def _xml(status: int, code: str, **headers: str) -> Answer:
    text = f"<Error><Code>{code}</Code><Message>m</Message><RequestId>ID</RequestId></Error>"
    return reply(status, text.encode(), Content_Type="application/xml", **headers)


def _json(status: int, reason: str, **headers: str) -> Answer:
    error = {"code": status, "message": "m", "errors": [{"reason": reason, "message": "m"}]}
    text = json.dumps({"error": error})
    return reply(status, text.encode(), Content_Type="application/json", **headers)
