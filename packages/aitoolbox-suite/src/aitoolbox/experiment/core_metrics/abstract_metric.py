"""What metrics of your own inherit from."""

from tt_metrics.api import AbstractBaseMetric

__all__ = ["AbstractBaseMetric"]
