"""What browsers are told to hold to."""

from __future__ import annotations

from typing import Final

# NiceGUI's Vue compiles templates in the browser, and writes scripts and styles into the page.
_PAGES: Final = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; frame-src 'self'; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
_LOGIN: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_DATA: Final = "default-src 'none'; frame-ancestors 'none'"
# A report is a page of its own, with scripts that must not reach anything: no cookies, no calls, no links to follow.
REPORT: Final = {
    "content-security-policy": "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; frame-ancestors 'self'",
    "x-frame-options": "SAMEORIGIN",
}
_ALWAYS: Final = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # with no-referrer browsers would send a form's Origin as null
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def headers_of(path: str, *, secure: bool) -> dict[str, str]:
    """Return the headers of an answer, which do not take the place of those it has already."""
    found = {**_ALWAYS, "content-security-policy": _policy(path)}
    if not path.startswith("/_nicegui"):
        found["cache-control"] = "no-store"
    if secure:
        found["strict-transport-security"] = "max-age=31536000"
    return found


def _policy(path: str) -> str:
    if path.startswith("/api/"):
        return _DATA
    return _LOGIN if path == "/login" else _PAGES
