"""Logging in and out."""

from __future__ import annotations

from math import ceil
from typing import Annotated

import structlog
from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from escapement.errors import StorageError
from escapement.storage.audit import AuditStore
from escapement.web.pages.login import login_page
from escapement.web.security.delays import Delays
from escapement.web.security.passwords import Passwords
from escapement.web.security.sessions import Sessions, cookie_name
from escapement.web.visitor import visitor_of

log = structlog.get_logger(service="dashboard")


class LogIn:
    """``/login`` and ``/logout``."""

    def __init__(self, passwords: Passwords, sessions: Sessions, audit: AuditStore) -> None:
        self._passwords = passwords
        self._sessions = sessions
        self._audit = audit
        self._delays = Delays()

    def router(self) -> APIRouter:
        """Return the routes."""
        routes = APIRouter(include_in_schema=False)
        routes.add_api_route("/login", self.show, methods=["GET"], response_class=HTMLResponse)
        routes.add_api_route("/login", self.log_in, methods=["POST"], response_class=HTMLResponse)
        routes.add_api_route("/logout", self.log_out, methods=["POST"], response_class=HTMLResponse)
        return routes

    async def show(self, request: Request, target: str = "/") -> Response:
        """Show the log-in page, or go on where nobody has to log in."""
        if not self._passwords.are_set or visitor_of(request.scope).session:
            return RedirectResponse(_own_path(target), 303)
        return HTMLResponse(login_page("", _own_path(target)))

    async def log_in(
        self, request: Request, password: Annotated[str, Form()] = "", target: Annotated[str, Form()] = "/"
    ) -> Response:
        """Try a password, unless there were too many wrong ones."""
        path = _own_path(target)
        if not self._passwords.are_set:
            return RedirectResponse(path, 303)
        address = visitor_of(request.scope).address
        wait_s = ceil(self._delays.wait_s(address))
        if wait_s:
            words = f"Too many wrong passwords. Try again in {wait_s} seconds."
            return HTMLResponse(login_page(words, path), 429, {"retry-after": str(wait_s)})
        self._delays.tried(address)
        role = await self._passwords.role_of(password)
        if role is None:
            await self._note("nobody", address, "login", done=False)
            return HTMLResponse(login_page("That is not the password.", path), 401)
        self._delays.succeeded(address)
        await self._note(str(role), address, "login", done=True)
        answer = RedirectResponse(path, 303)
        secure = request.url.scheme == "https"
        answer.set_cookie(
            cookie_name(secure=secure), self._sessions.begin(role), max_age=int(self._sessions.length_s), path="/",
            secure=secure, httponly=True, samesite="strict",
        )  # fmt: skip
        return answer

    async def log_out(self, request: Request) -> Response:
        """End the log-in, also for whoever has a copy of its cookie."""
        visitor = visitor_of(request.scope)
        if visitor.session:
            self._sessions.end(visitor.session, visitor.until_s)
            await self._note(str(visitor.role), visitor.address, "logout", done=True)
        answer = RedirectResponse("/login", 303)
        secure = request.url.scheme == "https"
        answer.delete_cookie(cookie_name(secure=secure), secure=secure, httponly=True, samesite="strict")
        return answer

    async def _note(self, who: str, address: str, act: str, *, done: bool) -> None:
        log.info(act, who=who, address=address, done=done)
        try:
            await self._audit.put(who, address, act, done=done)
        except StorageError as error:  # who looks after a database that is away has to get in
            log.warning("audit_not_kept", reason=str(error))


def _own_path(target: str) -> str:
    """Return a path of this server; whatever could lead elsewhere leads to the first page."""
    is_own = target.startswith("/") and not target.startswith("//") and "\\" not in target and target.isprintable()
    return target if is_own else "/"
