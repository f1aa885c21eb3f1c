"""The pages of the dashboard: built by NiceGUI, told of changes over its websocket."""

from __future__ import annotations

from nicegui import app

from escapement.web.pages import backtests, chart, data, now, system, why
from escapement.web.pages.components import STATIC
from escapement.web.pages.frame import Site, show_failure
from escapement.web.pages.live import BELLS, Hub
from escapement.web.pages.login import login_page
from escapement.web.parts import Parts

__all__ = ["BELLS", "login_page", "register"]


def register(parts: Parts) -> None:
    """Serve all pages of these parts; called once, before the server begins."""
    site = Site(parts, Hub(parts.doorbell))
    app.add_static_files("/static", STATIC)
    app.on_shutdown(site.hub.aclose)
    app.on_page_exception(show_failure)
    for page in (chart, now, why, data, system, backtests):
        page.register(site)
