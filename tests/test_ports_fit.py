"""Every provider fits the interface of its consumer: by type check, and by running its kit.

The functions in the first part only have to pass mypy; the classes below run.
"""

from importlib.metadata import entry_points
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from tt_cloud import ObjectInfo, ObjectStore, open_store
from tt_experiment.api import (
    BlobInfo,
    BlobStore,
    CheckpointFolder,
    Experiment,
    ExperimentFolder,
    ExperimentRecorder,
    JsonLinesRecorder,
    SaveTicket,
)
from tt_experiment.testing import BlobStoreContract, CheckpointStoreContract
from tt_loop.api import (
    CheckpointStore,
    Collective,
    Launcher,
    LocalCollective,
    Metric,
    Precision,
    Recorder,
    ResultPackage,
    SingleDevice,
    Strategy,
    Ticket,
)
from tt_loop.testing import (
    MetricContract,
    PrecisionContract,
    RecorderContract,
    StrategyContract,
)
from tt_metrics.api import (
    AccuracyMetric,
    ClassificationResultPackage,
    MeanAbsoluteErrorMetric,
    RegressionResultPackage,
)
from tt_nlp.api import ExactMatchTextMetric, F1TextMetric
from tt_parallel.api import (
    ApexAmp,
    DataParallelStrategy,
    DistributedStrategy,
    FullPrecision,
    Here,
    Joined,
    OneProcess,
    OptLevel,
    ProcessGroup,
    ShardedStrategy,
    SingleStrategy,
    Spawn,
    TorchAmp,
)


def strategies_fit(
    single: SingleStrategy,
    dp: DataParallelStrategy,
    ddp: DistributedStrategy,
    fsdp: ShardedStrategy,
) -> list[Strategy]:
    return [single, dp, ddp, fsdp]


def collectives_fit(group: ProcessGroup, one: OneProcess, own: LocalCollective) -> list[Collective]:
    return [group, one, own]


def launchers_fit(here: Here, spawn: Spawn, joined: Joined) -> list[Launcher]:
    return [here, spawn, joined]


def precisions_fit(
    amp: TorchAmp, level: OptLevel, apex: ApexAmp, full: FullPrecision
) -> list[Precision]:
    return [amp, level, apex, full]


def metrics_fit(
    accuracy: AccuracyMetric, error: MeanAbsoluteErrorMetric, f1: F1TextMetric
) -> list[Metric]:
    return [accuracy, error, f1]


def packages_fit(
    one: ClassificationResultPackage, two: RegressionResultPackage
) -> list[ResultPackage]:
    return [one, two]


def packages_stream(one: ClassificationResultPackage) -> Metric:
    return one


def recorders_fit(lines: JsonLinesRecorder, experiment: ExperimentRecorder) -> list[Recorder]:
    return [lines, experiment]


def checkpoints_fit(folder: CheckpointFolder, experiment: Experiment) -> list[CheckpointStore]:
    return [folder, experiment]


def tickets_fit(ticket: SaveTicket) -> Ticket:
    return ticket


def stores_fit(store: ObjectStore) -> BlobStore:
    return store


def infos_fit(info: ObjectInfo) -> BlobInfo:
    return info


class TestDataParallelStrategy(StrategyContract):
    def make_strategy(self) -> Strategy:
        return DataParallelStrategy(torch.device("cpu"))


class TestDistributedStrategy(StrategyContract):
    @pytest.fixture(autouse=True)
    def group(self, tmp_path: Path):  # type: ignore[no-untyped-def]  # a generator fixture
        dist.init_process_group("gloo", f"file://{tmp_path}/meeting", rank=0, world_size=1)
        yield
        dist.destroy_process_group()

    def make_strategy(self) -> Strategy:
        return DistributedStrategy(torch.device("cpu"))


class TestSingleStrategy(StrategyContract):
    def make_strategy(self) -> Strategy:
        return SingleStrategy(torch.device("cpu"))


class TestStrategyInMixedPrecision:
    def test_state_goes_from_strategy_to_strategy(self) -> None:
        model = torch.nn.Linear(2, 2)
        optimizer = torch.optim.Adam(model.parameters())
        saved = SingleDevice("cpu", TorchAmp("cpu")).state_dict(model, [optimizer])
        other = DataParallelStrategy(torch.device("cpu"), TorchAmp("cpu"))
        other.load_state_dict(model, [optimizer], saved)
        assert other.state_dict(model, [optimizer])["precision"] == saved["precision"]


class TestBfloat16(PrecisionContract):
    def make_precision(self) -> Precision:
        return TorchAmp("cpu", torch.bfloat16)


class TestFloat16(PrecisionContract):
    def make_precision(self) -> Precision:
        return TorchAmp("cpu", torch.float16)


class TestO1(PrecisionContract):
    def make_precision(self) -> Precision:
        return OptLevel("cpu", "O1", half=torch.float16)


class TestO2(PrecisionContract):
    def make_precision(self) -> Precision:
        return OptLevel("cpu", "O2")


class TestFullPrecision(PrecisionContract):
    def make_precision(self) -> Precision:
        return FullPrecision()


LABELS = [([0, 1, 2], [0, 2, 2]), ([1], [1]), ([2, 2, 0, 1], [2, 0, 0, 1])]


class TestAccuracy(MetricContract):
    def make_metric(self) -> Metric:
        return AccuracyMetric()

    def batches(self) -> list[tuple[list[int], list[int]]]:
        return LABELS


class TestClassificationPackage(TestAccuracy):
    def make_metric(self) -> Metric:
        return ClassificationResultPackage()


class TestRegressionPackage(MetricContract):
    def make_metric(self) -> Metric:
        return RegressionResultPackage()

    def batches(self) -> list[tuple[list[float], list[float]]]:
        return [([0.5, 1.0], [0.4, 1.5]), ([2.0], [2.5]), ([1e6, 1e-6], [1e6 + 1, 0.0])]


class TestTextF1(MetricContract):
    def make_metric(self) -> Metric:
        return F1TextMetric(target_actual_text=True)

    def batches(self) -> list[tuple[list[str], list[str]]]:
        return [(["a red car"], ["red car"]), (["blue"], ["green"]), (["x", "y z"], ["x", "z"])]


class TestExactMatch(TestTextF1):
    def make_metric(self) -> Metric:
        return ExactMatchTextMetric(target_actual_text=True)


class TestJsonLinesRecorder(RecorderContract):
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        self.path = tmp_path

    def make_recorder(self) -> Recorder:
        folder = ExperimentFolder.create(self.path, "p", "e")
        folder.write_start({})
        return JsonLinesRecorder(folder)


class TestExperimentRecorder(RecorderContract):
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        self.path = tmp_path

    def make_recorder(self) -> Recorder:
        return Experiment("p", "e", self.path).recorder


class TestExperimentAsCheckpointStore(CheckpointStoreContract):
    def make_store(self, path: Path) -> CheckpointStore:
        runs = sorted(path.glob("p/e_*"))
        return Experiment.open(runs[0]) if runs else Experiment("p", "e", path)


class TestFolderStore(BlobStoreContract):
    def make_store(self, path: Path) -> BlobStore:
        return open_store(path)


class TestMemoryStore(BlobStoreContract):
    def make_store(self, path: Path) -> BlobStore:
        return open_store(f"memory://{abs(hash(path))}")  # a store of its own for each test


@pytest.mark.parametrize(
    ("group", "names"),
    [
        ("tt_loop.strategies", {"single", "dp", "ddp", "fsdp"}),
        ("tt_loop.precisions", {"amp"}),
        ("tt_experiment.stores", {"file", "memory", "s3", "gs"}),
    ],
)
def test_names_that_users_write_are_registered(group: str, names: set[str]) -> None:
    found = {entry.name: entry for entry in entry_points(group=group)}
    assert set(found) == names
    assert all(callable(entry.load()) for entry in found.values())
