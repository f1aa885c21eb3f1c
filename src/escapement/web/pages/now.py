"""*Now*: what is held and made, how near every limit is, what the timeframes say, what was decided, what works."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from fastapi import Request
from nicegui import html, ui

from escapement.model import Timeframe
from escapement.web.pages.components import Cell, Figures, Meters, Row, Sheet, at, direction, ms, row
from escapement.web.pages.frame import ICON, Site, framed, panel
from escapement.web.reading.now import (
    DeadlineNow,
    DirectionsNow,
    LimitNow,
    Now,
    OrderNow,
    PositionNow,
    VoiceNow,
)
from escapement.web.reading.why import DecisionShown

_LIMITS: Final = {
    "maximum_loss": "maximum loss (firm)", "firm_daily_loss": "daily loss (firm)", "daily_loss": "daily loss (yours)",
    "trailing_loss": "trailing loss (yours)",
}  # fmt: skip
_NEAR, _AT = 0.6, 0.85  # of a limit used up, from which on it is coloured
_OLD: Final = timedelta(seconds=60)  # execution writes them every few seconds


def register(site: Site) -> None:
    """Serve the page."""

    @ui.page("/now", favicon=ICON)
    async def now(request: Request) -> None:
        topic = site.now()
        first = await topic.latest()
        with framed(site, request, "/now") as page:
            show = _built()
            show(first)
            page.follow(topic, show)


def money(value: Decimal | None, *, signed: bool = False) -> str:
    """Write money of the account to the cent."""
    return "" if value is None else f"{value:+,.2f}" if signed else f"{value:,.2f}"


def tone(value: Decimal | None) -> str:
    """Return the colour of a profit or a loss."""
    return "" if not value else "up" if value > 0 else "down"


def price(value: float | None) -> str:
    """Write a price as it was quoted."""
    return "" if value is None else f"{value:,.10g}"


def _built() -> Any:
    """Build the panels; return what shows how trading stands in them."""
    with html.div().classes("columns"):
        with panel("Account"):
            account = Figures("Account")
        with panel("Limits and deadline", "how much of each is used up"):
            limits = Meters("Limits", "No loss limit is set, and no session is near. Set risk.daily_loss or risk.firm.")
    with panel("Positions", classes="cards"):
        positions = Sheet(
            "Positions",
            ["contract", "side", ">size", ">average", ">last", ">open P&L", ">made in all", "stop"],
            "Nothing is held.",
        )
    with panel("Directions", "what each analyzer said last, largest timeframe first", "cards"):
        voices = Sheet(
            "Directions by timeframe",
            [],
            "No analyzer has said anything yet: escapement run analyzes bars as they are completed.",
        )
    with panel("Working orders", classes="cards"):
        orders = Sheet(
            "Working orders",
            ["contract", "role", "side", ">size", "type", ">price", "status", "since"],
            "No order is working.",
        )
    with panel("Last decisions", classes="cards"):
        decisions = Sheet(
            "Last decisions",
            ["known at", "contract", "decision", ">price", ">confidence", "by", "because"],
            "Nothing was decided yet. The coordinator decides when analyzers find signals.",
        )

    def show(now: Now) -> None:
        account.show(account_figures(now, datetime.now(UTC)))
        limits.show([*map(_limit, now.limits), *map(_deadline, now.deadlines)])
        positions.show([_position(each) for each in now.positions if each.net])
        timeframes = _timeframes(now.directions)
        voices.head(["contract", "analyzer", "wished", *timeframes])
        voices.show([each for found in now.directions for each in _voices(found, timeframes)])
        orders.show([_order(each) for each in now.orders])
        decisions.show([decision_row(each) for each in now.decisions])

    return show


def account_figures(now: Now, at: datetime) -> list[dict[str, Any]]:
    """Return how the account stands; ``at``: our clock's time, by which what execution wrote may be old."""
    account, positions = now.account, now.positions
    if account is None:
        return [{"label": "account", "value": "none yet", "note": "execution has not traded; see escapement run"}]
    open_money = sum((each.open_money or Decimal(0) for each in positions), Decimal(0))
    today = account.made_today + open_money
    figures: list[dict[str, Any]] = [
        {"label": "P&L today", "value": money(today, signed=True), "tone": tone(today)},
        {"label": "closed today", "value": money(account.made_today, signed=True), "tone": tone(account.made_today)},
        {"label": "open now", "value": money(open_money, signed=True), "tone": tone(open_money)},
        {"label": "balance", "value": money(account.balance)},
        {"label": "equity", "value": money(account.equity)},
        {"label": "account", "value": account.account, "note": account.mode},
        {"label": "trading day", "value": "" if account.trade_date is None else f"{account.trade_date}"},
    ]
    if account.as_of is not None and at - account.as_of > _OLD and any(each.is_open for each in now.deadlines):
        figures.append({
            "label": "balance and equity are old", "at": ms(account.as_of), "how": "short", "tone": "bad",
            "note": "execution does not write them: see System",
        })  # fmt: skip
    if account.blocked:
        figures.append({"label": "entries are blocked", "value": account.blocked, "tone": "bad"})
    return figures


def _limit(limit: LimitNow) -> dict[str, Any]:
    used = 1 - float(limit.left / limit.size) if limit.size else 1.0
    return {
        "label": _LIMITS.get(limit.code, limit.code.replace("_", " ")), "value": f"{money(limit.left)} left",
        "part": round(min(1.0, max(0.0, used)), 3), "tone": "bad" if used >= _AT else "warn" if used >= _NEAR else "",
        "note": f"broken at {money(limit.level)}, {'ends the day' if limit.ends_day else 'ends the account'}",
    }  # fmt: skip


def _deadline(deadline: DeadlineNow) -> dict[str, Any]:
    label = f"{deadline.contract_id} {'closes' if deadline.is_open else 'opens'}"
    until = deadline.closes_at if deadline.is_open else deadline.opens_at
    if deadline.is_open and deadline.flat_at is not None:
        label, until = f"{deadline.contract_id} flat by", deadline.flat_at
    return {"label": label, "until": ms(until), "part": None, "tone": "", "note": ""}


def _position(position: PositionNow) -> Row:
    bare = abs(position.net) - position.protected
    stop: Cell = {"v": f"{bare} without a stop", "tone": "bad"} if bare > 0 else {"v": "protected", "tone": "good"}
    return row(
        (position.account, position.contract_id), position.contract_id, direction(1 if position.net > 0 else -1),
        abs(position.net), price(position.average_price), price(position.last_price),
        {"v": money(position.open_money, signed=True), "tone": tone(position.open_money)},
        {"v": money(position.made, signed=True), "tone": tone(position.made)}, stop,
    )  # fmt: skip


def _timeframes(directions: Sequence[DirectionsNow]) -> list[str]:
    """Return the timeframes of all voices, the largest first."""
    names = {each.timeframe for found in directions for each in found.voices}
    return sorted(names, key=Timeframe.parse, reverse=True)


def _voices(found: DirectionsNow, timeframes: Sequence[str]) -> list[Row]:
    """Return a row for each analyzer: what it said last on each timeframe."""
    rows = []
    for analyzer in dict.fromkeys(each.analyzer for each in found.voices):
        said = {each.timeframe: each for each in found.voices if each.analyzer == analyzer}
        cells = [_voice(said[name]) if name in said else None for name in timeframes]
        rows.append(row((found.contract_id, analyzer), found.contract_id, analyzer, direction(found.wished), *cells))
    return rows


def _voice(voice: VoiceNow) -> Cell:
    cell = direction(voice.direction)
    words = f"{voice.signal_type} at {price(voice.price)}, since {voice.since:%Y-%m-%d %H:%M} UTC"
    return {**cell, "title": words} if isinstance(cell, dict) else cell


def _order(order: OrderNow) -> Row:
    size: Cell = order.size if not order.filled_size else f"{order.filled_size} of {order.size}"
    limit = order.limit_price if order.limit_price is not None else order.stop_price
    return row(
        (order.account, order.order), order.contract_id, order.role,
        {"v": order.side, "tone": "up" if order.side == "buy" else "down"}, size, order.type,
        price(limit) or "market", order.status, at(order.at, "short"),
    )  # fmt: skip


def decision_row(decision: DecisionShown, *, pick: bool = False) -> Row:
    """Return the row of a decision; its name leads to why it was taken."""
    words = decision.action.replace("_", " ")
    colour = {1: "up", -1: "down"}.get(decision.direction, "soft")
    name = {"pick": decision.decision_id} if pick else {"href": f"/why?decision={decision.decision_id}"}
    return row(
        decision.decision_id, at(decision.known_at), decision.contract_id, {"v": words, "tone": colour, **name},
        price(decision.price), f"{decision.confidence:.2f}", decision.rule,
        decision.words + ("" if decision.data_complete else " (data not complete)"),
    )  # fmt: skip
