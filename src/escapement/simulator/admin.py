"""Steering a running simulator over HTTP: ``POST /simulator/ACTION`` with a JSON body."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from escapement.errors import InvalidInput
from escapement.moments import iso_from_ns
from escapement.simulator.scenario import fault_from

if TYPE_CHECKING:
    from escapement.simulator.server import Simulator

Action = Callable[["Simulator", dict[str, Any]], Awaitable[None]]


async def steer(simulator: Simulator, request: web.Request) -> web.Response:
    """Carry out one action and answer with the state that follows; 404 for an unknown one, 400 for a bad body.

    Only a JSON content type is accepted, which no web page of another origin can send unasked.
    """
    action = _ACTIONS.get(request.match_info["action"])
    if action is None:
        return web.Response(status=404, text=f"unknown action; use one of {', '.join(_ACTIONS)}\n")
    if request.content_type != "application/json":
        return web.Response(status=415, text="send Content-Type: application/json\n")
    try:
        body = orjson.loads(await request.read() or b"{}")
        await action(simulator, body if isinstance(body, dict) else {})
    except (orjson.JSONDecodeError, InvalidInput) as error:
        return web.Response(status=400, text=f"{error}\n")
    state = {
        "now": iso_from_ns(simulator.now_ns), "trades": simulator.progress.trades,
        "finished": simulator.finished.is_set(), "faults": dict(simulator.faults.struck),
    }  # fmt: skip
    return web.Response(body=orjson.dumps(state), content_type="application/json")


async def _status(simulator: Simulator, body: dict[str, Any]) -> None:
    del simulator, body


async def _pause(simulator: Simulator, body: dict[str, Any]) -> None:
    del body
    simulator.pause()


async def _resume(simulator: Simulator, body: dict[str, Any]) -> None:
    del body
    simulator.resume()


async def _step(simulator: Simulator, body: dict[str, Any]) -> None:
    trades = body.get("trades", 1)
    if type(trades) is not int or trades < 1:
        raise InvalidInput(f"trades {trades!r} is no number of trades, 1 or more")
    simulator.step(trades)


async def _speed(simulator: Simulator, body: dict[str, Any]) -> None:
    speed = body.get("speed")
    if speed is not None and (type(speed) not in {int, float} or speed < 0):
        raise InvalidInput(f"speed {speed!r} is no number, 0 or more; 0 is as quick as clients take it")
    simulator.set_speed(speed or None)


async def _fault(simulator: Simulator, body: dict[str, Any]) -> None:
    simulator.inject(fault_from(body))


_ACTIONS: dict[str, Action] = {
    "status": _status, "pause": _pause, "resume": _resume, "step": _step, "speed": _speed, "fault": _fault,
}  # fmt: skip
