"""Models on several devices, also for a loop written by hand."""

from tt_parallel.api import TTDataParallel, TTDistributedDataParallel

__all__ = ["TTDataParallel", "TTDistributedDataParallel"]
