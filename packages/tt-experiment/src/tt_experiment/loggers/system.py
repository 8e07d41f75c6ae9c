"""How busy the machine was: CPU, memory, accelerators and disk, every so many seconds.

``system/0001.jsonl`` belongs to the first attempt, ``0002.jsonl`` to the next. The first line tells
of the attempt, each further one holds a sample::

    {"format":"tt-system/1","attempt":1,"created":"2026-11-28T09:32:25.118+00:00","every":15.0,"cpus":8}
    {"time":1764322345.118,"values":{"cpu_percent":37.5,"process_rss_mib":2048.3}}
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tt_experiment import _json
from tt_experiment._clock import now
from tt_experiment._durable import LineFile, make_directories
from tt_experiment._records.segments import number_of, read_lines, segments, uncollected
from tt_experiment.errors import ExperimentSetupError
from tt_experiment.loggers._machine import Machine
from tt_experiment.ports import RunFacts

__all__ = ["SYSTEM_FORMAT", "SystemMetrics", "read_system"]

SYSTEM_FORMAT = "tt-system/1"
_PATIENCE = 10.0  # seconds that the last sample may take
_log = logging.getLogger(__name__)


class SystemMetrics:
    """Samples the machine into the run's folder, in a thread of its own; see `read_system`.

    ====================================  ======================================================
    ``cpu_percent``                       use of all cores of the machine
    ``process_cpu_percent``               use by this process; 100 is one core
    ``memory_percent``                    memory of the machine in use
    ``process_rss_mib``                   memory that this process holds (resident set)
    ``disk_free_mib``                     free room where the run is
    ``gpu0_percent``, ``gpu0_memory_mib`` use of an accelerator, and its memory in use, by all
    ``gpu0_power_w``, ``gpu0_celsius``    its power and temperature
    ``gpu0_allocated_mib``                memory of this process's tensors on it
    ====================================  ======================================================

    What cannot be known is left out: with ``tt-experiment[system]`` (psutil, nvidia-ml-py) most
    can, without it what Linux and torch tell. A fit on several processes samples in the first.

    Args:
        every: Seconds from sample to sample. There is one at the beginning and at the end, too.

    Raises:
        ExperimentSetupError: When ``every`` is not above zero.
    """

    def __init__(self, every: float = 15.0) -> None:
        if not every > 0:
            msg = f"every must be a number of seconds above 0. Got {every!r}"
            raise ExperimentSetupError(msg)
        self.every = every
        self._sampler: _Sampler | None = None

    def start(self, run: RunFacts) -> None:
        """Begin to sample into the attempt's segment."""
        self._sampler = _Sampler(run, self.every)

    def stop(self) -> None:
        """Take the last sample and close the segment."""
        sampler, self._sampler = self._sampler, None
        if sampler is not None:
            sampler.stop()


class _Sampler:
    """Samples from its beginning to `stop`."""

    def __init__(self, run: RunFacts, every: float) -> None:
        folder = run.folder / "system"
        make_directories(folder)
        taken = max(map(number_of, segments(folder)), default=0)
        self._file = LineFile(folder / f"{max(run.attempt, taken + 1):04d}.jsonl", exclusive=True)
        self._machine = Machine(run.folder)
        self._every = every
        self._stopped, self._is_told = threading.Event(), False
        head = {"format": SYSTEM_FORMAT, "attempt": run.attempt, "created": now("milliseconds")}
        self._append({**head, "every": every, **self._machine.facts()})
        self._owner = os.getpid()
        self._thread = threading.Thread(target=self._work, name="tt-SystemMetrics", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        self._sample()
        while not self._stopped.wait(self._every):
            self._sample()
        self._sample()
        self._machine.close()

    def _sample(self) -> None:
        try:
            values = {name: round(value, 3) for name, value in self._machine.sample().items()}
            self._append({"time": round(time.time(), 3), "values": values})
        except Exception as error:  # to know how busy the machine is is worth no training
            if not self._is_told:
                self._is_told = True
                _log.warning("system metrics failed, training goes on: %s", error)

    def _append(self, record: Mapping[str, Any]) -> None:
        self._file.append(f"{_json.line(record)}\n".encode())

    def stop(self) -> None:
        if os.getpid() != self._owner:
            return  # a forked process has no such thread, and the file is its parent's
        self._stopped.set()
        self._thread.join(_PATIENCE)
        self._file.close()


def read_system(path: Path | str) -> list[dict[str, Any]]:
    """Read the system metrics of a run, of all attempts, in the order in which they were taken.

    Args:
        path: The run's own folder, or its ``system``.

    Returns:
        Samples with ``time`` (seconds since 1970), ``attempt`` and ``values``. A line that a kill
        has torn is left out.
    """
    folder = Path(path)
    folder = folder / "system" if (folder / "system").is_dir() else folder
    with uncollected():
        return [
            {"time": line.get("time"), "attempt": number_of(segment), "values": line["values"]}
            for segment in segments(folder)
            for _, line in read_lines(segment)
            if line is not None and isinstance(line.get("values"), dict)
        ]
