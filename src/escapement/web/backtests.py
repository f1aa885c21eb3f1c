"""Backtests and sweeps: what was run, what came of it, and running more in processes of their own."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog

from escapement.errors import InvalidInput
from escapement.settings import Settings
from escapement.web import runcommand
from escapement.web.runfolder import RunFolder, is_name
from escapement.web.runwish import RunDetails, RunKind, RunShown, RunState, RunWish
from escapement.web.steering import Steering
from escapement.web.visitor import Visitor

__all__ = ["Backtests", "RunDetails", "RunKind", "RunShown", "RunState", "RunWish"]

log = structlog.get_logger(service="dashboard")

MOST_WAITING: Final = 8
MOST_SHOWN: Final = 200
_GRACE_S: Final = 5.0


class Backtests:
    """The folder of runs; what is started runs as a child process, a few at a time, and ends with this program.

    Args:
        settings: what backtests trade by; ``dashboard.backtests_at_once`` says how many run at once.
        steering: writes down who started and cancelled what.
    """

    def __init__(self, settings: Settings, steering: Steering) -> None:
        self._settings = settings
        self._steering = steering
        self._folder = settings.data_dir / "backtests"
        self._turn = asyncio.Semaphore(settings.dashboard.backtests_at_once)
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def runs(self) -> Sequence[RunShown]:
        """Return the newest runs, newest first."""
        return await asyncio.to_thread(self._runs)

    async def details(self, name: str) -> RunDetails | None:
        """Return a run with all it told; None when there is none of that name."""
        return await asyncio.to_thread(RunFolder(self._folder / name).details) if is_name(name) else None

    async def page(self, name: str) -> Path | None:
        """Return the file of a run's page, which is shown in a frame without rights of its own."""
        return RunFolder(self._folder / name).page if is_name(name) else None

    async def start(self, visitor: Visitor, wish: RunWish) -> RunShown:
        """Begin a run, or let it wait for its turn.

        Raises:
            Forbidden: the visitor may only look.
            InvalidInput: the wish cannot be run, too many wait, or the folder cannot be written.
        """
        subject = f"{wish.kind} {wish.begin} to {wish.end}"
        await self._steering.allow(visitor, "start", subject)
        runcommand.check(self._settings, wish)
        if len(self._tasks) >= MOST_WAITING + self._settings.dashboard.backtests_at_once:
            raise InvalidInput(f"{len(self._tasks)} runs are at work or wait; let one end, or cancel one")
        name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{wish.kind}-{secrets.token_hex(3)}"
        folder = RunFolder(self._folder / name)
        try:
            await asyncio.to_thread(folder.begin, wish, runcommand.settings_of(self._settings, wish))
        except OSError as error:
            raise InvalidInput(f"data_dir {str(self._folder)!r}: {error.strerror}; make it writable") from error
        await self._steering.note(visitor, "start", f"{name}: {subject}")
        self._tasks[name] = task = asyncio.create_task(self._run(folder, wish), name=name)
        task.add_done_callback(lambda _: self._tasks.pop(name, None))
        shown = folder.shown()
        assert shown is not None  # noqa: S101 - it was made a moment ago
        return shown

    async def cancel(self, visitor: Visitor, name: str) -> None:
        """End a run, or take it out of the queue; one that has ended stays as it is.

        Raises:
            Forbidden: the visitor may only look.
        """
        await self._steering.allow(visitor, "cancel", name)
        task = self._tasks.get(name)
        if task is not None:
            await self._steering.note(visitor, "cancel", name)
            task.cancel()
            await asyncio.wait([task])

    async def aclose(self) -> None:
        """Cancel every run that is at work or waits."""
        for task in (tasks := list(self._tasks.values())):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _runs(self) -> list[RunShown]:
        names = sorted((each.name for each in self._folder.glob("*") if is_name(each.name)), reverse=True)
        found = (RunFolder(self._folder / name).shown() for name in names[:MOST_SHOWN])
        return [each for each in found if each is not None]

    async def _run(self, folder: RunFolder, wish: RunWish) -> None:
        try:
            async with self._turn:
                folder.stands(RunState.RUNNING)
                code = await self._execute(folder, wish)
            words = folder.last_words() if code else ""
            await asyncio.to_thread(folder.stands, RunState.FAILED if code else RunState.DONE, words)
        except asyncio.CancelledError:
            folder.stands(RunState.CANCELLED)
            raise
        except OSError as error:
            log.error("run_failed", run=folder.path.name, reason=str(error))  # noqa: TRY400 - the message says it all
            with suppress(OSError):
                folder.stands(RunState.FAILED, str(error))

    async def _execute(self, folder: RunFolder, wish: RunWish) -> int:
        """Run the program in its folder; end it when this is cancelled. Returns its exit code."""
        with folder.log_file.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *runcommand.command(wish, folder.path), cwd=folder.path, env=self._environment(), stdout=output,
                stderr=output, stdin=asyncio.subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        try:
            return await process.wait()
        finally:
            # Its workers too: they are of its group.
            for number in (signal.SIGTERM, signal.SIGKILL):
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                with suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), _GRACE_S)

    def _environment(self) -> dict[str, str]:
        """Return the environment without our settings, which are in the run's folder, but for the database's URL."""
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("ESCAPEMENT_", "PROJECTX_"))}
        plain.pop("DATABASE_URL", None)
        url = self._settings.database.url
        return plain if url is None else {**plain, "DATABASE_URL": url.get_secret_value()}
