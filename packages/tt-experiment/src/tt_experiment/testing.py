"""Conformance kits: what any checkpoint store, and any blob store, has to pass.

Derive a test class, say how a store is made, and pytest runs the rest::

    class TestMyStore(CheckpointStoreContract):
        def make_store(self, path):
            return MyStore(path)
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from tt_experiment.ports import BlobStore
from tt_loop.api import CheckpointStore, Tree

__all__ = ["BlobStoreContract", "CheckpointStoreContract"]


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
        """What changes after ``wait_staged`` is not in the checkpoint."""
        store = self.make_store(tmp_path)
        tree = _tree(1.0)
        ticket = store.save(tree, step=1, scores={})
        ticket.wait_staged()
        tree["model"]["w"].fill_(9.0)
        assert store.load(ticket.wait_committed())["model"]["w"][0, 0] == 1.0


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
