"""Structured logs on standard error, from this program and the libraries it uses, without secrets."""

from __future__ import annotations

import logging
import re
import sys
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

MASK = "***"
_SECRETS = (
    re.compile(r"(?i)(access_token=|bearer\s+|authorization['\"]?\s*[:=]\s*['\"]?(?:bearer\s+)?)[^\s'\"&>,)]+"),
    re.compile(r"(?i)((?:api_?key|token|password|secret)['\"]?\s*[:=]\s*['\"]?)[^\s'\"&>,)}]+"),
    re.compile(r"(://[^/\s:@]+:)[^@\s/]+(?=@)"),
    re.compile(r"()\beyJ[\w-]{5,}\.[\w-]+\.[\w-]*"),
)


def redact(text: str) -> str:
    """Return ``text`` with tokens, keys and the passwords of URLs masked."""
    for pattern in _SECRETS:
        text = pattern.sub(rf"\1{MASK}", text)
    return text


def configure_logging(level: str, form: Literal["auto", "console", "json"]) -> None:
    """Send all logs to standard error: events with fields, as JSON or readable.

    Args:
        level: debug, info, warning or error.
        form: ``auto`` is readable on a terminal and JSON elsewhere.
    """
    readable = form == "console" or (form == "auto" and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _redact_event,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if readable else structlog.processors.JSONRenderer()
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Libraries speak only when something is wrong, except when everything is asked for.
    for name in ("alembic", "sqlalchemy", "asyncio", "aiohttp"):
        logging.getLogger(name).setLevel(logging.DEBUG if level == "debug" else logging.WARNING)


def _redact_event(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {key: _redact_value(key, value) for key, value in event.items()}


def _redact_value(key: str, value: object) -> object:
    if key in {"_record", "_from_structlog"} or value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict):
        return {inner: _redact_value(str(inner), item) for inner, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redact_value(key, item) for item in value]
    if re.fullmatch(r"(?i).*(api_?key|token|password|secret|authorization)", key):
        return MASK
    return redact(str(value))
