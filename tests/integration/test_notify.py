"""People are told of each event once, whatever happens to the channels, and nobody waits for them."""

from __future__ import annotations

import asyncio
import base64
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from escapement import wiring, wiring_operations
from escapement.model import Bar, Timeframe
from escapement.moments import ns_from_datetime
from escapement.ports import Event
from escapement.services.announce import KINDS
from escapement.services.notify import Notifier, NotifyParams
from escapement.settings import Settings, load_settings
from escapement.storage import DBHandler
from escapement.storage.notifications import NotificationStore
from told import MES, Sink, decide, happen, sink
from told import until as eventually


def settings_for(url: str, channels: dict[str, Sink], **notify: Any) -> Settings:
    own = {"poll_seconds": 0.1, "messages_per_minute": 1_000, "timeout_seconds": 1.0, **notify}
    addresses = {name: each.address for name, each in channels.items()}
    return load_settings(environ={}, database={"url": url}, notify={"channels": addresses, **own})


@asynccontextmanager
async def telling(settings: Settings) -> AsyncIterator[Notifier]:
    """A notifier that has begun."""
    async with wiring.database(settings) as database:
        notifier = wiring_operations.notifier(settings, database)
        running = asyncio.create_task(notifier.run())
        await eventually(lambda: database.load_state("notify"))
        try:
            yield notifier
        finally:
            notifier.stop()
            await running


async def until(condition: Callable[[], object], within_s: float = 20.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.02)


@pytest.fixture
async def connection(url: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    made = await asyncpg.connect(url)
    yield made
    await made.close()


async def test_each_kind_of_event_is_told_once_also_after_a_restart(
    url: str, connection: asyncpg.Connection[Any]
) -> None:
    await decide(connection, 77)  # before anybody was to be told, and so no news
    async with sink() as phone:
        settings = settings_for(url, {"phone": phone})
        async with telling(settings):
            expected = await happen(connection)
            await until(lambda: len(phone.ids) == len(expected))
        async with telling(settings) as again:
            later = await decide(connection, 2)
            await until(lambda: later in phone.ids)
            await until(lambda: again.statistics().get("sent"))
        counts = phone.ids
    assert {name.partition(":")[0] for name in counts} == set(KINDS)
    assert all(count == 1 for count in counts.values()), counts
    assert [begin for begin in expected if not any(name.startswith(begin) for name in counts)] == []
    assert len(counts) == len(expected) + 1
    by_title = dict(zip(phone.titles(), phone.messages, strict=True))
    assert "Everything is cancelled and closed (trader: lunch)" in by_title["all trading is stopped"]["message"]
    assert by_title["all trading is stopped"]["type"] == "warning"
    assert f"bought 1 {MES} at 5700.25" in by_title
    assert "repeat" not in str(phone.messages)


async def test_events_found_together_are_one_message_and_held_ones_and_voided_ones_none(
    url: str, connection: asyncpg.Connection[Any]
) -> None:
    async with sink() as phone, telling(settings_for(url, {"phone": phone})):
        await connection.execute(
            "INSERT INTO data_gaps (contract_id, begins_at, cause) SELECT 'C' || n, now(), 'freeze' "
            "FROM generate_series(1, 3) AS n"
        )
        await connection.execute(
            "INSERT INTO risk_checks (account, decision_id, contract_id, at, size, approved, code, words, checks) "
            "VALUES ('paper', 'd', 'C1', now(), 1, false, 'already_held', 'held', '[]')"
        )
        await connection.execute(
            "INSERT INTO execution_accounts (account, account_id, mode, since, start_balance, last_decision_number, "
            "blocked, blocked_until) VALUES ('paper', 1, 'paper', now(), 50000, 0, 'daily_loss: 1,000 are lost', now())"
        )
        await connection.execute(
            "UPDATE execution_accounts SET updated_at = clock_timestamp(), last_decision_number = 7"
        )
        last = await decide(connection, 1)
        await until(lambda: last in phone.ids)
    assert phone.titles() == ["feed frozen: C1, C2, C3", "refused: daily_loss", f"enter long {MES} at 5700.25"]


async def test_a_disconnect_is_told_once_when_it_lasts_and_not_when_it_is_short(
    url: str, connection: asyncpg.Connection[Any]
) -> None:
    async with sink() as phone:
        events = {"*": [], "disconnect": ["phone"], "decision": ["phone"]}
        async with telling(settings_for(url, {"phone": phone}, events=events, disconnect_seconds=1)):
            begun = time.monotonic()
            await connection.execute(
                "INSERT INTO data_gaps (gap_id, contract_id, begins_at, ends_at, cause) VALUES "
                "(1, 'C1', now() - interval '0.9 seconds', now(), 'disconnect')"
            )
            await connection.execute(
                "INSERT INTO data_gaps (gap_id, contract_id, begins_at, cause) VALUES "
                "(2, 'C2', now(), 'disconnect'), (3, 'C3', now(), 'disconnect')"
            )
            await until(lambda: phone.messages)
            assert time.monotonic() - begun >= 1
            await connection.execute("UPDATE data_gaps SET ends_at = now(), state = 'closed' WHERE ends_at IS NULL")
            last = await decide(connection, 1)
            await until(lambda: last in phone.ids)
    assert phone.titles() == ["feed is disconnected: C2, C3", f"enter long {MES} at 5700.25"]


async def test_prices_are_told_to_the_last_digit(url: str, connection: asyncpg.Connection[Any]) -> None:
    async with sink() as phone, telling(settings_for(url, {"phone": phone})):
        await connection.execute(
            "INSERT INTO fills (account, fill_id, contract_id, order_id, at, side, size, price, fees, voided) "
            "VALUES ('paper', 1, 'CON.F.US.ENQ.M25', 1, now(), 'sell', 2, 21345.75, 0.61, false)"
        )
        await until(lambda: phone.messages)
    assert phone.titles() == ["sold 2 CON.F.US.ENQ.M25 at 21345.75"]


async def test_what_a_channel_always_refuses_holds_up_nothing_else(
    url: str, connection: asyncpg.Connection[Any]
) -> None:
    async with sink() as phone:
        phone.refuses = "lunch"
        async with telling(settings_for(url, {"phone": phone})):
            await connection.execute("INSERT INTO kill_switch (killed, reason, by) VALUES (true, 'lunch', 'trader')")
            await eventually(lambda: connection.fetchval("SELECT attempts FROM notification_deliveries"))
            later = await decide(connection, 1)
            await until(lambda: later in phone.ids)
        assert len(phone.messages) == 1


async def test_a_picture_that_cannot_be_drawn_stops_nobody(
    url: str, connection: asyncpg.Connection[Any], tmp_path: Path
) -> None:
    @asynccontextmanager
    async def full(_: Event) -> AsyncIterator[Path | str | None]:
        yield tempfile.mkdtemp(dir=tmp_path / "a disk that is gone")

    async with sink() as phone, await DBHandler.open(url) as database:
        settings = settings_for(url, {"phone": phone})
        store, params = NotificationStore(database), NotifyParams(0.1)
        notifier = Notifier(store, wiring_operations.postmen(settings), settings.notify.channels_of, full, params)
        running = asyncio.create_task(notifier.run())
        await eventually(lambda: database.load_state("notify"))
        await decide(connection, 1)
        await until(lambda: phone.messages or running.done())
        notifier.stop()
        await running
    assert "No picture: FileNotFoundError" in phone.messages[0]["message"]


async def test_each_kind_goes_where_it_shall(url: str, connection: asyncpg.Connection[Any]) -> None:
    async with sink() as phone, sink() as mail:
        events = {"*": ["phone"], "fill": ["phone", "mail"], "decision": [], "kill": "mail"}
        async with telling(settings_for(url, {"phone": phone, "mail": mail}, events=events)):
            expected = await happen(connection)
            await until(lambda: len(phone.ids) == len(expected) - 2 and len(mail.ids) == 2)
    assert {name.partition(":")[0] for name in mail.ids} == {"fill", "kill"}
    assert {name.partition(":")[0] for name in phone.ids} == set(KINDS) - {"decision", "kill"}


async def test_a_channel_that_hangs_or_fails_holds_up_neither_the_others_nor_the_end(
    url: str, connection: asyncpg.Connection[Any]
) -> None:
    async with sink() as phone, sink() as mail:
        mail.opened.clear()
        settings = settings_for(url, {"phone": phone, "mail": mail}, timeout_seconds=0.5)
        async with telling(settings):
            for number in range(5):
                await decide(connection, number)
            await until(lambda: len(phone.ids) == 5)
        assert not mail.messages
        mail.opened.set()
        await until(lambda: len(mail.ids) == 1)  # what hung arrived after all
        mail.status = 500
        async with telling(settings) as notifier:
            await until(lambda: notifier.statistics().get("failed"))
            mail.status = 200
            await until(lambda: len(mail.ids) == 5)
            waiting = "SELECT FROM notification_deliveries WHERE state <> 'sent'"
            await eventually(lambda: connection.fetchval(f"SELECT NOT EXISTS ({waiting})"))
    assert all(count == 1 for count in phone.ids.values())
    # What may have arrived before says so, and nothing else comes twice.
    first = [each for each in mail.messages if "may be a repeat" not in each["message"]]
    assert len(first) == len({each["message"] for each in first})
    assert all(count <= 2 for count in mail.ids.values())


async def test_what_could_not_be_told_for_too_long_is_given_up(url: str, connection: asyncpg.Connection[Any]) -> None:
    async with sink() as phone:
        phone.status = 500
        async with telling(settings_for(url, {"phone": phone}, give_up_seconds=0.5)):
            await decide(connection, 1)
            failed = "SELECT count(*) FROM notification_deliveries WHERE state = 'failed'"
            await eventually(lambda: connection.fetchval(failed))
            phone.status = 200
            later = await decide(connection, 2)
            await until(lambda: later in phone.ids)
        assert len(phone.messages) == 1


async def test_what_is_beyond_the_rate_limit_is_told_in_one_message(
    url: str, connection: asyncpg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("escapement.services.notify._MINUTE_S", 2.0)
    async with sink() as phone:
        async with telling(settings_for(url, {"phone": phone}, messages_per_minute=3)):
            for number in range(30):
                await decide(connection, number)
            await connection.execute("INSERT INTO kill_switch (killed, reason, by) VALUES (true, 'lunch', 'trader')")
            await until(lambda: len(phone.messages) == 4)
        states = await connection.fetch("SELECT state, count(*) FROM notification_deliveries GROUP BY state")
    assert {row["state"]: row["count"] for row in states} == {"sent": 3, "summarised": 28}
    assert len(phone.ids) == 3
    digest = phone.messages[3]
    assert digest["title"] == "Escapement: 28 events held back by the rate limit"
    assert digest["message"].startswith("27 decision, 1 kill\n")
    assert "all trading is stopped" in digest["message"]
    assert "and 8 more" in digest["message"]


async def test_two_notifiers_on_one_database_tell_once(url: str, connection: asyncpg.Connection[Any]) -> None:
    async with sink() as phone:
        settings = settings_for(url, {"phone": phone})
        async with telling(settings), telling(settings):
            names = [await decide(connection, number) for number in range(40)]
            await until(lambda: len(phone.ids) == 40)
    assert phone.ids == dict.fromkeys(names, 1)


async def test_a_process_that_falls_silent_is_told_once_but_not_when_the_database_was_away(url: str) -> None:
    async with await DBHandler.open(url) as database:
        store = NotificationStore(database, silent_s=0.5)

        def to_phone(_kind: str) -> list[str]:
            return ["phone"]

        assert await store.gather(to_phone, has_watched_s=0) == 0
        await database.pool.execute(
            "INSERT INTO service_health (process, service, state, since, restarts, error) "
            "SELECT 'here:1', name, 'running', now(), 0, '' FROM unnest('{ingest,analyze}'::text[]) AS name"
        )
        async with asyncio.timeout(10):
            while not await store.gather(to_phone, has_watched_s=10):
                await asyncio.sleep(0.05)
                assert not await store.gather(to_phone, has_watched_s=0.5)
        assert await store.gather(to_phone, has_watched_s=10) == 0
        (told,) = await store.newest(10)
    assert told.event.details["services"] == ["analyze", "ingest"]
    assert told.event.details["state"] == "silent"


@pytest.mark.parametrize("extra", [True, False])
async def test_the_summary_of_a_day_has_a_picture_where_one_can_be_drawn(
    url: str, connection: asyncpg.Connection[Any], monkeypatch: pytest.MonkeyPatch, *, extra: bool
) -> None:
    if not extra:
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    timeframe = Timeframe.parse("5m")
    now = await connection.fetchval("SELECT date_trunc('hour', now()) - interval '2 hours'")
    length_ns, start_ns = timeframe.length_ns, ns_from_datetime(now)
    bars = [
        Bar(MES, timeframe, at_ns, at_ns + length_ns, 5700.0, 5702.0 + number % 3, 5699.0, 5701.0, 10)
        for number, at_ns in enumerate(range(start_ns, start_ns + 12 * length_ns, length_ns))
    ]
    async with await DBHandler.open(url) as database:
        await database.track([MES], [timeframe])
        await database.store_bars(bars)
    async with sink() as phone, telling(settings_for(url, {"phone": phone}, events={"*": [], "summary": ["phone"]})):
        await connection.execute(
            "INSERT INTO execution_accounts (account, account_id, mode, since, start_balance, last_decision_number) "
            "VALUES ('paper', 1, 'paper', now(), 50000, 0)"
        )
        for number, side, profit in ((8, "buy", None), (9, "sell", 25)):
            await connection.execute(
                "INSERT INTO fills (account, fill_id, contract_id, order_id, at, side, size, price, fees, profit, "
                "voided) VALUES ('paper', $1, $2, 1, $3, $4, 1, 5701, 0.61, $5, false)",
                number, MES, now, side, profit,
            )  # fmt: skip
        await connection.execute(
            "INSERT INTO risk_checks (account, decision_id, contract_id, at, size, approved, code, words, checks) "
            "SELECT 'paper', 'd', $1, $2, 1, false, code, 'why', '[]' FROM unnest('{already_held,daily_loss}'::text[]) "
            "AS code", MES, now,
        )  # fmt: skip
        await happen(connection)
        await until(lambda: phone.messages)
        (message,) = phone.messages
    assert " 1 entries refused" in message["message"]
    assert "2 fills, net +23.78" in message["message"]
    assert ("No picture: matplotlib.figure draws" in message["message"]) == (not extra)
    pictures = [base64.b64decode(each["base64"]) for each in message["attachments"]]
    assert [each[:8] for each in pictures] == ([b"\x89PNG\r\n\x1a\n"] if extra else [])
