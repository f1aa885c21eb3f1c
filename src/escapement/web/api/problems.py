"""How the API says no: one form for everything."""

from __future__ import annotations

from typing import Any, Final

import structlog
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from escapement.errors import ConfigurationError, EscapementError, InvalidTimeframe, StorageError
from escapement.logs import redact
from escapement.web.visitor import Forbidden

log = structlog.get_logger(service="dashboard")


class Problem(BaseModel):
    """Why a call was refused; a line for each fault, naming field, value and remedy."""

    detail: str


_WORDS: Final = {
    400: "The request cannot be read.",
    401: "Nobody is logged in.",
    403: "This log-in may only look, or the call came from another site.",
    413: "The request is too large.",
    421: "The dashboard has no such name.",
    422: "What is asked for cannot be.",
    503: "The database does not answer.",
}
RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    status: {"model": Problem, "description": words} for status, words in _WORDS.items()
}
# There are no bars of a timeframe that cannot be built.
_STATUSES: Final = ((Forbidden, 403), (InvalidTimeframe, 404), (ConfigurationError, 422), (StorageError, 503))
MISSING: Final[dict[int | str, dict[str, Any]]] = {404: {"model": Problem, "description": "There is no such thing."}}

NOT_YET: Final[dict[int | str, dict[str, Any]]] = {409: {"model": Problem, "description": "There is none yet."}}


def missing(what: str) -> HTTPException:
    """Return the answer for what is not there."""
    return HTTPException(404, f"{what} is not known")


def handle(app: FastAPI) -> None:
    """Turn our errors into answers."""
    app.add_exception_handler(EscapementError, _refused)
    app.add_exception_handler(RequestValidationError, _unreadable)


async def _refused(_: Request, error: Exception) -> JSONResponse:
    status = 500
    for kind, code in _STATUSES:
        if isinstance(error, kind):
            status = code
            break
    if status >= 500:
        log.error("call_failed", reason=str(error))
    return JSONResponse({"detail": redact(str(error))}, status)


async def _unreadable(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - it is registered for nothing else
    faults = [f"{'.'.join(str(part) for part in each['loc'][1:])}: {each['msg']}" for each in error.errors()]
    return JSONResponse({"detail": "\n".join(faults)}, 422)
