"""Services as processes to kill: a program that forks one, ready within milliseconds, for each line it is given."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import structlog


def fork_for_each_line(serve: Callable[[str], Awaitable[None]]) -> None:
    """Be the program: run ``serve`` with each line of standard input in a process of its own, and tell its id."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # standard output tells process ids
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                asyncio.run(_served(serve, line.strip()))
            finally:
                os._exit(1)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


async def _served(serve: Callable[[str], Awaitable[None]], line: str) -> None:
    await serve(line)


@contextmanager
def forks(program: str) -> Iterator[subprocess.Popen[str]]:
    """Run the program whose file this is."""
    process = subprocess.Popen(
        [sys.executable, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def fork(process: subprocess.Popen[str], line: str) -> int:
    """Let it fork, and return the process id."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
    return int(process.stdout.readline())
