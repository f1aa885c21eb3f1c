"""What every page has: navigation, kill switch, the person's choices, and word of a database that does not answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from fastapi import Request
from nicegui import html, ui

from escapement import __version__
from escapement.errors import EscapementError
from escapement.web.pages.components import STATIC, KillSwitch, Preferences, ms
from escapement.web.pages.live import Hub, Topic
from escapement.web.parts import Parts
from escapement.web.reading.data import FeedShown
from escapement.web.reading.now import Now
from escapement.web.visitor import Visitor, visitor_of

PAGES: Final = {
    "/": "Chart", "/now": "Now", "/why": "Why", "/data": "Data", "/system": "System", "/backtests": "Backtests",
}  # fmt: skip
ICON: Final = STATIC / "favicon.svg"
# The exchanges of the contracts that the gateway offers keep Chicago's time.
EXCHANGE_ZONE: Final = "America/Chicago"
_NOW_POLL_S, _FEED_POLL_S = 1.5, 10.0
_PATIENCE_S = 15.0  # with what closes everything, before somebody is told that nothing does
# Set before anything is drawn, so that no page flashes in the other colours.
_HEAD = f"""
<script>
  document.documentElement.lang = "en";
  document.documentElement.dataset.theme =
    (/(?:^|; )escapement_theme=(light|dark)/.exec(document.cookie) || [])[1] ||
    (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
</script>
<link rel="stylesheet" href="/static/escapement.css?{__version__}">
"""

_Shown = TypeVar("_Shown")


@dataclass(frozen=True, slots=True)
class Site:
    """What all pages share."""

    parts: Parts
    hub: Hub

    def now(self) -> Topic[Now]:
        """Return how trading stands, as all pages see it."""
        bells = frozenset({"decisions", "kill_switch"})
        return self.hub.topic("now", self.parts.reading.now, bells, _NOW_POLL_S)

    def feed(self) -> Topic[Sequence[FeedShown]]:
        """Return how far each contract was heard, as all pages see it."""
        return self.hub.topic("feed of all", self.parts.reading.feed, frozenset(), _FEED_POLL_S)


class Banner:
    """Says that what a page shows may be old, for as long as something of it cannot be read."""

    def __init__(self) -> None:
        self._faults: dict[object, str] = {}
        self._shown = ""
        self._element: ui.element | None = None

    def place(self) -> None:
        """Put it where the page is being built."""
        self._element = html.div(role="alert").classes("banner")
        self._element.set_visibility(False)

    def tell(self, topic: object, words: str) -> None:
        """Say why a topic cannot be read; an empty text when it can be again."""
        self._faults = {each: fault for each, fault in self._faults.items() if each != topic}
        if words:
            self._faults[topic] = words
        if self._element is None or self._element.is_deleted:
            return
        fault = next(iter(self._faults.values()), "")
        if fault == self._shown:
            return
        self._shown = fault
        self._element._text = f"What is shown may be old: {fault}" if fault else ""  # noqa: SLF001 - as labels of NiceGUI do
        self._element.set_visibility(bool(fault))
        self._element.update()


@dataclass(frozen=True, slots=True)
class Page:
    """A page that is being built for one browser."""

    site: Site
    visitor: Visitor
    banner: Banner

    def follow(self, topic: Topic[_Shown], tell: Callable[[_Shown], None]) -> None:
        """Show a topic for as long as the browser is there."""
        ui.context.client.on_delete(self.watch(topic, tell))

    def watch(self, topic: Topic[_Shown], tell: Callable[[_Shown], None]) -> Callable[[], None]:
        """Show a topic until what is returned is called."""
        leave = topic.follow(tell, partial(self.banner.tell, topic))

        def end() -> None:
            leave()
            self.banner.tell(topic, "")

        return end


def tell(words: str) -> None:
    """Show words for some seconds, over the page."""
    ui.notify(words, color="dark", multi_line=True, close_button="Close", timeout=10_000)


async def attempt(act: Callable[[], Any]) -> bool:
    """Do something for the person, and say what was wrong when it is refused; return whether it was done."""
    try:
        await act()
    except EscapementError as error:
        tell(str(error))
        return False
    return True


@contextmanager
def framed(site: Site, request: Request, path: str) -> Iterator[Page]:
    """Build the page at ``path``; what is made inside stands in its main part."""
    page = Page(site, visitor_of(request.scope), Banner())
    ui.add_head_html(_HEAD)
    ui.page_title(f"{PAGES[path]} - Escapement")
    with ui.context.client.layout:  # beside the main part, which NiceGUI's page is
        html.a("Skip to the page", href="#page").classes("skip").move(target_index=0)
        with html.header().classes("top") as top:
            _top(page, path)
        top.move(target_index=1)
    with html.div(id="page", tabindex="-1"):
        html.h1(PAGES[path]).classes("unseen")
        yield page


def _top(page: Page, path: str) -> None:
    html.a("Escapement", href="/").classes("brand")
    with html.nav(**{"aria-label": "Pages"}):
        for target, name in PAGES.items():
            html.a(name, href=target, **({"aria-current": "page"} if target == path else {}))
    with html.div().classes("right"):
        switch = html.div()
        Preferences(EXCHANGE_ZONE)
        if page.visitor.session:
            with html.form(method="post", action="/logout"):
                html.button("Log out").classes("plain")
    page.banner.place()
    page.follow(page.site.feed(), lambda found: page.banner.tell("feed", unheard(found)))
    with switch:
        _kill_switch(page)


def unheard(feeds: Sequence[FeedShown]) -> str:
    """Return which contracts nobody hears although they trade; empty when there are none."""
    deaf = [f"{each.contract_id} was heard to {each.heard_to:%H:%M:%S} UTC last" for each in feeds if each.is_deaf]
    return f"{', '.join(deaf)}; see System" if deaf else ""


def _kill_switch(page: Page) -> None:
    steering = page.site.parts.steering

    async def turn(killed: bool, reason: str) -> None:  # noqa: FBT001 - the browser's answer
        act = steering.kill if killed else steering.resume
        if await attempt(lambda: act(page.visitor, reason)) and killed:
            await attempt(see_all_closed)

    async def see_all_closed() -> None:
        for each in await steering.left_open(_PATIENCE_S):
            tell(
                f"{each.account} still holds {each.net} of {each.contract_id} as far as is known: no execution or "
                "watchdog closed it; see to it on the platform"
            )

    def show(now: Now) -> None:
        kill = now.kill
        switch.show({"killed": kill.killed, "reason": kill.reason, "by": kill.by, "at": ms(kill.at)})

    switch = KillSwitch(allowed=page.visitor.may_steer, on_turn=turn)
    page.follow(page.site.now(), show)


def show_failure(error: Exception) -> None:
    """Build the page that stands where one could not be built; what nobody expected is for the log alone."""
    ui.add_head_html(_HEAD)
    words = str(error) if isinstance(error, EscapementError) else "This page failed; the dashboard's log says why."
    with html.div(id="page"), html.section(role="alert").classes("panel"):
        html.h1("This cannot be shown now")
        html.p(words)
        html.a("Try again", href="")


@contextmanager
def panel(title: str, note: str = "", classes: str = "") -> Iterator[None]:
    """Group what belongs together, under a heading."""
    with html.section().classes(f"panel {classes}"):
        with html.header():
            html.h2(title)
            if note:
                html.span(note).classes("soft")
        yield
