import doctest
import importlib
import pickle
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import tt_cloud
from tt_cloud import (
    Encryption,
    InvalidURL,
    RetryPolicy,
    TransferFailed,
    TransferOptions,
    TransferReport,
    TreeStore,
    UnknownOption,
    UnknownScheme,
    _open,
    errors,
    open_store,
)


def test_a_folder_has_three_spellings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "with space"
    open_store("with space").put("key", b"data")
    for url in (folder, str(folder), folder.as_uri(), "file://localhost" + str(folder)):
        assert open_store(url).read("key") == b"data"
        assert open_store(url).url == folder.as_uri()


def test_a_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert open_store("~/results").url == (tmp_path / "results").as_uri()


def test_a_folder_on_another_host_is_refused() -> None:
    with pytest.raises(InvalidURL, match="file:///"):
        open_store("file://server/share")


def test_a_memory_store_is_found_by_name() -> None:
    name = uuid4()
    open_store(f"memory://{name}").put("a/key", b"data")
    assert open_store(f"memory://{name}/a").read("key") == b"data"
    assert open_store(f"memory://{uuid4()}").head("a/key") is None


def test_an_unknown_scheme_lists_what_there_is() -> None:
    with pytest.raises(UnknownScheme, match=r"file://, gs://, memory://, s3://.*ftp://"):
        open_store("ftp://host/folder")


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("folder", "file stores take no options: got project, region; leave that out"),
        ("memory://name", "memory stores take no options: got project, region"),
        ("gs://bucket", "gs stores take allow_http, anonymous, .*, transfer: got region;"),
        ("s3://bucket", "s3 stores take allow_http, anonymous, .*, transfer: got project;"),
    ],
)
def test_an_unknown_option_lists_what_there_is(url: str, rule: str) -> None:
    with pytest.raises(UnknownOption, match=rule):
        open_store(url, project="mine", region="here")


BUCKETS = ["s3://bucket/some/prefix/", "gs://bucket/some/prefix"]


@pytest.mark.parametrize("url", BUCKETS)
@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"retry": RetryPolicy(attempts=0)}, "once at least: got 0 attempts"),
        ({"retry": RetryPolicy(read_timeout=0)}, "read_timeout is a time to wait: got 0 s"),
        ({"retry": RetryPolicy(connect_timeout=-1)}, "connect_timeout is a time to wait"),
        ({"retry": RetryPolicy(deadline=-1)}, "deadline is not negative: got -1"),
        ({"retry": RetryPolicy(minimum_rate=-1)}, "minimum_rate is not negative"),
        ({"transfer": TransferOptions(concurrency=0)}, "got concurrency 0; give 1 or more"),
        ({"transfer": TransferOptions(part_size=1000)}, "got part_size 1000; give another"),
        ({"transfer": TransferOptions(part_size=6 << 30)}, "a part has .* bytes here"),
        ({"encryption": Encryption("none")}, "'managed' or 'kms': got 'none'"),
        ({"encryption": Encryption("managed", "a key")}, "only 'kms' encryption has a key"),
    ],
)
def test_values_are_checked(url: str, options: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=rule) as caught:
        open_store(url, **options)
    assert "a key" not in str(caught.value).replace("has a key", "")


@pytest.mark.parametrize("name", ["retry", "transfer", "encryption"])
def test_options_in_groups_are_objects(name: str) -> None:
    options: Any = {name: "none"}
    with pytest.raises(TypeError, match=rf"{name} is a \w+: got str; write \w+\(...\)"):
        open_store("s3://bucket", **options)


def test_google_keeps_steps_of_its_own() -> None:
    with pytest.raises(ValueError, match=r"262144 to \d+ bytes here, in steps of 262144"):
        open_store("gs://bucket", transfer=TransferOptions(part_size=(1 << 20) + 1))


@pytest.mark.parametrize("url", BUCKETS)
@pytest.mark.parametrize(
    "endpoint", ["ftp://host", "host:9000", "https://user:secret@host", "https://host/?key=secret"]
)
def test_an_endpoint_is_checked(url: str, endpoint: str) -> None:
    with pytest.raises(InvalidURL, match="endpoint_url") as caught:
        open_store(url, endpoint_url=endpoint)
    assert "secret" not in str(caught.value)


def test_plain_http_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("boto3")
    open_store("s3://bucket", endpoint_url="http://localhost:9000")
    open_store("s3://bucket", endpoint_url="http://quiet.example:9000", allow_http=True)
    assert caplog.text == ""
    open_store("s3://bucket", endpoint_url="http://loud.example:9000")
    assert "loud.example" in caplog.text


@pytest.mark.parametrize("url", ["s3://", "s3:///prefix", "s3://user@bucket", "gs://bucket:80/a"])
def test_an_address_is_checked(url: str) -> None:
    with pytest.raises(InvalidURL):
        open_store(url)


@pytest.mark.parametrize(
    ("url", "needs", "options"),
    [
        (
            "s3://bucket/prefix/",
            "boto3",
            {"region": "eu-west-1", "expected_owner": "123456789012", "requester_pays": True},
        ),
        ("gs://bucket/prefix", "google_crc32c", {"project": "mine", "requester_pays": True}),
    ],
)
def test_a_store_takes_all_its_options(url: str, needs: str, options: Any) -> None:
    pytest.importorskip(needs)
    store = open_store(
        url,
        storage_class="STANDARD",
        encryption=Encryption("kms", "projects/a/key"),
        retry=RetryPolicy(attempts=3),
        transfer=TransferOptions(concurrency=2, part_size=8 << 20),
        **options,
    )
    assert isinstance(store, TreeStore)
    assert store.url == url.rstrip("/")
    copy = pickle.loads(pickle.dumps(store / "deeper"))
    assert copy.url == f"{store.url}/deeper"
    assert repr(copy) == f"<BucketStore {store.url}/deeper>"
    assert copy.concurrency == 2


def test_repr_shows_the_address() -> None:
    assert repr(open_store("memory://name")) == "<MemoryStore memory://name>"


def test_the_example_runs() -> None:
    assert doctest.testmod(_open).failed == 0
    assert doctest.testmod(_open).attempted > 0


def test_importing_needs_the_standard_library_only() -> None:
    code = """
import sys
before = set(sys.modules)
import tt_cloud
new = {name.partition('.')[0] for name in set(sys.modules) - before}
print(sorted(new - sys.stdlib_module_names))
"""
    assert python(code) == "['tt_cloud']"


@pytest.mark.parametrize(
    ("url", "module", "extra"),
    [("s3://bucket", "botocore", "s3"), ("gs://bucket", "google_crc32c", "gcs")],
)
def test_a_missing_extra_is_named(url: str, module: str, extra: str) -> None:
    code = f"""
import sys
sys.modules[{module!r}] = None
import tt_cloud
try:
    tt_cloud.open_store({url!r})
except ImportError as error:
    print(type(error).__name__, error)
"""
    answer = python(code)
    assert answer.startswith("MissingDependency")
    assert answer.endswith(f"pip install 'tt-cloud[{extra}]'")


def test_all_names_what_is_public() -> None:
    names = [name for _, name, _ in pkgutil.iter_modules(tt_cloud.__path__) if name[0] != "_"]
    assert {"api", "commits", "errors", "testing"} <= set(names)
    for module in (tt_cloud, *(importlib.import_module(f"tt_cloud.{name}") for name in names)):
        own = [
            name
            for name, value in vars(module).items()
            if getattr(value, "__module__", None) == module.__name__
        ]
        promised = getattr(module, "__all__", ())  # a package of modules alone promises none
        assert {name for name in own if name[0] != "_"} <= set(promised)
        assert all(hasattr(module, name) for name in promised)
    assert set(errors.__all__) < set(tt_cloud.__all__)


BUILTINS: dict[str, type[Exception]] = {
    "AccessDenied": PermissionError,
    "AlreadyExists": FileExistsError,
    "BucketNotFound": FileNotFoundError,
    "Cancelled": InterruptedError,
    "Changed": RuntimeError,
    "ChecksumMismatch": ValueError,
    "CredentialsExpired": PermissionError,
    "InvalidURL": ValueError,
    "MissingDependency": ImportError,
    "NotFound": FileNotFoundError,
    "ProtocolError": ValueError,
    "SourceChanged": ValueError,
    "Throttled": ConnectionError,
    "TransferFailed": OSError,
    "Unavailable": ConnectionError,
    "UnknownOption": TypeError,
    "UnknownScheme": ValueError,
    "UnsafeArchive": ValueError,
    "UnsafeKey": ValueError,
    "Unsupported": NotImplementedError,
}


def test_every_error_is_ours_and_a_builtin() -> None:
    for name in errors.__all__:
        kind = getattr(errors, name)
        assert issubclass(kind, errors.CloudError)
        assert kind.__doc__
        more = (TransferReport(),) if kind is TransferFailed else ()
        error = kind("message", *more)
        assert str(error) == "message"
        assert isinstance(error, BUILTINS.get(name, Exception))
        assert str(pickle.loads(pickle.dumps(error))) == "message"


def python(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
