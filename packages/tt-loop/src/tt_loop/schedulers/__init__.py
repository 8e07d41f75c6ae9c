"""Learning-rate schedulers, as callbacks."""

from tt_loop.schedulers.basic import (
    AbstractScheduler,
    GeneralLRScheduler,
    GeneralLRSchedulerCallback,
    LambdaLRScheduler,
    MultiStepLRScheduler,
    StepLRScheduler,
)
from tt_loop.schedulers.curves import (
    constant_with_warmup,
    cosine_with_warmup,
    hard_restarts_cosine_with_warmup,
    inverse_sqrt_with_warmup,
    linear_with_warmup,
    polynomial_with_warmup,
    warmup_stable_decay,
)
from tt_loop.schedulers.decay import (
    InverseSqrtWithWarmupScheduler,
    PolynomialWithWarmupScheduler,
    WarmupStableDecayScheduler,
)
from tt_loop.schedulers.plateau import (
    ReduceLROnPlateauMetricScheduler,
    ReduceLROnPlateauScheduler,
)
from tt_loop.schedulers.warmup import (
    ConstantWithWarmupScheduler,
    CosineWithWarmupScheduler,
    HardRestartsCosineWithWarmupScheduler,
    LinearWithWarmupScheduler,
    WarmupScheduler,
)

__all__ = [
    "AbstractScheduler",
    "ConstantWithWarmupScheduler",
    "CosineWithWarmupScheduler",
    "GeneralLRScheduler",
    "GeneralLRSchedulerCallback",
    "HardRestartsCosineWithWarmupScheduler",
    "InverseSqrtWithWarmupScheduler",
    "LambdaLRScheduler",
    "LinearWithWarmupScheduler",
    "MultiStepLRScheduler",
    "PolynomialWithWarmupScheduler",
    "ReduceLROnPlateauMetricScheduler",
    "ReduceLROnPlateauScheduler",
    "StepLRScheduler",
    "WarmupScheduler",
    "WarmupStableDecayScheduler",
    "constant_with_warmup",
    "cosine_with_warmup",
    "hard_restarts_cosine_with_warmup",
    "inverse_sqrt_with_warmup",
    "linear_with_warmup",
    "polynomial_with_warmup",
    "warmup_stable_decay",
]
