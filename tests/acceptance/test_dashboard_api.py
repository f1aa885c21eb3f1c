"""The dashboard's JSON API as programs use it, over a database with something of everything."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from coordination_program import MES
from escapement.model import Timeframe
from escapement.moments import datetime_from_ns
from escapement.storage import migrate
from escapement.storage.embedded import embedded_server
from shown import BARS, FIRST, LAST, MINUTE, SCRIPT, dashboard, fill_embedded

CONFIG = Path(__file__).parents[1] / "schemathesis.toml"
MINUTES = [bar for bar in BARS if bar.contract_id == MES and bar.timeframe == Timeframe.parse("1m")]
WHOLE = {"begin": datetime_from_ns(FIRST).isoformat(), "end": datetime_from_ns(LAST).isoformat()}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("served")
    asyncio.run(fill_embedded(folder / "data"))
    limits = {"ESCAPEMENT_RISK__DAILY_LOSS": "500", "ESCAPEMENT_RISK__FLATTEN_MINUTES": "10"}
    with dashboard(folder, **limits, PROJECTX_API_KEY="a-key-to-hide") as client:
        yield client


def get(served: httpx.Client, path: str, **query: Any) -> Any:
    answer = served.get(f"/api/v1/{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.timeout(240)
def test_the_api_does_what_its_own_description_says(served: httpx.Client, tmp_path: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "st", "--config-file", CONFIG, "run", f"{served.base_url}/api/v1/openapi.json",
         "--max-examples", "20", "--generation-deterministic", "--warnings", "off", "--no-color"],
        check=False, capture_output=True, text=True, cwd=tmp_path, timeout=230,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6_000:]
    assert "No issues found" in done.stdout


def test_candles_are_stored_bars_and_when_merged_they_are_honest(served: httpx.Client) -> None:
    plain = get(served, f"contracts/{MES}/candles", timeframe="1m", **WHOLE)
    assert plain["merged"] == 1
    assert [(each["open"], each["high"], each["low"], each["close"], each["volume"]) for each in plain["candles"]] == [
        (bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in MINUTES
    ]
    few = get(served, f"contracts/{MES}/candles", timeframe="1m", most=20, **WHOLE)
    assert 2 <= len(few["candles"]) <= 20
    left = list(MINUTES)
    for candle in few["candles"]:
        some, left = left[: candle["bars"]], left[candle["bars"] :]
        assert datetime.fromisoformat(candle["start"]) == datetime_from_ns(some[0].start_ns)
        assert datetime.fromisoformat(candle["end"]) == datetime_from_ns(some[-1].end_ns)
        assert (candle["open"], candle["close"]) == (some[0].open, some[-1].close)
        assert candle["high"] == max(bar.high for bar in some)
        assert candle["low"] == min(bar.low for bar in some)
        assert candle["volume"] == sum(bar.volume for bar in some)
    assert left == []


def test_the_same_bars_are_merged_wherever_one_looks(served: httpx.Client) -> None:
    whole = get(served, f"contracts/{MES}/candles", timeframe="1m", most=20, **WHOLE)
    width = whole["merged"]
    later = (datetime_from_ns(FIRST) + timedelta(minutes=3 * width)).isoformat()
    some = get(served, f"contracts/{MES}/candles", timeframe="1m", most=20, begin=later, end=WHOLE["end"])
    assert some["merged"] == width
    assert some["candles"][1:] == whole["candles"][-len(some["candles"]) + 1 :]


def test_a_range_of_all_time_answers_with_what_there_is(served: httpx.Client) -> None:
    ever = {"begin": "0001-01-01T00:00:00+14:00", "end": "9999-12-31T23:59:59-14:00"}
    assert len(get(served, f"contracts/{MES}/candles", timeframe="1m", most=10_000, **ever)["candles"]) == len(MINUTES)
    assert get(served, f"contracts/{MES}/marks", **ever)["gaps"]
    assert len(get(served, f"contracts/{MES}/completeness", begin="0001-01-01", end="9999-12-31")) >= 1
    turned = {"begin": ever["end"], "end": ever["begin"]}
    assert get(served, f"contracts/{MES}/candles", timeframe="1m", **turned)["candles"] == []


def test_what_happened_is_marked_in_its_stretch_and_nowhere_else(served: httpx.Client) -> None:
    marks = get(served, f"contracts/{MES}/marks", **WHOLE)
    assert marks["signals"]
    assert marks["decisions"]
    assert {each["role"]: each["until"] is None for each in marks["orders"]} == {"entry": False, "stop": True}
    assert [(each["price"], each["role"]) for each in marks["fills"]] == [(5_000.25, "entry")]
    (gap,) = marks["gaps"]
    assert (gap["open"], gap["detail"]) == (False, SCRIPT)
    before = {"begin": "2025-01-01T00:00:00Z", "end": WHOLE["begin"]}
    assert not any(get(served, f"contracts/{MES}/marks", **before).values())
    early = {"begin": WHOLE["begin"], "end": datetime_from_ns(FIRST + 20 * MINUTE).isoformat()}
    assert get(served, f"contracts/{MES}/marks", **early)["fills"] == []
    five = get(served, f"contracts/{MES}/marks", timeframe="5m", **WHOLE)["signals"]
    assert {each["timeframe"] for each in five} == {"5m"}


def test_now_tells_position_profit_and_the_distance_to_limits_and_deadline(served: httpx.Client) -> None:
    now = get(served, "now")
    (held,) = now["positions"]
    assert (held["net"], held["protected"], held["last_price"]) == (1, 1, MINUTES[-1].close)
    assert float(held["open_money"]) == pytest.approx((MINUTES[-1].close - 5_000.25) * 5)
    assert (now["account"]["made_today"], now["account"]["equity"]) == ("-0.61", "50010")
    (limit,) = now["limits"]
    assert (limit["code"], limit["level"], limit["left"], limit["size"]) == ("daily_loss", "49500", "510", "500")
    (deadline,) = now["deadlines"]
    flat, close = (datetime.fromisoformat(deadline[name]) for name in ("flat_at", "closes_at"))
    assert close - flat == timedelta(minutes=10)
    assert {each["contract_id"] for each in now["directions"]} >= {MES}
    assert [each["role"] for each in now["orders"]] == ["stop"]
    assert len(now["decisions"]) == 10
    assert get(served, "now", account="another")["account"] is None


def test_why_and_why_not_are_told_and_can_be_sought(served: httpx.Client) -> None:
    decision = get(served, "decisions", contract=MES, most=10)[0]
    why = get(served, f"decisions/{decision['decision_id']}")
    assert why["decision"] == decision
    assert why["signals"]
    assert why["verdicts"]
    refused = get(served, "log", decided=False, most=50)
    assert refused
    assert all(each["decision_id"] is None for each in refused)
    rule = refused[0]["refused_by"]
    assert all(
        any(said["rule"] == rule and not said["stands"] for said in each["verdicts"])
        for each in get(served, "log", rule=rule, decided=False, most=50)
    )
    told = get(served, f"signals/{refused[0]['signal']['signal_id']}/why-not")
    assert told["notes"][0]["verdicts"] == refused[0]["verdicts"]
    assert get(served, "choices")["coordinators"] == ["main"]
    for path in ("decisions/unknown", "signals/999999999999999999999/why-not", "signals/0/why-not"):
        assert served.get(f"/api/v1/{path}").status_code == 404


def test_what_is_missing_is_told_by_session_and_gap(served: httpx.Client) -> None:
    (session,) = (each for each in get(served, f"contracts/{MES}/completeness") if each["live"])
    assert session["live"] == len(MINUTES)
    (gap,) = get(served, "gaps")
    assert (gap["cause"], gap["open"]) == ("disconnect", False)
    assert get(served, "gaps", open=True) == []


def test_the_system_shows_its_database_and_its_settings_but_no_secret(served: httpx.Client) -> None:
    answer = served.get("/api/v1/system")
    assert "a-key-to-hide" not in answer.text
    found = answer.json()
    assert {each["path"]: each["value"] for each in found["settings"]}["risk.daily_loss"] == "500.0"
    tables = {each["table"]: each for each in found["database"]["tables"]}
    assert tables["ohlc_bars"]["bytes"] > 0
    assert found["database"]["bytes"] >= tables["ohlc_bars"]["bytes"]
    stages = {each["stage"] for each in found["stages"]}
    assert stages == {
        "ingest", "analyze: trend_starts", "analyze: donchian_breakout", "coordinate: main", "execute: paper",
    }  # fmt: skip
    assert SCRIPT in [each["words"] for each in found["troubles"]]


def test_hostile_names_come_back_as_data_that_no_browser_takes_for_a_page(served: httpx.Client) -> None:
    answer = served.get("/api/v1/contracts")
    assert SCRIPT in [each["contract_id"] for each in answer.json()]
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    for words in ("' OR 1=1 --", "\\", "%00", "😀" * 40):
        assert get(served, "decisions", contract=words) == []


def test_kill_and_resume_turn_the_switch_and_are_written_down(served: httpx.Client) -> None:
    assert served.post("/api/v1/kill", json={"reason": "a test"}).json() == {"killed": True}
    kill = get(served, "now")["kill"]
    assert (kill["killed"], kill["reason"], kill["by"]) == (True, "a test", "operator at 127.0.0.1 (dashboard)")
    assert served.post("/api/v1/resume", json={}).json() == {"killed": False}
    assert get(served, "now")["kill"]["killed"] is False
    newest = get(served, "audit", most=2)
    assert [(each["act"], each["subject"], each["outcome"], each["address"]) for each in newest] == [
        ("resume", "by hand", "done", "127.0.0.1"), ("kill", "a test", "done", "127.0.0.1"),
    ]  # fmt: skip


def test_kill_does_not_wait_for_those_who_look(tmp_path: Path) -> None:
    with embedded_server(tmp_path / "data") as url:
        asyncio.run(migrate(url))
        with dashboard(tmp_path, DATABASE_URL=url, ESCAPEMENT_DATABASE__CONNECTIONS="1") as client:
            asyncio.run(kill_while_all_wait(url, str(client.base_url)))


async def kill_while_all_wait(url: str, base: str) -> None:
    """Stop trading while nothing can be read, and many try."""
    connection = await asyncpg.connect(url)
    async with (
        httpx.AsyncClient(base_url=f"{base}/api/v1", timeout=60) as client,
        asyncio.TaskGroup() as group,
        connection.transaction(),
    ):
        await connection.execute("LOCK TABLE tracked_series IN ACCESS EXCLUSIVE MODE")
        looking = [group.create_task(client.get("/contracts")) for _ in range(20)]
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        async with asyncio.timeout(20):
            while await connection.fetchval(waiting) < 4:  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.05)
        killed = await client.post("/kill", json={}, timeout=5)
        assert killed.json() == {"killed": True}
        assert not any(each.done() for each in looking)
    await connection.close()


def test_small_answers_are_sent_at_once(served: httpx.Client) -> None:
    def seconds() -> float:
        begun = time.perf_counter()
        assert served.get("/api/v1/me").status_code == 200
        return time.perf_counter() - begun

    # A sender that waits to be acknowledged takes 40 ms each time.
    assert min(seconds() for _ in range(20)) < 0.03


def until_ended(served: httpx.Client, name: str) -> Any:
    deadline = time.monotonic() + 60
    while (found := get(served, f"backtests/{name}"))["run"]["state"] in {"waiting", "running"}:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    return found


def test_a_backtest_runs_beside_is_kept_and_one_that_is_cancelled_ends(served: httpx.Client) -> None:
    wish = {"kind": "backtest", "begin": "2025-03-18", "end": "2025-03-18", "changes": {"execution.stop_ticks": "20"}}
    started = served.post("/api/v1/backtests/start", json=wish)
    assert started.status_code == 202, started.text
    waits = served.post("/api/v1/backtests/start", json=wish).json()["name"]
    assert served.post(f"/api/v1/backtests/{waits}/cancel").json()["state"] == "cancelled"
    found = until_ended(served, started.json()["name"])
    assert found["run"]["state"] == "done", found["log"]
    assert found["report"]["settings"]["execution"]["stop_ticks"] == {"*": 20}
    assert found["run"]["figures"]["trades"] == len(found["report"]["trades"])
    page = served.get(f"/api/v1/backtests/{started.json()['name']}/page")
    assert page.headers["content-security-policy"].startswith("sandbox allow-scripts; default-src 'none'")
    acts = [(each["act"], each["subject"].partition(":")[0]) for each in get(served, "audit", most=50)]
    assert ("cancel", waits) in acts
    assert ("start", started.json()["name"]) in acts


@pytest.mark.parametrize(
    "changes",
    [
        {"analyzers.run": "[./own.py]"}, {"risk.firm_rules": "../rules.yaml#x"}, {"database.url": "x"},
        {"data_dir": "elsewhere"}, {"execution.stop_ticks": "&a [*a]"}, {"--html": "x"},
    ],
)  # fmt: skip
def test_a_backtest_cannot_reach_for_files_or_anything_but_its_own_settings(
    served: httpx.Client, changes: dict[str, str]
) -> None:
    wish = {"kind": "backtest", "begin": "2025-03-18", "end": "2025-03-18", "changes": changes}
    assert served.post("/api/v1/backtests/start", json=wish).status_code == 422


@pytest.mark.parametrize(
    "changed",
    [
        {"begin": "2025-02-30"}, {"end": "0000-01-01"}, {"contracts": ["unknown"]}, {"contracts": [MES, MES]},
        {"kind": "sweep"}, {"kind": "sweep", "over": {"logging.level": "info"}}, {"over": {"risk.trade_loss": "1,2"}},
    ],
)  # fmt: skip
def test_a_wish_that_cannot_be_run_is_refused_at_once(served: httpx.Client, changed: dict[str, object]) -> None:
    wish = {"kind": "backtest", "begin": "2025-03-18", "end": "2025-03-18", **changed}
    assert served.post("/api/v1/backtests/start", json=wish).status_code == 422


@pytest.mark.parametrize("name", ["..", "%2e%2e", "..%2f..%2fetc%2fpasswd", "20250318-000000-backtest-000000"])
def test_a_run_is_found_by_its_name_only(served: httpx.Client, name: str) -> None:
    for path in (name, f"{name}/page"):
        assert served.get(f"/api/v1/backtests/{path}").status_code in {403, 404}
