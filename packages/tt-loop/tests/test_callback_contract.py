"""Every callback of ours keeps the contract of callbacks."""

from tt_loop.api import (
    EMA,
    SWA,
    AllPredictionsSame,
    CosineWithWarmupScheduler,
    EarlyStopping,
    FunctionOnTrainLoop,
    GradientAnomalyReport,
    GradientStatsPrint,
    GradNormClip,
    GradValueClip,
    ListRegisteredCallbacks,
    MemoryMonitor,
    MetricHistoryRename,
    ModelPerformancePrintReport,
    ReduceLROnPlateauScheduler,
    StepLRScheduler,
    ThresholdEarlyStopping,
    ThroughputMonitor,
)
from tt_loop.testing import CallbackContract


class TestEarlyStopping(CallbackContract):
    def make_callback(self):
        return EarlyStopping(patience=5)


class TestThresholdEarlyStopping(CallbackContract):
    def make_callback(self):
        return ThresholdEarlyStopping("val_loss", threshold=0.0, patience=5, mode="max")


class TestEMA(CallbackContract):
    def make_callback(self):
        return EMA(decay=0.8, at_end="trained")


class TestEMAAtTheEnd(CallbackContract):
    changes_weights = True

    def make_callback(self):
        return EMA(decay=0.8)


class TestSWA(CallbackContract):
    changes_weights = True

    def make_callback(self):
        return SWA(start_epoch=0)


class TestGradNormClip(CallbackContract):
    changes_weights = True

    def make_callback(self):
        return GradNormClip(0.1)


class TestGradValueClip(CallbackContract):
    changes_weights = True

    def make_callback(self):
        return GradValueClip(0.01)


class TestStepLR(CallbackContract):
    changes_weights = True

    def make_callback(self):
        return StepLRScheduler(1, gamma=0.5)


class TestCosine(CallbackContract):
    changes_weights = True

    def make_callback(self):
        return CosineWithWarmupScheduler(3, None)


class TestPlateau(CallbackContract):
    changes_weights = True

    def make_callback(self):
        return ReduceLROnPlateauScheduler(patience=0, threshold=10.0)


class TestThroughput(CallbackContract):
    changes_history = True

    def make_callback(self):
        return ThroughputMonitor(every=2)


class TestMemory(CallbackContract):
    changes_history = True

    def make_callback(self):
        return MemoryMonitor()


class TestGradientAnomalies(CallbackContract):
    def make_callback(self):
        return GradientAnomalyReport(every=2)


def first_layer(model):
    return [model.layer]


class TestGradientStats(CallbackContract):
    def make_callback(self):
        return GradientStatsPrint(first_layer)


def nothing(loop):
    pass


class TestFunction(CallbackContract):
    def make_callback(self):
        return FunctionOnTrainLoop(nothing, batch_end=True, epoch_end=True)


class TestList(CallbackContract):
    def make_callback(self):
        return ListRegisteredCallbacks()


class TestRename(CallbackContract):
    def make_callback(self):
        return MetricHistoryRename("val_loss", "validation")


class TestPrintReport(CallbackContract):
    def make_callback(self):
        return ModelPerformancePrintReport(["val_loss"])


class TestSamePredictions(CallbackContract):
    def make_callback(self):
        return AllPredictionsSame(value=7.0)
