"""Getting to the gateway's REST API: log-in, token, rate limits, retries, and the envelope of every answer."""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson
import stamina
import structlog
from pydantic import SecretStr

from escapement.errors import GatewayProtocolError, GatewayRefused, GatewayUnavailable, OutcomeUnknown
from escapement.projectx.limits import BARS_LIMIT, GENERAL_LIMIT, RateLimit, Turnstile
from escapement.projectx.refusals import refusal

log = structlog.get_logger(service="gateway")

_ASSUMED_LIFETIME_S = 3_600.0


@dataclass(frozen=True, slots=True)
class GatewayParams:
    """Where the gateway is and who logs in. ``timeout_s`` bounds each call, ``attempts`` how often a read is tried."""

    api_url: str
    user_name: str
    api_key: SecretStr
    timeout_s: float = 20.0
    attempts: int = 5
    limit: RateLimit = GENERAL_LIMIT
    bars_limit: RateLimit = BARS_LIMIT


class Access:
    """One user's access to the REST API; use it with ``async with``.

    It logs in when a token is first needed and refreshes it before it expires. Calls keep within the rate limits. What
    reads is repeated after failures that may pass; what changes something is sent once.
    """

    def __init__(self, params: GatewayParams, *, clock: Callable[[], float] = time.time) -> None:
        self._params = params
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._general = Turnstile(params.limit)
        self._bars = Turnstile(params.bars_limit)
        # Reading never uses up the calls with which a position is protected.
        self._kept = params.limit.calls // 4
        self._token: SecretStr | None = None
        self._refresh_at = 0.0
        self._expires_at = 0.0
        self._token_lock = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._params.timeout_s))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        """The HTTP session, shared with the hubs."""
        if self._session is None:
            raise RuntimeError("GatewayClient is used outside its async with block")
        return self._session

    async def token(self) -> SecretStr:
        """Return a token that is good for a while, logging in or refreshing first where needed.

        Raises:
            GatewayRefused: the gateway does not accept user name and API key.
            GatewayUnavailable: it does not answer.
        """
        async with self._token_lock:
            now = self._clock()
            if self._token is None or now >= self._expires_at:
                await self._login()
            elif now >= self._refresh_at:
                await self._refresh()
            if self._token is None:
                raise GatewayProtocolError("Auth/loginKey answered without a token")
            return self._token

    def forget_token(self) -> None:
        """Drop a token that the venue refused; the next call logs in again."""
        self._token = None

    async def ping(self) -> None:
        """Ask whether the gateway is there.

        Raises:
            GatewayUnavailable: it does not answer.
        """
        await self._send("GET", "Status/ping", None, authorized=False)

    async def change(self, endpoint: str, body: dict[str, object], *, find_out: str) -> dict[str, Any]:
        """Call what changes something, once. A refused token (401) changed nothing and is replaced for a second try.

        Args:
            endpoint: below /api/.
            body: the request.
            find_out: how to learn what became of it when the answer is lost.

        Raises:
            OutcomeUnknown: it was sent and the answer was lost, or told of a fault of the server.
            GatewayRefused: the venue will not.
        """
        await self.token()
        try:
            try:
                return await self._call(endpoint, body, keep=0)
            except _TokenRefusedError:
                self.forget_token()
                await self.token()
                return await self._call(endpoint, body, keep=0)
        except _RateExceededError:
            raise
        except (GatewayUnavailable, GatewayProtocolError) as error:
            raise OutcomeUnknown(
                f"{error}; whether it was done is unknown: {find_out} before sending anything"
            ) from None

    async def read(self, endpoint: str, body: dict[str, object]) -> dict[str, Any]:
        """Call what changes nothing, again after a failure that may pass, and once more after a refused token.

        Raises:
            GatewayError: the gateway refuses or does not answer.
        """
        async for attempt in stamina.retry_context(
            on=GatewayUnavailable, attempts=self._params.attempts, timeout=None, wait_initial=0.2, wait_max=5.0
        ):
            with attempt:
                try:
                    return await self._call(endpoint, body, keep=self._kept)
                except _TokenRefusedError:
                    self.forget_token()
                    return await self._call(endpoint, body, keep=self._kept)
        raise AssertionError("stamina raises when attempts run out")

    async def _call(self, endpoint: str, body: dict[str, object], *, keep: int) -> dict[str, Any]:
        return await self._send("POST", endpoint, body, authorized=True, keep=keep)

    async def _send(
        self, method: str, endpoint: str, body: dict[str, object] | None, *, authorized: bool, keep: int = 0
    ) -> dict[str, Any]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if authorized:
            headers["Authorization"] = f"Bearer {(await self.token()).get_secret_value()}"
        return await self._exchange(method, endpoint, body, headers, keep=keep)

    async def _exchange(
        self, method: str, endpoint: str, body: dict[str, object] | None, headers: dict[str, str], *, keep: int = 0
    ) -> dict[str, Any]:
        if endpoint == "History/retrieveBars":
            await self._bars.wait_turn()
        else:
            await self._general.wait_turn(keep=keep)
        url = f"{self._params.api_url}/api/{endpoint}"
        data = None if body is None else orjson.dumps(body)
        try:
            async with self.session.request(method, url, data=data, headers=headers) as response:
                text = await response.read()
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise GatewayUnavailable(f"{endpoint}: no answer ({type(error).__name__})") from None
        if status == 401:
            raise _TokenRefusedError(f"{endpoint}: the token is refused (401)")
        if status == 429:
            raise _RateExceededError(f"{endpoint}: too many calls (HTTP 429)")
        if status >= 500:
            raise GatewayUnavailable(f"{endpoint}: HTTP {status}")
        if method == "GET" and status == 200:
            return {}
        return _payload(endpoint, status, text)

    async def _login(self) -> None:
        key = self._params.api_key.get_secret_value()
        body: dict[str, object] = {"userName": self._params.user_name, "apiKey": key}
        async for attempt in stamina.retry_context(
            on=GatewayUnavailable, attempts=self._params.attempts, timeout=None, wait_initial=0.2, wait_max=5.0
        ):
            with attempt:
                answer = await self._send("POST", "Auth/loginKey", body, authorized=False)
        self._keep(answer.get("token"))
        log.info("logged_in")

    async def _refresh(self) -> None:
        token = self._token
        if token is None:
            return
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token.get_secret_value()}"}
        try:
            answer = await self._exchange("POST", "Auth/validate", {}, headers)
        except (GatewayRefused, GatewayUnavailable, GatewayProtocolError) as error:
            if self._clock() < self._expires_at and not isinstance(error, GatewayRefused):
                self._refresh_at = self._clock() + 60.0
                log.warning("token_refresh_failed", reason=str(error))
                return
            await self._login()
            return
        self._keep(answer.get("newToken") or token.get_secret_value())
        log.info("token_refreshed")

    def _keep(self, token: object) -> None:
        if not isinstance(token, str) or not token:
            raise GatewayProtocolError("log-in was accepted without a token")
        now = self._clock()
        expires = _expiry(token)
        lifetime = _ASSUMED_LIFETIME_S if expires is None else expires - now
        self._token = SecretStr(token)
        self._expires_at = now + lifetime
        self._refresh_at = self._expires_at - min(3_600.0, lifetime / 4)


class _TokenRefusedError(GatewayRefused):
    """The venue no longer accepts the token."""


class _RateExceededError(GatewayUnavailable):
    """The venue counted too many calls; nothing was done."""


def _payload(endpoint: str, status: int, text: bytes) -> dict[str, Any]:
    try:
        answer = orjson.loads(text)
    except orjson.JSONDecodeError:
        answer = None
    if status >= 400:
        detail = answer.get("title") or answer.get("errorMessage") if isinstance(answer, dict) else None
        raise GatewayRefused(f"{endpoint}: HTTP {status}{f' ({detail})' if detail else ''}", endpoint=endpoint)
    if not isinstance(answer, dict) or not isinstance(answer.get("success"), bool):
        raise GatewayProtocolError(f"{endpoint}: the answer is not the gateway's envelope with success and errorCode")
    if not answer["success"]:
        raise refusal(endpoint, answer.get("errorCode"), answer.get("errorMessage"))
    return answer


def _expiry(token: str) -> float | None:
    """Return when a JWT expires, seconds since 1970; None when the token is no JWT that says so."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = orjson.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return float(claims["exp"])
    except (binascii.Error, ValueError, KeyError, TypeError):
        return None
