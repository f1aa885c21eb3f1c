"""From where a request may come: which names browsers may call, and no page of another site."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

_SAFE_METHODS = "GET", "HEAD", "OPTIONS"
_OWN_SITE = "same-origin", "none"


def is_allowed_host(host: str, names: Sequence[str]) -> bool:
    """Whether a ``Host`` header names this server: an address, localhost or one of ``names``.

    A name that an attacker made lead here (DNS rebinding) is none of these.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if not name or any(character in host for character in "@/?#\\ "):
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in {"localhost", *names}
    return True


def is_cross_site(headers: Mapping[str, str], host: str) -> bool:
    """Whether a browser sent a request for a page of another site.

    Browsers say so themselves in ``Sec-Fetch-Site`` or ``Origin``; what is no browser sends neither, and no cookie that
    it was not given.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site not in _OWN_SITE:
        return True
    if origin is None:
        return False
    try:
        parts = urlsplit(origin)
    except ValueError:
        return True
    return parts.scheme not in {"http", "https"} or parts.netloc.lower() != host.lower()


def changes_something(method: str, path: str) -> bool:
    """Whether a request must not come from another site: all that may change something, and NiceGUI's own channel."""
    return method not in _SAFE_METHODS or path.startswith("/_nicegui_ws")
