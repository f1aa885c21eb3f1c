"""Trades to bars, for any number of contracts and timeframes.

A watermark follows the newest time seen of each contract at a distance of ``tolerance_ns``. Trades that arrive out of
order enter their bar while they are not older than the watermark; older ones are handed back as late. A bar is
completed when the watermark reaches its end, so a completed bar never changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import inf, isfinite

from escapement.core.aggregation.cascade import Cascade
from escapement.core.aggregation.ladder import ladder
from escapement.core.aggregation.outcomes import BarOutcome, LateTrade, RefusedBar, RefusedTrade, TradeOutcome
from escapement.errors import InvalidInput
from escapement.model import MOST_VOLUME, Bar, FormingBar, SessionCalendar, Timeframe, Trade

DEFAULT_TOLERANCE_NS = 100_000_000
_STATE_VERSION = 2


class OHLCBarAggregator:
    """Builds bars from trades, or larger bars from smaller ones, one input at a time.

    Args:
        calendars: the sessions of each contract that will be pushed, by contract id.
        timeframes: what to build, in any order.
        tolerance_ns: how far behind the newest trade of its contract a trade may be, nanoseconds.

    Raises:
        InvalidInput: no contract or timeframe, a timeframe named twice, or a negative tolerance.
    """

    def __init__(
        self,
        calendars: Mapping[str, SessionCalendar],
        timeframes: Sequence[Timeframe],
        *,
        tolerance_ns: int = DEFAULT_TOLERANCE_NS,
    ) -> None:
        if not calendars:
            raise InvalidInput("contracts is empty; name at least one contract to aggregate")
        if tolerance_ns < 0:
            raise InvalidInput(f"tolerance {tolerance_ns} ns is negative; use 0 or more")
        rungs = ladder(timeframes)
        self.timeframes = tuple(sorted(timeframes))
        self._cascades = {
            contract_id: Cascade(contract_id, calendar, rungs, tolerance_ns)
            for contract_id, calendar in calendars.items()
        }

    def push(self, trade: Trade, /) -> Sequence[TradeOutcome]:
        """Take one trade; return the bars it proves complete, oldest first, or the trade itself as late or refused.

        A trade at exactly a bar's end belongs to the next bar. Equal trades are separate trades.
        """
        cascade = self._cascades.get(trade.contract_id)
        if cascade is None:
            return (RefusedTrade(trade, "contract_id", "is not one of the configured contracts"),)
        at_ns = trade.at_ns
        if cascade.newest_ns <= at_ns < cascade.quick_until_ns:
            bar = cascade.current
            price = trade.price
            volume = trade.volume
            if volume.__class__ is int and 0 <= volume < MOST_VOLUME:
                if bar.low <= price <= bar.high:
                    pass
                elif bar.high < price < inf:
                    bar.high = price
                elif 0 < price < bar.low:
                    bar.low = price
                else:
                    return (RefusedTrade(trade, "price", "is not a positive finite number"),)
                bar.close = price
                bar.volume += volume
                cascade.newest_ns = at_ns
                return ()
        return self._push_carefully(cascade, trade)

    def push_many(self, trades: Iterable[Trade], /) -> list[TradeOutcome]:
        """Take many trades; return what pushing them one by one would have returned."""
        outcomes: list[TradeOutcome] = []
        for trade in trades:
            outcome = self.push(trade)
            if outcome:
                outcomes += outcome
        return outcomes

    def push_bar(self, bar: Bar, /) -> Sequence[BarOutcome]:
        """Take one completed smaller bar, in order of time; return the larger bars it proves complete, oldest first."""
        cascade = self._cascades.get(bar.contract_id)
        if cascade is None:
            return (RefusedBar(bar, "contract_id", "is not one of the configured contracts"),)
        targets = cascade.targets(bar.timeframe)
        if not targets:
            names = ", ".join(map(str, self.timeframes))
            return (RefusedBar(bar, "timeframe", f"does not fit into all of {names}"),)
        fault = _bar_fault(bar, cascade)
        if fault is not None:
            return (RefusedBar(bar, *fault),)
        return cascade.absorb(bar, targets)

    def advance_to(self, to_ns: int, *, contract_id: str | None = None) -> list[Bar]:
        """Take note that the venue's clock has reached ``to_ns`` (nanoseconds UTC) for one contract, or for all.

        Returns:
            The bars that ended at least the tolerance before, ordered by end, timeframe and contract.

        Raises:
            InvalidInput: the contract is not configured.
        """
        return self._ordered(bar for cascade in self._chosen(contract_id) for bar in cascade.advance(to_ns))

    def finish(self) -> list[Bar]:
        """Complete every open bar at the end of the data, also those whose interval is cut off."""
        return self._ordered(bar for cascade in self._cascades.values() for bar in cascade.finish())

    def mark_unobserved(self, from_ns: int, until_ns: int, *, contract_id: str | None = None) -> None:
        """Take note that trades of ``[from_ns, until_ns)`` (UTC) may be missing: bars overlapping it are not whole.

        Raises:
            InvalidInput: the contract is not configured.
        """
        for cascade in self._chosen(contract_id):
            cascade.mark_unobserved(from_ns, until_ns)

    def mend(self, contract_id: str, bars: Sequence[Bar], unobserved: Sequence[tuple[int, int]] = ()) -> None:
        """Let repaired bars take the place of larger ones in progress.

        Args:
            contract_id: whose bars.
            bars: of any timeframe but the smallest, each made of all completed bars of its interval that feed it.
            unobserved: the stretches ``[from, until)`` (UTC) that still are; all others count as observed.

        Raises:
            InvalidInput: the contract is not configured, or a bar is of no larger timeframe, of no interval of the
                calendar, or of one that has ended; nothing has changed.
        """
        (cascade,) = self._chosen(contract_id)
        placed = []
        for bar in bars:
            interval = cascade.calendar.interval_labelled(bar.timeframe, bar.start_ns)
            if interval is None or bar.timeframe not in self.timeframes[1:]:
                raise InvalidInput(f"{bar.timeframe} bar of {bar.start_ns} is none of {contract_id} in progress")
            if interval.end_ns <= cascade.watermark_ns:
                raise InvalidInput(f"{bar.timeframe} bar of {bar.start_ns} has ended; revise it where it is stored")
            placed.append((interval, bar))
        cascade.mend(placed, unobserved)

    def forming(self, contract_id: str, timeframe: Timeframe) -> FormingBar | None:
        """Return the newest, still growing bar, or None when there is none.

        Raises:
            InvalidInput: the contract or timeframe is not configured.
        """
        if timeframe not in self.timeframes:
            raise InvalidInput(
                f"timeframe {timeframe} is not aggregated; use one of {', '.join(map(str, self.timeframes))}"
            )
        (cascade,) = self._chosen(contract_id)
        return cascade.forming(timeframe)

    def watermark_ns(self, contract_id: str) -> int:
        """Return the moment (UTC) before which no trade of the contract is taken any more.

        Raises:
            InvalidInput: the contract is not configured.
        """
        (cascade,) = self._chosen(contract_id)
        return cascade.watermark_ns

    def snapshot(self) -> dict[str, object]:
        """Return everything the future depends on as plain JSON data."""
        return {
            "version": _STATE_VERSION,
            "timeframes": [str(timeframe) for timeframe in self.timeframes],
            "contracts": {contract_id: cascade.state() for contract_id, cascade in self._cascades.items()},
        }

    def restore(self, state: Mapping[str, object]) -> None:
        """Continue from a snapshot; contracts it does not know start afresh, contracts not configured are left out.

        Raises:
            InvalidInput: the snapshot is of other timeframes or another version; nothing has changed.
        """
        names = [str(timeframe) for timeframe in self.timeframes]
        if state.get("version") != _STATE_VERSION or state.get("timeframes") != names:
            raise InvalidInput(
                f"saved state is of version {state.get('version')} and timeframes {state.get('timeframes')}, not of "
                f"version {_STATE_VERSION} and {names}; start without it"
            )
        contracts = state["contracts"]
        if not isinstance(contracts, Mapping):
            raise InvalidInput("saved state has no contracts; start without it")
        known = {contract_id: saved for contract_id, saved in contracts.items() if contract_id in self._cascades}
        try:
            fits = all(self._cascades[contract_id].can_take(saved) for contract_id, saved in known.items())
        except (KeyError, TypeError, ValueError, IndexError):
            fits = False
        if not fits:
            raise InvalidInput("saved state is spoilt, or of other trading sessions; start without it")
        for contract_id, saved in known.items():
            self._cascades[contract_id].set_state(saved)

    def _push_carefully(self, cascade: Cascade, trade: Trade) -> Sequence[TradeOutcome]:
        fault = _trade_fault(trade)
        if fault is not None:
            return (RefusedTrade(trade, *fault),)
        interval = cascade.root_interval(trade.at_ns)
        if interval is None:
            reason = f"lies outside every session of calendar {cascade.calendar.name}"
            return (RefusedTrade(trade, "at_ns", reason),)
        if trade.at_ns < cascade.watermark_ns:
            return (LateTrade(trade, cascade.watermark_ns),)
        return cascade.take(interval, trade.at_ns, trade.price, trade.volume)

    def _chosen(self, contract_id: str | None) -> Sequence[Cascade]:
        if contract_id is None:
            return tuple(self._cascades.values())
        if contract_id not in self._cascades:
            raise InvalidInput(f"contract {contract_id!r} is not one of {', '.join(self._cascades)}")
        return (self._cascades[contract_id],)

    @staticmethod
    def _ordered(bars: Iterable[Bar]) -> list[Bar]:
        return sorted(bars, key=lambda bar: (bar.end_ns, bar.timeframe, bar.contract_id))


def _trade_fault(trade: Trade) -> tuple[str, str] | None:
    if trade.at_ns.__class__ is not int:
        return "at_ns", "is not a whole number of nanoseconds since 1970-01-01 UTC"
    if not isfinite(trade.price) or trade.price <= 0:
        return "price", "is not a positive finite number"
    if trade.volume.__class__ is not int or not 0 <= trade.volume < MOST_VOLUME:
        return "volume", "is not a whole number of contracts from 0 to below a million million"
    return None


def _bar_fault(bar: Bar, cascade: Cascade) -> tuple[str, str] | None:
    interval = cascade.calendar.interval_labelled(bar.timeframe, bar.start_ns)
    if interval is None or interval.end_ns != bar.end_ns:
        return "start_ns", f"labels no {bar.timeframe} bar of calendar {cascade.calendar.name}"
    if bar.end_ns <= cascade.watermark_ns or interval.open_ns < cascade.watermark_ns:
        return "start_ns", "lies before bars already taken; push bars once each, in order of time"
    prices = (bar.open, bar.high, bar.low, bar.close)
    if not all(isfinite(price) and price > 0 for price in prices):
        return "prices", "are not all positive finite numbers"
    if bar.high != max(prices) or bar.low != min(prices):
        return "high and low", "do not enclose open and close"
    if bar.volume < 0:
        return "volume", "is negative"
    return None
