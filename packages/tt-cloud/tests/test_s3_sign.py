"""Signatures: those of AWS's manual, and those of botocore."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("boto3", reason="needs tt-cloud[s3]")

import botocore.auth
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tt_cloud._s3._sign import EMPTY, UNSIGNED, Message, Scope, authorization, canonical, stamp

KEYS = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
SCOPE = Scope("us-east-1", "s3")
DAY = "20130524T000000Z"
HOST = "examplebucket.s3.amazonaws.com"
WELCOME = hashlib.sha256(b"Welcome to Amazon S3.").hexdigest()


@pytest.mark.parametrize(
    ("message", "signature"),
    [
        (
            Message("GET", "/test.txt", "", {"range": "bytes=0-9"}, EMPTY),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            Message(
                "PUT",
                quote("/test$file.text"),
                "",
                {
                    "date": "Fri, 24 May 2013 00:00:00 GMT",
                    "x-amz-storage-class": "REDUCED_REDUNDANCY",
                },
                WELCOME,
            ),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            Message("GET", "/", canonical({"lifecycle": ""}), {}, EMPTY),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            Message("GET", "/", canonical({"prefix": "J", "max-keys": "2"}), {}, EMPTY),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)
def test_the_examples_of_the_manual(message: Message, signature: str) -> None:
    needed = {"host": HOST, "x-amz-date": DAY, "x-amz-content-sha256": message.digest}
    signed = message._replace(headers={**message.headers, **needed})
    found = authorization(signed, KEYS.get_frozen_credentials(), SCOPE, DAY)
    assert found.endswith(f"Signature={signature}")
    assert found.startswith(f"AWS4-HMAC-SHA256 Credential={KEYS.access_key}/20130524/us-east-1/s3/")


moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(
    lambda at: at.replace(microsecond=0)
)
texts = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
spaced = texts | st.lists(texts, max_size=3).map("   ".join)
names = st.from_regex(r"x-amz-meta-[a-z0-9-]{1,10}", fullmatch=True)
paths = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30)


@given(
    method=st.sampled_from(["GET", "PUT", "HEAD", "POST", "DELETE"]),
    key=paths.filter(lambda path: not {".", "..", ""} & set(path.split("/"))),
    query=st.dictionaries(paths, texts, max_size=4),
    headers=st.dictionaries(names, spaced.map(str.strip), max_size=4),
    digest=st.sampled_from([EMPTY, UNSIGNED, WELCOME]),
    token=st.none() | st.just("session/token+="),
    region=st.sampled_from(["us-east-1", "eu-central-1"]),
    moment=moments,
)
def test_signatures_are_those_of_botocore(
    method: str,
    key: str,
    query: dict[str, str],
    headers: dict[str, str],
    digest: str,
    token: str | None,
    region: str,
    moment: datetime,
) -> None:
    keys = Credentials("ID", "secret", token)
    now = stamp(moment.replace(tzinfo=UTC).timestamp())
    sent = {**headers, "host": "127.0.0.1:9000", "x-amz-date": now, "x-amz-content-sha256": digest}
    if token:
        sent["x-amz-security-token"] = token
    path, asked = f"/{quote(key, '/~')}", canonical(query)
    scope = Scope(region, "s3")
    ours = authorization(Message(method, path, asked, sent, digest), keys, scope, now)
    url = f"http://127.0.0.1:9000{path}?{asked}"
    assert ours == by_botocore(AWSRequest(method, url, headers), keys, region, digest, moment)


def by_botocore(request: AWSRequest, keys: Any, region: str, digest: str, moment: datetime) -> str:
    """The header that botocore would send at that moment."""

    class Signer(S3SigV4Auth):  # type: ignore[misc]  # botocore has no types
        def payload(self, request: AWSRequest) -> str:
            return digest

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", lambda: moment, raising=True)
        Signer(keys, "s3", region).add_auth(request)
    found: str = request.headers["Authorization"]
    return found


def test_a_new_day_has_another_key() -> None:
    message = Message("GET", "/", "", {"host": HOST}, EMPTY)
    days = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=each) for each in range(3)]
    signed = {authorization(message, KEYS, SCOPE, stamp(day.timestamp())) for day in days}
    assert len(signed) == 3
