"""Files come back as they were written, and what is wrong with one is said by line and field."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from escapement.calendars import calendar_for_contract
from escapement.csvfiles import BAR_COLUMNS, kind_of, read_bars, read_trades, write_bars, write_trades
from escapement.errors import InvalidInput
from escapement.model import AggressorSide, Bar, Timeframe, Trade
from escapement.moments import ns_from_iso

ES = "CON.F.US.EP.H24"
OPEN = ns_from_iso("2025-03-16T22:00:00Z")
TRADE_HEADER = "timestamp,price,volume\n"
BAR_HEADER = ",".join(BAR_COLUMNS) + "\n"

trades = st.builds(
    Trade,
    st.sampled_from([ES, "CON.F.US.MES.M25"]),
    st.integers(0, 2**62),
    st.floats(1e-9, 1e9),
    st.integers(0, 10**9),
    st.sampled_from(AggressorSide),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(trades), st.sampled_from(["t.csv", "t.csv.gz"]))
def test_trades_come_back_to_the_last_digit(tmp_path: Path, given_trades: list[Trade], name: str) -> None:
    write_trades(tmp_path / name, given_trades)
    assert list(read_trades(tmp_path / name)) == given_trades


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 1_379), st.floats(1e-9, 1e9), st.integers(0, 10**9))))
def test_bars_come_back_to_the_last_digit(tmp_path: Path, values: list[tuple[int, float, int]]) -> None:
    minute = Timeframe.parse("1m")
    bars = [
        Bar(ES, minute, OPEN + n * 60 * 10**9, OPEN + (n + 1) * 60 * 10**9, price, price, price / 2, price, volume)
        for n, price, volume in values
    ]
    write_bars(tmp_path / "b.csv", bars)
    assert list(read_bars(tmp_path / "b.csv", calendar_for_contract)) == bars


def test_the_header_tells_bars_from_trades(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    for text, kind in [(TRADE_HEADER, "trades"), (BAR_HEADER, "bars")]:
        file.write_text(text)
        assert kind_of(file) == kind
    file.write_text("time,price\n")
    with pytest.raises(InvalidInput, match=r"x\.csv: the first line is 'time,price'; bars need"):
        kind_of(file)


TRADE_FAULTS = [
    ("timestamp,price\n", "line 1: column volume is missing from 'timestamp,price'"),
    ("timestamp,price,volume,price\n", "line 1: column price is named twice"),
    (TRADE_HEADER + "2025-03-17T13:30:00,1,1\n", "line 2: timestamp: .*no time zone"),
    (TRADE_HEADER + "yesterday,1,1\n", "line 2: timestamp: .*'yesterday' is not ISO 8601"),
    (TRADE_HEADER + "2025-03-17T13:30:00Z,1,1\n2025-03-17T13:30:00Z,nan,1\n", "line 3: price 'nan'"),
    (TRADE_HEADER + "2025-03-17T13:30:00Z,0,1\n", "line 2: price '0'"),
    (TRADE_HEADER + "2025-03-17T13:30:00Z,,1\n", "line 2: price ''"),
    (TRADE_HEADER + "2025-03-17T13:30:00Z,1,-1\n", "line 2: volume '-1'"),
    (TRADE_HEADER + "2025-03-17T13:30:00Z,1,1.5\n", "line 2: volume '1.5'"),
    (TRADE_HEADER + "2025-03-17T13:30:00Z,1,9999999999999\n", "line 2: volume '9999999999999'"),
    (TRADE_HEADER + "2300-03-17T13:30:00Z,1,1\n", "line 2: timestamp '2300-03-17T13:30:00Z' is not of the years"),
    (TRADE_HEADER + "\n2025-03-17T13:30:00Z,1\n", "line 3: has not as many fields"),
    (TRADE_HEADER + '"2025-03-17T13:30:00Z,1,1\n', "line 2: is not CSV text"),
    ("timestamp,price,volume,aggressor_side\n2025-03-17T13:30:00Z,1,1,up\n", "line 2: aggressor_side 'up'"),
]


@pytest.mark.parametrize(("text", "message"), TRADE_FAULTS)
def test_a_fault_in_trades_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InvalidInput, match=rf"t\.csv: {message}"):
        list(read_trades(tmp_path / "t.csv", ES))


def test_trades_without_a_contract_need_one(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(TRADE_HEADER + "2025-03-17T13:30:00Z,1,1\n")
    with pytest.raises(InvalidInput, match="name the contract with --contract"):
        list(read_trades(tmp_path / "t.csv"))


BAR_FAULTS = [
    (f"{ES},2025-03-16T22:00:30Z,2,1,1,1,1,1,1\n", "line 2: timestamp .* begins no 1m bar of calendar cme_equity"),
    (f"{ES},2025-03-15T22:00:00Z,2,1,1,1,1,1,1\n", "line 2: timestamp .* begins no 1m bar"),
    (f"{ES},2025-03-16T22:00:00Z,9,1,1,1,1,1,1\n", "line 2: timeframe_unit '9'"),
    (f"{ES},2025-03-16T22:00:00Z,4,3,1,1,1,1,1\n", "line 2: timeframe 3d is not supported"),
    (f"{ES},2025-03-16T22:00:00Z,2,1,1,1,2,1,1\n", "line 2: high 1.0 and low 2.0 do not enclose"),
    ("WHAT,2025-03-16T22:00:00Z,2,1,1,1,1,1,1\n", "line 2: contract 'WHAT' is of no known product"),
]


@pytest.mark.parametrize(("row", "message"), BAR_FAULTS)
def test_a_fault_in_bars_is_named(tmp_path: Path, row: str, message: str) -> None:
    (tmp_path / "b.csv").write_text(BAR_HEADER + row)
    with pytest.raises(InvalidInput, match=rf"b\.csv: {message}"):
        list(read_bars(tmp_path / "b.csv", calendar_for_contract))


def test_blank_lines_and_a_byte_order_mark_do_no_harm(tmp_path: Path) -> None:
    text = "\ufeff" + TRADE_HEADER + "2025-03-17T13:30:00Z,1,1\n\n2025-03-17T13:31:00Z,1,1\n"
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("t.csv", "t.csv.gz"):
        assert kind_of(tmp_path / name) == "trades"
        assert len(list(read_trades(tmp_path / name, ES))) == 2


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"none\.csv: No such file"):
        list(read_trades(tmp_path / "none.csv", ES))
    compressed = gzip.compress(random.Random(1).randbytes(1_000))
    spoilt = bytearray(compressed)
    spoilt[200] ^= 0xFF
    for content in (b"not compressed", compressed[:500], bytes(spoilt), gzip.compress(b"\xff\xfe")):
        (tmp_path / "t.csv.gz").write_bytes(content)
        for read in (kind_of, lambda path: list(read_trades(path, ES))):
            with pytest.raises(InvalidInput, match=r"t\.csv\.gz: line 0: is not CSV text"):
                read(tmp_path / "t.csv.gz")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.sampled_from(["", TRADE_HEADER, BAR_HEADER]))
def test_whatever_stands_in_a_file_is_read_or_refused_by_name(tmp_path: Path, content: bytes, header: str) -> None:
    file = tmp_path / "x.csv"
    file.write_bytes(header.encode() + content)
    refusal = f"{file}: "
    try:
        if kind_of(file) == "trades":
            list(read_trades(file, ES))
        else:
            list(read_bars(file, calendar_for_contract))
    except InvalidInput as error:
        refusal = str(error)
    assert refusal.startswith(f"{file}: ")
