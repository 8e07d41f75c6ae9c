"""AIToolbox's import paths lead to the very objects of the packages."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

PATHS = {
    "torchtrain.train_loop": {
        "tt_loop.api": ["TrainLoop"],
        "tt_experiment.api": [
            "TrainLoopCheckpoint",
            "TrainLoopCheckpointEndSave",
            "TrainLoopEndSave",
        ],
    },
    "torchtrain.model": {"tt_loop.api": ["ModelWrap", "TTBasicModel", "TTModel"]},
    "torchtrain.parallel": {"tt_parallel.api": ["TTDataParallel", "TTDistributedDataParallel"]},
    "torchtrain.data.batch_model_feed_defs": {"tt_loop.api": ["AbstractModelFeedDefinition"]},
    "torchtrain.callbacks": {
        "tt_loop.api": [
            "AbstractCallback",
            "EarlyStopping",
            "GradNormClip",
            "GradValueClip",
            "ModelPerformanceEvaluation",
            "ModelPerformancePrintReport",
        ],
        "tt_experiment.api": ["ModelCheckpoint", "ModelTrainEndSave", "ModelTrainHistoryPlot"],
    },
    "torchtrain.callbacks.abstract": {"tt_loop.api": ["AbstractCallback"]},
    "torchtrain.callbacks.basic": {"tt_loop.api": ["EarlyStopping"]},
    "torchtrain.callbacks.gradient": {"tt_loop.api": ["GradNormClip", "GradValueClip"]},
    "torchtrain.callbacks.performance_eval": {
        "tt_loop.api": ["ModelPerformanceEvaluation", "ModelPerformancePrintReport"],
        "tt_experiment.api": ["ModelTrainHistoryPlot"],
    },
    "torchtrain.callbacks.model_save": {
        "tt_experiment.api": ["ModelCheckpoint", "ModelTrainEndSave"]
    },
    "experiment.core_metrics.classification": {
        "tt_metrics.api": [
            "AccuracyMetric",
            "F1ScoreMetric",
            "PrecisionMetric",
            "PrecisionRecallCurveAUCMetric",
            "ROCAUCMetric",
            "RecallMetric",
        ]
    },
    "experiment.core_metrics.regression": {
        "tt_metrics.api": ["MeanAbsoluteErrorMetric", "MeanSquaredErrorMetric"]
    },
    "experiment.result_package.abstract_result_packages": {
        "tt_metrics.api": [
            "AbstractResultPackage",
            "MultipleResultPackageWrapper",
            "PreCalculatedResultPackage",
        ]
    },
    "experiment.result_package.basic_packages": {
        "tt_metrics.api": [
            "BinaryClassificationResultPackage",
            "ClassificationResultPackage",
            "GeneralResultPackage",
            "RegressionResultPackage",
        ]
    },
    "experiment.result_package.torch_metrics_packages": {"tt_metrics.api": ["TorchMetricsPackage"]},
    "experiment.result_package.hf_evaluate_packages": {
        "tt_metrics.api": ["HFEvaluateResultPackage"]
    },
    "experiment.core_metrics.abstract_metric": {"tt_metrics.api": ["AbstractBaseMetric"]},
    "nlp.core.vocabulary": {"tt_nlp.api": ["Vocabulary"]},
    "nlp.experiment_evaluation.NLP_metrics": {
        "tt_nlp.api": ["ExactMatchTextMetric", "F1TextMetric", "PerplexityMetric"]
    },
}


@pytest.mark.parametrize("path", PATHS)
def test_a_path_gives_the_objects_of_the_packages(path):
    module = import_module(f"aitoolbox.{path}")
    names = [name for names in PATHS[path].values() for name in names]
    assert sorted(module.__all__) == sorted(names)
    for package, exported in PATHS[path].items():
        for name in exported:
            assert getattr(module, name) is getattr(import_module(package), name)


def test_every_module_that_exports_is_listed():
    root = Path(import_module("aitoolbox").__file__).parent
    modules = {
        ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        for file in root.rglob("*.py")
        if "__all__" in file.read_text("utf-8")
    }
    assert modules == {*PATHS, "cli"}


def test_star_import_gives_the_loops():
    namespace = {}
    exec("from aitoolbox.torchtrain.train_loop import *", namespace)
    assert {"TrainLoop", "TrainLoopCheckpointEndSave"} <= namespace.keys()


def test_the_original_distribution_is_refused(tmp_path):
    info = tmp_path / "aitoolbox-1.8.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: aitoolbox\nVersion: 1.8.0\n")
    code = f"import sys; sys.path.append({str(tmp_path)!r}); import aitoolbox"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 1
    assert "ImportError" in run.stderr
    assert "pip uninstall aitoolbox" in run.stderr
