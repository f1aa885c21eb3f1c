"""``escapement history download``: the venue's history into the database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from escapement import wiring
from escapement.cli import app, settings_of
from escapement.cli.ingest import stop_on_signals
from escapement.cli.spans import From, Span, To
from escapement.cli.tables import print_table
from escapement.errors import GatewayError, GatewayProtocolError, GatewayRefused, GatewayUnavailable, InvalidInput
from escapement.model import SessionCalendar, Timeframe
from escapement.moments import iso_from_ns
from escapement.services.history import MOST_BARS, Download, Downloaded, HistoryParams
from escapement.settings import ContractSettings, Settings

history_app = typer.Typer(help="The venue's history.", no_args_is_help=True)
app.add_typer(history_app, name="history")

_NOT_FOUND = 1


@dataclass(frozen=True, slots=True)
class _Order:
    """What is to be downloaded."""

    calendars: Mapping[str, SessionCalendar]
    timeframes: Sequence[Timeframe]
    span: Span
    params: HistoryParams


@history_app.command()
def download(
    context: typer.Context,
    since: From = None,
    until: To = None,
    contract: Annotated[
        list[str] | None, typer.Option(help="A contract's id, repeatable; else those of the settings.")
    ] = None,
    timeframe: Annotated[
        list[str] | None, typer.Option(help="Such as 5m, repeatable; else those of the settings.")
    ] = None,
    page: Annotated[int, typer.Option(help="Most bars in one answer of the venue.")] = MOST_BARS,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Have the venue's bars from --from on, to --to or now; only what is missing is asked, so it can be repeated.

    Larger bars are made of the smallest. Exit code 1 when the venue did not have all that was asked for.
    """
    settings = settings_of(context, logging={"level": "warning"})
    if since is None:
        raise InvalidInput("--from is missing; name a trade date, such as 2026-11-02, or a time with a zone")
    if not contract:
        wiring.check_contracts_are_named(settings)
    known = {each.id: each for each in settings.contracts}
    chosen = [known.get(each, ContractSettings(id=each)) for each in dict.fromkeys(contract or known)]
    order = _Order(
        wiring.contract_calendars(chosen),
        sorted({Timeframe.parse(text) for text in timeframe} if timeframe else settings.timeframes),
        Span.parse(since, until), HistoryParams(page),
    )  # fmt: skip
    for calendar in order.calendars.values():  # refuse before a database is started for nothing
        begin_ns, _ = order.span.within(calendar)
        if begin_ns is not None and begin_ns >= time.time_ns():
            raise InvalidInput(f"--from ({iso_from_ns(begin_ns)}) lies in the future; name an earlier time")
    wiring.gateway_params(settings)
    done, problems = asyncio.run(_stoppable(settings, order))
    if json:
        typer.echo(orjson.dumps([_plain(each, problems) for each in done], option=orjson.OPT_INDENT_2))
    else:
        _print(done, order.timeframes, problems)
    for problem in problems.values():
        typer.echo(f"error: {problem}", err=True)
    if problems:
        raise typer.Exit(1)


async def _stoppable(settings: Settings, order: _Order) -> tuple[list[Downloaded], dict[str, str]]:
    work = asyncio.ensure_future(_download(settings, order))

    def stop() -> None:
        work.cancel()

    stop_on_signals(stop)
    try:
        return await work
    except asyncio.CancelledError:
        typer.echo("Stopped; what is stored stays. Run the command again to go on.", err=True)
        raise typer.Exit(1) from None


async def _download(settings: Settings, order: _Order) -> tuple[list[Downloaded], dict[str, str]]:
    """Download contract after contract; return what was done, and what is wrong by contract."""
    done: list[Downloaded] = []
    problems: dict[str, str] = {}
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    async with (
        wiring.database(settings) as database,
        wiring.venue_history(settings, order.calendars, order.params.page) as venue,
    ):
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            for contract_id, calendar in order.calendars.items():
                work = Download(
                    contract_id, calendar, order.timeframes, venue, wiring.download_store(database), order.params,
                    time.time_ns,
                    _shown(progress, contract_id),
                )  # fmt: skip
                begin_ns, end_ns = order.span.within(calendar)
                try:
                    await work.run(begin_ns or 0, time.time_ns() if end_ns is None else end_ns)
                except GatewayUnavailable as error:
                    again = "what was stored stays; run the command again to go on"
                    raise GatewayUnavailable(f"{contract_id}: {error}; {again}") from None
                except (GatewayRefused, GatewayProtocolError) as error:
                    problems[contract_id] = _problem(contract_id, error)
                if work.result.lacking:
                    problems.setdefault(contract_id, _lacking(work.result))
                done.append(work.result)
    return done, problems


def _shown(progress: Progress, contract_id: str) -> Callable[[int, int], None]:
    task = progress.add_task(contract_id, total=None)
    return lambda done, of: progress.update(task, completed=done, total=of)


def _problem(contract_id: str, error: GatewayError) -> str:
    """Say what is wrong with one contract; what concerns all of them is raised."""
    if not isinstance(error, GatewayRefused):
        return f"{contract_id}: {error}"
    if not error.endpoint or error.endpoint.startswith("Auth/"):
        raise error
    if error.code != _NOT_FOUND:
        return f"{contract_id}: {error}"
    return (
        f"{contract_id}: the venue does not have this contract, or has it no more (about a year after it expired). "
        f"Correct the id (escapement gateway contracts lists those that trade) or leave the contract out"
    )


def _lacking(result: Downloaded) -> str:
    by_stretches: dict[str, list[str]] = {}
    for timeframe, stretches in sorted(result.lacking.items()):
        text = ", ".join(f"{iso_from_ns(begin_ns)} to {iso_from_ns(end_ns)}" for begin_ns, end_ns in stretches)
        by_stretches.setdefault(text, []).append(str(timeframe))
    parts = [f"no {', '.join(names)} bars {text}" for text, names in by_stretches.items()]
    why = "the contract has expired, and " if result.expired else ""
    return f"{result.contract_id}: {why}the venue keeps {'; '.join(parts)} any more; larger bars were made of its hours"


def _plain(result: Downloaded, problems: Mapping[str, str]) -> dict[str, object]:
    return {
        "contract_id": result.contract_id,
        "answers": result.answers,
        "written": {str(timeframe): result.written[timeframe] for timeframe in sorted(result.written)},
        "lacking": [
            {"timeframe": str(timeframe), "from": iso_from_ns(begin_ns), "to": iso_from_ns(end_ns)}
            for timeframe, stretches in sorted(result.lacking.items())
            for begin_ns, end_ns in stretches
        ],
        "problem": problems.get(result.contract_id),
    }


def _print(done: Sequence[Downloaded], timeframes: Sequence[Timeframe], problems: Mapping[str, str]) -> None:
    columns = sorted({*timeframes, *(timeframe for each in done for timeframe in each.written)})
    print_table(
        ["contract", *(f"{timeframe} bars" for timeframe in columns), "answers"],
        [(each.contract_id, *(each.written[timeframe] for timeframe in columns), each.answers) for each in done],
    )
    written = sum(sum(each.written.values()) for each in done)
    typer.echo(f"{written:,} bars written." if written or problems else "Nothing was missing.")
