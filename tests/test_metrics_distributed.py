"""Metrics reduced over real processes: the result of one process that saw everything."""

import doctest
import importlib
import multiprocessing
import pickle
import re
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.utils.data import DistributedSampler

import tt_metrics.distributed
from tt_metrics.api import (
    AbstractBaseMetric,
    AccuracyMetric,
    ClassificationResultPackage,
    Confusion,
    F1ScoreMetric,
    GeneralResultPackage,
    MeanAbsoluteErrorMetric,
    MeanSquaredErrorMetric,
    Metric,
    MetricInputError,
    MetricStateError,
    MetricTypeError,
    NoDataError,
    PrecisionMetric,
    RecallMetric,
    Segments,
)
from tt_metrics.distributed import padding_mask, reduce

ITEMS = 41
DRAW = np.random.default_rng(5)
Y = DRAW.integers(0, 4, ITEMS)
P = np.where(DRAW.random(ITEMS) < 0.6, Y, DRAW.integers(0, 4, ITEMS))
TRUTH, GUESS = DRAW.normal(1e3, 1, (2, ITEMS))
WEIGHT = DRAW.random(ITEMS)
NAMES = np.array(["ant", "bee", "cat", "dodo"])
CUTS = {2: [0, 0, 41], 3: [0, 5, 41, 41]}  # the first of two and the last of three see nothing


class RightOnes(Metric[Confusion]):
    def __init__(self) -> None:
        super().__init__("Right_ones")

    def make_state(self) -> Confusion:
        return Confusion(num_classes=4)

    def result_of(self, state: Confusion) -> int:
        return int(state.right)


class RightNames(RightOnes):
    def make_state(self) -> Confusion:
        return Confusion()


class Misses(Segments):
    names = ("miss",)

    def columns(self, y_true: Any, y_predicted: Any) -> list[Any]:
        return [np.abs(np.subtract(y_true, y_predicted))]


class MeanMiss(Metric[Misses]):
    def __init__(self) -> None:
        super().__init__("Miss")

    def make_state(self) -> Misses:
        return Misses()

    def result_of(self, state: Misses) -> float:
        return state.mean("miss")


class LongestText(AbstractBaseMetric):
    def __init__(self, y_true: Any, y_predicted: Any) -> None:
        super().__init__(y_true, y_predicted, "Longest", np_array=False)

    def calculate_metric(self) -> int:
        return max(len(one) for one in self.y_predicted)


def longest() -> LongestText:
    metric = LongestText(["a"], ["b"])
    metric.reset()
    return metric


class Failing(AccuracyMetric):
    @property
    def state(self) -> dict[str, Any]:
        msg = "the disk is full"
        raise OSError(msg)


def package() -> GeneralResultPackage:
    return GeneralResultPackage(
        [AccuracyMetric, F1ScoreMetric(average="macro"), RightOnes, MeanSquaredErrorMetric]
    )


# How a metric is made, what it is fed, and whether its result is counted, so the same to the bit.
CASES: dict[str, tuple[Callable[[], Any], tuple[Any, ...], bool]] = {
    "accuracy": (AccuracyMetric, (Y, P), True),
    "F1": (lambda: F1ScoreMetric(average="macro"), (Y, P), True),
    "F1 of texts": (lambda: F1ScoreMetric(average="macro"), (NAMES[Y], NAMES[P]), True),
    "weighted": (lambda: F1ScoreMetric(average="macro"), (Y, P, WEIGHT), False),
    "added up": (RightOnes, (Y, P), True),
    "added up, of texts": (RightNames, (NAMES[Y], NAMES[P]), True),
    "added up, weighted": (RightNames, (Y, P, np.ceil(WEIGHT * 8)), True),
    "squares": (MeanSquaredErrorMetric, (TRUTH, GUESS), False),
    "weighted error": (MeanAbsoluteErrorMetric, (TRUTH, GUESS, WEIGHT), False),
    "segments": (MeanMiss, (TRUTH, GUESS), True),
    "whole data": (longest, (NAMES[Y].tolist(), NAMES[P].tolist()), True),
    "kept": (lambda: MeanAbsoluteErrorMetric().keep_items(), (TRUTH, GUESS, WEIGHT), False),
    "package": (package, (Y, P), False),
    "package of labels": (ClassificationResultPackage, (NAMES[Y], NAMES[P]), True),
}


def feed(metric: Any, data: tuple[Any, ...], part: slice) -> Any:
    """Update with a part of the data, in batches of 4."""
    start, stop, _ = part.indices(ITEMS)
    for at in range(start, stop, 4):
        batch = [column[at : min(at + 4, stop)] for column in data]
        metric.update(*batch[:2], weight=batch[2] if len(batch) > 2 else None)
    return metric


def reductions(rank: int, world: int) -> Iterator[tuple[str, Any]]:
    part = slice(*CUTS[world][rank : rank + 2])
    for name, (make, data, _) in CASES.items():
        own = feed(make(), data, part)
        before = pickle.dumps(own.state)
        total = reduce(own)
        assert pickle.dumps(own.state) == before
        assert reduce(own).compute() == total.compute()  # nothing counts twice
        assert type(total) is type(own)
        yield name, (total.compute(), repr(total.state))


def more_data(rank: int, world: int) -> Any:
    """Reduce, go on, reduce again."""
    metric = MeanSquaredErrorMetric()
    counts = []
    for _ in range(2):
        metric.update(TRUTH[rank::world], GUESS[rank::world])
        counts.append(reduce(metric).count)
    return counts


def share_of(size: int, rank: int, world: int, shuffle: bool) -> Any:
    """The samples that a real sampler hands out, some of them repeated."""
    dataset: Any = range(size)
    sampler: DistributedSampler[int] = DistributedSampler(
        dataset, num_replicas=world, rank=rank, shuffle=shuffle, seed=3
    )
    return np.array(list(sampler), int)


def padded(rank: int, world: int) -> Any:
    """With a mask, with ids, and as it comes."""
    share = share_of(ITEMS, rank, world, shuffle=True)
    masked, known, twice = AccuracyMetric(), MeanAbsoluteErrorMetric(), AccuracyMetric()
    for at in range(0, len(share), 4):
        index = share[at : at + 4]
        masked.update(Y[index], P[index], valid=padding_mask(len(index), ITEMS, offset=at))
        known.update(TRUTH[index], GUESS[index], sample_ids=index)
        twice.update(Y[index], P[index])
    totals: list[Metric[Any]] = [reduce(masked), reduce(known), reduce(twice)]
    return [(total.count, float(total)) for total in totals], known.count


def nobody(rank: int, world: int) -> Any:
    total = reduce(AccuracyMetric())
    with pytest.raises(NoDataError):
        total.compute()
    return total.count


def kept_by_some(rank: int, world: int) -> Any:
    """A rank without data has not been told by its samples that they are to be kept."""
    metric = AccuracyMetric()
    if rank == 0:
        metric.update(Y, P, sample_ids=np.arange(ITEMS))
    items = reduce(metric).items
    return None if items is None else len(items.y_true)


def by_groups(rank: int, world: int) -> Any:
    """Only the first two of all."""
    group = dist.new_group([0, 1])
    metric = feed(AccuracyMetric(), (Y, P), slice(rank, rank + 1))
    if rank < 2:
        return reduce(metric, group).count
    with pytest.raises(MetricInputError, match="Only members of the group"):
        reduce(metric, group)
    return None


MISMATCHES: dict[str, list[Callable[[], Any]]] = {
    "metrics": [lambda: PrecisionMetric([1], [1]), lambda: RecallMetric([1], [1])],
    "empty metrics": [PrecisionMetric, RecallMetric],
    "settings": [lambda: AccuracyMetric([1], [1]), lambda: AccuracyMetric([1], [1], 0.3)],
    "packages": [ClassificationResultPackage, package],
    "package": [AccuracyMetric, ClassificationResultPackage],
    "texts": [lambda: F1ScoreMetric([1], [1]), lambda: F1ScoreMetric(["a"], ["a"])],
    "kept": [
        lambda: feed(AccuracyMetric(), (Y, P), slice(9)),
        lambda: feed(AccuracyMetric().keep_items(), (Y, P), slice(9)),
    ],
    "failure": [lambda: AccuracyMetric([1], [1]), lambda: Failing([1], [1])],
    "no metric": [lambda: AccuracyMetric([1], [1]), lambda: 3],
    "nothing to send": [longest, lambda: feed(longest(), ([object()], [object()]), slice(1))],
}


def mismatches(rank: int, world: int) -> Iterator[tuple[str, Any]]:
    for name, (first, other) in MISMATCHES.items():
        with pytest.raises(Exception) as error:  # noqa: PT011  (the parent looks at it)
            reduce((other if rank == 1 else first)())
        yield name, (type(error.value), str(error.value))
    assert reduce(AccuracyMetric([1], [1])).count == world  # all are still in step


def versions(rank: int, world: int) -> Any:
    """Rank 1 is ahead of the others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tt_metrics._core.shares.STATE_FORMAT", 1 + (rank == 1))
        with pytest.raises(MetricStateError) as error:
            reduce(AccuracyMetric([1], [1]))
    return str(error.value)


def counted_messages(rank: int, world: int) -> Any:
    """How often the processes spoke to each other, and how many numbers were added up."""
    added = []
    real = dist.all_reduce

    def noted(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        added.append((tensor.dtype, tensor.numel()))
        return real(tensor, *args, **kwargs)

    dist.all_reduce = noted
    try:
        reduce(feed(RightOnes(), (Y, P), slice(rank, 9)))
        reduce(feed(package(), (Y, P), slice(rank, 9)))
        reduce(feed(MeanMiss(), (Y, P), slice(rank, 9)))
    finally:
        dist.all_reduce = real
    return added


SCENARIOS: dict[str, Callable[[int, int], Any]] = {
    "reductions": lambda rank, world: dict(reductions(rank, world)),
    "mismatches": lambda rank, world: dict(mismatches(rank, world)),
    "more_data": more_data,
    "padded": padded,
    "nobody": nobody,
    "kept_by_some": kept_by_some,
    "by_groups": by_groups,
    "versions": versions,
    "counted_messages": counted_messages,
}


def work(rank: int, world: int, folder: str) -> None:
    """The life of a process."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        f"file://{folder}/meeting",
        rank=rank,
        world_size=world,
        timeout=timedelta(seconds=60),  # what waits for ever fails
    )
    try:
        results = {name: scenario(rank, world) for name, scenario in SCENARIOS.items()}
        Path(folder, f"{rank}.pickle").write_bytes(pickle.dumps(results))
        dist.barrier()  # nobody leaves while another still talks
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope="module", params=[2, 3])
def ranks(request: Any, tmp_path_factory: Any) -> list[dict[str, Any]]:
    """What each process found."""
    world, folder = request.param, tmp_path_factory.mktemp("processes")
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=work, args=(rank, world, str(folder))) for rank in range(world)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(180)
        process.kill()
    return [pickle.loads(Path(folder, f"{rank}.pickle").read_bytes()) for rank in range(world)]


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_many_processes_equal_one(ranks: Any, name: str) -> None:
    make, data, counted = CASES[name]
    expected = feed(make(), data, slice(ITEMS)).compute()
    results, state = ranks[0]["reductions"][name]
    assert results == (expected if counted else pytest.approx(expected, rel=1e-12, abs=0))
    for rank in ranks[1:]:
        assert rank["reductions"][name] == (results, state)


@pytest.mark.slow
def test_data_that_comes_after_a_reduction_counts_once(ranks: Any) -> None:
    for rank in ranks:
        assert rank["more_data"] == [ITEMS, 2 * ITEMS]


@pytest.mark.slow
def test_the_padding_of_a_sampler_does_not_count(ranks: Any) -> None:
    padding = -ITEMS % len(ranks)
    assert padding > 0
    accuracy, error = AccuracyMetric(Y, P), MeanAbsoluteErrorMetric(TRUTH, GUESS)
    for rank in ranks:
        [masked, known, twice], own = rank["padded"]
        assert masked == (ITEMS, float(accuracy))
        assert known[0] == ITEMS
        assert known[1] == pytest.approx(float(error), rel=1e-12, abs=0)
        assert twice[0] == ITEMS + padding  # the sampler does repeat samples
        assert own == -(-ITEMS // len(ranks))  # a rank cannot see that another has a sample too


@pytest.mark.slow
def test_where_nobody_saw_anything_there_is_no_result(ranks: Any) -> None:
    assert [rank["nobody"] for rank in ranks] == [0] * len(ranks)


@pytest.mark.slow
def test_items_are_kept_where_some_rank_keeps_them(ranks: Any) -> None:
    assert [rank["kept_by_some"] for rank in ranks] == [ITEMS] * len(ranks)


@pytest.mark.slow
def test_a_group_reduces_for_itself(ranks: Any) -> None:
    assert [rank["by_groups"] for rank in ranks] == [2, 2, None][: len(ranks)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("metrics", "RecallMetric .* came for|PrecisionMetric .* came for"),
        ("empty metrics", "RecallMetric .* came for|PrecisionMetric .* came for"),
        ("settings", "'positive_class_thresh': 0.3"),
        ("packages", "packages with the same metrics"),
        ("package", "must be a dict with the entry"),
        ("texts", "Labels must stay of one type"),
        ("kept", "call keep_items"),
    ],
)
def test_what_does_not_fit_is_an_error_on_every_rank(ranks: Any, name: str, says: str) -> None:
    for rank in ranks:
        kind, text = rank["mismatches"][name]
        assert kind is MetricStateError
        assert re.search(says, text)
        assert "rank" in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "own", "says"),
    [
        ("failure", OSError, "the disk is full"),
        ("no metric", MetricTypeError, "int came"),
        ("nothing to send", MetricStateError, "object came"),
    ],
)
def test_a_rank_that_fails_leaves_nobody_waiting(
    ranks: Any, name: str, own: type[Exception], says: str
) -> None:
    for number, rank in enumerate(ranks):
        kind, text = rank["mismatches"][name]
        assert says in text
        assert kind is (own if number == 1 else MetricStateError)
        assert number == 1 or "rank 1 failed" in text


@pytest.mark.slow
def test_processes_of_different_versions_are_told(ranks: Any) -> None:
    for rank in ranks:
        assert "one version of tt-metrics; by rank, they write states of" in rank["versions"]
        assert "[1, 2" in rank["versions"]


@pytest.mark.slow
def test_counts_are_added_up_in_one_message(ranks: Any) -> None:
    sizes = [size for dtype, size in ranks[0]["counted_messages"] if dtype == torch.int64]
    assert sizes[0] == 4 * 4 + 1  # the matrix, and how many items
    assert len(sizes) == 2  # one for each of the two that have counts
    assert all(rank["counted_messages"] == ranks[0]["counted_messages"] for rank in ranks)


@pytest.mark.parametrize("name", CASES)
def test_one_process_needs_no_group(name: str) -> None:
    make, data, _ = CASES[name]
    metric = feed(make(), data, slice(ITEMS))
    total = reduce(metric)
    assert total is not metric
    assert total.compute() == metric.compute()
    feed(total, data, slice(5))
    assert metric.compute() == feed(make(), data, slice(ITEMS)).compute()


def test_what_is_no_metric_is_refused() -> None:
    with pytest.raises(MetricTypeError, match="a dict came"):
        reduce({"Accuracy": 1.0})  # type: ignore[type-var]  # that is the mistake


def test_the_examples_in_the_docstrings() -> None:
    names = {"AccuracyMetric": AccuracyMetric}
    result = doctest.testmod(tt_metrics.distributed, extraglobs=names)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("size", [0, 1, 7, 12])
@pytest.mark.parametrize("world", [1, 3, 5])
@pytest.mark.parametrize("shuffle", [False, True])
def test_the_mask_keeps_each_sample_once(size: int, world: int, shuffle: bool) -> None:
    kept = []
    for rank in range(world):
        share = share_of(size, rank, world, shuffle)
        for at in range(0, len(share), 2):
            index = share[at : at + 2]
            mask = padding_mask(len(index), size, offset=at, rank=rank, world_size=world)
            kept += index[mask].tolist()
    assert sorted(kept) == list(range(size))


def test_without_a_group_nothing_is_padding() -> None:
    assert padding_mask(3, 3).tolist() == [True, True, True]


@pytest.mark.parametrize(
    "wrong",
    [{"rank": 3, "world_size": 3}, {"rank": -1}, {"offset": -1}, {"world_size": 0}, {"rank": 1}],
)
def test_numbers_that_cannot_be_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(MetricInputError, match=r"rank in \[0, world_size\)"):
        padding_mask(4, 10, **wrong)


def test_without_torch_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "tt_metrics.distributed")
    with pytest.raises(ImportError, match=r"pip install 'tt-metrics\[torch\]'"):
        importlib.import_module("tt_metrics.distributed")


@pytest.mark.gpu
def test_nccl_takes_what_lies_on_the_gpu(tmp_path: Path) -> None:
    torch.cuda.set_device(0)
    dist.init_process_group("nccl", f"file://{tmp_path}/meeting", rank=0, world_size=1)
    try:
        assert reduce(feed(AccuracyMetric(), (Y, P), slice(9))).count == 9
    finally:
        dist.destroy_process_group()
