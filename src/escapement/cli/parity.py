"""``escapement parity``: what was done live against a backtest of the same time."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

import orjson
import typer
from rich.console import Console

from escapement import wiring, wiring_backtest, wiring_execution
from escapement.backtest.parity import Comparison, Live, LiveDecision, LiveSignal, Taken, by_cause, compare
from escapement.backtest.run import Outcome
from escapement.cli import app, settings_of
from escapement.cli.accounts import Account, Books, Json, short_time
from escapement.cli.spans import From, Span, To
from escapement.cli.tables import print_table
from escapement.cli.trades import round_trips
from escapement.core.execution import OrderNote, Role
from escapement.errors import InvalidInput
from escapement.model import Contract, OrderSide
from escapement.moments import iso_from_ns
from escapement.settings import Settings
from escapement.storage import DBHandler
from escapement.storage.analysis import AnalysisStore, KeptSignal
from escapement.storage.coordination import CoordinationStore
from escapement.storage.execution import ExecutionStore

_KEY = 16
_MOST_CHECKS = 1_000_000


@app.command()
def parity(
    context: typer.Context,
    begin: From = None,
    end: To = None,
    account: Account = None,
    json: Json = False,
) -> None:
    """Backtest what was recorded live, and list what differs and why; exit code 1 when anything does."""
    settings = settings_of(context, logging={"level": "warning"})
    wiring.check_contracts_are_named(settings)
    calendar = next(iter(wiring.contract_calendars(settings.contracts).values()))
    from_ns, to_ns = Span.parse(begin, end).within(calendar)
    if from_ns is None or to_ns is None:
        raise InvalidInput("--from and --to are needed; name the stretch to compare")
    with Console(stderr=True).status("trading it again"):
        found, causes = asyncio.run(_compare(settings, wiring_execution.account_of(settings, account), from_ns, to_ns))
    if json:
        plain = [{**asdict(each), "at": iso_from_ns(each.at_ns)} for each in found.differences]
        told = {"compared": found.compared, "causes": causes, "differences": plain}
        typer.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
    else:
        _print(found, causes)
    if found.differences:
        raise typer.Exit(1)


async def _compare(settings: Settings, account: str, from_ns: int, to_ns: int) -> tuple[Comparison, dict[str, int]]:
    contracts = [each.id for each in settings.contracts]
    async with wiring.database(settings) as database:
        signals = await AnalysisStore(database).signals(contracts=contracts, to_ns=to_ns, superseded=True)
        if not signals:
            raise InvalidInput("no signals were stored before --to; run escapement analyze, or name a later end")
        # What was said before decides what is wished later, so that it is traded from the first signal on.
        first_ns = min(each.known_at_ns for each in signals) - 1
        kept = await CoordinationStore(database).decisions(contracts=contracts, to_ns=to_ns)
        entries = await _entries(database, account)
        own, histories = await wiring_backtest.from_database(
            settings, database, wiring_backtest.Ticks(), first_ns, to_ns
        )
    outcome: Outcome = wiring_backtest.run(own, histories, first_ns, to_ns)
    decisions = [
        LiveDecision(each.decision_id, each.contract_id, each.known_at_ns, each.words, each.data_complete)
        for each in kept if each.coordinator == settings.coordinator.name
    ]  # fmt: skip
    found = compare(Live([_signal(each) for each in signals], decisions, entries), outcome, from_ns, to_ns)
    return found, by_cause(found.differences)


def _signal(kept: KeptSignal) -> LiveSignal:
    key = kept.key
    identity = (
        str(key.timeframe), key.analyzer, key.version, key.params, kept.signal_type, kept.bar_start_ns,
        kept.trigger_start_ns, kept.known_at_ns, kept.price, kept.rule,
    )  # fmt: skip
    return LiveSignal(
        key.contract_id, identity, kept.known_at_ns, f"{kept.signal_type} of {key.analyzer} on {key.timeframe}",
        kept.superseded_ns is None, kept.trigger_whole,
    )  # fmt: skip


async def _entries(database: DBHandler, account: str) -> dict[str, Taken]:
    """Return what became of each decision's entry on an account; nothing where it was never traded."""
    store = ExecutionStore(database)
    if await store.account(account) is None:
        return {}
    orders, fills, notes = await store.orders(account), await store.fills(account), await store.positions(account)
    contracts = {
        each.contract_id: Contract(each.contract_id, "", "", each.tick_size, each.tick_value, active=True, symbol_id="")
        for each in notes
    }
    by_id = {each.venue_order_id: each for each in orders if each.venue_order_id is not None}
    ticks: dict[str, int] = {}
    exits: dict[str, str] = {}
    for trip in round_trips(Books(account, fills, contracts)):
        entry, closing = by_id.get(trip.entry_order_id), by_id.get(trip.exit_order_id)
        if entry is not None and entry.decision_id is not None:
            key = entry.decision_id[:_KEY]
            ticks[key] = ticks.get(key, 0) + trip.ticks
            exits[key] = _exit(closing)
    checks = await store.risk_checks(account, _MOST_CHECKS, refusals=True)
    found = {each["decision_id"][:_KEY]: Taken(code=each["code"], words=each["words"]) for each in checks}
    for order in orders:
        if order.role is Role.ENTRY and order.decision_id is not None:
            key = order.decision_id[:_KEY]
            found[key] = _taken(order, ticks.get(key), exits.get(key, ""))
    return found


def _taken(order: OrderNote, ticks: int | None, closed_by: str) -> Taken:
    sign = 1 if order.side is OrderSide.BUY else -1
    code = "rejected" if order.status == "rejected" else ""
    return Taken(sign * order.filled_size, order.filled_price, code, order.refusal, ticks, closed_by)


def _exit(closing: OrderNote | None) -> str:
    if closing is None:
        return "close"
    # A turn closes with the order that the venue makes for it.
    return "close" if closing.role is Role.ENTRY else str(closing.role)


def _print(found: Comparison, causes: dict[str, int]) -> None:
    counts = ", ".join(f"{count:,} {kind}" for kind, count in found.compared.items())
    if not found.differences:
        typer.echo(f"Live and backtest agree: {counts}.")
        return
    typer.echo(f"Compared {counts}; differences: {len(found.differences):,}")
    print_table(
        ["at", "contract", "what", "which", "live", "backtest", "cause", "because"],
        [
            (short_time(each.at_ns), each.contract_id, each.kind, each.subject, each.live, each.backtest,
             str(each.cause), each.words)
            for each in found.differences
        ],
        wrapped="because",
    )  # fmt: skip
    typer.echo("\n" + _by_cause(causes))


def _by_cause(causes: dict[str, int]) -> str:
    return "causes: " + ", ".join(f"{cause} {count:,}" for cause, count in causes.items())
