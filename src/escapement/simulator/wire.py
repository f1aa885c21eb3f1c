"""The venue's own encoder, so that an error in our client's decoder is not repeated in its judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson

from escapement.model import NS_PER_SECOND, AggressorSide, Contract, Trade

SEPARATOR = b"\x1e"
PING = b'{"type":6}' + SEPARATOR
_AGGRESSORS = {AggressorSide.BUY: 0, AggressorSide.SELL: 1}


def envelope(field: str | None = None, value: object = None, **more: object) -> bytes:
    """Return a successful REST answer with one payload field."""
    body: dict[str, object] = {} if field is None else {field: value}
    return orjson.dumps(body | more | {"success": True, "errorCode": 0, "errorMessage": None})


def refusal(field: str | None, code: int, message: str | None = None, value: object = None) -> bytes:
    """Return a refusing REST answer; the payload field is null, except for the id of a rejected order."""
    body: dict[str, object] = {} if field is None else {field: value}
    return orjson.dumps(body | {"success": False, "errorCode": code, "errorMessage": message})


def problem(errors: Mapping[str, str]) -> bytes:
    """Return the body of HTTP 400 (RFC 7807): what is wrong, by field."""
    return orjson.dumps(
        {
            "type": "https://tools.ietf.org/html/rfc9110#section-15.5.1",
            "title": "One or more validation errors occurred.", "status": 400,
            "errors": {name: [text] for name, text in errors.items()},
        }
    )  # fmt: skip


def contract_json(contract: Contract) -> dict[str, object]:
    """Return a contract as REST gives it."""
    return {
        "id": contract.contract_id, "name": contract.name, "description": contract.description,
        "tickSize": float(contract.tick_size), "tickValue": float(contract.tick_value),
        "activeContract": contract.active, "symbolId": contract.symbol_id,
    }  # fmt: skip


def trade_json(symbol_id: str, trade: Trade) -> dict[str, object]:
    """Return a print of the tape as the market hub gives it."""
    item: dict[str, Any] = {"symbolId": symbol_id, "price": trade.price, "timestamp": stamp(trade.at_ns)}
    if trade.aggressor in _AGGRESSORS:
        item["type"] = _AGGRESSORS[trade.aggressor]
    item["volume"] = trade.volume
    item["contractId"] = trade.contract_id
    return item


def trades_record(contract_id: str, trades: Sequence[Mapping[str, object] | None]) -> bytes:
    """Return a ``GatewayTrade`` record: its data is a list of trades."""
    return invocation("GatewayTrade", contract_id, trades)


def invocation(target: str, *arguments: object) -> bytes:
    """Return a record that calls a method of the client."""
    return orjson.dumps({"type": 1, "target": target, "arguments": arguments}) + SEPARATOR


def user_record(target: str, action: int, data: Mapping[str, object], *, wrapped: bool) -> bytes:
    """Return a record of the user hub; unlike REST it leaves null fields out."""
    present = {name: value for name, value in data.items() if value is not None}
    return invocation(target, {"action": action, "data": present} if wrapped else present)


def completion(invocation_id: str, error: str | None = None) -> bytes:
    """Return the answer to an invocation that asked for one."""
    body: dict[str, object] = {"type": 3, "invocationId": invocation_id}
    return orjson.dumps(body | ({"result": None} if error is None else {"error": error})) + SEPARATOR


def close(error: str | None, *, allow_reconnect: bool) -> bytes:
    """Return the record with which the venue ends a connection."""
    body: dict[str, object] = {"type": 7}
    if error is not None:
        body["error"] = error
    if allow_reconnect:
        body["allowReconnect"] = True
    return orjson.dumps(body) + SEPARATOR


def stamp(at_ns: int) -> str:
    """Return a time as the venue writes it: an offset instead of Z, up to seven fraction digits without zeros."""
    seconds, fraction = divmod(at_ns, NS_PER_SECOND)
    whole = _second(seconds)
    return f"{whole}.{fraction // 100:07d}".rstrip("0").rstrip(".") + "+00:00" if fraction else whole + "+00:00"


@lru_cache(maxsize=8_192)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
