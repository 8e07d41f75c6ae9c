"""The rest of what a bucket store does: names, copies, several objects at once."""

import pickle
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tt_cloud import (
    AccessDenied,
    AlreadyExists,
    ObjectStore,
    TransferFailed,
)
from tt_cloud._bucket import BucketStore
from tt_cloud._stored import Attributes
from tt_cloud._transfer import threads
from tt_cloud.testing import StoreContract

from .fake import DOWN, LOST, FakeRemote, Fault, Service, busy, store_of

LARGE = bytes(range(256)) * 17


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def remote(service: Service) -> FakeRemote:
    return FakeRemote(service)


@pytest.fixture
def store(remote: FakeRemote, tmp_path: Path) -> BucketStore:
    return store_of(remote, tmp_path / "journal")


@pytest.mark.parametrize("ordered", [True, False])
def test_a_listing_has_all_pages_in_order(service: Service, ordered: bool) -> None:
    remote = FakeRemote(service, ordered=ordered)
    store = store_of(remote, None)
    keys = [f"a/{number:02}" for number in range(10)]
    for key in keys:
        store.put(key, b"")
    service.named["page"] = [DOWN, busy(1), DOWN]
    assert [info.key for info in store.list()] == keys
    assert [info.key for info in store.list("a/", start_after="a/03")] == keys[4:]
    assert [info.key for info in (store / "a").list(start_after="03")] == [
        key.removeprefix("a/") for key in keys[4:]
    ]
    service.before = lambda call: (_ for _ in ()).throw(AccessDenied("no"))
    with pytest.raises(AccessDenied):
        list(store.list())


def test_many_are_deleted_in_batches(store: BucketStore, service: Service) -> None:
    keys = [f"key-{number}" for number in range(2500)]
    for key in keys:
        service.put_object(key, b"", Attributes({}, "text/plain"))
    service.named["delete"] = [DOWN, LOST]
    service.named["delete key-7"] = [DOWN, DOWN]
    store.delete(*keys, keys[0])
    assert service.objects == {}
    assert service.names().count("delete") == 2 + 2 + 2


def test_what_cannot_be_deleted_is_reported(store: BucketStore, service: Service) -> None:
    for key in ("a", "b", "c"):
        store.put(key, b"")
    no = Fault("before", lambda: AccessDenied("not this one"))
    service.named["delete b"] = [no]
    service.named["delete c"] = [DOWN]
    with pytest.raises(TransferFailed, match=r"1 of 3.*not this one") as caught:
        store.delete("c", "b", "a")
    assert caught.value.report.deleted == ("a", "c")
    assert [failure.key for failure in caught.value.report.failures] == ["b"]
    assert list(service.objects) == ["b"]
    service.named["delete b"] = [no]
    with pytest.raises(AccessDenied):
        store.delete("b")


def test_a_batch_that_fails_does_not_hide_the_others(store: BucketStore, service: Service) -> None:
    keys = [f"{number:04}" for number in range(1500)]
    for key in keys:
        service.put_object(key, b"", Attributes({}, "text/plain"))
    service.named["delete"] = [
        Fault("after", None),
        Fault("before", lambda: AccessDenied("no more")),
    ]
    with pytest.raises(TransferFailed, match="500 of 1500") as caught:
        store.delete(*keys)
    assert len(caught.value.report.deleted) == 1000
    service.named["delete"] = [Fault("before", lambda: AccessDenied("nothing"))]
    with pytest.raises(AccessDenied, match="nothing"):
        store.delete(*keys[1000:])


def test_a_copy_outlives_faults(store: BucketStore, service: Service) -> None:
    store.put("source", b"data", metadata={"entry": "kept"})
    service.named["copy"] = [DOWN, LOST]
    info = store.copy("source", "target")
    assert (info.metadata, info.size) == ({"entry": "kept"}, 4)
    service.named["copy"] = [DOWN]
    assert store.copy("source", "new", if_absent=True).size == 4


@pytest.mark.parametrize("fault", [DOWN, LOST])
def test_two_copies_of_one_object_do_not_both_create(
    store: BucketStore, service: Service, fault: Fault
) -> None:
    store.put("source", b"data")
    store.copy("source", "target", if_absent=True)  # another writer
    service.named["copy"] = [fault]
    with pytest.raises(AlreadyExists):
        store.copy("source", "target", if_absent=True)


@pytest.mark.parametrize("data", [b"data", LARGE])
def test_a_copy_goes_through_this_machine_where_it_must(
    store: BucketStore, remote: FakeRemote, service: Service, data: bytes
) -> None:
    remote.copies = False
    store.put("source", data, metadata={"entry": "kept"}, content_type="text/odd")
    service.named["get"] = [DOWN, LOST]
    info = store.copy("source", "target", if_absent=True)
    assert service.objects["target"][0] == data
    assert (info.metadata, info.content_type) == ({"entry": "kept"}, "text/odd")
    assert info.sha256 == store.put("same", data).sha256
    with pytest.raises(AlreadyExists):
        store.copy("source", "target", if_absent=True)


def test_other_calls_are_repeated(store: BucketStore, remote: FakeRemote, service: Service) -> None:
    remote.presigns = True
    store.put("key", b"data")
    for name in ("head", "versions", "presign"):
        service.named[name] = [DOWN, busy(2)]
    info = store.head("key")
    assert info is not None
    assert store.versions("key") == (info,)
    assert "signature" in store.presign("key", expires=timedelta(minutes=1)).reveal()


def test_a_pickled_store_shares_the_budget(store: BucketStore) -> None:
    other = pickle.loads(pickle.dumps(store))
    assert other._line.retrying.endpoint is store._line.retrying.endpoint


def test_calls_share_their_threads(service: Service) -> None:
    """Many large objects at once do not take threads and buffers for each."""
    store = store_of(FakeRemote(service), None, concurrency=4)
    most = now = 0
    lock = threading.Lock()

    class Counting(FakeRemote):
        def send(self, *args: Any) -> Any:
            nonlocal most, now
            with lock:
                now += 1
                most = max(most, now)
            try:
                return super().send(*args)
            finally:
                with lock:
                    now -= 1

    store = store_of(Counting(service), None, concurrency=4)
    uploads = [
        threading.Thread(target=store.put, args=(f"key-{number}", LARGE)) for number in range(4)
    ]
    for upload in uploads:
        upload.start()
    for upload in uploads:
        upload.join()
    assert most <= 4 + 3  # one for each call in any case
    assert store._line.retrying.endpoint._busy == 0


def test_without_any_thread_a_call_does_it_all(
    store: BucketStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "start", lambda job: False)
    cancel = threading.Event()
    store.put("key", LARGE, cancel=cancel)
    store.get("key", tmp_path / "target", cancel=cancel)
    assert (tmp_path / "target").read_bytes() == LARGE
    cancel.set()


def test_a_thread_that_cannot_begin_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threads, "_idle", [])
    monkeypatch.setattr(threading.Thread, "start", start)
    assert not threads.start(lambda: None)


def test_threads_end_when_there_is_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "IDLE", 0.01)
    monkeypatch.setattr(threads, "_idle", [])
    done = threading.Event()
    found: list[threading.Thread] = []

    def job() -> None:
        found.append(threading.current_thread())
        done.set()

    assert threads.start(job)
    assert done.wait(30)
    found[0].join(30)
    assert not found[0].is_alive()
    assert threads._idle == []


AT_EXIT = """
import atexit, sys, tempfile
from pathlib import Path

sys.path.insert(0, {tests!r})
from fake import PART, FakeRemote, Service, store_of

folder = Path(tempfile.mkdtemp())
store = store_of(FakeRemote(Service()), folder)
data = bytes(10 * PART)

def save():
    store.put("key", data)
    store.get("key", folder / "target")
    assert (folder / "target").read_bytes() == data
    print("saved")

atexit.register(save)
import threading
threading.Thread(target=lambda: threading.main_thread().join() or save()).start()
"""


@pytest.mark.slow
def test_results_are_saved_while_the_interpreter_shuts_down() -> None:
    code = AT_EXIT.format(tests=str(Path(__file__).parent))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout.split() == ["saved"] * 2


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs fork")
@pytest.mark.slow
def test_a_forked_process_has_threads_of_its_own(tmp_path: Path) -> None:
    code = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from fake import PART, FakeRemote, Service, store_of
store = store_of(FakeRemote(Service()), None)
data = bytes(10 * PART)
store.put("key", data)
child = os.fork()
store.put("key", data)
assert store.read("key") == data
if child:
    print(os.waitpid(child, 0)[1])
else:
    os._exit(0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("0", "")


class TestFake(StoreContract):
    """A bucket store keeps the contract over any remote."""

    presigns = False
    checks_versions = False

    @pytest.fixture
    def store(self, tmp_path_factory: pytest.TempPathFactory) -> ObjectStore:
        remote = FakeRemote(Service(), prefix="some/prefix/")
        return store_of(remote, tmp_path_factory.mktemp("journal"))
