"""``escapement completeness``: whether anything is missing between two moments."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.progress import track

from escapement import wiring
from escapement.cli import app, settings_of
from escapement.cli.spans import From, Span, To
from escapement.cli.tables import print_table
from escapement.model import SessionCalendar, Timeframe
from escapement.moments import iso_from_ns
from escapement.settings import ContractSettings, Settings
from escapement.storage import DBHandler
from escapement.storage.completeness import SessionCompleteness, decided_stretch, steps
from escapement.storage.completeness import completeness as known_of

_STRETCHES_SHOWN = 20
_COUNTS = ("expected", "live", "history", "empty", "unknown")


@dataclass(frozen=True, slots=True)
class _Asked:
    """One contract and the stretch to look at, nanoseconds UTC."""

    contract_id: str
    calendar: SessionCalendar
    begin_ns: int
    end_ns: int


@app.command()
def completeness(
    context: typer.Context,
    since: From = None,
    until: To = None,
    contract: Annotated[
        list[str] | None, typer.Option(help="A contract's id, repeatable; else those of the settings.")
    ] = None,
    timeframe: Annotated[
        list[str] | None, typer.Option(help="Such as 5m, repeatable; else those of the settings.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say for each contract, session and timeframe what is known of the intervals that have ended.

    Exit code 1 when anything is unknown. Without --from it looks at the last week, or as far back as the contract was
    ever observed.
    """
    settings = settings_of(context, logging={"level": "warning"})
    calendars = wiring.contract_calendars(_contracts(settings, contract))
    timeframes = sorted({Timeframe.parse(text) for text in timeframe} if timeframe else settings.timeframes)
    span = Span.parse(since, until)
    for calendar in calendars.values():
        span.within(calendar)  # refuse before a database is started for nothing
    asked, found = asyncio.run(_look(settings, calendars, timeframes, span))
    if json:
        typer.echo(orjson.dumps(_plain(asked, found), option=orjson.OPT_INDENT_2))
    else:
        _print(asked, found)
    if any(each.unknown for each in found):
        raise typer.Exit(1)


def _contracts(settings: Settings, named: Sequence[str] | None) -> list[ContractSettings]:
    if not named:
        wiring.check_contracts_are_named(settings)
        return list(settings.contracts)
    known = {contract.id: contract for contract in settings.contracts}
    return [known.get(contract_id, ContractSettings(id=contract_id)) for contract_id in dict.fromkeys(named)]


async def _look(
    settings: Settings, calendars: Mapping[str, SessionCalendar], timeframes: Sequence[Timeframe], span: Span
) -> tuple[list[_Asked], list[SessionCompleteness]]:
    console = Console(stderr=True)
    async with wiring.database(settings) as database:
        asked = [await _ask(database, contract_id, calendar, span) for contract_id, calendar in calendars.items()]
        for each in asked:
            periods = each.calendar.sessions_of_whole_months(each.begin_ns, each.end_ns)
            await database.set_periods(each.contract_id, periods)
        found: list[SessionCompleteness] = []
        todo = [
            (each, *step) for each in asked for step in steps(each.calendar, timeframes, each.begin_ns, each.end_ns)
        ]
        for each, timeframe, begin_ns, end_ns in track(
            todo, "looking", console=console, transient=True, disable=not console.is_terminal
        ):
            found += await known_of(database, each.contract_id, timeframe, begin_ns, end_ns)
    order = list(calendars)
    return asked, sorted(found, key=lambda each: (order.index(each.contract_id), each.trade_date, each.timeframe))


async def _ask(database: DBHandler, contract_id: str, calendar: SessionCalendar, span: Span) -> _Asked:
    return _Asked(contract_id, calendar, *await decided_stretch(database, contract_id, *span.within(calendar)))


def _totals(found: Sequence[SessionCompleteness]) -> dict[str, int]:
    return {name: sum(getattr(each, name) for each in found) for name in _COUNTS}


def _plain(asked: Sequence[_Asked], found: Sequence[SessionCompleteness]) -> dict[str, object]:
    return {
        "contracts": [
            {"contract_id": each.contract_id, "from": iso_from_ns(each.begin_ns), "to": iso_from_ns(each.end_ns)}
            for each in asked
        ],
        "sessions": [
            {
                "contract_id": each.contract_id,
                "trade_date": each.trade_date,
                "timeframe": str(each.timeframe),
                **_totals([each]),
                "unknown_stretches": [
                    {"from": iso_from_ns(begin_ns), "to": iso_from_ns(end_ns)} for begin_ns, end_ns in each.stretches
                ],
            }
            for each in found
        ],
        "totals": _totals(found),
    }


def _print(asked: Sequence[_Asked], found: Sequence[SessionCompleteness]) -> None:
    for each in asked:
        typer.echo(f"{each.contract_id}  {iso_from_ns(each.begin_ns)} to {iso_from_ns(each.end_ns)}")
    if not found:
        typer.echo("No interval of the calendar lies there.")
        return
    print_table(
        ["contract", "session", "timeframe", *_COUNTS],
        [(each.contract_id, each.trade_date, each.timeframe, *_totals([each]).values()) for each in found],
    )
    totals = _totals(found)
    typer.echo(
        f"{totals['expected']:,} intervals expected: {totals['live']:,} live, {totals['history']:,} from history, "
        f"{totals['empty']:,} empty, {totals['unknown']:,} unknown."
    )
    _print_unknown(found)


def _print_unknown(found: Sequence[SessionCompleteness]) -> None:
    """Name the first unknown stretches, those of the smallest timeframe first, which tell most exactly."""
    stretches = [
        (each, *stretch) for each in sorted(found, key=lambda each: each.timeframe) for stretch in each.stretches
    ]
    for each, begin_ns, end_ns in stretches[:_STRETCHES_SHOWN]:
        typer.echo(
            f"unknown  {each.contract_id}  {each.timeframe!s:>4}  {iso_from_ns(begin_ns)} to {iso_from_ns(end_ns)}"
        )
    if len(stretches) > _STRETCHES_SHOWN:
        typer.echo(f"and {len(stretches) - _STRETCHES_SHOWN:,} more; --json lists them all.")
