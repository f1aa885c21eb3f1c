"""The dashboard in a process of its own, so that browsers never slow the program that trades.

The two are joined by a pipe: over it come the settings, the address once it serves, and why it failed. When it closes,
the other side is gone, and the dashboard ends.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Final

from escapement.errors import ConfigurationError, EscapementError
from escapement.logs import configure_logging, redact
from escapement.settings import Settings

_KILL_AFTER_S: Final = 10.0
# What trades goes first where both want the processor.
_NICE: Final = 5
_ADDRESS, _FAULT = "address", "fault"


def check(settings: Settings) -> None:
    """Refuse to let others in without a password.

    Raises:
        ConfigurationError: the dashboard could be reached from elsewhere, and nobody would have to log in.
    """
    chosen = settings.dashboard
    if chosen.password_hash is None and not chosen.is_local:
        raise ConfigurationError(
            f"dashboard.host {chosen.host!r}: with this address, names or proxies it can be reached from elsewhere, "
            "and dashboard.password_hash is missing; make one with escapement dashboard password, or use 127.0.0.1"
        )
    if chosen.password_hash is None and chosen.viewer_password_hash is not None:
        raise ConfigurationError(
            "dashboard.viewer_password_hash is set and dashboard.password_hash is not; set that of the operator too"
        )


async def serve_in_child(settings: Settings, stopping: asyncio.Event, ready: Callable[[str], None]) -> None:
    """Serve in a child process until ``stopping``; call ``ready`` with the address once it answers.

    Raises:
        EscapementError: the child could not serve, or ended without having been asked to.
    """
    # Not forked: a copy of this process would hold its sockets and locks.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_child, args=(settings, theirs), name="dashboard", daemon=True)
    try:
        await asyncio.to_thread(process.start)
        theirs.close()
        fault = await _until_gone(ours, stopping, ready)
    finally:
        ours.close()
        await asyncio.shield(asyncio.to_thread(_end, process))
    if not stopping.is_set():
        raise EscapementError(fault or f"the dashboard's process ended with exit code {process.exitcode}")


async def _until_gone(ours: Connection, stopping: asyncio.Event, ready: Callable[[str], None]) -> str:
    """Listen to the child until it is to end or has ended; return why it failed, if it said so."""
    loop, heard = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(ours.fileno(), heard.set)
    fault = ""
    stop = asyncio.create_task(stopping.wait())
    try:
        while not stopping.is_set():
            hearing = asyncio.create_task(heard.wait())
            await asyncio.wait((stop, hearing), return_when=asyncio.FIRST_COMPLETED)
            hearing.cancel()
            while ours.poll():
                kind, words = ours.recv()
                if kind == _ADDRESS:
                    ready(words)
                else:
                    fault = words
            heard.clear()
    except EOFError:
        return fault
    finally:
        stop.cancel()
        loop.remove_reader(ours.fileno())
    return fault


def _end(process: SpawnProcess) -> None:
    """Wait for the child, which ends because its pipe is closed."""
    process.join(_KILL_AFTER_S)
    if process.is_alive():
        process.kill()
        process.join()


def _child(settings: Settings, theirs: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    os.nice(_NICE)
    configure_logging(settings.logging.level, settings.logging.format)
    try:
        asyncio.run(_serve(settings, theirs))
    except EscapementError as error:
        theirs.send((_FAULT, redact(str(error))))


async def _serve(settings: Settings, theirs: Connection) -> None:
    from escapement.web.dashboard import serve  # noqa: PLC0415 - the parent never needs what it imports

    stopping, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_reader(theirs.fileno(), stopping.set)  # nothing is ever sent there: it is closed
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    await serve(settings, stopping, lambda address: theirs.send((_ADDRESS, address)), settings.services())
    loop.remove_reader(theirs.fileno())
