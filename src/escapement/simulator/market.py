"""The market hub: trades, sparse quotes and depth, as the venue sends them."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from escapement.model import NS_PER_SECOND, Trade
from escapement.simulator import wire
from escapement.simulator.faults import FaultPlan
from escapement.simulator.hubs import Connection, Hub, Method, MethodRefused, Topic
from escapement.simulator.venue import Venue

_TRADES_A_RECORD = 50
_DEPTH_LEVELS = 50
_QUOTE_EACH_NS = NS_PER_SECOND
_QUIET_QUOTE_EACH_S = 0.25
# Depth types as the venue numbers them.
_ASK, _BID, _BEST_ASK, _BEST_BID, _TRADE, _RESET = 1, 2, 3, 4, 5, 6

Item = dict[str, object] | None


@dataclass(slots=True)
class _Shown:
    """The last quote sent of a contract, so that the next tells only what changed."""

    fields: dict[str, object]
    at_ns: int
    sent_s: float


class MarketData:
    """Tells subscribers what is printed.

    Args:
        venue: has the quotes.
        faults: what goes wrong on the way.
    """

    def __init__(self, venue: Venue, faults: FaultPlan) -> None:
        self._venue = venue
        self._faults = faults
        self._shown: dict[str, _Shown] = {}
        self._held: list[tuple[int, str, list[Item]]] = []

    def methods(self) -> dict[str, Method]:
        """Return the hub's methods."""
        table: dict[str, Method] = {}
        for suffix, kind in (("quotes", "quotes"), ("trades", "trades"), ("marketdepth", "depth")):
            table[f"subscribecontract{suffix}"] = self._subscriber(kind)
            table[f"unsubscribecontract{suffix}"] = self._unsubscriber(kind)
        return table

    async def publish(self, hub: Hub, now_ns: int, trades: Sequence[Trade]) -> None:
        """Send the prints of a moment, then the quotes and the venue's time they lead to."""
        by_contract: dict[str, list[Trade]] = {}
        for trade in trades:
            by_contract.setdefault(trade.contract_id, []).append(trade)
        wanted = hub.wanted
        records: dict[Topic, bytes] = {}
        for contract_id, own in by_contract.items():
            if ("trades", contract_id) in wanted:
                records["trades", contract_id] = self._trades(contract_id, own, now_ns)
            if ("depth", contract_id) in wanted:
                records["depth", contract_id] = self._depth(contract_id, own[-1])
        for contract_id, data in self._released(now_ns):
            records["trades", contract_id] = records.get(("trades", contract_id), b"") + data
        # Quotes go last: the time they tell comes after every trade before it.
        records |= self._quotes(wanted, by_contract, now_ns)
        if records:
            await hub.publish(records)

    def last_word(self, now_ns: int) -> dict[Topic, bytes]:
        """Return what was held back, and a quote with the final time for every contract."""
        records: dict[Topic, bytes] = {}
        for contract_id, data in self._released(None):
            records["trades", contract_id] = records.get(("trades", contract_id), b"") + data
        for contract_id in self._venue.listings:
            records["quotes", contract_id] = self._quote(contract_id, now_ns)
        return records

    def greeting(self, contract_id: str) -> bytes:
        """Return the whole quote that a new subscriber gets."""
        fields = {**self._fields(contract_id), **_times(self._venue.now_ns)}
        return wire.invocation("GatewayQuote", contract_id, fields)

    def snapshot(self, contract_id: str) -> bytes | None:
        """Return the book that a new subscriber of depth gets, larger than 10 KB as at the venue."""
        quote = self._venue.quotes.get(contract_id)
        if quote is None:
            return None
        rows = [_row(contract_id, self._venue.now_ns, _RESET, 0.0, 0)]
        grid = self._venue.listings[contract_id].grid
        for level in range(_DEPTH_LEVELS):
            rows.append(_row(contract_id, self._venue.now_ns, _BID, grid.price(quote.bid - level), 10 + level))
            rows.append(_row(contract_id, self._venue.now_ns, _ASK, grid.price(quote.ask + level), 10 + level))
        return wire.invocation("GatewayDepth", contract_id, rows)

    def _subscriber(self, kind: str) -> Method:
        def subscribe(connection: Connection, arguments: list[Any]) -> bytes | None:
            contract_id = self._contract(arguments)
            if contract_id is None:
                return None
            connection.topics.add((kind, contract_id))
            if kind == "quotes":
                return self.greeting(contract_id)
            return self.snapshot(contract_id) if kind == "depth" else None

        return subscribe

    def _unsubscriber(self, kind: str) -> Method:
        def unsubscribe(connection: Connection, arguments: list[Any]) -> None:
            connection.topics.discard((kind, self._contract(arguments) or ""))

        return unsubscribe

    def _contract(self, arguments: list[Any]) -> str | None:
        """Return the contract a method names; one that does not trade here is accepted and stays silent."""
        if len(arguments) != 1 or not isinstance(arguments[0], str):
            raise MethodRefused("Failed to invoke the method: it takes a contract id.")
        return arguments[0] if arguments[0] in self._venue.listings else None

    def _trades(self, contract_id: str, trades: Iterable[Trade], now_ns: int) -> bytes:
        symbol_id = self._venue.listings[contract_id].contract.symbol_id
        items: list[Item] = [wire.trade_json(symbol_id, trade) for trade in trades]
        if self._faults.is_idle:
            return _records(contract_id, items)
        return self._altered(contract_id, items, now_ns)

    def _altered(self, contract_id: str, items: list[Item], now_ns: int) -> bytes:
        """Return a batch as it goes out with what goes wrong with it."""
        faults = self._faults
        before = b""
        for fault in faults.strikes(now_ns, "malformed_record", "oversized_record", contract_id=contract_id):
            before += _broken(contract_id) if fault.kind == "malformed_record" else _oversized(contract_id, fault.size)
        if faults.strikes(now_ns, "missed_trades", contract_id=contract_id):
            return before
        for fault in faults.strikes(now_ns, "late_trades", contract_id=contract_id):
            self._held.append((now_ns + round((fault.seconds or 1.0) * NS_PER_SECOND), contract_id, items))
            return before
        if faults.strikes(now_ns, "reordered_trades", contract_id=contract_id):
            if len(items) == 1:
                self._held.append((now_ns + 1, contract_id, items))
                return before
            items.reverse()
        if faults.strikes(now_ns, "null_padding", contract_id=contract_id):
            items = [None, *items, None]
        data = _records(contract_id, items)
        return before + data * (1 + len(faults.strikes(now_ns, "duplicated_trades", contract_id=contract_id)))

    def _released(self, now_ns: int | None) -> list[tuple[str, bytes]]:
        """Return the batches held back until now."""
        if not self._held:
            return []
        due = [held for held in self._held if now_ns is None or held[0] <= now_ns]
        self._held = [held for held in self._held if held not in due]
        return [(contract_id, _records(contract_id, items)) for _, contract_id, items in due]

    def _quotes(self, wanted: Collection[Topic], traded: Iterable[str], now_ns: int) -> dict[Topic, bytes]:
        """Return a quote for each contract that traded and has had none for a second, or that is quiet."""
        records: dict[Topic, bytes] = {}
        real_s = time.monotonic()
        traded = set(traded)
        for topic in wanted:
            kind, contract_id = topic
            if kind != "quotes" or not isinstance(contract_id, str):
                continue
            shown = self._shown.get(contract_id)
            if shown is None or (
                now_ns - shown.at_ns >= _QUOTE_EACH_NS
                and (contract_id in traded or real_s - shown.sent_s >= _QUIET_QUOTE_EACH_S)
            ):
                records[topic] = self._quote(contract_id, now_ns)
        return records

    def _quote(self, contract_id: str, now_ns: int) -> bytes:
        fields = self._fields(contract_id)
        shown = self._shown.get(contract_id)
        known = {} if shown is None else shown.fields
        news = {name: value for name, value in fields.items() if known.get(name) != value}
        self._shown[contract_id] = _Shown(fields, now_ns, time.monotonic())
        always = {"symbol": fields["symbol"], "contract": contract_id}
        return wire.invocation("GatewayQuote", contract_id, {**always, **news, **_times(now_ns)})

    def _fields(self, contract_id: str) -> dict[str, object]:
        listing = self._venue.listings[contract_id]
        fields: dict[str, object] = {"symbol": listing.contract.symbol_id, "contract": contract_id}
        quote = self._venue.quotes.get(contract_id)
        if quote is not None:
            price = listing.grid.price
            fields |= {"lastPrice": price(quote.last), "bestBid": price(quote.bid), "bestAsk": price(quote.ask)}
        return fields

    def _depth(self, contract_id: str, last: Trade) -> bytes:
        quote, grid = self._venue.quotes[contract_id], self._venue.listings[contract_id].grid
        rows = [
            _row(contract_id, last.at_ns, _TRADE, last.price, last.volume),
            _row(contract_id, last.at_ns, _BEST_BID, grid.price(quote.bid), 10),
            _row(contract_id, last.at_ns, _BEST_ASK, grid.price(quote.ask), 10),
        ]
        return wire.invocation("GatewayDepth", contract_id, rows)


def _records(contract_id: str, items: Sequence[Item]) -> bytes:
    if len(items) <= _TRADES_A_RECORD:
        return wire.trades_record(contract_id, items)
    return b"".join(
        wire.trades_record(contract_id, items[start : start + _TRADES_A_RECORD])
        for start in range(0, len(items), _TRADES_A_RECORD)
    )


def _times(now_ns: int) -> dict[str, object]:
    stamp = wire.stamp(now_ns)
    return {"lastUpdated": stamp, "timestamp": stamp}


def _row(contract_id: str, at_ns: int, kind: int, price: float, volume: int) -> dict[str, object]:
    return {
        "contractId": contract_id, "timestamp": wire.stamp(at_ns), "type": kind, "price": price, "volume": volume,
        "currentVolume": volume,
    }  # fmt: skip


def _broken(contract_id: str) -> bytes:
    return b'{"type":1,"target":"GatewayTrade","arguments":["' + contract_id.encode() + b'",[{"pri' + wire.SEPARATOR


def _oversized(contract_id: str, size: int) -> bytes:
    row = _row(contract_id, 0, _RESET, 0.0, 0)
    return wire.invocation("GatewayDepth", contract_id, [row] * (size // len(str(row)) + size // 1_000 + 1))
