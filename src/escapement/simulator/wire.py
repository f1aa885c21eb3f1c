"""The venue's own encoder, so that an error in our client's decoder is not repeated in its judge."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import orjson

from escapement.model import AggressorSide, Contract, Trade
from escapement.moments import iso_from_ns

SEPARATOR = b"\x1e"
PING = orjson.dumps({"type": 6}) + SEPARATOR
_TYPES = {AggressorSide.BUY: 0, AggressorSide.SELL: 1}


def envelope(field: str | None = None, value: object = None) -> bytes:
    """Return a successful REST answer with one payload field."""
    body: dict[str, object] = {} if field is None else {field: value}
    return orjson.dumps(body | {"success": True, "errorCode": 0, "errorMessage": None})


def refusal(field: str | None, code: int, message: str | None = None) -> bytes:
    """Return a refusing REST answer; the payload field is null."""
    body: dict[str, object] = {} if field is None else {field: None}
    return orjson.dumps(body | {"success": False, "errorCode": code, "errorMessage": message})


def contract_json(contract: Contract) -> dict[str, object]:
    """Return a contract as REST gives it."""
    return {
        "id": contract.contract_id, "name": contract.name, "description": contract.description,
        "tickSize": _number(contract.tick_size), "tickValue": _number(contract.tick_value),
        "activeContract": contract.active, "symbolId": contract.symbol_id,
    }  # fmt: skip


def trades_record(contract_id: str, symbol_id: str, trades: Sequence[Trade]) -> bytes:
    """Return a ``GatewayTrade`` record: its data is a list of trades."""
    data = []
    for trade in trades:
        item: dict[str, Any] = {"symbolId": symbol_id, "price": trade.price, "timestamp": stamp(trade.at_ns)}
        if trade.aggressor in _TYPES:
            item["type"] = _TYPES[trade.aggressor]
        data.append(item | {"volume": trade.volume, "contractId": contract_id})
    return invocation("GatewayTrade", contract_id, data)


def quote_record(contract_id: str, symbol_id: str, at_ns: int, last: Trade | None) -> bytes:
    """Return a sparse ``GatewayQuote`` record: the venue's time, and the last price when there is one."""
    data: dict[str, Any] = {"symbol": symbol_id}
    if last is not None:
        data["lastPrice"] = last.price
    return invocation("GatewayQuote", contract_id, data | {"lastUpdated": stamp(at_ns), "timestamp": stamp(at_ns)})


def invocation(target: str, *arguments: object) -> bytes:
    """Return a record that calls a method of the client."""
    return orjson.dumps({"type": 1, "target": target, "arguments": list(arguments)}) + SEPARATOR


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
    """Return a time as hubs write it, with an offset instead of Z."""
    return iso_from_ns(at_ns).removesuffix("Z") + "+00:00"


def new_token(user: str, expires_s: float) -> str:
    """Return a token in the form of a JWT that says when it expires; its signature is chance."""
    header = _base64({"alg": "HS256", "typ": "JWT"})
    return f"{header}.{_base64({'sub': user, 'exp': int(expires_s)})}.{secrets.token_urlsafe(24)}"


def _base64(value: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(value)).rstrip(b"=").decode()


def _number(value: Decimal) -> float:
    return float(value)
