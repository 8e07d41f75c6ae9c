import argparse
import dataclasses
import enum
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tt_experiment.redact import REDACTED, has_secret, is_secret_key, redact, redact_text

SECRET_KEYS = [
    "api_key",
    "apiKey",
    "API_KEY",
    "APIKEY",
    "OPENAI_API_KEY",
    "openai-api-key",
    "password",
    "db_password",
    "passwd",
    "user_pwd",
    "passphrase",
    "secret",
    "client_secret",
    "aws_secret_access_key",
    "AWS_SESSION_TOKEN",
    "token",
    "TOKEN",
    "hf_token",
    "hfToken",
    "HF_TOKEN",
    "access_token",
    "auth_token",
    "refresh_token",
    "wandb_api_key",
    "private_key",
    "ssh_key",
    "credentials",
    "Authorization",
    "cookie",
    "connection_string",
    "github_token",
    "bot_token",
    "auth",
]
PLAIN_KEYS = [
    "num_tokens",
    "max_new_tokens",
    "use_cls_token",
    "cls_token",
    "pad_token",
    "eos_token",
    "token_dropout",
    "tokenizer",
    "tokens",
    "author",
    "authors",
    "key",
    "keys",
    "key_dim",
    "num_key_value_heads",
    "public_key_size",
    "monkey",
    "keyword",
    "secretary",
    "passes",
    "compass",
    "lr",
    "batch_size",
    "hidden_size",
    "mask_token_id",
    "special_tokens",
    "attention_keys",
    "api",
]
SECRETS = [
    "AKIAIOSFODNN7EXAMPLE",
    "ghp_" + "a1B2" * 9,
    "github_pat_" + "a1B2" * 9,
    "glpat-" + "a1B2" * 5,
    "hf_" + "aBcD" * 8,
    "sk-" + "a1B2" * 8,
    "sk-proj-" + "a1-B2_" * 8,
    "sk_live_" + "a1B2" * 6,
    "xoxb-1234567890-abcdef",
    "AIza" + "a" * 35,
    "npm_" + "a" * 36,
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.sig",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN OPENSSH PRIVATE KEY-----\ncut off",
]
PLAIN = [
    "sk-learn-logistic-regression",
    "risk-adjusted-return-1234567890",
    "https://example.com/path?x=1",
    "git@github.com:owner/name.git",
    "hf_model",
    "s3://bucket/key",
    "user@example.com",
    "12:30@noon",
    "-----BEGIN CERTIFICATE-----",
]


@pytest.mark.parametrize("key", SECRET_KEYS)
def test_secret_keys(key):
    assert is_secret_key(key)
    assert redact({"outer": {key: "hunter2"}}) == {"outer": {key: REDACTED}}


@pytest.mark.parametrize("key", PLAIN_KEYS)
def test_plain_keys(key):
    assert not is_secret_key(key)
    assert redact({key: "value"}) == {key: "value"}


@pytest.mark.parametrize("secret", SECRETS)
def test_secrets_by_their_form(secret):
    text = f"before {secret} after" if "cut off" not in secret else f"before {secret}"
    assert has_secret(text)
    clean = redact_text(text)
    assert clean.startswith(f"before {REDACTED}")
    assert not has_secret(clean)
    assert secret not in json.dumps(redact({"a": [text], secret: 1, "cmd": ("x", text)}))


@pytest.mark.parametrize("text", PLAIN)
def test_plain_texts(text):
    assert redact_text(text) == text


def test_a_url_loses_only_its_user():
    url = "postgres://me:hunter2@db.example.com:5432/x"
    assert redact(url) == f"postgres://{REDACTED}@db.example.com:5432/x"
    assert redact("https://abcdefabcdef12345678@github.com/o/r") == (
        f"https://{REDACTED}@github.com/o/r"
    )
    assert (
        redact("Authorization: Bearer abcdefghijklmnopqrst") == f"Authorization: Bearer {REDACTED}"
    )


def test_switches_named_like_secrets_are_no_secrets():
    assert redact({"token": True, "password": None, "secret": ""}) == {
        "token": True,
        "password": None,
        "secret": "",
    }
    assert redact({"password": 1234}) == {"password": REDACTED}


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Config:
    lr: float
    api_key: str


class Rude:
    def __repr__(self):
        raise RuntimeError("no")


class Big:
    def __repr__(self):
        return "x" * 10_000


class Count(int):
    pass


def test_values_of_libraries_become_plain():
    assert redact(
        {
            "int": Count(3),
            "np": np.float32(0.5),
            "npbool": np.bool_(True),
            "path": Path("a/b"),
            "dtype": torch.bfloat16,
            "device": torch.device("cuda", 1),
            "enum": Colour.RED,
            "set": {3, 1},
            "tuple": (1, (2,)),
            "config": Config(0.1, "x"),
            "class": torch.optim.Adam,
            "array": np.zeros((2, 3)),
            "tensor": torch.zeros(2),
            "object": object(),
            "rude": Rude(),
            "bytes": b"abc",
            "nan": math.nan,
            "range": range(3),
            3: None,
            (1, 2): 1,
        }
    ) == {
        "int": 3,
        "np": 0.5,
        "npbool": True,
        "path": "a/b",
        "dtype": "torch.bfloat16",
        "device": "cuda:1",
        "enum": "Colour.RED",
        "set": [1, 3],
        "tuple": [1, [2]],
        "config": {"lr": 0.1, "api_key": REDACTED},
        "class": "torch.optim.adam.Adam",
        "array": "<ndarray of shape (2, 3), float64>",
        "tensor": "<Tensor of shape (2,), torch.float32>",
        "object": "<object object>",
        "rude": "<Rude>",
        "bytes": "b'abc'",
        "nan": "nan",
        "range": [0, 1, 2],
        "3": None,
        "(1, 2)": 1,
    }


def test_huge_values_are_bounded():
    cycle = {}
    cycle["self"] = cycle
    value = redact(
        {
            "text": "x" * 1_000_000,
            "list": list(range(100_000)),
            "dict": {str(n): n for n in range(100_000)},
            "cycle": cycle,
            "int": 1 << 20_000,
            "repr": Big(),
            "namespace": argparse.Namespace(a=1),
        }
    )
    assert len(json.dumps(value)) < 100_000
    assert value["list"][-1] == "... 99000 more"
    assert value["dict"]["..."] == "99000 more"
    assert value["int"] == "<int of 20001 bits>"
    assert value["text"].endswith("... (1000000 characters)")
    assert value["namespace"] == "Namespace(a=1)"


def test_a_secret_at_the_cut_is_not_half_shown():
    text = "x" * 9_990 + " AKIAIOSFODNN7EXAMPLE" + "y" * 50
    assert "AKIA" not in redact(text)


LEAVES = st.one_of(
    st.none(), st.floats(), st.integers(), st.text(), st.binary(), st.datetimes(), st.uuids()
)


@given(st.recursive(LEAVES, lambda c: st.lists(c) | st.dictionaries(LEAVES, c), max_leaves=10))
def test_anything_becomes_json(value):
    json.dumps(redact(value), allow_nan=False)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ('aws_secret_access_key = "wJalrXUtnFEMI/K7MDENG"', "wJalr"),
        ("WANDB_API_KEY=0123456789abcdef0123456789abcdef01234567", "0123"),
        ("PGPASSWORD='hunter2'", "hunter2"),
        ("run.py --api-key abc123def", "abc123"),
        ('{"password": "hunter2"}', "hunter2"),
    ],
)
def test_a_value_given_to_a_secret_name_is_redacted(text: str, kept: str) -> None:
    assert kept not in redact_text(text)


@pytest.mark.parametrize(
    "text",
    [
        'api_key = os.environ["API_KEY"]',
        "password = get_password(user)",
        "num_tokens = 4096000",
        'tokenizer = "bert-base-uncased"',
        "learning_rate = 0.00012345",
    ],
)
def test_code_that_tells_no_secret_stays(text: str) -> None:
    assert redact_text(text) == text


@pytest.mark.parametrize("piece", ["a-", "sk-", "eyJ-", "a_b-", "1-", "-", "a ", "://a", "x='"])
def test_long_texts_take_time_by_their_length(piece):
    assert redact_text(piece * 200_000) == piece * 200_000  # minutes, if by its square


def test_signed_urls_and_basic_authorization():
    url = "https://h/f?X-Amz-Signature=0123456789abcdef0123&sig=ab%2Bcd0123456789ef"
    shown = redact_text(f"{url} Authorization: Basic dXNlcjpwYXNz")
    assert shown == (
        f"https://h/f?X-Amz-Signature={REDACTED}&sig={REDACTED} Authorization: Basic {REDACTED}"
    )


def test_a_secret_within_the_value_of_a_plain_name():
    assert redact_text('{"msg": "with --token=abc12345 it fails"}') == (
        f'{{"msg": "with --token={REDACTED} it fails"}}'
    )
