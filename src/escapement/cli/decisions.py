"""``escapement decisions``: what was decided, why, and why not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, TypeVar

import orjson
import typer

from escapement import wiring
from escapement.cli import app, settings_of
from escapement.cli.tables import print_table
from escapement.core.coordination import direction_name, figure, span
from escapement.errors import EscapementError, InvalidInput
from escapement.model import NS_PER_SECOND, Action
from escapement.moments import datetime_from_ns, iso_from_ns, ns_from_iso
from escapement.settings import Settings
from escapement.storage import DBHandler
from escapement.storage.analysis import KeptSignal
from escapement.storage.coordination import CoordinationStore, KeptDecision, Note

decisions_app = typer.Typer(help="What the coordinator decided, why, and why not.", no_args_is_help=True)
app.add_typer(decisions_app, name="decisions")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_SHORT = 12
_Found = TypeVar("_Found")


@decisions_app.command("list")
def list_decisions(
    context: typer.Context,
    contract: Annotated[list[str] | None, typer.Option(help="A contract's id; repeatable.")] = None,
    action: Annotated[
        list[Action] | None, typer.Option(help="What was decided; repeatable.", show_choices=True)
    ] = None,
    since: Annotated[str | None, typer.Option("--from", metavar="TIME", help="Known from then on, ISO 8601.")] = None,
    until: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Known before then, ISO 8601.")] = None,
    last: Annotated[int, typer.Option(min=0, help="How many, the newest; 0 for all.")] = 50,
    json: Json = False,
) -> None:
    """List decisions in the order in which they were taken."""
    settings = settings_of(context, logging={"level": "warning"})
    bounds = [None if each is None else ns_from_iso(each) for each in (since, until)]
    actions = None if action is None else [str(each) for each in action]

    async def find(database: DBHandler) -> list[KeptDecision]:
        return await CoordinationStore(database).decisions(
            contracts=contract, actions=actions, from_ns=bounds[0], to_ns=bounds[1], most=last or None
        )

    found = _read(settings, find)
    if json:
        typer.echo(orjson.dumps([_plain(each) for each in found], option=orjson.OPT_INDENT_2))
    elif not found:
        typer.echo("No decisions.")
    else:
        print_table(
            ["known at", "contract", "decision", "price", "confidence", "by", "id", "note"],
            [
                (
                    iso_from_ns(each.known_at_ns), each.contract_id, _action(each), f"{each.price:.15g}",
                    figure(each.confidence), each.rule, each.decision_id[:_SHORT],
                    "" if each.data_complete else "data not complete",
                )
                for each in found
            ],
            wrapped="note",
        )  # fmt: skip


@decisions_app.command()
def why(
    context: typer.Context,
    decision_id: Annotated[str, typer.Argument(metavar="ID", help="The decision's id, or how it begins.")],
    json: Json = False,
) -> None:
    """Explain a decision: the signals that led to it, and what each rule said, with the values compared."""
    settings = settings_of(context, logging={"level": "warning"})

    async def find(database: DBHandler) -> tuple[KeptDecision, list[KeptSignal], list[Note]]:
        store = CoordinationStore(database)
        decision = _only(await store.decisions(beginning=decision_id, most=2), decision_id)
        whole = decision.decision_id
        return decision, await store.signals(decision_id=whole), await store.notes(decision_id=whole)

    decision, signals, notes = _read(settings, find)
    if json:
        plain = {
            **_plain(decision),
            "signals": [_plain_signal(each) for each in signals],
            "verdicts": notes[0].verdicts if notes else [],
        }
        typer.echo(orjson.dumps(plain, option=orjson.OPT_INDENT_2))
        return
    typer.echo(f"{iso_from_ns(decision.known_at_ns)}  {decision.contract_id}")
    typer.echo(f"{_action(decision)} at {decision.price:.15g} with confidence {figure(decision.confidence)}, by "
               f"{decision.rule}; position wished from then on: {direction_name(decision.direction)}.")  # fmt: skip
    typer.echo(
        "All trades up to then were known to be in the bars."
        if decision.data_complete
        else "Not all trades up to then were known to be in the bars, or an analyzer had not read them."
    )
    decided_at = f"{datetime_from_ns(decision.decided_ns):%Y-%m-%d %H:%M:%S}Z"
    typer.echo(f"Decided at {decided_at}, {_later(decision)} after it was known.")
    typer.echo("\nBecause of these signals:")
    _print_signals(signals)
    typer.echo("\nWhat each rule said:")
    _print_verdicts(notes[:1])
    typer.echo(f"\nDecision {decision.decision_id} of coordinator {decision.coordinator}.")


@decisions_app.command()
def why_not(
    context: typer.Context,
    signal: Annotated[int, typer.Option(metavar="ID", help="The signal's number; see escapement signals list.")],
    json: Json = False,
) -> None:
    """Explain what became of a signal: what each rule said of it, refusals included, with the values compared."""
    settings = settings_of(context, logging={"level": "warning"})

    async def find(database: DBHandler) -> tuple[KeptSignal, list[Note], str]:
        store = CoordinationStore(database)
        signals = await store.signals(signal_ids=[signal])
        if not signals:
            raise InvalidInput(f"--signal {signal}: there is no such signal; see escapement signals list")
        notes = await store.notes(signal_id=signal)
        return signals[0], notes, "" if notes else await wiring.unheard(settings, database, signals[0])

    found, notes, unheard = _read(settings, find)
    if json:
        plain = {
            "signal": _plain_signal(found),
            "unheard": unheard or None,
            "notes": [
                {"coordinator": each.coordinator, "decision_id": each.decision_id, "verdicts": each.verdicts}
                for each in notes
            ],
        }
        typer.echo(orjson.dumps(plain, option=orjson.OPT_INDENT_2))
        return
    _print_signals([found])
    if unheard:
        typer.echo(f"\nNothing was decided: {unheard}.")
    for note in notes:
        typer.echo(f"\nWhat each rule of coordinator {note.coordinator} said:")
        _print_verdicts([note])
        if note.decision_id is None:
            typer.echo("\nThe signal led to no decision.")
        else:
            typer.echo(f"\nIt led to decision {note.decision_id[:_SHORT]}: escapement decisions why "
                       f"{note.decision_id[:_SHORT]}")  # fmt: skip


def _read(settings: Settings, find: Callable[[DBHandler], Awaitable[_Found]]) -> _Found:
    async def read() -> _Found:
        async with wiring.database(settings) as database:
            return await find(database)

    return asyncio.run(read())


def _only(found: Sequence[KeptDecision], beginning: str) -> KeptDecision:
    if not found:
        raise InvalidInput(f"decision {beginning!r} is not known; see escapement decisions list")
    if len(found) > 1:
        raise EscapementError(f"decision {beginning!r} is not the only one that begins so; write more of its id")
    return found[0]


def _later(decision: KeptDecision) -> str:
    later_ns = decision.decided_ns - decision.known_at_ns
    return span(later_ns) if later_ns >= 60 * NS_PER_SECOND else f"{later_ns / NS_PER_SECOND:.3f} s"


def _action(decision: KeptDecision) -> str:
    return decision.action.replace("_", " ")


def _print_signals(signals: Sequence[KeptSignal]) -> None:
    print_table(
        ["known at", "timeframe", "analyzer", "signal", "price", "bar", "number", "note"],
        [
            (
                iso_from_ns(each.known_at_ns), each.key.timeframe, each.key.analyzer, each.signal_type,
                f"{each.price:.15g}", iso_from_ns(each.bar_start_ns), str(each.signal_id), _note(each),
            )
            for each in signals
        ],
        wrapped="note",
    )  # fmt: skip


def _note(each: KeptSignal) -> str:
    if each.superseded_ns is None:
        return ""
    by = "" if each.superseded_by is None else f", {each.superseded_by} took its place"
    return f"no longer holds since bars were revised{by}"


def _print_verdicts(notes: Sequence[Note]) -> None:
    print_table(
        ["rule", "says", "because"],
        [
            (verdict["rule"], "yes" if verdict["stands"] else "no", verdict["words"])
            for note in notes
            for verdict in note.verdicts
        ],
        wrapped="because",
    )


def _plain(each: KeptDecision) -> dict[str, object]:
    return {
        "decision_id": each.decision_id,
        "number": each.number,
        "coordinator": each.coordinator,
        "contract_id": each.contract_id,
        "action": str(each.action),
        "direction": direction_name(each.direction),
        "confidence": each.confidence,
        "price": each.price,
        "known_at": iso_from_ns(each.known_at_ns),
        "rule": each.rule,
        "words": each.words,
        "data_complete": each.data_complete,
        "decided_at": iso_from_ns(each.decided_ns),
    }


def _plain_signal(each: KeptSignal) -> dict[str, object]:
    return {
        "signal_id": each.signal_id,
        "analyzer": each.key.analyzer,
        "timeframe": str(each.key.timeframe),
        "signal_type": each.signal_type,
        "timestamp": iso_from_ns(each.bar_start_ns),
        "known_at": iso_from_ns(each.known_at_ns),
        "price": each.price,
        "rule": each.rule,
        "superseded_at": None if each.superseded_ns is None else iso_from_ns(each.superseded_ns),
        "superseded_by": each.superseded_by,
    }
