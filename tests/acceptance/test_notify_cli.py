"""Being told of what happens, as users set it up, also when the program that tells is killed."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from programs import program, venue_variables, wait_for
from told import MES, Sink, decide, happen, sink, until

BEGUN = "SELECT count(*) FROM stage_states WHERE name = 'notify'"
UNSETTLED = "SELECT FROM notification_deliveries WHERE state <> 'sent'"
pytestmark = pytest.mark.parametrize("empty_database_url", ["embedded"], indirect=True)


def variables(url: str, address: str, **others: str) -> dict[str, str]:
    return {
        "DATABASE_URL": url, "ESCAPEMENT_NOTIFY__CHANNELS": json.dumps({"phone": address}),
        "ESCAPEMENT_NOTIFY__POLL_SECONDS": "0.1", "ESCAPEMENT_NOTIFY__MESSAGES_PER_MINUTE": "100000",
        "ESCAPEMENT_NOTIFY__TIMEOUT_SECONDS": "0.5", **others,
    }  # fmt: skip


async def escapement(folder: Path, *arguments: str, **own: str) -> subprocess.CompletedProcess[str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("ESCAPEMENT_", "DATABASE_"))}
    return await asyncio.to_thread(
        lambda: subprocess.run(
            [sys.executable, "-m", "escapement", *arguments], check=False, capture_output=True, text=True, cwd=folder,
            env={**plain, "ESCAPEMENT_DATA_DIR": str(folder / "data"), **own}, timeout=60,
        )
    )  # fmt: skip


async def until_told(phone: Sink, wanted: int, connection: asyncpg.Connection[Any]) -> None:
    try:
        await until(phone.tells(wanted), 60)
    except TimeoutError:
        rows = await connection.fetch("SELECT * FROM notification_deliveries WHERE state <> 'sent'")
        raise AssertionError(([dict(row) for row in rows], phone.ids)) from None


@pytest.mark.timeout(240)
async def test_each_event_is_told_once_although_the_program_is_killed_again_and_again(tmp_path: Path, url: str) -> None:
    chance = random.Random(5)
    connection = await asyncpg.connect(url)
    kills = 0
    async with sink() as phone:
        own = variables(url, phone.address)
        expected: list[str] = []
        number = 100
        for _ in range(7):
            with program(tmp_path, "run", "--services", "notify", **own) as running:
                await asyncio.to_thread(wait_for, running, "stderr", "notify_started")
                if not expected:
                    await until(lambda: connection.fetchval(BEGUN))
                    expected += await happen(connection)
                told = len(phone.messages)
                for _ in range(12):
                    number += 1
                    expected.append(await decide(connection, number))
                await until(phone.holds(told + 2))
                await asyncio.sleep(chance.uniform(0, 0.08))  # anywhere between taking, sending and settling
                running.send_signal(signal.SIGKILL)
                await asyncio.to_thread(running.wait, 10)
                await connection.execute("DELETE FROM service_health")  # else its silence is told too, after a while
                kills += 1
        with program(tmp_path, "run", "--services", "notify", **own) as running:
            await until_told(phone, len(expected), connection)
            # What was told when its sender was killed is told once more when that one's lease has run out.
            await until(lambda: connection.fetchval(f"SELECT NOT EXISTS ({UNSETTLED})"), 60)
            running.send_signal(signal.SIGTERM)
            _, err = await asyncio.to_thread(running.communicate, timeout=30)
        assert running.returncode == 0, err
        assert "/told" not in err
    assert len(phone.ids) == len(expected)
    assert [begin for begin in expected if not any(name.startswith(begin) for name in phone.ids)] == []
    first = [each["message"] for each in phone.messages if "may be a repeat" not in each["message"]]
    assert len(first) == len(set(first))  # nothing comes twice without saying so
    assert sum(phone.ids.values()) - len(phone.ids) <= kills  # and at most what was on its way when it was killed
    await connection.close()


async def test_what_really_happens_is_told(tmp_path: Path, url: str) -> None:
    async with sink() as phone:
        own = {
            **venue_variables("http://127.0.0.1:1"), "ESCAPEMENT_CONTRACTS": MES, **variables(url, phone.address),
            "ESCAPEMENT_RUN__FIRST_DELAY_SECONDS": "30",
        }  # fmt: skip
        connection = await asyncpg.connect(url)
        with program(tmp_path, "run", "--services", "execute,notify", **own) as running:
            await until_told(phone, 1, connection)
            assert phone.titles() == ["service failed: execute"]
            assert "Auth/loginKey: no answer" in phone.messages[0]["message"]
            for command in (["kill", "--wait", "0", "--reason", "<lunch> & rest"], ["resume"]):
                answer = await escapement(tmp_path, *command, **own)
                assert answer.returncode == 0, answer.stderr
            await until_told(phone, 3, connection)
            running.send_signal(signal.SIGTERM)
            _, err = await asyncio.to_thread(running.communicate, timeout=60)
        await connection.close()
        assert running.returncode == 0, err
    assert phone.titles()[1:] == ["all trading is stopped", "trading goes on"]
    assert "<lunch> & rest" in phone.messages[1]["message"]
    assert "demo-key-0001" not in str(phone.messages)


async def test_notify_test_and_list_say_who_is_told_and_no_address(tmp_path: Path, url: str) -> None:
    async with sink() as phone:
        own = variables(url, phone.address.replace("json://", "json://user:hunter2@"))
        sent = await escapement(tmp_path, "notify", "test", **own)
        assert (sent.returncode, sent.stdout) == (0, "phone: sent\n"), sent.stderr
        assert phone.titles() == ["test"]
        phone.status = 500
        failed = await escapement(tmp_path, "notify", "test", "--channel", "phone", **own)
        assert failed.returncode == 1
        assert failed.stdout.startswith("phone: the channel refused it")
        unknown = await escapement(tmp_path, "notify", "test", "--channel", "mail", **own)
        assert unknown.returncode == 2
        assert "'mail' is none of notify.channels; use one of phone" in unknown.stderr
        phone.status = 200
        with program(tmp_path, "run", "--services", "notify", **own) as running:
            await asyncio.to_thread(wait_for, running, "stderr", "notify_started")
            connection = await asyncpg.connect(url)
            await until(lambda: connection.fetchval(BEGUN))
            name = await decide(connection, 1)
            await until_told(phone, 1, connection)
            await connection.close()
        listed = await escapement(tmp_path, "notify", "list", "--json", ESCAPEMENT_NOTIFY__EVENTS="{fill: []}", **own)
        found = json.loads(listed.stdout)
        assert (found["events"]["decision"], found["events"]["fill"]) == (["phone"], [])
        (newest,) = found["newest"]
        assert (newest["event_id"], newest["channel"], newest["kind"]) == (name, "phone", "decision")
        shown = await escapement(tmp_path, "notify", "list", **own)
        config = await escapement(tmp_path, "config", "show", **own)
        assert "enter long CON.F.US.MES.M25 at 5700.25" in shown.stdout
        for answer in (sent, failed, unknown, listed, shown, config):
            assert "hunter2" not in answer.stdout + answer.stderr


async def test_channels_and_events_that_cannot_be_used_are_refused_and_their_secrets_kept(
    tmp_path: Path, url: str
) -> None:
    own = variables(url, "nonsense://hunter2/x")
    for command in (["run", "--services", "notify"], ["config", "check"]):
        answer = await escapement(tmp_path, *command, **own)
        assert answer.returncode == 2
        assert answer.stderr.startswith("error: notify.channels.phone is no address that Apprise knows")
    events = await escapement(tmp_path, "notify", "list", ESCAPEMENT_NOTIFY__EVENTS="{fil: [phone]}", **own)
    assert events.returncode == 2
    assert "'fil' is no event; use some of decision, fill" in events.stderr
    channel = await escapement(tmp_path, "notify", "list", ESCAPEMENT_NOTIFY__EVENTS="{fill: [mail]}", **own)
    assert "fill goes to 'mail', which is none of channels" in channel.stderr
    broken = await escapement(tmp_path, "notify", "list", **{**own, "ESCAPEMENT_NOTIFY__CHANNELS": "{phone: hunter2"})
    assert broken.returncode == 2
    none = await escapement(tmp_path, "notify", "test", **{**own, "ESCAPEMENT_NOTIFY__CHANNELS": ""})
    assert "notify.channels is empty" in none.stderr
    for each in (answer, events, channel, broken, none):
        assert "hunter2" not in each.stdout + each.stderr
