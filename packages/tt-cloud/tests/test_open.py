import doctest
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

import tt_cloud
from tt_cloud import InvalidURL, UnknownOption, UnknownScheme, _open, errors, open_store


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
        ("folder", "file stores take no options: got anonymous, region"),
        ("gs://bucket", "gs stores take anonymous, endpoint_url, project: got region"),
        ("s3://bucket", "s3 stores take endpoint_url, profile, region: got anonymous"),
    ],
)
def test_an_unknown_option_lists_what_there_is(url: str, rule: str) -> None:
    with pytest.raises(UnknownOption, match=rule):
        open_store(url, anonymous=True, region="here")


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
    [("s3://bucket", "boto3", "s3"), ("gs://bucket", "google.cloud.storage", "gcs")],
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
    assert names == ["api", "errors", "testing"]
    for module in (tt_cloud, *(importlib.import_module(f"tt_cloud.{name}") for name in names)):
        own = [
            name
            for name, value in vars(module).items()
            if getattr(value, "__module__", None) == module.__name__
        ]
        assert {name for name in own if name[0] != "_"} <= set(module.__all__)
        assert all(hasattr(module, name) for name in module.__all__)
    assert set(errors.__all__) < set(tt_cloud.__all__)


def test_every_error_is_ours_and_a_builtin() -> None:
    for name in errors.__all__:
        kind = getattr(errors, name)
        assert issubclass(kind, errors.CloudError)
        assert kind.__doc__
        assert str(kind("message")) == "message"


def python(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
