"""``escapement gaps``: when trades may have been missed, and what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated

import orjson
import typer

from escapement import wiring
from escapement.calendars import calendar_for_contract
from escapement.cli import app, settings_of
from escapement.cli.spans import From, Span, To
from escapement.cli.tables import print_table
from escapement.model import NS_PER_SECOND
from escapement.moments import iso_from_ns, ns_from_iso
from escapement.settings import Settings
from escapement.storage.completeness import KeptGap, contracts_with_gaps, gaps_between

_EVER_NS = ns_from_iso("2000-01-01T00:00:00Z"), ns_from_iso("2200-01-01T00:00:00Z")


@app.command()
def gaps(
    context: typer.Context,
    only_open: Annotated[bool, typer.Option("--open", help="Only those that are not repaired.")] = False,
    contract: Annotated[
        list[str] | None, typer.Option(help="A contract's id, repeatable; else all that have gaps.")
    ] = None,
    since: From = None,
    until: To = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the stretches in which trades may have been missed, with cause and repair; exit code 1 when one is open."""
    settings = settings_of(context, logging={"level": "warning"})
    calendars = {each.id: each.calendar for each in settings.contracts}
    span = Span.parse(since, until)

    def within(contract_id: str) -> tuple[int, int]:
        # Without dates no calendar is needed, so that gaps of unknown products can be listed too.
        calendar = calendar_for_contract(contract_id, calendars.get(contract_id)) if span.has_dates else None
        begin_ns, end_ns = span.within(calendar)
        return _EVER_NS[0] if begin_ns is None else begin_ns, _EVER_NS[1] if end_ns is None else end_ns

    # Refuse before a database is started for nothing.
    if not span.has_dates:
        span.within(None)
    for contract_id in contract or ():
        within(contract_id)
    found = asyncio.run(_find(settings, contract, within, only_open=only_open))
    if json:
        typer.echo(orjson.dumps([_plain(each) for each in found], option=orjson.OPT_INDENT_2))
    else:
        _print(found)
    if any(each.open for each in found):
        raise typer.Exit(1)


async def _find(
    settings: Settings, named: list[str] | None, within: Callable[[str], tuple[int, int]], *, only_open: bool
) -> list[KeptGap]:
    found: list[KeptGap] = []
    async with wiring.database(settings) as database:
        for contract_id in dict.fromkeys(named or await contracts_with_gaps(database)):
            found += await gaps_between(database, contract_id, *within(contract_id), only_open=only_open)
    return found


def _plain(each: KeptGap) -> dict[str, object]:
    return {
        "contract_id": each.gap.contract_id,
        "begin": iso_from_ns(each.gap.begins_ns),
        "end": _iso_or_none(each.gap.ends_ns),
        "cause": each.gap.cause,
        "detail": each.gap.detail,
        "state": "open" if each.open else "closed",
        "opened": iso_from_ns(each.opened_ns),
        "closed": _iso_or_none(each.closed_ns),
        "attempts": each.attempts,
        "reason": each.reason,
        "revised": each.revised,
    }


def _iso_or_none(at_ns: int | None) -> str | None:
    return None if at_ns is None else iso_from_ns(at_ns)


def _print(found: list[KeptGap]) -> None:
    if not found:
        typer.echo("No gaps.")
        return
    columns = ["contract", "begin", "end", "cause", "state", "attempts", "revised", "note"]
    print_table(columns, [_row(each) for each in found], wrapped="note")
    noun = "gap" if len(found) == 1 else "gaps"
    typer.echo(f"{len(found):,} {noun}, {sum(each.open for each in found):,} open.")


def _row(each: KeptGap) -> list[object]:
    gap = each.gap
    end = "not over" if gap.ends_ns is None else _second(gap.ends_ns)
    state = "open" if each.open else "closed"
    note = "; ".join(filter(None, [gap.detail, each.reason]))
    return [
        gap.contract_id, _second(gap.begins_ns), end, gap.cause.value, state, each.attempts, each.revised, note
    ]  # fmt: skip


def _second(at_ns: int) -> str:
    return iso_from_ns(at_ns // NS_PER_SECOND * NS_PER_SECOND)
