"""Processes for a hundred deaths: one imports torch, and forks for each task."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable
from typing import Any, BinaryIO

__all__ = ["Forks", "serve"]

_MAIN = "import importlib, sys; importlib.import_module(sys.argv[1]).serve()"


class Forks:
    """Runs functions of modules in processes of their own, one after the other."""

    def __init__(self) -> None:
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }
        self._server = subprocess.Popen(
            [sys.executable, "-c", _MAIN, __name__],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._reply()

    def run(self, task: Callable[..., object], *args: Any) -> int:
        """Call a function; what became of its process: exit status, or minus the signal."""
        assert self._server.stdin is not None
        pickle.dump((task, args), self._server.stdin)
        self._server.stdin.flush()
        return self._reply()

    def _reply(self) -> int:
        assert self._server.stdout is not None
        status: int = pickle.load(self._server.stdout)
        return status

    def close(self) -> None:
        """End the server."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.stdout.close()
        self._server.wait()


def serve() -> None:
    """Fork for every task that comes on the standard input."""
    import torch._dynamo  # noqa: F401 - otherwise each first optimizer would

    import tt_experiment.api  # noqa: F401 - once, for all

    tasks, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a task prints is no reply
    _answer(replies, 0)
    while (task := _next(tasks)) is not None:
        pid = os.fork()
        if pid == 0:
            _do(*task)
        _, status = os.waitpid(pid, 0)
        _answer(replies, os.waitstatus_to_exitcode(status))


def _answer(replies: BinaryIO, status: int) -> None:
    pickle.dump(status, replies)
    replies.flush()


def _next(tasks: BinaryIO) -> Any:
    try:
        return pickle.load(tasks)
    except EOFError:
        return None


def _do(task: Callable[..., object], args: tuple[Any, ...]) -> None:
    status = 1
    try:
        task(*args)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)
