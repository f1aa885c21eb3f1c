"""``escapement completeness`` and ``escapement gaps`` as their users run them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from escapement.calendars import calendar
from escapement.model import NS_PER_SECOND, Bar, BarSource, Coverage, Gap, GapCause, Timeframe
from escapement.moments import iso_from_ns, ns_from_datetime, ns_from_iso
from escapement.storage import DBHandler
from programs import program

MES, BTC = "CON.F.US.MES.M25", "CON.F.US.MBT.Z30"
MINUTE_NS = 60 * NS_PER_SECOND
OPEN_NS, CLOSE_NS = ns_from_iso("2025-03-16T22:00:00Z"), ns_from_iso("2025-03-17T21:00:00Z")
# The tables are the same on every server, and each run of the program takes a while.
EMBEDDED = pytest.mark.parametrize("empty_database_url", ["embedded"], indirect=True)
SETTINGS = """
contracts: [CON.F.US.MES.M25]
timeframes: [1h, 1d]
"""


def run(folder: Path, url: str, *arguments: str, settings: str = SETTINGS) -> subprocess.CompletedProcess[str]:
    (folder / "settings.yaml").write_text(settings)
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("ESCAPEMENT_", "DATABASE_"))}
    return subprocess.run(
        [sys.executable, "-m", "escapement", "--settings", "settings.yaml", *arguments], check=False,
        capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=folder, env=plain | {"DATABASE_URL": url},
        timeout=100,
    )  # fmt: skip


def answered(answer: subprocess.CompletedProcess[str], code: int) -> str:
    assert (answer.returncode, answer.stderr) == (code, "")
    return answer.stdout


def read(answer: subprocess.CompletedProcess[str], code: int) -> Any:
    return json.loads(answered(answer, code))


def given(url: str, work: Callable[[DBHandler], Awaitable[object]]) -> None:
    async def connected() -> None:
        async with await DBHandler.open(url) as database:
            await work(database)

    asyncio.run(connected())


def bars(contract_id: str, timeframe: str, from_ns: int, to_ns: int, without: Sequence[str] = ()) -> list[Bar]:
    """A whole bar in every interval but those whose labels are named."""
    parsed = Timeframe.parse(timeframe)
    sessions = calendar("cme_equity")
    built = []
    at_ns = from_ns
    while at_ns < to_ns:
        interval = sessions.interval(parsed, at_ns)
        assert interval is not None
        if iso_from_ns(interval.label_ns) not in without:
            built.append(Bar(contract_id, parsed, interval.label_ns, interval.end_ns, 2, 3, 1, 2, 4))
        at_ns = interval.end_ns
    return built


def test_a_session_whose_trades_are_all_known_is_complete(tmp_path: Path, url: str) -> None:
    hours = bars(MES, "1h", OPEN_NS, CLOSE_NS, ["2025-03-17T03:00:00Z"])
    from_history = [structs.replace(hours[0], source=BarSource.HISTORY)]
    day = bars(MES, "1d", OPEN_NS, CLOSE_NS)
    seen = [Coverage(MES, OPEN_NS, CLOSE_NS, BarSource.LIVE)]
    given(url, lambda database: database.store_observed([*from_history, *hours[1:], *day], seen, (), None))
    session = ["completeness", "--from", "2025-03-17", "--to", "2025-03-17"]
    text = answered(run(tmp_path, url, *session), 0)
    assert f"{MES}  2025-03-16T22:00:00Z to 2025-03-17T21:00:00Z\n" in text
    assert [line.split() for line in text.splitlines() if "2025-03-17 " in line] == [
        [MES, "2025-03-17", "1h", "23", "21", "1", "1", "0"],
        [MES, "2025-03-17", "1d", "1", "1", "0", "0", "0"],
    ]
    assert "24 intervals expected: 22 live, 1 from history, 1 empty, 0 unknown.\n" in text
    assert read(run(tmp_path, url, *session, "--json", "--timeframe", "1h"), 0) == {
        "contracts": [{"contract_id": MES, "from": "2025-03-16T22:00:00Z", "to": "2025-03-17T21:00:00Z"}],
        "sessions": [
            {
                "contract_id": MES, "trade_date": "2025-03-17", "timeframe": "1h", "expected": 23, "live": 21,
                "history": 1, "empty": 1, "unknown": 0, "unknown_stretches": [],
            }
        ],
        "totals": {"expected": 23, "live": 21, "history": 1, "empty": 1, "unknown": 0},
    }  # fmt: skip


@EMBEDDED
def test_what_is_unknown_is_named_and_is_an_exit_code(tmp_path: Path, url: str) -> None:
    missing = ["2025-03-17T03:00:00Z", "2025-03-17T04:00:00Z", "2025-03-17T20:00:00Z"]
    given(url, lambda database: database.store_bars(bars(MES, "1h", OPEN_NS, CLOSE_NS, missing)))
    session = ["completeness", "--from", "2025-03-16T22:00:00Z", "--to", "2025-03-17T21:00:00Z"]
    text = answered(run(tmp_path, url, *session), 1)
    assert "24 intervals expected: 20 live, 0 from history, 0 empty, 4 unknown.\n" in text
    assert [line.split()[2:] for line in text.splitlines() if line.startswith("unknown")] == [
        ["1h", "2025-03-17T03:00:00Z", "to", "2025-03-17T05:00:00Z"],
        ["1h", "2025-03-17T20:00:00Z", "to", "2025-03-17T21:00:00Z"],
        ["1d", "2025-03-16T22:00:00Z", "to", "2025-03-17T21:00:00Z"],
    ]
    hours = read(run(tmp_path, url, *session, "--json"), 1)["sessions"][0]
    assert hours["unknown_stretches"] == [
        {"from": "2025-03-17T03:00:00Z", "to": "2025-03-17T05:00:00Z"},
        {"from": "2025-03-17T20:00:00Z", "to": "2025-03-17T21:00:00Z"},
    ]
    half = ["--from", "2025-03-16T22:00:00Z", "--to", "2025-03-17T03:59:59Z", "--timeframe", "1h"]
    assert "5 intervals expected: 5 live" in answered(run(tmp_path, url, "completeness", *half), 0)
    year = ["completeness", "--from", "2024-01-01", "--to", "2024-12-31", "--timeframe", "1w", "--timeframe", "1d"]
    text = answered(run(tmp_path, url, *year), 1)
    assert sum(line.startswith("unknown") for line in text.splitlines()) == 20
    listed = read(run(tmp_path, url, *year, "--json"), 1)
    count = sum(len(each["unknown_stretches"]) for each in listed["sessions"])
    assert f"and {count - 20:,} more; --json lists them all." in text
    assert (
        listed["totals"]["expected"]
        == listed["totals"]["unknown"]
        == 52 + sum(session.trade_date.year == 2024 for session in calendar("cme_equity").sessions)
    )


@EMBEDDED
def test_what_has_not_ended_is_not_expected_and_a_simulated_market_may_be_ahead(tmp_path: Path, url: str) -> None:
    crypto = calendar("cme_crypto")

    def ended(from_ns: int, to_ns: int) -> int:
        """Whole hours of trading between two moments."""
        hour_ns = 60 * MINUTE_NS
        first = from_ns + -from_ns % hour_ns
        return sum(crypto.is_open(at_ns) for at_ns in range(first, to_ns - hour_ns + 1, hour_ns))

    def now() -> int:
        return ns_from_datetime(datetime.now(UTC)) - MINUTE_NS

    begin = (datetime.now(UTC) - timedelta(hours=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
    asked = ["completeness", "--contract", BTC, "--timeframe", "1h", "--from", begin, "--json"]
    least = ended(ns_from_iso(begin), now())
    for end in ([], ["--to", "2034-12-29"]):
        found = read(run(tmp_path, url, *asked, *end), 1)["totals"]
        assert least <= found["expected"] == found["unknown"] <= ended(ns_from_iso(begin), now())

    from_ns = ns_from_iso("2030-03-18T10:00:00Z")
    given(url, lambda database: database.cover(BTC, from_ns, from_ns + 90 * MINUTE_NS, BarSource.LIVE))
    ahead = ["completeness", "--contract", BTC, "--timeframe", "1h", "--json"]
    looked = read(run(tmp_path, url, *ahead), 0)
    assert looked["contracts"] == [
        {"contract_id": BTC, "from": "2030-03-18T10:00:00Z", "to": "2030-03-18T11:30:00Z"},
    ]
    assert looked["totals"] == {"expected": 1, "live": 0, "history": 0, "empty": 1, "unknown": 0}


@EMBEDDED
def test_a_closed_market_owes_nothing(tmp_path: Path, url: str) -> None:
    weekend = ["completeness", "--from", "2025-03-22T00:00:00Z", "--to", "2025-03-23T00:00:00Z"]
    assert "No interval of the calendar lies there." in answered(run(tmp_path, url, *weekend), 0)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["completeness", "--from", "17.3.2025"], "--from: time '17.3.2025' is not ISO 8601"),
        (["completeness", "--to", "2025-03-17T12:00:00"], "has no time zone"),
        (["completeness", "--from", "2025-02-30"], "--from: "),
        (["completeness", "--from", "2025-03-18", "--to", "2025-03-17"], "is not before --to (2025-03-17T21:00:00Z)"),
        (["completeness", "--from", "2044-03-18"], "date 2044-03-18 lies outside the calendar"),
        (["completeness", "--contract", "CON.F.US.ZZZ.M25"], "name its calendar"),
        (["completeness", "--timeframe", "2d"], "2d is not supported"),
        (["gaps", "--from", "yesterday"], "--from: time 'yesterday' is not ISO 8601"),
        (["gaps", "--from", "2025-03-18T12:00:00Z", "--to", "2025-03-17T12:00:00Z"], "is not before --to"),
        (["gaps", "--contract", "CON.F.US.ZZZ.M25", "--to", "2025-03-17"], "name its calendar"),
    ],
)
def test_what_cannot_be_asked_is_one_message(
    tmp_path: Path, embedded_url: str, arguments: list[str], says: str
) -> None:
    answer = run(tmp_path, embedded_url, *arguments)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert says in answer.stderr
    assert answer.stderr.count("\n") == 1


@EMBEDDED
def test_without_contracts_and_without_tables_it_says_what_to_do(tmp_path: Path, empty_database_url: str) -> None:
    answer = run(tmp_path, empty_database_url, "completeness", settings="timeframes: [1m]")
    assert (answer.returncode, "contracts is empty" in answer.stderr) == (2, True)
    for command in ("completeness", "gaps"):
        answer = run(tmp_path, empty_database_url, command)
        assert (answer.returncode, "escapement db init" in answer.stderr) == (1, True)


def gap(contract_id: str, begin: str, minutes: int | None, cause: GapCause, detail: str = "") -> Gap:
    begins_ns = ns_from_iso(begin)
    return Gap(contract_id, begins_ns, None if minutes is None else begins_ns + minutes * MINUTE_NS, cause, detail)


@EMBEDDED
def test_gaps_are_listed_until_they_are_closed(tmp_path: Path, url: str) -> None:
    assert answered(run(tmp_path, url, "gaps"), 0) == "No gaps.\n"
    lost = gap(MES, "2025-03-17T14:00:00Z", 2, GapCause.DISCONNECT, "closed by the venue")
    lasting = gap(MES, "2025-03-18T14:00:00.25Z", None, GapCause.FREEZE)
    other = gap("CON.F.US.ZZZ.M25", "2025-03-18T03:00:00Z", 0, GapCause.LATE)

    async def put(database: DBHandler) -> None:
        await database.store_observed((), (), [lost, lasting, other], None)
        await database.note_attempt(MES, [lost], "the gateway answered 503")

    given(url, put)
    text = answered(run(tmp_path, url, "gaps"), 1)
    assert [line.split()[:7] for line in text.splitlines()[1:-1]] == [
        [MES, "2025-03-17T14:00:00Z", "2025-03-17T14:02:00Z", "disconnect", "open", "1", "0"],
        [MES, "2025-03-18T14:00:00Z", "not", "over", "freeze", "open", "0"],
        ["CON.F.US.ZZZ.M25", "2025-03-18T03:00:00Z", "2025-03-18T03:00:00Z", "late", "trade", "open", "0"],
    ]
    assert "closed by the venue; the gateway answered 503" in text
    assert text.endswith("3 gaps, 3 open.\n")

    given(url, lambda database: database.store_repair(MES, bars(MES, "1h", OPEN_NS, CLOSE_NS), (), [lost]))
    closed = read(run(tmp_path, url, "gaps", "--contract", MES, "--to", "2025-03-17", "--json"), 0)
    assert [closed[0].pop(name) is not None for name in ("opened", "closed")] == [True, True]
    assert closed == [
        {
            "contract_id": MES, "begin": "2025-03-17T14:00:00Z", "end": "2025-03-17T14:02:00Z", "cause": "disconnect",
            "detail": "closed by the venue", "state": "closed", "attempts": 2, "reason": "", "revised": 23,
        }
    ]  # fmt: skip
    still = read(run(tmp_path, url, "gaps", "--open", "--contract", MES, "--json"), 1)
    assert [(each["begin"], each["end"], each["closed"]) for each in still] == [("2025-03-18T14:00:00.25Z", None, None)]
    later = ["--from", "2025-03-18T03:00:00Z", "--to", "2025-03-18T14:00:00Z"]
    assert [each["contract_id"] for each in read(run(tmp_path, url, "gaps", *later, "--json"), 1)] == [
        other.contract_id
    ]
    none = ["--from", "2025-03-17T14:02:00Z", "--to", "2025-03-18T03:00:00Z", "--open"]
    assert answered(run(tmp_path, url, "gaps", *none), 0) == "No gaps.\n"


@pytest.mark.parametrize("command", [["completeness"], ["history", "download", "--from", "2025-03-17"]])
def test_with_products_the_contracts_meant_have_to_be_named(tmp_path: Path, command: list[str]) -> None:
    with program(tmp_path, *command, ESCAPEMENT_PRODUCTS="EP", ESCAPEMENT_CONTRACTS=MES) as asked:
        out, err = asked.communicate(timeout=60)
    assert (asked.returncode, out) == (2, "")
    assert err.startswith("error: --contract is missing: products stand for contracts that change")
