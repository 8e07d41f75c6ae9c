import hashlib
import os
import shutil

import pytest

from tt_experiment import _durable
from tt_experiment._durable import (
    Digest,
    LineFile,
    digest_file,
    free_space,
    make_directory,
    remove_file,
    replace_file,
    scratch_path,
    sweep_scratch,
    write_file,
)


class FakeOs:
    """The module `os` with some names replaced."""

    def __init__(self, **names):
        self.__dict__.update(names)

    def __getattr__(self, name):
        return getattr(os, name)


def test_a_file_is_hashed_while_it_is_written(tmp_path):
    digest = write_file(tmp_path / "file", [b"abc", memoryview(b"def"), b""])
    assert digest == Digest(6, hashlib.sha256(b"abcdef").hexdigest())
    assert digest_file(tmp_path / "file") == digest
    with pytest.raises(FileExistsError):
        write_file(tmp_path / "file", [b"x"])


def test_a_short_write_is_continued(tmp_path, monkeypatch):
    monkeypatch.setattr(_durable, "os", FakeOs(write=lambda fd, data: os.write(fd, data[:3])))
    digest = write_file(tmp_path / "file", [b"0123456789"])
    assert (tmp_path / "file").read_bytes() == b"0123456789"
    assert digest.bytes == 10


def test_a_disk_that_takes_nothing_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(_durable, "os", FakeOs(write=lambda *_: 0))
    with pytest.raises(OSError, match="took nothing"):
        write_file(tmp_path / "file", [b"0123456789"])


def test_free_space_is_that_of_the_nearest_folder(tmp_path):
    assert abs(free_space(tmp_path / "a" / "b") - shutil.disk_usage(tmp_path).free) < 1 << 30


def test_data_is_on_the_disk_before_its_name_is(tmp_path, monkeypatch):
    done = []

    def noting(name):
        def call(*args, **kwargs):
            done.append(name)
            return getattr(os, name)(*args, **kwargs)

        return call

    names = {name: noting(name) for name in ("write", "fsync", "replace")}
    monkeypatch.setattr(_durable, "os", FakeOs(**names))
    replace_file(tmp_path / "file", b"x")
    assert done == ["write", "fsync", "replace", "fsync"]


@pytest.mark.parametrize("name", ["write", "fsync", "replace"])
def test_a_failed_replacement_leaves_the_old_content(tmp_path, monkeypatch, name):
    replace_file(tmp_path / "file", b"old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_durable, "os", FakeOs(**{name: fail}))
    with pytest.raises(OSError, match="No space"):
        replace_file(tmp_path / "file", b"new")
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"old"]


def test_making_and_removing_twice(tmp_path):
    make_directory(tmp_path / "a")
    make_directory(tmp_path / "a", exist_ok=True)
    with pytest.raises(FileExistsError):
        make_directory(tmp_path / "a")
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError):
        make_directory(tmp_path / "file", exist_ok=True)
    remove_file(tmp_path / "file")
    remove_file(tmp_path / "file")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_line_file_closes_twice_and_goes_on(tmp_path):
    for line in (b"one\n", b"two\n"):
        file = LineFile(tmp_path / "lines")
        file.append(line)
        file.close()
        file.close()
    assert (tmp_path / "lines").read_text() == "one\ntwo\n"


def test_windows_has_no_directories_to_flush_and_no_harmless_signal(tmp_path, monkeypatch):
    def never(*_):
        pytest.fail("this call does something else on Windows")

    leftover = scratch_path(tmp_path, "x")
    other = leftover.with_name(leftover.name.replace(f"-{os.getpid()}-", f"-{2**22 + 1}-"))
    other.write_text("")
    monkeypatch.setattr(_durable, "os", FakeOs(name="nt", kill=never, fsync=never, open=never))
    sweep_scratch(tmp_path)
    make_directory(tmp_path / "a")
    assert other.exists()


def test_a_process_of_somebody_else_is_alive(tmp_path, monkeypatch):
    def forbidden(*_):
        raise PermissionError(1, "Operation not permitted")

    leftover = scratch_path(tmp_path, "x")
    other = leftover.with_name(leftover.name.replace(f"-{os.getpid()}-", "-1-"))
    other.write_text("")
    monkeypatch.setattr(_durable, "os", FakeOs(kill=forbidden))
    sweep_scratch(tmp_path)
    assert other.exists()


def test_a_leftover_that_goes_away_meanwhile(tmp_path, monkeypatch):
    leftover = tmp_path / ".tmp-other-1-00000000-x-abcdef"
    leftover.symlink_to(tmp_path / "gone")
    sweep_scratch(tmp_path)
    assert leftover.is_symlink()
