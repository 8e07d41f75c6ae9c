import gc
import pickle
import subprocess
import sys
import threading
from collections import namedtuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

from tt_loop.data.prefetch import Prefetched
from tt_loop.errors import LoopStateError, LoopTypeError, LoopValueError

Pair = namedtuple("Pair", "x y")


class Counting:
    """A loader that can be told where to begin, and keeps a diary."""

    def __init__(self, batches: int) -> None:
        self.batches, self.position, self.diary = batches, 0, []

    def __len__(self) -> int:
        return self.batches

    def __iter__(self):
        self.diary.append("begin")
        try:
            while self.position < self.batches:
                self.position += 1
                yield self.position
            self.position = 0
        finally:
            self.diary.append("end")

    def state_dict(self):
        return {"position": self.position}

    def load_state_dict(self, state) -> None:
        self.position = state["position"]


def failing():
    yield 1
    yield 2
    raise ZeroDivisionError("the third")


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "prefetch" in thread.name]


def assert_threads_end(running: list[threading.Thread]) -> None:
    for thread in running:
        thread.join(timeout=20)
        assert not thread.is_alive()


@given(st.lists(st.integers()), st.integers(1, 5))
def test_batches_come_in_the_loaders_order(batches: list[int], depth: int) -> None:
    prefetched = Prefetched(batches, depth)
    assert list(prefetched) == list(prefetched) == batches
    assert len(prefetched) == len(batches)
    assert threads() == []


def test_a_loader_without_a_length_gets_none() -> None:
    with pytest.raises(TypeError):
        len(Prefetched(iter([1])))


@pytest.mark.parametrize("depth", [1, 3])
def test_no_more_than_depth_batches_are_read_ahead(depth: int) -> None:
    delivered, ahead = 0, []
    full = threading.Event()

    def batches():
        for number in range(1, 21):
            ahead.append(number - delivered)
            if number == depth + 1:
                full.set()
            yield number

    for _ in Prefetched(batches(), depth):
        assert full.wait(20)  # it reads on while this batch is worked on
        delivered += 1
    assert max(ahead) <= depth + 1  # the one being handed over is not counted yet


def test_an_error_comes_after_the_batches_before_it_with_its_traceback() -> None:
    seen = []
    with pytest.raises(ZeroDivisionError, match="the third") as caught:
        seen.extend(batch for batch in Prefetched(failing()))
    assert "failing" in [entry.name for entry in caught.traceback]
    iterator = iter(Prefetched(failing()))
    assert [next(iterator), next(iterator)] == [1, 2]
    with pytest.raises(ZeroDivisionError):
        next(iterator)
    with pytest.raises(StopIteration):
        next(iterator)
    assert threads() == []


def test_an_error_of_the_iterators_making_is_raised_at_once() -> None:
    class Broken:
        def __iter__(self):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        iter(Prefetched(Broken()))


def test_the_thread_ends_when_the_iteration_is_broken_off() -> None:
    for batch in Prefetched(range(1000)):
        running = threads()
        if batch == 3:
            break
    assert len(running) == 1
    assert_threads_end(running)


def test_the_thread_ends_when_the_consumer_fails() -> None:
    def consume() -> None:
        for batch in Prefetched(range(1000)):
            running.extend(threads())
            raise ValueError(batch)

    running: list[threading.Thread] = []
    with pytest.raises(ValueError, match="0"):
        consume()
    assert_threads_end(running)


def test_the_thread_ends_when_the_iterator_is_garbage() -> None:
    iterator = iter(Prefetched(range(1000)))
    next(iterator)
    running = threads()
    circle = [iterator]
    circle.append(circle)
    del iterator, circle
    gc.collect()
    assert_threads_end(running)


def test_the_loader_goes_away_with_the_iteration() -> None:
    released = threading.Event()

    class Loader(list):
        def __del__(self) -> None:
            released.set()

    iterator = iter(Prefetched(Loader([1, 2, 3])))
    next(iterator)
    running = threads()
    del iterator
    assert_threads_end(running)
    gc.collect()
    assert released.is_set()


def test_an_iteration_begins_when_the_one_before_has_ended() -> None:
    loader = Counting(50)
    prefetched = Prefetched(loader)
    for _ in range(3):
        for _ in prefetched:
            break
    assert_threads_end(threads())
    assert loader.diary == ["begin", "end"] * 3


def test_iterations_side_by_side_do_not_disturb_each_other() -> None:
    prefetched = Prefetched(range(9))
    assert [*zip(prefetched, prefetched, strict=True)] == [(n, n) for n in range(9)]


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_data_loader_draws_as_without_a_thread(shuffle: bool) -> None:
    loader = DataLoader(TensorDataset(torch.arange(20)), batch_size=3, shuffle=shuffle)
    found = []
    for either in (loader, Prefetched(loader)):
        torch.manual_seed(2)
        batches = [(batch.tolist(), float(torch.rand(()))) for (batch,) in either]
        found.append((batches, torch.get_rng_state().tolist()))
    assert found[0] == found[1]


@given(st.integers(1, 9), st.integers(0, 9), st.integers(1, 4))
def test_the_state_is_that_of_what_was_consumed(batches: int, consumed: int, depth: int) -> None:
    bare, loader = Counting(batches), Counting(batches)
    prefetched = Prefetched(loader, depth)
    for _, (_, _) in zip(range(consumed), zip(bare, prefetched, strict=True), strict=False):
        assert prefetched.state_dict() == bare.state_dict()
    state = prefetched.state_dict()
    assert state == bare.state_dict()  # also when the iteration was broken off
    resumed = Prefetched(Counting(batches), depth)
    resumed.load_state_dict(state)
    assert list(resumed) == list(bare)


def test_a_state_is_loaded_between_iterations_only() -> None:
    prefetched = Prefetched(Counting(9))
    iterator = iter(prefetched)
    next(iterator)
    with pytest.raises(LoopStateError, match="one goes on"):
        prefetched.load_state_dict({"position": 4})
    del iterator
    prefetched.load_state_dict({"position": 4})
    assert prefetched.state_dict() == {"position": 4}
    assert list(prefetched) == [5, 6, 7, 8, 9]


def test_a_loader_without_state_gets_none() -> None:
    assert not hasattr(Prefetched([1]), "state_dict")
    assert not hasattr(Prefetched([1]), "load_state_dict")


def test_the_tensors_of_nested_batches_move_to_the_device() -> None:
    one = torch.ones(2)
    batch = {"a": [one, ("name", one)], "b": Pair(one, 3)}
    (moved,) = Prefetched([batch], device="meta")
    assert moved["a"][0].is_meta
    assert moved["a"][1][0] == "name"
    assert moved["a"][1][1].is_meta
    assert isinstance(moved["b"], Pair)
    assert (moved["b"].x.is_meta, moved["b"].y) == (True, 3)
    (stayed,) = Prefetched([one], device="cpu")
    assert stayed is one


def test_it_can_be_sent_to_another_process() -> None:
    prefetched = Prefetched([1, 2])
    assert list(prefetched) == [1, 2]
    assert list(pickle.loads(pickle.dumps(prefetched))) == [1, 2]


@pytest.mark.parametrize("depth", [0, -1])
def test_a_depth_below_one_is_refused(depth: int) -> None:
    with pytest.raises(LoopValueError, match="at least 1"):
        Prefetched([], depth)


def test_what_cannot_be_iterated_is_refused() -> None:
    with pytest.raises(LoopTypeError, match="got int"):
        Prefetched(3)


@pytest.mark.slow
def test_a_program_ends_although_batches_are_being_read() -> None:
    program = """
import torch
from tt_loop.data.prefetch import Prefetched

def batches():
    while True:
        yield torch.randn(300, 300) @ torch.randn(300, 300)

iterator = iter(Prefetched(batches(), depth=1000))
next(iterator)
"""
    done = subprocess.run([sys.executable, "-c", program], timeout=60, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.gpu
def test_batches_arrive_whole_on_the_gpu() -> None:
    batches = [torch.full((512, 1024), float(number)) for number in range(20)]
    busy = torch.randn(2000, 2000, device="cuda")
    for depth in (1, 4):
        sums = []
        for batch in Prefetched(batches, depth, device="cuda"):
            busy = (busy @ busy).clamp(-1, 1)  # the consumer's stream lags behind
            assert batch.device == torch.device("cuda", 0)
            sums.append(batch.double().sum())
            del batch  # its memory may be used for a later one
        expected = [batch.double().sum() for batch in batches]
        assert torch.equal(torch.stack(sums).cpu(), torch.stack(expected))


@pytest.mark.gpu
def test_batches_arrive_in_the_stream_that_asks_for_them() -> None:
    batches = [[torch.full((1024, 1024), float(number))] for number in range(10)]
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        sums = [batch.double().sum() for (batch,) in Prefetched(batches, device="cuda")]
        found = torch.stack(sums)
    stream.synchronize()
    assert found.tolist() == [number * 1024.0**2 for number in range(10)]
