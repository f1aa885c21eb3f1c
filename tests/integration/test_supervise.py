"""Services in one process: started again when they fail, stopped in order, and each one's health told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from analysed import until
from escapement.errors import ConfigurationError, EscapementError, SchemaMismatch, StorageUnavailable
from escapement.services.supervise import Health, Service, ServiceState, SuperviseParams, Supervisor
from escapement.storage import DBHandler
from escapement.storage.health import HealthStore, ServiceHealth

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


@pytest.mark.parametrize("error", [ConfigurationError("edit the file"), SchemaMismatch("run escapement db init")])
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


async def test_of_each_service_the_process_that_spoke_last_is_told(url: str) -> None:
    async with await DBHandler.open(url) as database:
        store = HealthStore(database)
        await store.put("a:1", [ServiceHealth("ingest", "running", 10**18, 2, "lost\0 it")])
        await store.put("b:2", [ServiceHealth("ingest", "starting", 10**18, 0, ""),
                                ServiceHealth("analyze", "running", 10**18, 0, "")])  # fmt: skip
        await store.put("a:1", [ServiceHealth("ingest", "waiting", 2 * 10**18, 3, "lost it")])
        found = {each.service: each for each in await store.services()}
        assert (found["ingest"].process, found["ingest"].state, found["ingest"].restarts) == ("a:1", "waiting", 3)
        assert found["analyze"].process == "b:2"
        assert 0 <= found["ingest"].silent_s < 60
