"""Services in one process: started again when they fail, stopped in order, and each one's health told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from analysed import until
from escapement.errors import (
    ConfigurationError,
    EscapementError,
    InvariantViolated,
    SchemaMismatch,
    StorageUnavailable,
)
from escapement.ports import ServiceHealth
from escapement.services.supervise import Health, Service, ServiceState, SuperviseParams, Supervisor
from escapement.storage import DBHandler
from escapement.storage.health import HealthStore

QUICK = SuperviseParams(0.001, 0.01, settled_s=0.2, grace_s=0.5)
Serve = Callable[[asyncio.Event, Callable[[], None]], Awaitable[None]]


def orderly(events: list[str], name: str) -> Service:
    async def serve(stopping: asyncio.Event, ready: Callable[[], None]) -> None:
        ready()
        events.append(f"{name} up")
        await stopping.wait()
        await asyncio.sleep(0.01)  # others would overtake it if they did not wait
        events.append(f"{name} down")

    return Service(name, serve)


def failing(times: int, error: Exception | None, events: list[str]) -> Service:
    async def serve(stopping: asyncio.Event, ready: Callable[[], None]) -> None:
        ready()
        events.append("up")
        if len(events) <= times:
            if error is not None:
                raise error
            return
        await stopping.wait()

    return Service("failing", serve)


async def until_states(supervisor: Supervisor, *states: str) -> None:
    async def is_so() -> bool:
        return [str(each.state) for each in supervisor.health()] == list(states)

    await until(is_so)


async def test_services_are_stopped_in_the_order_in_which_they_depend_on_one_another() -> None:
    events: list[str] = []
    supervisor = Supervisor([orderly(events, name) for name in ("ingest", "analyze", "coordinate")], QUICK)
    task = asyncio.create_task(supervisor.run())
    await until_states(supervisor, "running", "running", "running")
    supervisor.stop()
    await task
    assert events[3:] == ["ingest down", "analyze down", "coordinate down"]
    assert {each.state for each in supervisor.health()} == {ServiceState.STOPPED}


@pytest.mark.parametrize("error", [StorageUnavailable("the database is away"), RuntimeError("a defect"), None])
async def test_a_service_that_fails_is_started_again_and_others_go_on(error: Exception | None) -> None:
    events: list[str] = []
    others: list[str] = []
    seen: list[list[Health]] = []
    supervisor = Supervisor(
        [orderly(others, "steady"), failing(3, error, events)], QUICK, lambda: seen.append(supervisor.health())
    )
    task = asyncio.create_task(supervisor.run())

    async def is_up() -> bool:
        return len(events) == 4

    await until(is_up)
    await until_states(supervisor, "running", "running")
    health = supervisor.health()[1]
    assert (health.restarts, health.error) == (3, str(error) if error else "it ended without having been asked to")
    assert others == ["steady up"]
    assert "waiting" in {str(each[1].state) for each in seen}
    supervisor.stop()
    await task


@pytest.mark.parametrize(
    "error",
    [ConfigurationError("edit the file"), SchemaMismatch("run escapement db init"), InvariantViolated("a defect")],
)
async def test_what_a_person_has_to_mend_ends_everything_in_order(error: Exception) -> None:
    events: list[str] = []
    supervisor = Supervisor([orderly(events, "ingest"), failing(9, error, [])], QUICK)
    with pytest.raises(type(error), match=str(error)):
        await supervisor.run()
    assert events == ["ingest up", "ingest down"]
    assert [str(each.state) for each in supervisor.health()] == ["stopped", "failed"]
    assert supervisor.health()[1].error == str(error)


async def test_a_service_that_does_not_end_is_cut_off_after_its_grace() -> None:
    async def hang(_stopping: asyncio.Event, ready: Callable[[], None]) -> None:
        ready()
        await asyncio.Event().wait()

    events: list[str] = []
    supervisor = Supervisor([Service("hanging", hang), orderly(events, "next")], QUICK)
    task = asyncio.create_task(supervisor.run())
    await until_states(supervisor, "running", "running")
    supervisor.stop()
    with pytest.raises(EscapementError, match=r"^hanging did not end in good order: it was cut off"):
        await task
    assert [str(each.state) for each in supervisor.health()] == ["failed", "stopped"]
    assert events == ["next up", "next down"]


async def test_asked_a_second_time_it_ends_at_once() -> None:
    async def hang(_stopping: asyncio.Event, ready: Callable[[], None]) -> None:
        ready()
        await asyncio.Event().wait()

    supervisor = Supervisor([Service("a", hang), Service("b", hang)], SuperviseParams(grace_s=1_000))
    task = asyncio.create_task(supervisor.run())
    await until_states(supervisor, "running", "running")
    supervisor.stop()
    await until_states(supervisor, "stopping", "running")
    supervisor.stop()
    with pytest.raises(EscapementError, match=r"(?s)a did not end in good order.*b did not end in good order"):
        await asyncio.wait_for(task, 20)


async def test_one_that_waits_to_be_started_again_ends_without_waiting_longer() -> None:
    supervisor = Supervisor([failing(9, RuntimeError("no"), [])], SuperviseParams(1_000, 1_000))
    task = asyncio.create_task(supervisor.run())
    await until_states(supervisor, "waiting")
    supervisor.stop()
    await asyncio.wait_for(task, 20)
    assert str(supervisor.health()[0].state) == "stopped"


async def test_one_whose_own_work_was_cancelled_is_started_again() -> None:
    starts: list[str] = []

    async def serve(stopping: asyncio.Event, ready: Callable[[], None]) -> None:
        starts.append("up")
        ready()
        if len(starts) == 1:
            work = asyncio.create_task(stopping.wait())
            work.cancel()
            await work
        await stopping.wait()

    supervisor = Supervisor([Service("leaking", serve)], QUICK)
    task = asyncio.create_task(supervisor.run())

    async def is_up() -> bool:
        return len(starts) == 2

    await until(is_up)
    assert supervisor.health()[0].restarts == 1
    supervisor.stop()
    await task
    assert str(supervisor.health()[0].state) == "stopped"


async def test_what_cannot_even_be_cut_off_is_left_behind() -> None:
    released = asyncio.Event()

    async def hang(_stopping: asyncio.Event, ready: Callable[[], None]) -> None:
        ready()
        try:
            await asyncio.Event().wait()
        finally:
            await _in_spite_of_cancellation(released)

    events: list[str] = []
    supervisor = Supervisor([Service("hanging", hang), orderly(events, "next")], QUICK)
    task = asyncio.create_task(supervisor.run())
    await until_states(supervisor, "running", "running")
    supervisor.stop()
    with pytest.raises(EscapementError, match=r"^hanging did not end in good order: it was cut off"):
        await asyncio.wait_for(task, 20)
    assert [str(each.state) for each in supervisor.health()] == ["failed", "stopped"]
    assert supervisor.left_behind() == ["hanging"]
    assert events == ["next up", "next down"]
    released.set()

    async def has_ended() -> bool:
        return not supervisor.left_behind()

    await until(has_ended)


async def _in_spite_of_cancellation(event: asyncio.Event) -> None:
    while not event.is_set():
        with contextlib.suppress(asyncio.CancelledError):
            await event.wait()


async def test_one_that_comes_up_when_it_was_asked_to_end_is_not_told_to_run() -> None:
    async def serve(stopping: asyncio.Event, ready: Callable[[], None]) -> None:
        await stopping.wait()
        ready()

    seen: list[str] = []
    supervisor = Supervisor([Service("slow", serve)], QUICK, lambda: seen.append(str(supervisor.health()[0].state)))
    task = asyncio.create_task(supervisor.run())
    await until_states(supervisor, "starting")
    supervisor.stop()
    await task
    assert seen == ["stopping", "stopped"]


FAULTS: dict[str, Callable[[], BaseException] | None] = {
    "defect": RuntimeError, "away": StorageUnavailable, "cancelled": asyncio.CancelledError, "ended": None,
}  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.sampled_from(sorted(FAULTS)), max_size=4), min_size=1, max_size=4))
def test_whatever_fails_is_started_again_each_time_and_all_end_in_order(faults: list[list[str]]) -> None:
    events: list[int] = []

    def scripted(number: int) -> Service:
        left = list(faults[number])

        async def serve(stopping: asyncio.Event, ready: Callable[[], None]) -> None:
            if left:
                fault = FAULTS[left.pop(0)]
                if fault is not None:
                    raise fault()
                return
            ready()
            await stopping.wait()
            events.append(number)

        return Service(str(number), serve)

    async def live() -> list[Health]:
        supervisor = Supervisor([scripted(number) for number in range(len(faults))], QUICK)
        task = asyncio.create_task(supervisor.run())
        await until_states(supervisor, *["running"] * len(faults))
        supervisor.stop()
        await task
        return supervisor.health()

    with capture_logs():  # to write so many tracebacks would take longest
        health = asyncio.run(live())
    assert events == list(range(len(faults)))
    assert [(each.restarts, str(each.state)) for each in health] == [(len(each), "stopped") for each in faults]


async def test_of_each_service_the_process_that_spoke_last_and_all_alive_are_told(url: str) -> None:
    async with await DBHandler.open(url) as database:
        store = HealthStore(database)
        await store.put("a:1", [ServiceHealth("ingest", "running", 10**18, 2, "lost\0 it")])
        await store.put("b:2", [ServiceHealth("ingest", "starting", 10**18, 0, ""),
                                ServiceHealth("analyze", "running", 10**18, 0, "")])  # fmt: skip
        await store.put("a:1", [ServiceHealth("ingest", "waiting", 2 * 10**18, 3, "lost it")])
        analyze, here, there = await store.services(60)
        assert (analyze.service, analyze.process) == ("analyze", "b:2")
        assert (here.process, here.state, here.restarts) == ("a:1", "waiting", 3)
        assert (there.process, there.state) == ("b:2", "starting")
        assert 0 <= here.silent_s < 60
        await store.put("b:2", [ServiceHealth("ingest", "stopped", 10**18, 0, "")])
        await store.put("a:1", [ServiceHealth("ingest", "running", 2 * 10**18, 3, "lost it")])
        assert [each.process for each in await store.services(60)] == ["b:2", "a:1"]
        # Nobody is alive: who spoke last.
        assert [each.process for each in await store.services(0)] == ["b:2", "a:1"]
