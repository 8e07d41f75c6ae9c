"""Counts what a loop sends to the other process."""

from collections import Counter
from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile


def collectives(run: Callable[[], object]) -> Counter[str]:
    """How often each collective is called, by whatever part of PyTorch."""
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        run()
    return Counter(
        {
            event.key.removeprefix("c10d::").rstrip("_"): event.count
            for event in seen.key_averages()
            if event.key.startswith("c10d::")
        }
    )
