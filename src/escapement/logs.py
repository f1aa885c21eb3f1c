"""Structured logs on standard error or output, from this program and the libraries it uses, without secrets."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

MASK = "***"
_NAME = r"(?:api[_-]?key|token|passw(?:or)?d|secret)"
_ANY_NAME = rf"(?:{_NAME}|authorization)\\*['\"]?\s*[:=]\s*b?\\*"
_SECRETS = (
    # A quoted value, to its closing quote.
    re.compile(rf"(?i)({_ANY_NAME}')[^']*"),
    re.compile(rf"(?i)({_ANY_NAME}\")[^\"]*"),
    re.compile(r"(?i)(\bauthorization\s*[:=]\s*)[^'\"\r\n]+"),
    re.compile(r"(?i)(\bbearer\s+)[^\s'\",}]+"),
    # Not a call, which is the source line of a trace.
    re.compile(rf"(?i)({_NAME}\s*=\s*|{_NAME}['\"]?:\s*)(?![\s'\"]|b['\"]|[\w.]+\()[^\s'\"&>,)}}\]]+"),
    # The password of a URL, to the last @, because passwords are not always quoted as they should be.
    re.compile(r"(://[^/\s:@'\"]*:)[^\s'\"]*(?=@)"),
    # A JWT, wherever it stands.
    re.compile(r"()\beyJ[\w-]{5,}\.[\w-]+(?:\.[\w-]*)?"),
)


def redact(text: str) -> str:
    """Return ``text`` with tokens, keys and the passwords of URLs masked."""
    for pattern in _SECRETS:
        text = pattern.sub(rf"\g<1>{MASK}", text)
    return text


def configure_logging(
    level: str,
    form: Literal["auto", "console", "json"],
    *,
    stream: Literal["stderr", "stdout"] = "stderr",
    event_key: str = "event",
) -> None:
    """Send all logs to one stream: events with fields, as JSON or readable; also what crashes the program.

    Args:
        level: debug, info, warning or error.
        form: ``auto`` is readable on a terminal and JSON elsewhere.
        stream: platforms that take every line of standard error for an error want standard output.
        event_key: under which name an event stands in JSON.
    """
    target = sys.stdout if stream == "stdout" else sys.stderr
    readable = form == "console" or (form == "auto" and target.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        _redact_event,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), structlog.stdlib.add_logger_name, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_rendering(event_key, readable=readable, colors=target.isatty()),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Libraries speak only when something is wrong, except when everything is asked for.
    for name in ("alembic", "sqlalchemy", "asyncio", "aiohttp", "asyncpg", "stamina", "uvicorn", "nicegui"):
        logging.getLogger(name).setLevel(logging.DEBUG if level == "debug" else logging.WARNING)
    # What these say, at any level, holds addresses that are secrets; whether a message arrived is told by us.
    for name in ("apprise", "requests", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    # What is asked of us every few seconds is no event.
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).setLevel(logging.WARNING)
    sys.excepthook = _log_crash


def _rendering(event_key: str, *, readable: bool, colors: bool) -> list[Processor]:
    if readable:
        # Exceptions come as text, because secrets were masked in it.
        return [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)]
    return [structlog.processors.EventRenamer(event_key), structlog.processors.JSONRenderer()]


def _log_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    structlog.get_logger().critical("crashed", exc_info=(kind, error, trace))


def _redact_event(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {redact(str(key)): _redact_value(str(key), value) for key, value in event.items()}


def _redact_value(key: str, value: object) -> object:
    if key in {"_record", "_from_structlog"} or value is None or isinstance(value, bool | int | float):
        return value
    if re.search(rf"(?i)(?:{_NAME}|authorization)$", key):
        return MASK
    if isinstance(value, Mapping):
        return {redact(str(inner)): _redact_value(str(inner), item) for inner, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redact_value(key, item) for item in value]
    return redact(value.decode(errors="replace") if isinstance(value, bytes | bytearray) else str(value))
