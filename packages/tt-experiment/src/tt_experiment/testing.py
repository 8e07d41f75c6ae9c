"""Conformance kits: checkpoint and blob stores, loggers; and a store that fails on command.

Derive a test class, say how a store is made, and pytest runs the rest::

    class TestMyStore(CheckpointStoreContract):
        def make_store(self, path):
            return MyStore(path)
"""

from __future__ import annotations

import hashlib
import math
import pickle
import threading
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tt_experiment.ports import BlobInfo, BlobStore, Logger, RunFacts
from tt_experiment.recorder import EVENTS
from tt_loop.api import CheckpointStore, Tree

__all__ = ["BlobStoreContract", "CheckpointStoreContract", "LoggerContract", "MemoryBlobStore"]


@contextmanager
def _raises(kind: type[Exception]) -> Iterator[None]:
    try:
        yield
    except kind:
        return
    msg = f"{kind.__name__} was expected, and nothing was raised"
    raise AssertionError(msg)


def _tree(value: float) -> Tree:
    return {
        "model": {"w": torch.full((2, 3), value), "steps": torch.tensor(3)},
        "optimizers": [{"state": {"w": {"step": torch.tensor(1.0)}}, "betas": (0.9, 0.999)}],
        "history": {"loss": [0.5, math.inf], "epoch": 2, "name": "run", "best": None},
    }


class CheckpointStoreContract(ABC):
    """What tt-loop's `CheckpointStore` promises."""

    @abstractmethod
    def make_store(self, path: Path) -> CheckpointStore:
        """A store at a place; a second one at the same place sees the same checkpoints."""

    def save(self, store: CheckpointStore, value: float, step: int, **scores: float) -> None:
        """Save a small state and wait until it is safe."""
        ticket = store.save(_tree(value), step=step, scores=scores)
        ticket.wait_staged()
        assert ticket.wait_committed(60).step == step

    def test_an_empty_store_has_nothing(self, tmp_path: Path) -> None:
        """No checkpoint is no error."""
        store = self.make_store(tmp_path)
        assert store.latest() is None
        assert store.best("loss", "min") is None

    def test_a_state_comes_back_exactly(self, tmp_path: Path) -> None:
        """Values, types and containers are what was saved, also for a new store object."""
        self.save(self.make_store(tmp_path), 0.1, 10, loss=1.5)
        store = self.make_store(tmp_path)
        ref = store.latest()
        assert ref is not None
        assert (ref.step, dict(ref.scores)) == (10, {"loss": 1.5})
        tree, expected = store.load(ref), _tree(0.1)
        assert tree["model"]["w"].dtype == torch.float32
        assert torch.equal(tree["model"]["w"], expected["model"]["w"])
        assert tree["optimizers"][0]["betas"] == (0.9, 0.999)
        assert tree["history"] == expected["history"]

    def test_latest_is_the_last_one_saved(self, tmp_path: Path) -> None:
        """Also when training went back to an earlier step and on from there."""
        store = self.make_store(tmp_path)
        for step in (10, 20, 15):
            self.save(store, float(step), step)
        ref = store.latest()
        assert ref is not None
        assert ref.step == 15

    def test_best_goes_by_the_score_saved_with_it(self, tmp_path: Path) -> None:
        """In both directions; NaN is never best; a metric nobody has gives None."""
        store = self.make_store(tmp_path)
        for step, loss in ((10, 0.5), (20, 0.25), (30, math.nan), (40, 0.75)):
            self.save(store, 0.0, step, loss=loss)
        lowest, highest = store.best("loss", "min"), store.best("loss", "max")
        assert lowest is not None
        assert highest is not None
        assert (lowest.step, highest.step) == (20, 40)
        assert store.best("accuracy", "max") is None

    def test_a_step_saved_again_is_superseded(self, tmp_path: Path) -> None:
        """The new state is what the step then holds."""
        store = self.make_store(tmp_path)
        self.save(store, 1.0, 10)
        self.save(store, 2.0, 10)
        ref = store.latest()
        assert ref is not None
        assert store.load(ref)["model"]["w"][0, 0] == 2.0

    def test_training_may_go_on_once_the_state_is_staged(self, tmp_path: Path) -> None:
        """What changes after ``wait_staged`` is not in the checkpoint, be it small or large."""
        store = self.make_store(tmp_path)
        for step, numbers in enumerate((6, 3_000_000)):
            weight = torch.ones(numbers)
            ticket = store.save({"model": {"w": weight}}, step=step, scores={})
            ticket.wait_staged()
            weight.fill_(9.0)
            assert torch.equal(store.load(ticket.wait_committed())["model"]["w"], weight * 0 + 1)

    def test_what_is_no_tensor_may_change_at_once(self, tmp_path: Path) -> None:
        """Lists, dicts and values are copied when ``save`` returns; tensors may still be lent."""
        store = self.make_store(tmp_path)
        tree = {**_tree(1.0), "large": torch.ones(3_000_000)}
        ticket = store.save(tree, step=1, scores={})
        tree["history"]["loss"].append(7.0)
        tree["history"]["name"] = tree["late"] = "changed"
        ticket.wait_staged()
        loaded = store.load(ticket.wait_committed())
        assert loaded["history"] == _tree(1.0)["history"]
        assert "late" not in loaded

    def test_tensors_that_share_memory_come_back_equal(self, tmp_path: Path) -> None:
        """Tied weights, views and transposed ones."""
        store = self.make_store(tmp_path)
        base = torch.arange(1_000_000.0).reshape(1000, -1)
        model = {"base": base, "tied": base, "row": base[3], "turned": base.t()}
        ticket = store.save({"model": model}, step=1, scores={})
        loaded = store.load(ticket.wait_committed())["model"]
        assert all(torch.equal(loaded[name], tensor) for name, tensor in model.items())

    def test_a_save_that_nobody_waited_for_is_kept(self, tmp_path: Path) -> None:
        """The next one waits for it."""
        store = self.make_store(tmp_path)
        for step in (1, 2):
            ticket = store.save({"model": {"w": torch.ones(step)}}, step=step, scores={})
        ticket.wait_committed()
        ref = store.latest()
        assert ref is not None
        assert ref.step == 2


class LoggerContract(ABC):
    """What `tt_experiment.ports.Logger` promises."""

    @abstractmethod
    def make_logger(self, path: Path) -> Logger:
        """A logger that keeps what it gets at a place."""

    @abstractmethod
    def read(self, path: Path) -> Mapping[str, Sequence[tuple[int, float]]]:
        """What is there after `Logger.finish`: by name, pairs of step and value in order."""

    def attempt(self, path: Path, curve: Mapping[int, float], number: int, step: int) -> None:
        """Log a curve ``loss`` in an attempt that goes on from a step."""
        logger = self.make_logger(path)
        logger.start(_facts(path, number, step, {"lr": 0.1}))
        for at, value in curve.items():
            logger.scalars(at, {"loss": value}, epoch=at // 20)
        logger.finish("completed")

    def check(self, path: Path, expected: Mapping[int, float]) -> None:
        """Compare the curve ``loss``; tools may keep single precision."""
        found = dict(self.read(path)["loss"])
        assert len(found) == len(self.read(path)["loss"])  # no step twice
        assert list(found) == list(expected)
        assert all(math.isclose(found[step], expected[step], rel_tol=1e-6) for step in expected)

    def test_values_come_back(self, tmp_path: Path) -> None:
        """By name and step."""
        curve = {10: 0.5, 20: 0.1, 30: 1e-12}
        self.attempt(tmp_path, curve, 1, 0)
        self.check(tmp_path, curve)

    def test_an_attempt_that_goes_on_shows_no_step_twice(self, tmp_path: Path) -> None:
        """What is trained again gives the same numbers."""
        self.attempt(tmp_path, {10: 1.0, 20: 2.0, 30: 3.0}, 1, 0)
        self.attempt(tmp_path, {30: 3.0, 40: 4.0}, 2, 20)
        self.check(tmp_path, {10: 1.0, 20: 2.0, 30: 3.0, 40: 4.0})

    def test_whatever_a_run_has_is_taken(self, tmp_path: Path) -> None:
        """Odd names, values that are not finite, nested hyperparameters, all kinds of events."""
        hyperparams = {"a": {"b": [1, None], "c": {}}, "": True, "<b>|": "x" * 10_000, "n": 10**30}
        logger = self.make_logger(tmp_path)
        logger.start(_facts(tmp_path, 1, 0, hyperparams))
        for step, name in enumerate(("a b", "a/b", "../x", "/x", "", "_step", "\u2603", "n" * 400)):
            logger.scalars(step, {name: math.nan, "loss": math.inf}, epoch=0)
        for kind in EVENTS:
            logger.event(kind, {"step": 1, "text": "<b>", "scores": {"loss": None}})
        logger.finish("failed")
        assert "loss" in self.read(tmp_path)

    def test_finishing_is_always_possible(self, tmp_path: Path) -> None:
        """Before a start and a second time too."""
        logger = self.make_logger(tmp_path)
        logger.finish("interrupted")
        logger.start(_facts(tmp_path, 1, 0, {}))
        logger.finish("interrupted")
        logger.finish("interrupted")

    def test_it_goes_to_other_processes_before_it_starts(self, tmp_path: Path) -> None:
        """A fit on several processes pickles it."""
        logger = pickle.loads(pickle.dumps(self.make_logger(tmp_path)))
        logger.start(_facts(tmp_path, 1, 0, {}))
        logger.scalars(1, {"loss": 1.0}, epoch=0)
        logger.finish("completed")
        self.check(tmp_path, {1: 1.0})


def _facts(path: Path, attempt: int, step: int, hyperparams: Mapping[str, Any]) -> RunFacts:
    folder = path / "run"
    folder.mkdir(exist_ok=True)
    identity = f"run-{zlib.crc32(str(path).encode()):08x}"
    return RunFacts(identity, "project", "experiment", folder, hyperparams, attempt, step)


class BlobStoreContract(ABC):
    """What `tt_experiment.ports.BlobStore` promises."""

    @abstractmethod
    def make_store(self, path: Path) -> BlobStore:
        """An empty store; the folder is there for those that need one."""

    def test_put_and_get(self, tmp_path: Path) -> None:
        """Bytes and files come back with their size and digest."""
        store = self.make_store(tmp_path / "store")
        source = tmp_path / "source"
        source.write_bytes(b"file")
        digest = hashlib.sha256(b"file").hexdigest()
        store.put("a/file", source, sha256=digest)
        store.put("a/bytes", b"bytes")
        info = store.get("a/file", tmp_path / "target")
        assert (info.key, info.size, info.sha256) == ("a/file", 4, digest)
        assert (tmp_path / "target").read_bytes() == b"file"
        store.get("a/bytes", tmp_path / "target")
        assert (tmp_path / "target").read_bytes() == b"bytes"

    def test_put_again_replaces(self, tmp_path: Path) -> None:
        """The last content counts, and putting is idempotent."""
        store = self.make_store(tmp_path / "store")
        for content in (b"one", b"three", b"three"):
            store.put("key", content)
        info = store.head("key")
        assert info is not None
        assert info.size == 5

    def test_a_missing_object(self, tmp_path: Path) -> None:
        """``head`` says None, ``get`` raises and leaves no file, ``delete`` does not mind."""
        store = self.make_store(tmp_path / "store")
        assert store.head("no") is None
        store.delete("no")
        with _raises(FileNotFoundError):
            store.get("no", tmp_path / "target")
        assert not (tmp_path / "target").exists()

    def test_if_absent_loses_when_the_key_is_taken(self, tmp_path: Path) -> None:
        """The first content stays."""
        store = self.make_store(tmp_path / "store")
        store.put("key", b"first", if_absent=True)
        with _raises(FileExistsError):
            store.put("key", b"second", if_absent=True)
        store.get("key", tmp_path / "target")
        assert (tmp_path / "target").read_bytes() == b"first"

    def test_a_wrong_digest_stores_nothing(self, tmp_path: Path) -> None:
        """Content that is not what its digest says never becomes an object."""
        store = self.make_store(tmp_path / "store")
        with _raises(ValueError):
            store.put("key", b"content", sha256="0" * 64)
        assert store.head("key") is None

    def test_list_goes_by_prefix_in_order(self, tmp_path: Path) -> None:
        """Keys, not folders: a prefix may end inside a name."""
        store = self.make_store(tmp_path / "store")
        for key in ("b/2", "a", "b/1", "bc"):
            store.put(key, b"x")
        assert [info.key for info in store.list()] == ["a", "b/1", "b/2", "bc"]
        assert [info.key for info in store.list("b")] == ["b/1", "b/2", "bc"]
        store.delete("b/1")
        assert [info.key for info in store.list("b/")] == ["b/2"]

    def test_a_key_is_free_again_after_delete(self, tmp_path: Path) -> None:
        """And parts of it may begin with a dot."""
        store = self.make_store(tmp_path / "store")
        store.put("run/.claims/0001.json", b"first", if_absent=True)
        assert [info.key for info in store.list("run/.claims/")] == ["run/.claims/0001.json"]
        store.delete("run/.claims/0001.json")
        store.put("run/.claims/0001.json", b"second", if_absent=True)
        store.get("run/.claims/0001.json", tmp_path / "target")
        assert (tmp_path / "target").read_bytes() == b"second"

    def test_of_many_that_create_a_key_one_succeeds(self, tmp_path: Path) -> None:
        """Its content is what is there."""
        store = self.make_store(tmp_path / "store")
        won: list[int] = []

        def create(number: int) -> None:
            with suppress(FileExistsError):
                store.put("key", b"%d" % number, if_absent=True)
                won.append(number)

        threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        store.get("key", tmp_path / "target")
        assert (tmp_path / "target").read_bytes() == b"%d" % won[0]
        assert len(won) == 1

    def test_head_knows_the_digest_of_the_last_content(self, tmp_path: Path) -> None:
        """So that it can be told what is to be copied again."""
        store = self.make_store(tmp_path / "store")
        for content in (b"one", b"other"):
            digest = hashlib.sha256(content).hexdigest()
            store.put("key", content, sha256=digest)
            info = store.head("key")
            assert info is not None
            assert (info.size, info.sha256) == (len(content), digest)

    def test_a_file_that_is_not_there_stores_nothing(self, tmp_path: Path) -> None:
        """It may have been deleted a moment ago."""
        store = self.make_store(tmp_path / "store")
        with _raises(FileNotFoundError):
            store.put("key", tmp_path / "gone", sha256="0" * 64)
        assert store.head("key") is None


@dataclass(frozen=True)
class _Info:
    key: str
    size: int
    sha256: str | None


class MemoryBlobStore:
    """A `BlobStore` in memory, for tests.

    Attributes:
        objects: What it has.
        stored: The keys of all `put` that succeeded, in their order.
        before: Called with a method's name and a key before each request. What it raises, the
            request raises.
    """

    def __init__(self, url: str = "mem://test") -> None:
        self.url = url
        self.objects: dict[str, bytes] = {}
        self.stored: list[str] = []
        self.before: Callable[[str, str], object] = lambda _method, _key: None
        self._guard = threading.Lock()

    def put(
        self,
        key: str,
        source: Path | bytes,
        /,
        *,
        sha256: str | None = None,
        if_absent: bool = False,
    ) -> BlobInfo:
        self.before("put", key)
        content = source if isinstance(source, bytes) else source.read_bytes()
        if sha256 not in (None, hashlib.sha256(content).hexdigest()):
            msg = f"{key} must have the digest {sha256}"
            raise ValueError(msg)
        with self._guard:
            if if_absent and key in self.objects:
                raise FileExistsError(key)
            self.objects[key] = content
            self.stored.append(key)
        return self._info(key, content)

    def get(self, key: str, target: Path, /) -> BlobInfo:
        self.before("get", key)
        if key not in self.objects:
            raise FileNotFoundError(key)
        target.write_bytes(self.objects[key])
        return self._info(key, self.objects[key])

    def head(self, key: str, /) -> BlobInfo | None:
        self.before("head", key)
        content = self.objects.get(key)
        return None if content is None else self._info(key, content)

    def list(self, prefix: str = "", /) -> Iterator[BlobInfo]:
        self.before("list", prefix)
        found = {key: content for key, content in self.objects.items() if key.startswith(prefix)}
        return iter([self._info(key, found[key]) for key in sorted(found)])

    def delete(self, key: str, /) -> None:
        self.before("delete", key)
        self.objects.pop(key, None)

    def _info(self, key: str, content: bytes) -> BlobInfo:
        return _Info(key, len(content), hashlib.sha256(content).hexdigest())
