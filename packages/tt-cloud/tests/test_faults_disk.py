"""Downloads to where nothing can be written, and calls that are told to stop."""

import errno
import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tt_cloud import Cancelled

from .cases import OLD, SMALL, Case
from .proxy import Aside

SIDES = pytest.mark.parametrize("case", ["s3", "gcs"], indirect=True)


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """No file of this process may grow larger: EFBIG, where a full disk says ENOSPC."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@SIDES
@pytest.mark.parametrize("small", [True, False])
def test_a_full_disk(case: Case, small: bool) -> None:
    data = SMALL if small else case.large
    case.store(direct=True).put("object", data)
    case.target.write_bytes(OLD)
    with files_up_to(2000), pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
        case.store().get("object", case.target)
    assert case.target.read_bytes() == OLD
    case.store().get("object", case.target)
    assert case.target.read_bytes() == data
    case.check_nothing_left()


@SIDES
@pytest.mark.parametrize("small", [True, False])
def test_a_folder_where_the_file_belongs(case: Case, small: bool) -> None:
    case.store(direct=True).put("object", SMALL if small else case.large)
    case.target.mkdir()
    with pytest.raises(IsADirectoryError):
        case.store().get("object", case.target)
    assert list(case.target.iterdir()) == []
    case.check_nothing_left()


@SIDES
def test_a_file_where_a_folder_belongs(case: Case) -> None:
    case.store(direct=True).put("object", SMALL)
    case.target.write_bytes(OLD)
    with pytest.raises((NotADirectoryError, FileExistsError)):
        case.store().get("object", case.target / "below")
    assert case.target.read_bytes() == OLD
    case.check_nothing_left()


@SIDES
@pytest.mark.parametrize(("where", "call"), [("part", "put"), ("get", "get")])
def test_a_call_that_is_told_to_stop(case: Case, where: str, call: str) -> None:
    cancel = threading.Event()
    case.store(direct=True).put("object", case.other)
    (case.scratch / "source").write_bytes(case.large)
    case.side.inject(case.proxy, where, Aside("before", cancel.set), skip=1)
    file = case.scratch / "source" if call == "put" else case.target
    with pytest.raises(Cancelled):
        getattr(case.store(), call)("object", file, cancel=cancel)
    assert case.side.read(case.key) == case.other
    assert not case.target.exists()
    getattr(case.store(), call)("object", file)
    assert case.side.read(case.key) == (case.large if call == "put" else case.other)
    assert call == "put" or case.target.read_bytes() == case.other
    case.check_nothing_left()
