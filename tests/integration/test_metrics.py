"""What is counted is what was stored, each thing once; and the Grafana dashboard asks for nothing that is not there."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from escapement import wiring_operations
from escapement.ports import ServiceHealth
from escapement.services.lags import BOUNDS_S, LagCounts
from escapement.services.lookout import Lookout
from escapement.settings import load_settings
from escapement.storage import DBHandler
from escapement.storage.health import HealthStore
from told import MES, decide, happen, until

DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana" / "escapement.json"
SERVICES = ["ingest", "analyze", "coordinate", "execute"]
INGEST = {
    "trades": 1_000, "late": 2, "refused": 1, "bars": 50, "bars_new": 49, "revised": 3, "connections": 2, "holes": 1,
    "alarms": 1, "bars_waiting": 4,
    "feed": {"connected": True, "for_s": 60.0, "contracts": {MES: {"open": True, "silent_s": 0.5}}},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look as often as asked, and count what is half a second old."""
    monkeypatch.setattr("escapement.services.lookout._EACH_S", 0.0)
    monkeypatch.setattr("escapement.storage.operations._SETTLED", "SELECT clock_timestamp() - interval '0.5 seconds'")


@asynccontextmanager
async def looking(url: str, tmp_path: Path) -> AsyncIterator[Lookout]:
    settings = load_settings(environ={}, data_dir=tmp_path, database={"url": url})
    async with wiring_operations.lookout(settings, SERVICES) as lookout:
        yield lookout


async def families(lookout: Lookout) -> dict[str, Metric]:
    text = (await lookout.metrics()).decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(found: dict[str, Metric], name: str, **labels: str) -> float:
    return sum(
        sample.value
        for family in found.values()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


async def counted(lookout: Lookout) -> dict[str, Metric]:
    """What is served once what was stored last is counted."""
    found: dict[str, Metric] = {}

    async def is_counted() -> bool:
        found.update(await families(lookout))
        return value(found, "escapement_notifications_total") > 0

    await until(is_counted)
    return found


async def tell_services(url: str) -> None:
    lags = LagCounts()
    lags.observe([0.001, 0.002, 400.0])
    reports: dict[str, dict[str, object]] = {
        "ingest": {**INGEST, "lag": lags.report()},
        "analyze": {"bars": 9, "faults": 0},
    }
    reports |= {"coordinate": {"late": 0}, "execute": {"interruptions": 0, "reconciliations": 5}}
    async with await DBHandler.open(url) as database:
        await HealthStore(database).put(
            "there:2", [ServiceHealth(name, "running", 1, 0, "", report=report) for name, report in reports.items()]
        )


async def fill(connection: asyncpg.Connection[Any]) -> None:
    """Let one of everything be stored, in the order in which it comes about."""
    await connection.execute(
        f"""
        INSERT INTO tracked_series (contract_id, timeframe_unit, timeframe_value) VALUES ('{MES}', 2, 5);
        INSERT INTO analyzer_watermarks (analyzer_id, contract_id, timeframe, analyzer_version, params)
            VALUES ('trend_starts', '{MES}', '5m', 1, '{{}}');
        INSERT INTO detected_signals (timestamp, contract_id, timeframe, signal_type, signal_price, instance_id,
            analyzer_id, analyzer_version, params, trigger_timestamp, known_at, rule, trigger_whole)
            SELECT now(), '{MES}', '5m', 'uptrendStart', price, 1, 'trend_starts', 1, '{{}}', now(),
                   clock_timestamp() - length, 'r', true
            FROM (VALUES (1, interval '0.2 s'), (2, '4 s'), (3, '1 year')) AS given (price, length);
        INSERT INTO execution_accounts (account, account_id, mode, since, start_balance, last_decision_number)
            VALUES ('paper', 1, 'paper', now(), 50000, 0);
        INSERT INTO account_snapshots (account, trade_date, start_balance, balance, highest_balance, equity,
            highest_equity) VALUES ('paper', '2026-01-05', 50000, 50100, 50100, 50090, 50100);
        INSERT INTO positions (account, contract_id, net, foreign_net, protected, made, tick_size, tick_value)
            VALUES ('paper', '{MES}', -2, 0, 2, 0, 0.25, 1.25)"""
    )
    decision = (await decide(connection, 5)).partition(":")[2]
    await connection.execute("INSERT INTO decision_signals VALUES ($1, 1), ($1, 2)", decision)
    await connection.execute(
        "INSERT INTO orders (account, order_key, contract_id, decision_id, role, type, side, size, status, "
        "accepted_at) VALUES ('paper', 'k', $1, $2, 'entry', 'market', 'buy', 1, 'open', clock_timestamp())",
        MES, decision,
    )  # fmt: skip
    await happen(connection)
    await connection.execute(
        "INSERT INTO notifications VALUES ('x', 'kill', now(), '{}'), ('y', 'kill', now(), '{}');"
        "INSERT INTO notification_deliveries (event_id, channel, state, settled_at) VALUES "
        "('x', 'phone', 'sent', clock_timestamp()), ('y', 'phone', 'waiting', NULL)"
    )


async def test_what_is_stored_is_counted_once_and_states_are_those_of_now(url: str, tmp_path: Path) -> None:
    connection = await asyncpg.connect(url)
    await decide(connection, 4)
    await connection.execute("UPDATE decisions SET decided_at = now() - interval '1 minute'")  # before anybody counted
    await tell_services(url)
    async with looking(url, tmp_path) as lookout:
        before = await families(lookout)
        assert value(before, "escapement_decisions_total") == 0
        await fill(connection)
        found = await counted(lookout)
        for _ in range(3):  # what is counted is not counted again
            again = await families(lookout)
    await connection.close()
    for name, labels, wanted in (
        ("signals", {"contract": MES, "timeframe": "5m", "analyzer": "trend_starts", "type": "uptrendStart"}, 3),
        ("decisions", {"contract": MES, "action": "enter_long"}, 2),
        ("orders", {"account": "paper", "contract": MES, "role": "entry"}, 1),
        ("fills", {"account": "paper", "contract": MES, "side": "buy"}, 1),
        ("refusals", {"account": "paper", "contract": MES, "code": "daily_loss"}, 1),
        ("gaps_opened", {"contract": MES}, 3),
        ("gaps_closed", {"contract": MES, "cause": "late trade"}, 1),
        ("notifications", {"channel": "phone", "state": "sent"}, 1),
        ("trades", {"process": "there:2"}, 1_000),
        ("feed_connections", {"process": "there:2"}, 2),
    ):
        for each in (found, again):
            assert value(each, f"escapement_{name}_total", **labels) == wanted, name
    for name, wanted in (
        ("ready", 0), ("service_up", 4), ("killed", 0), ("gaps_open", 2), ("position_contracts", -2),
        ("account_equity", 50_090),
        ("notifications_waiting", 1), ("feed_connected", 1), ("bars_waiting", 4), ("analyzers_at_fault", 0),
    ):  # fmt: skip
        assert value(again, f"escapement_{name}") == wanted, name
    assert 0.5 < value(again, "escapement_feed_silent_seconds", contract=MES) < 60

    def lag(stage: str, part: str, **labels: str) -> float:
        return value(again, f"escapement_lag_seconds_{part}", stage=stage, **labels)

    assert [lag("received_to_stored", "bucket", le=bound) for bound in ("0.001", "0.0025", "300.0", "+Inf")] == [
        1,
        2,
        2,
        3,
    ]
    # What was found in a bar of last year is no lag.
    assert [lag("bar_to_signal", "bucket", le=bound) for bound in ("0.1", "0.25", "2.5", "5.0")] == [0, 1, 1, 2]
    assert lag("signal_to_decision", "count") == lag("decision_to_order", "count") == 1
    assert 0 < lag("signal_to_decision", "sum") < 1


def test_lags_lie_in_the_bucket_whose_bound_they_do_not_exceed() -> None:
    lags = LagCounts()
    lags.observe([*BOUNDS_S, BOUNDS_S[-1] * 2])
    assert lags.counts == [1] * (len(BOUNDS_S) + 1)
    assert lags.report() == {"counts": lags.counts, "sum_s": sum(BOUNDS_S) + BOUNDS_S[-1] * 2}


def targets(board: object) -> Iterator[dict[str, Any]]:
    """Every query of the dashboard."""
    if isinstance(board, dict):
        if "expr" in board or "rawSql" in board:
            yield board
        for each in board.values():
            yield from targets(each)
    elif isinstance(board, list):
        for each in board:
            yield from targets(each)


def board() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return found


async def test_the_dashboard_asks_prometheus_for_names_and_labels_that_are_served(url: str, tmp_path: Path) -> None:
    connection = await asyncpg.connect(url)
    await tell_services(url)
    async with looking(url, tmp_path) as lookout:
        await lookout.metrics()
        await fill(connection)
        found = await counted(lookout)
    await connection.close()
    served: dict[str, set[str]] = {}
    for family in found.values():
        for sample in family.samples:
            served.setdefault(sample.name, set()).update(sample.labels)
    asked = set()
    for target in targets(board()):
        text = target.get("expr", "")
        names = re.findall(r"\b(?:escapement|process)_\w+", text)
        asked.update(names)
        labels = {label for group in re.findall(r"(?:by|on) \(([^)]*)\)", text) for label in group.split(", ")}
        labels |= set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
        for name in names:
            assert name in served, f"{text} asks for {name}, which is not served"
        for label in labels:
            assert any(label in served[name] for name in names), f"{text} asks for the label {label}"
    # What is served can be seen.
    unseen = {name for name in served if name.startswith("escapement_")} - asked
    assert {re.sub("_(bucket|created)$", "", name) for name in unseen} == {
        "escapement_build_info", "escapement_reconciliations_total", "escapement_bars_total",
    }  # fmt: skip


MACROS = {
    r"\$__timeFilter\(([^)]*)\)": r"\1 BETWEEN '2026-01-01T00:00:00Z' AND '2030-01-01T00:00:00Z'",
    r"\$__timeFrom\(\)": "'2026-01-01T00:00:00Z'::timestamptz",
    r"\$__timeTo\(\)": "'2030-01-01T00:00:00Z'::timestamptz",
    r"\$contract\b": MES,
}


@pytest.mark.parametrize("minutes", [5, 240])
async def test_the_dashboard_asks_the_database_for_what_is_there(url: str, tmp_path: Path, minutes: int) -> None:
    del tmp_path
    connection = await asyncpg.connect(url)
    await fill(connection)
    await connection.execute(
        "INSERT INTO ohlc_bars (contract_id, timestamp, timeframe_unit, timeframe_value, open, high, low, close, "
        "volume, ends_at) VALUES ($1, '2026-01-05T00:00:00Z', 2, 5, 1, 1, 1, 1, 1, now()), "
        "($1, '2026-01-05T00:00:00Z', 3, 4, 1, 1, 1, 1, 1, now())", MES,
    )  # fmt: skip
    queries = [target["rawSql"] for target in targets(board()) if "rawSql" in target]
    queries += [each["query"] for each in board()["templating"]["list"] if each["type"] == "query"]
    assert len(queries) >= 7
    for query in queries:
        plain = query.replace("$minutes", str(minutes))
        for macro, sql in MACROS.items():
            plain = re.sub(macro, sql, plain)
        assert "$" not in plain, f"{query} holds a macro that this test does not know"
        rows = await connection.fetch(plain)
        assert rows, f"{query} finds nothing"
        if "AS time" in query:
            assert rows[0]["time"].tzinfo is not None
    await connection.close()


def test_every_panel_has_a_place_of_its_own_a_title_and_a_data_source_that_can_be_chosen() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in board()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert panel["title"]
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
        for target in panel.get("targets", []):
            kind = "prometheus" if "expr" in target else "postgresql"
            assert target["datasource"]["uid"] == panel["datasource"]["uid"] == f"${{{kind}}}"
