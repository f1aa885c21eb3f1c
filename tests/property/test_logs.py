"""No secret reaches a log, however it gets into an event."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import string
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from urllib.parse import quote

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from escapement.logs import MASK, configure_logging, redact

# With a digit, which no name of a field or logger has: such names stand in records, and are no secrets.
KEYS = st.text(string.ascii_letters + string.digits + "+/=_-.", min_size=12, max_size=60).filter(
    lambda key: any(each.isdigit() for each in key)
)
PASSWORDS = st.text(st.characters(exclude_categories=["Z", "C"], exclude_characters="'\""), min_size=12)
CONTEXTS = (
    "wss://rtc.example.com/hubs/market?access_token={}",
    "https://example.com/?a=1&access_token={}&b=2",
    "Authorization: Bearer {}",
    "Authorization: Basic {}",
    "{{'Authorization': 'Bearer {}', 'Accept': '*/*'}}",
    'headers={{"authorization": "{}"}}',
    "Bearer {}",
    '{{"userName":"me","apiKey":"{}"}}',
    '"{{\\"apiKey\\": \\"{}\\"}}"',
    'b\'{{"token":"{}","success":true}}\'',
    "GatewayParams(user_name='me', api_key='{}')",
    "PROJECTX_API_KEY={}",
    "x-api-key: {}",
    "login failed for token={} at gateway",
    "host=localhost password='{}' user=me",
    "postgresql://host/db?password={}&user=me",
)
URLS = ("postgresql://me:{}@host:5432/db", "could not connect to postgres://:{}@host/db today", "dsn='https://me:{}@h'")


@contextmanager
def logging_to(form: str, level: str = "debug") -> Iterator[io.StringIO]:
    """Log as a program does that writes its standard error to the text given."""
    root, hook = logging.getLogger(), sys.excepthook
    before = root.handlers[:], root.level
    with redirect_stderr(io.StringIO()) as written:
        configure_logging(level, form)  # type: ignore[arg-type] # one of the forms
        try:
            yield written
        finally:
            root.handlers[:], sys.excepthook = before[0], hook
            root.setLevel(before[1])
            structlog.reset_defaults()
            structlog.contextvars.clear_contextvars()


@given(KEYS, st.sampled_from(CONTEXTS))
def test_keys_and_tokens_are_masked_wherever_they_stand_in_a_text(secret: str, context: str) -> None:
    masked = redact(context.format(secret))
    assert secret not in masked
    assert MASK in masked


@given(PASSWORDS | PASSWORDS.map(lambda password: quote(password, safe="")), st.sampled_from(URLS))
def test_passwords_of_urls_are_masked_quoted_or_not(secret: str, context: str) -> None:
    masked = redact(context.format(secret))
    assert secret not in masked
    assert "host" in masked or "@h" in masked


@given(st.dictionaries(st.text(), st.text(min_size=8), min_size=1), st.binary(min_size=8))
def test_a_jwt_is_masked_in_the_middle_of_anything(claims: dict[str, str], signature: bytes) -> None:
    parts = [b'{"alg":"HS256","typ":"JWT"}', json.dumps(claims).encode(), signature]
    token = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
    assert token.split(".")[1] not in redact(f"the hub said {token}, then closed")


@given(KEYS, st.sampled_from(["json", "console"]))
def test_no_secret_survives_in_fields_bindings_exceptions_and_library_logs(secret: str, form: str) -> None:
    with logging_to(form) as written:
        log = structlog.get_logger(service="test", token=secret)
        structlog.contextvars.bind_contextvars(api_key=secret)
        log.info(
            "fields", access_token=secret, headers={"Authorization": f"Bearer {secret}"}, nested=[{"Token": secret}]
        )
        log.warning("texts", url=f"wss://h/?access_token={secret}", raw=f'{{"apiKey":"{secret}"}}'.encode())
        try:
            int(f"wss://h/?access_token={secret}")
        except ValueError:
            log.exception("failed", stack_info=True)
            logging.getLogger("aiohttp.client").exception("library failed: token=%s", secret)
        logging.getLogger("asyncpg").warning("extra", extra={"password": secret})
    assert len(written.getvalue().splitlines()) >= 5
    assert secret not in written.getvalue()


def test_json_logs_are_one_object_a_line_with_level_time_and_bindings() -> None:
    with logging_to("json", "info") as written:
        log = structlog.get_logger(service="feed", hub="market").bind(contract="MES", timeframe="1m")
        log.info("bar_stored", volume=3)
        log.debug("not_asked_for")
        logging.getLogger("alembic.runtime").info("nor is the chatter of libraries")
    (event,) = [json.loads(line) for line in written.getvalue().splitlines()]
    assert event.pop("timestamp").endswith("Z")
    assert event == {
        "event": "bar_stored", "level": "info", "service": "feed", "hub": "market", "contract": "MES",
        "timeframe": "1m", "volume": 3,
    }  # fmt: skip


def test_platforms_for_which_standard_error_means_error_are_given_messages_on_standard_output() -> None:
    with redirect_stdout(io.StringIO()) as output, logging_to("json") as errors:
        configure_logging("info", "auto", stream="stdout", event_key="message")
        structlog.get_logger(service="feed").info("bar_stored", token="abcdefabcdef")
        sys.excepthook(RuntimeError, RuntimeError("gone"), None)
    stored, crashed = [json.loads(line) for line in output.getvalue().splitlines()]
    assert (stored["message"], stored["level"], stored["token"]) == ("bar_stored", "info", MASK)
    assert (crashed["message"], crashed["level"], "event" in crashed) == ("crashed", "critical", False)
    assert errors.getvalue() == ""


def test_a_crash_is_logged_without_its_secrets() -> None:
    with logging_to("json") as written:
        error = RuntimeError("postgresql://me:hunter2hunter2@host/db is gone")
        sys.excepthook(RuntimeError, error, None)
    event = json.loads(written.getvalue())
    assert (event["event"], event["level"]) == ("crashed", "critical")
    assert "postgresql://me:***@host/db is gone" in event["exception"]


async def _fail() -> None:
    raise RuntimeError("access_token=abcdefabcdef")


async def test_a_task_that_fails_unseen_is_logged_without_its_secrets() -> None:
    with logging_to("json") as written:
        task = asyncio.create_task(_fail())
        await asyncio.wait([task])
        asyncio.get_running_loop().call_exception_handler({"message": "never retrieved", "exception": task.exception()})
    assert "access_token=***" in written.getvalue()
    assert "abcdefabcdef" not in written.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        "token refreshed",
        "bar_stored contract=CON.F.US.MES.Z26",
        "http://127.0.0.1:80/hubs/market?a=b",
        "    token = self._client.token()",
    ],
)
def test_what_is_no_secret_stays_as_it_is(text: str) -> None:
    assert redact(text) == text
