"""The wire format of the market hub: what a venue may send is read, and nothing it sends raises anything unexpected."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escapement.errors import FeedProtocolError
from escapement.model import AggressorSide, Trade
from escapement.moments import ns_from_iso
from escapement.projectx.codec import MarketCodec, Record, records
from escapement.simulator import wire

MES = "CON.F.US.MES.U26"

trades = st.builds(
    Trade,
    st.just(MES),
    # The venue's stamps have at most seven digits after the second.
    st.integers(ns_from_iso("2015-01-01T00:00:00Z") // 100, ns_from_iso("2035-01-01T00:00:00Z") // 100).map(
        (100).__mul__
    ),
    st.floats(1e-9, 1e9),
    st.integers(0, 2**40),
    st.sampled_from(AggressorSide),
)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def trades_record(sent: list[Trade]) -> bytes:
    """Encode as the simulated venue does, which shares nothing with our decoder."""
    return wire.trades_record(MES, [wire.trade_json("F.US.MES", trade) for trade in sent])


def raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


def read(*items: object) -> tuple[Trade, ...]:
    return MarketCodec().trades(raw([MES, list(items)]))


@given(st.lists(trades, max_size=6))
def test_trades_come_back_as_the_venue_had_them(sent: list[Trade]) -> None:
    (record,) = records(trades_record(sent))
    assert isinstance(record, Record)
    assert record.target == "GatewayTrade"
    assert MarketCodec().trades(record.arguments) == tuple(sent)


def test_a_recorded_message_is_read() -> None:
    frame = (
        b'{"type":1,"target":"GatewayTrade","arguments":["CON.F.US.MES.U26",[{"symbolId":"F.US.MES","price":7730.5,'
        b'"timestamp":"2026-08-19T20:51:30.052+00:00","type":1,"volume":1,"contractId":"CON.F.US.MES.U26"}]]}\x1e'
    )
    (record,) = records(frame)
    assert isinstance(record, Record)
    at_ns = ns_from_iso("2026-08-19T20:51:30.052Z")
    assert MarketCodec().trades(record.arguments) == (Trade(MES, at_ns, 7730.5, 1, AggressorSide.SELL),)


def test_lists_objects_nulls_and_unknown_fields_are_all_read() -> None:
    item = {"price": 1.5, "volume": 2, "timestamp": "2025-03-17T13:30:00Z", "new": [1]}
    expected = Trade(MES, ns_from_iso("2025-03-17T13:30:00Z"), 1.5, 2)
    assert read(item, None, item) == (expected, expected)
    assert MarketCodec().trades(raw([MES, item])) == (expected,)
    assert MarketCodec().trades(raw([MES, None])) == ()
    assert read() == ()


@given(
    st.datetimes(datetime(2015, 1, 1), datetime(2035, 1, 1)),  # noqa: DTZ001 - the zone is added below
    st.integers(0, 9),
    st.sampled_from(["+00:00", "Z", "-05:00", "+01:30"]),
)
def test_every_form_of_time_stamp_means_what_it_says(moment: datetime, digits: int, zone: str) -> None:
    fraction = f".{moment.microsecond:06d}000"[: digits + 1] if digits else ""
    text = moment.strftime("%Y-%m-%dT%H:%M:%S") + fraction + zone
    (trade,) = read({"price": 1, "volume": 1, "timestamp": text})
    assert trade.at_ns == ns_from_iso(text)


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ({"price": 1, "volume": 1, "timestamp": "2025-03-17T13:30:00"}, "no time zone"),
        ({"price": 1, "volume": 1, "timestamp": "2025-03-17T13:30:00.123"}, "no time zone"),
        ({"price": 1, "volume": 1, "timestamp": "2025-03-17T13:30:61Z"}, "not ISO 8601"),
        ({"price": 1, "volume": 1, "timestamp": "2025-03-17T13:30:0x.5Z"}, "not ISO 8601"),
        ({"price": 1, "volume": 1}, "timestamp"),
        ({"price": "1", "volume": 1, "timestamp": "2025-03-17T13:30:00Z"}, "price"),
        ({"price": 1, "volume": 1.5, "timestamp": "2025-03-17T13:30:00Z"}, "volume"),
    ],
)
def test_a_trade_that_cannot_be_read_is_named_by_field(item: dict[str, object], reason: str) -> None:
    with pytest.raises(FeedProtocolError, match=f"GatewayTrade.*{reason}"):
        read(item)


@given(json_values)
def test_whatever_stands_in_place_of_trades_or_quotes_is_read_or_refused(value: object) -> None:
    codec = MarketCodec()
    for arguments in (value, [value], [MES, value], [MES, [value]], [MES, {"timestamp": value, "lastUpdated": value}]):
        for reader in (codec.trades, codec.quote_time):
            try:
                reader(raw(arguments))
            except FeedProtocolError:
                continue


@given(st.binary(max_size=200), st.lists(trades, min_size=1, max_size=2))
def test_junk_beside_good_records_harms_only_itself(junk: bytes, sent: list[Trade]) -> None:
    good = trades_record(sent)
    found = list(records(good + junk.replace(b"\x1e", b"") + b"\x1e" + good))
    first, last = found[0], found[-1]
    assert isinstance(first, Record)
    assert isinstance(last, Record)
    assert MarketCodec().trades(first.arguments) == MarketCodec().trades(last.arguments) == tuple(sent)
    assert len(found) == 2 + bool(junk.replace(b"\x1e", b""))


def test_quotes_tell_the_venues_time_when_they_tell_any() -> None:
    codec = MarketCodec()
    noon = datetime(2025, 3, 17, 12, tzinfo=UTC).isoformat()
    expected = (MES, ns_from_iso(noon))
    assert codec.quote_time(raw([MES, {"lastUpdated": noon, "bestBid": 1}])) == expected
    assert codec.quote_time(raw([MES, {"timestamp": noon}])) == expected
    assert codec.quote_time(raw([MES, {"bestBid": 1}])) is None
    assert codec.quote_time(raw([MES, None])) is None
