"""What pages show is read once for all browsers, and told when it has changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import cast

import pytest

from escapement.errors import InvalidInput, StorageError, StorageUnavailable
from escapement.storage.doorbell import Doorbell
from escapement.web.backtests import RunKind
from escapement.web.pages.live import Hub, Topic
from escapement.web.pages.login import login_page
from escapement.web.pages.now import account_figures
from escapement.web.pages.runform import wish_of
from escapement.web.reading.now import AccountNow, DeadlineNow, Killed, Now


@dataclass
class Stored:
    """Something in a database, which may be away."""

    value: int = 1
    reads: int = 0
    away: bool = False
    read_again: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self) -> int:
        self.reads += 1
        await asyncio.sleep(0)
        self.read_again.set()
        if self.away:
            raise StorageUnavailable("the database does not answer")
        return self.value


@asynccontextmanager
async def topic_of(read: Callable[[], Awaitable[int]], poll_s: float = 60.0) -> AsyncIterator[Topic[int]]:
    topic = Topic(read, frozenset({"bell"}), poll_s)
    yield topic
    await topic.aclose()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


async def test_twenty_browsers_cost_one_reading_and_all_are_told_of_a_change_once() -> None:
    stored = Stored()
    async with topic_of(stored.read) as topic:
        told: list[list[int]] = [[] for _ in range(20)]
        for each in told:
            topic.follow(each.append)
        await until(lambda: all(each == [1] for each in told))
        assert stored.reads == 1
        stored.value = 2
        topic.rung.set()
        await until(lambda: all(each == [1, 2] for each in told))
        assert stored.reads == 2
        assert await topic.latest() == 2
        stored.read_again.clear()
        topic.rung.set()
        await stored.read_again.wait()
        late: list[int] = []
        topic.follow(late.append)
        assert late == [2]
        assert all(each == [1, 2] for each in told)


async def test_who_asks_at_once_shares_a_reading_that_outlives_the_one_who_gave_up() -> None:
    stored = Stored()
    async with topic_of(stored.read) as topic:
        first, second = asyncio.create_task(topic.latest()), asyncio.create_task(topic.latest())
        await asyncio.sleep(0)
        first.cancel()
        assert await second == 1
        assert stored.reads == 1


async def test_nothing_is_read_once_the_last_browser_has_gone() -> None:
    stored = Stored()
    async with topic_of(stored.read, poll_s=0.01) as topic:
        told: list[int] = []
        leave = topic.follow(told.append)
        await until(lambda: told)
        assert any(task.get_name() == "topic" for task in asyncio.all_tasks())
        leave()
        await until(lambda: not any(task.get_name() in {"topic", "reading"} for task in asyncio.all_tasks()))


async def test_a_database_that_is_away_is_told_once_and_so_is_its_coming_back() -> None:
    stored = Stored(away=True)
    async with topic_of(stored.read, poll_s=0.01) as topic:
        told: list[int] = []
        faults: list[str] = []
        topic.follow(told.append, faults.append)
        await until(lambda: stored.reads >= 3)
        assert faults == ["the database does not answer"]
        stored.away = False
        await until(lambda: told == [1])
        assert faults == ["the database does not answer", ""]


async def test_who_comes_while_the_database_is_away_is_told_that_what_he_sees_is_old() -> None:
    stored = Stored()
    async with topic_of(stored.read, poll_s=0.01) as topic:
        early: list[str] = []
        topic.follow(lambda _: None, early.append)
        await until(lambda: stored.reads)
        stored.away = True
        await until(lambda: early)
        assert await topic.latest() == 1
        late: list[str] = []
        topic.follow(lambda _: None, late.append)
        assert late == early == ["the database does not answer"]


async def test_a_database_that_hangs_is_told_before_it_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("escapement.web.pages.live._SLOW_S", 0.05)
    answers = asyncio.Event()

    async def read() -> int:
        await answers.wait()
        return 1

    async with topic_of(read) as topic:
        told: list[int] = []
        faults: list[str] = []
        topic.follow(told.append, faults.append)
        await until(lambda: faults == ["it has not been read for 0.05 s"])
        answers.set()
        await until(lambda: told == [1])
        assert faults[1:] == [""]


async def test_who_follows_first_is_told_what_was_read_before_and_has_not_changed() -> None:
    stored = Stored()
    async with topic_of(stored.read) as topic:
        assert await topic.latest() == 1
        told: list[int] = []
        topic.follow(told.append)
        await until(lambda: told == [1])


async def test_what_nobody_expected_is_told_and_looked_at_again() -> None:
    spoilt = True

    async def read() -> int:
        return 1 // (not spoilt)

    async with topic_of(read, poll_s=0.01) as topic:
        told: list[int] = []
        faults: list[str] = []
        topic.follow(told.append, faults.append)
        await until(lambda: faults)
        assert faults == ["it cannot be read; the dashboard's log says why"]
        spoilt = False
        await until(lambda: told == [1])
        assert faults[1:] == [""]


async def test_bells_are_heard_again_after_the_database_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("escapement.web.pages.live._RETRY_S", 0.01)
    calls = []

    class Bell:
        async def listen(self, hear: Callable[[str, str], None]) -> None:
            calls.append(hear)
            if len(calls) == 1:
                raise StorageError("the database refused")
            hear("bell", "")
            await asyncio.Event().wait()

    stored, hub = Stored(), Hub(cast("Doorbell", Bell()))
    told: list[int] = []
    hub.topic("stored", stored.read, frozenset({"bell"}), 60.0).follow(told.append)
    await until(lambda: len(calls) == 2)
    assert stored.reads
    await hub.aclose()


async def test_a_page_that_fails_does_not_silence_the_others() -> None:
    stored = Stored()
    async with topic_of(stored.read) as topic:
        told: list[int] = []

        def fail(_: int) -> None:
            raise ZeroDivisionError

        topic.follow(fail)
        topic.follow(told.append)
        await until(lambda: told == [1])


GIVEN = {
    "kind": "sweep", "begin": " 2025-03-17", "end": "2025-03-21 ", "contracts": "A, B,", "changes": "",
    "over": "execution.stop_ticks=10,20; execution.target_ticks = 40", "method": "grid", "trials": "100",
    "objective": "net", "windows": "2",
}  # fmt: skip


def test_the_form_asks_for_what_was_typed() -> None:
    wish = wish_of(GIVEN)
    assert (wish.kind, wish.begin, wish.end, wish.contracts) == (RunKind.SWEEP, "2025-03-17", "2025-03-21", ("A", "B"))
    assert wish.over == {"execution.stop_ticks": "10,20", "execution.target_ticks": "40"}
    assert (wish.trials, wish.windows) == (100, 2)


@pytest.mark.parametrize(
    ("field", "value"), [("windows", "two"), ("trials", "-1"), ("changes", "execution.stop_ticks")]
)
def test_the_form_says_which_field_cannot_be_read(field: str, value: str) -> None:
    with pytest.raises(InvalidInput, match=value):
        wish_of(GIVEN | {field: value})


def test_the_log_in_page_shows_words_and_target_as_text() -> None:
    page = login_page("<b>no</b>", '"><script>')
    assert "<script>" not in page
    assert "<b>" not in page
    assert "&lt;b&gt;no&lt;/b&gt;" in page


@pytest.mark.parametrize(("age_s", "is_open", "told"), [(5, True, False), (61, True, True), (61, False, False)])
def test_equity_that_execution_no_longer_writes_is_called_old(age_s: float, *, is_open: bool, told: bool) -> None:
    at, nothing = datetime(2025, 3, 17, 15, tzinfo=UTC), Decimal(0)
    account = AccountNow(
        "paper", "paper", at.date(), nothing, nothing, nothing, nothing, nothing, "", None,
        at - timedelta(seconds=age_s),
    )  # fmt: skip
    deadline = DeadlineNow("MES", at.date(), is_open, at, at, None, None)
    now = Now(at, Killed(killed=False, reason="", by="", at=None), account, (), (), (deadline,), (), (), ())
    assert any("old" in str(each["label"]) for each in account_figures(now, at)) == told
