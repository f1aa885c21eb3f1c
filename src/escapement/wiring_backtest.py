"""Binding a backtest to files, to the database, and to the settings that trade live."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from pathlib import Path

import numpy as np

from escapement import rulebook, wiring
from escapement.analyzers.honesty import check_honesty
from escapement.backtest.analysis import Reader
from escapement.backtest.run import Account, History, Outcome, backtest
from escapement.core.aggregation.columns import (
    BarColumns,
    BarRows,
    TradeColumns,
    aggregate_bars,
    aggregate_trades,
)
from escapement.core.analysis import Analyzer
from escapement.csvfiles import read_bars, read_trades
from escapement.errors import ConfigurationError, InvalidInput
from escapement.model import NS_PER_SECOND, Bar, Contract, SessionCalendar, Timeframe, TimeframeUnit, Trade
from escapement.services.plan import Run
from escapement.settings import ContractSettings, Settings
from escapement.simulator.contracts import contract_facts, is_known
from escapement.simulator.fills import FillModel
from escapement.storage import DBHandler
from escapement.wiring_execution import calendars_of, deadlines_of, deal_params, firm_rules

_DAY_NS = 86_400 * NS_PER_SECOND
_DAYS = {TimeframeUnit.DAY: 1, TimeframeUnit.WEEK: 7, TimeframeUnit.MONTH: 31}
_CHECKED_BARS, _CHECKED_PUSHES = 1_000, 50_000
_MARGIN_DAYS = 7  # a weekend and a holiday


@dataclass(frozen=True, slots=True)
class Ticks:
    """The tick of contracts whose product is not known."""

    size: Decimal | None = None
    value: Decimal | None = None


def facts_of(contract_id: str, ticks: Ticks) -> Contract:
    """Return what there is to know of a contract.

    Raises:
        ConfigurationError: its product is not known, and its tick was not named.
    """
    if is_known(contract_id):
        return contract_facts(contract_id)
    if ticks.size is None or ticks.value is None:
        raise ConfigurationError(
            f"contract {contract_id!r} is of no known product; name its tick with --tick-size and --tick-value"
        )
    return contract_facts(contract_id, tick_size=ticks.size, tick_value=ticks.value)


def read_bar_files(files: Sequence[Path], settings: Settings) -> dict[str, list[Bar]]:
    """Return the bars of files by contract, of whatever timeframes, oldest first.

    Raises:
        InvalidInput: a file cannot be used, or a bar stands there twice.
    """
    calendar_of = calendars_of(settings)
    found: dict[str, list[Bar]] = {}
    for file in files:
        for bar in read_bars(file, calendar_of):
            found.setdefault(bar.contract_id, []).append(bar)
    return {contract_id: sorted(bars, key=_by_label) for contract_id, bars in found.items()}


def read_trade_files(files: Sequence[Path], contract_id: str | None) -> dict[str, list[Trade]]:
    """Return the trades of files by contract, in order of time; ``contract_id`` is theirs where a file names none.

    Raises:
        InvalidInput: a file cannot be used.
    """
    found: dict[str, list[Trade]] = {}
    for file in files:
        for trade in read_trades(file, contract_id):
            found.setdefault(trade.contract_id, []).append(trade)
    return {name: sorted(trades, key=lambda each: each.at_ns) for name, trades in found.items()}


def from_bars(settings: Settings, bars: Mapping[str, Sequence[Bar]], ticks: Ticks) -> tuple[Settings, list[History]]:
    """Return the history that bars tell, with settings of its contracts and of the timeframes that can be built.

    Raises:
        ConfigurationError: there is nothing, or a contract's tick is not known.
        InvalidInput: the bars cannot be used.
    """
    own = _of_contracts(settings, bars)
    calendar_of, histories = calendars_of(own), []
    for contract_id, some in bars.items():
        given = {timeframe: list(each) for timeframe, each in groupby(sorted(some, key=_by_label), _by_timeframe)}
        smallest = min(given)
        wanted = [each for each in own.timeframes if each not in given and smallest.nests_in(each)]
        built = _larger(contract_id, given[smallest], calendar_of(contract_id), wanted)
        usable = {each: BarRows.of(given.get(each) or built.get(each) or []) for each in [*given, *wanted]}
        histories.append(History(facts_of(contract_id, ticks), calendar_of(contract_id), usable))
    return _of_timeframes(own, histories), histories


def from_trades(
    settings: Settings, trades: Mapping[str, Sequence[Trade]], ticks: Ticks
) -> tuple[Settings, list[History]]:
    """Return the history that trades tell, with settings of its contracts; bars that trades cut off are left out.

    Raises:
        ConfigurationError: there is nothing, or a contract's tick is not known.
        InvalidInput: the trades cannot be used.
    """
    own = _of_contracts(settings, trades)
    calendar_of, histories = calendars_of(own), []
    for contract_id, some in trades.items():
        columns = TradeColumns(
            np.array([each.at_ns for each in some], np.int64), np.array([each.price for each in some], np.float64),
            np.array([each.volume for each in some], np.int64),
        )  # fmt: skip
        built = aggregate_trades(columns, calendar_of(contract_id), own.timeframes)
        bars = {
            timeframe: BarRows.of([bar for bar in each.bars(contract_id) if bar.end_ns <= some[-1].at_ns])
            for timeframe, each in built.items()
        }
        histories.append(History(facts_of(contract_id, ticks), calendar_of(contract_id), bars, some))
    return own, histories


async def from_database(
    settings: Settings, database: DBHandler, ticks: Ticks, from_ns: int, to_ns: int
) -> tuple[Settings, list[History]]:
    """Return the stored history of the settings' contracts, with what warms up their analyzers.

    Raises:
        ConfigurationError: no contract is named, or one's tick is not known.
        StorageError: the database does not answer.
    """
    wiring.check_contracts_are_named(settings)
    wiring.contract_calendars(settings.contracts)
    runs, calendar_of, histories = wiring.analyzer_runs(settings), calendars_of(settings), []
    for contract in settings.contracts:
        bars: dict[Timeframe, Sequence[Bar]] = {}
        for timeframe in settings.timeframes:
            warm_up = max((_warm_up(run, timeframe) for run in runs), default=0)
            days = _DAYS.get(timeframe.unit)
            length_ns = timeframe.length_ns if days is None else timeframe.value * days * _DAY_NS
            begin_ns = max(0, from_ns - 2 * (warm_up + 1) * length_ns - _MARGIN_DAYS * _DAY_NS)
            found = await database.bars_between(contract.id, timeframe, begin_ns, to_ns)
            if found:
                bars[timeframe] = BarRows.of(found)
        if bars:
            histories.append(History(facts_of(contract.id, ticks), calendar_of(contract.id), bars))
    if not histories:
        raise InvalidInput(
            "the database has no bars of these contracts and times; download them with escapement history download, or "
            "name files with --bars or --trades"
        )
    return _of_timeframes(settings, histories), histories


def extent(histories: Sequence[History]) -> tuple[int, int]:
    """Return from when to when there is history, nanoseconds UTC."""
    told = [some for history in histories if (some := history.bars[min(history.bars)])]
    ends = [some[-1].end_ns for some in told] + [each.trades[-1].at_ns + 1 for each in histories if each.trades]
    begins = [some[0].start_ns for some in told] + [each.trades[0].at_ns for each in histories if each.trades]
    return min(begins), max(ends)


def run(settings: Settings, histories: Sequence[History], from_ns: int, to_ns: int) -> Outcome:
    """Run the backtest of the settings over history.

    Raises:
        ConfigurationError: settings cannot be used together with this history.
        EscapementError: see ``backtest``.
    """
    runs = wiring.analyzer_runs(settings)
    rules = wiring.coordination_rules(settings, runs)
    directions = rulebook.directions(settings.coordinator)
    return backtest(histories, readers(runs, histories), rules, directions, account(settings), from_ns, to_ns)


def dishonest(settings: Settings, histories: Sequence[History]) -> list[str]:
    """Return, in words, which of the settings' analyzers know more on this history than they could have known live."""
    found = []
    for reader in readers(wiring.analyzer_runs(settings), histories):
        (history,) = (each for each in histories if each.contract.contract_id == reader.key.contract_id)
        bars = list(history.bars[reader.key.timeframe][-_CHECKED_BARS:])
        finding = check_honesty(reader.create, bars, pushes=_CHECKED_PUSHES).finding if bars else None
        if finding is not None:
            found.append(f"{reader.key.analyzer} on {reader.key.timeframe}: {finding}")
    return found


def account(settings: Settings) -> Account:
    """Return the account that is traded.

    Raises:
        ConfigurationError: the firm's rules are not known.
    """
    chosen, pack = settings.backtest, firm_rules(settings)
    model = FillModel(chosen.spread_ticks, chosen.slippage_ticks, chosen.queue_ahead)
    return Account(
        chosen.balance, deal_params(settings), pack, settings.risk.limits(), deadlines_of(settings, pack), model,
        chosen.latency_ms * NS_PER_SECOND // 1_000,
    )  # fmt: skip


def readers(runs: Sequence[Run], histories: Sequence[History]) -> list[Reader]:
    """Return the analyzers of each contract and timeframe there are bars of."""
    series = [(each.contract.contract_id, timeframe) for each in histories for timeframe in each.bars]
    return [
        Reader(each.key, _maker(run, each.key.timeframe), run.params[each.key.timeframe])
        for run in runs
        for each in run.on(series)
    ]


def _maker(run: Run, timeframe: Timeframe) -> Callable[[], Analyzer]:
    return lambda: run.plugin.create(run.params[timeframe])


def _of_contracts(settings: Settings, found: Mapping[str, Sequence[object]]) -> Settings:
    """Return settings of those contracts that were found, as far as the settings name any themselves."""
    if not found:
        raise InvalidInput("the files hold no rows after their first lines; name others")
    named = {each.id: each for each in settings.contracts}
    missing = [each for each in named if each not in found]
    if missing:
        raise ConfigurationError(
            f"contracts {', '.join(missing)}: the files have none of them ({', '.join(found)}); name those, or other "
            "files"
        )
    chosen = tuple(named.get(each) or ContractSettings(id=each) for each in found)
    return settings.model_copy(update={"contracts": chosen, "products": ()})


def _of_timeframes(settings: Settings, histories: Sequence[History]) -> Settings:
    usable = [each for each in settings.timeframes if all(each in history.bars for history in histories)]
    if not usable:
        known = ", ".join(sorted({str(each) for history in histories for each in history.bars}))
        raise ConfigurationError(f"timeframes: there are bars of none of them, only of {known}; add one of these")
    return settings.model_copy(update={"timeframes": tuple(usable)})


def _larger(
    contract_id: str, bars: Sequence[Bar], calendar: SessionCalendar, wanted: Sequence[Timeframe]
) -> dict[Timeframe, list[Bar]]:
    if not wanted:
        return {}
    built = aggregate_bars(BarColumns.of(bars[0].timeframe, bars), calendar, wanted)
    return {
        timeframe: [bar for bar in columns.bars(contract_id) if bar.end_ns <= bars[-1].end_ns]
        for timeframe, columns in built.items()
    }


def _by_label(bar: Bar) -> tuple[Timeframe, int]:
    return bar.timeframe, bar.start_ns


def _by_timeframe(bar: Bar) -> Timeframe:
    return bar.timeframe


def _warm_up(run: Run, timeframe: Timeframe) -> int:
    return run.plugin.create(run.params[timeframe]).warm_up_bars if timeframe in run.params else 0
