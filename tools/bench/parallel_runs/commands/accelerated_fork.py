"""Accelerate, started by the launcher that it has for notebooks: it forks."""

from importlib import import_module
from typing import Any

from parallel_runs.commands.accelerated import main
from parallel_runs.commands.work import free_port

hf: Any = import_module("accelerate")

if __name__ == "__main__":
    hf.notebook_launcher(main, num_processes=2, use_port=free_port())
