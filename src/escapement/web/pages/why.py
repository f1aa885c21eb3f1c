"""*Why*: what was decided and why, what became of each signal and why not, filtered as one likes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any, Final

from fastapi import Request
from nicegui import html, ui

from escapement.web.pages.components import Cell, Figures, Row, Sheet, at, row
from escapement.web.pages.fields import button, select, text
from escapement.web.pages.frame import ICON, Page, Site, attempt, framed, panel
from escapement.web.pages.now import decision_row, price
from escapement.web.reading.why import Choices, NoteShown, SignalShown, VerdictShown, Why, WhyNot

_MOST: Final = 200
_POLL_S: Final = 10.0
_ALL: Final = "all"
_BELLS: Final = frozenset({"decisions"})


@dataclass
class _Filter:
    """What to look for; empty: everything."""

    chosen: dict[str, str] = field(default_factory=dict)

    def key(self) -> tuple[tuple[str, str], ...]:
        """Return what tells it from others."""
        return tuple(sorted((name, value) for name, value in self.chosen.items() if value))

    def of(self, *names: str) -> dict[str, Any]:
        """Return those parts of it that a reading takes; days are those of UTC."""
        wanted: dict[str, Any] = {name: self.chosen.get(name) or None for name in names}
        begin, end = (_day(self.chosen.get(name, "")) for name in ("begin", "end"))
        return {**wanted, "begin": begin, "end": None if end is None else end + timedelta(days=1), "most": _MOST}


def register(site: Site) -> None:
    """Serve the page."""

    @ui.page("/why", favicon=ICON)
    async def why(request: Request, decision: str = "", signal: str = "") -> None:
        choices = await site.parts.reading.choices()
        with framed(site, request, "/why") as page:
            built = _WhyPage(page, choices)
            await built.look()
            if decision:
                await built.explain(decision)
            elif signal.isdecimal():
                await built.explain_not(signal)


class _WhyPage:
    """The page of one browser."""

    def __init__(self, page: Page, choices: Choices) -> None:
        self._reading = page.site.parts.reading
        self._page = page
        self._filter = _Filter()
        self._leave: list[Callable[[], None]] = []
        ui.context.client.on_delete(self._unfollow)
        with panel("Filter"), html.div().classes("fields"):
            self._fields(choices)
        self._details = html.div()
        with panel("Decisions", "why: choose one", "cards tall"):
            self._decisions = Sheet(
                "Decisions", ["known at", "contract", "decision", ">price", ">confidence", "by", "because"],
                "No decision suits the filter. The coordinator decides when analyzers find signals.", self.explain,
            )  # fmt: skip
        with panel("Signals", "why not: choose one", "cards tall"):
            self._signals = Sheet(
                "Signals and what became of them",
                ["known at", "contract", "timeframe", "signal", ">price", "analyzer", "outcome"],
                "No signal that was weighed suits the filter.", self.explain_not,
            )  # fmt: skip

    def _fields(self, choices: Choices) -> None:
        offered = {
            "contract_id": ("Contract", choices.contracts), "coordinator": ("Coordinator", choices.coordinators),
            "rule": ("Rule", choices.rules), "action": ("Decision", choices.actions),
        }  # fmt: skip
        for name, (label, values) in offered.items():
            words = {"": _ALL} | {each: each.replace("_", " ") for each in values}
            select(label, words, "", partial(self._choose, name))
        led = {"": _ALL, "yes": "led to a decision", "no": "led to none"}
        select("Signals that", led, "", partial(self._choose, "decided"))
        for name, label in (("begin", "From (day, UTC)"), ("end", "To (day, UTC)")):
            text(label, "", partial(self._choose, name), kind="date")

    async def _choose(self, name: str, value: str) -> None:
        self._filter.chosen[name] = value
        await attempt(self.look)

    async def look(self) -> None:
        """Show what suits the filter, and go on showing it."""
        names = "contract_id", "coordinator", "rule"
        wanted, noted = self._filter.of(*names, "action"), self._filter.of(*names)
        decided = self._filter.chosen.get("decided")
        noted["decided"] = None if not decided else decided == "yes"

        async def decisions() -> list[Row]:
            return [decision_row(each, pick=True) for each in await self._reading.decisions(**wanted)]

        async def signals() -> list[Row]:
            return [_note_row(each) for each in await self._reading.log(**noted)]

        self._unfollow()
        for name, read, sheet in (("decisions", decisions, self._decisions), ("signals", signals, self._signals)):
            await self._show(name, read, sheet)

    async def _show(self, name: str, read: Callable[[], Awaitable[list[Row]]], sheet: Sheet) -> None:
        def show(rows: list[Row]) -> None:
            sheet.show(rows)
            sheet.note(f"These are the newest {_MOST}; narrow the filter to see others." if len(rows) >= _MOST else "")

        topic = self._page.site.hub.topic((name, self._filter.key()), read, _BELLS, _POLL_S)
        show(await topic.latest())
        self._leave.append(self._page.watch(topic, show))

    def _unfollow(self) -> None:
        for leave in self._leave:
            leave()
        self._leave = []

    async def explain(self, decision_id: str) -> None:
        """Show what led to a decision."""

        async def explain() -> None:
            found = await self._reading.why(decision_id)
            self._details.clear()
            with self._details:
                if found is None:
                    html.p("This decision is not known.").classes("empty panel")
                else:
                    _show_why(found, self._details.clear)

        await attempt(explain)

    async def explain_not(self, signal_id: str) -> None:
        """Show what became of a signal."""

        async def explain() -> None:
            found = await self._reading.why_not(int(signal_id))
            self._details.clear()
            with self._details:
                if found is None:
                    html.p("This signal is not known.").classes("empty panel")
                else:
                    _show_why_not(found, self._details.clear)

        await attempt(explain)


def _show_why(why: Why, close: Callable[[], object]) -> None:
    decision = why.decision
    title = f"Why {decision.action.replace('_', ' ')} {decision.contract_id}"
    with panel(title, decision.words, "cards details"):
        Figures(title).show([
            {"label": "known at", "value": "", **_moment(decision.known_at)},
            {"label": "price", "value": price(decision.price)},
            {"label": "confidence", "value": f"{decision.confidence:.2f}"}, {"label": "by", "value": decision.rule},
            {"label": "decided at", "value": "", **_moment(decision.decided_at)},
            {"label": "data", "value": "complete" if decision.data_complete else "not complete",
             "tone": "" if decision.data_complete else "warn"},
            {"label": "decision", "value": decision.decision_id[:12], "note": f"coordinator {decision.coordinator}"},
        ])  # fmt: skip
        html.h2("Because of these signals")
        _signals(why.signals)
        html.h2("What each rule said")
        _verdicts(why.verdicts)
        for entry in why.entries:
            html.h2(f"Risk on {entry.account}: {'approved' if entry.approved else 'refused'} {entry.size}")
            sheet = Sheet("Risk checks", ["check", "says", "because"], "No check was made.")
            sheet.show([row(each.code, each.code, _stands(each.passed), each.words) for each in entry.checks])
        button("Close", close)


def _show_why_not(why: WhyNot, close: Callable[[], object]) -> None:
    signal = why.signal
    with panel(f"What became of {signal.signal_type} {signal.contract_id} {signal.timeframe}", "", "cards details"):
        _signals([signal])
        if why.unheard:
            html.p(f"Nothing was decided: {why.unheard}.")
        for note in why.notes:
            html.h2(f"What each rule of coordinator {note.coordinator} said")
            _verdicts(note.verdicts)
            if note.decision_id is None:
                html.p("The signal led to no decision.").classes("soft")
            else:
                html.a("It led to this decision.", href=f"/why?decision={note.decision_id}")
        button("Close", close)


def _signals(signals: Sequence[SignalShown]) -> None:
    sheet = Sheet(
        "Signals", ["known at", "timeframe", "analyzer", "signal", ">price", "bar", "number", "note"], "There are none."
    )
    sheet.show([
        row(
            each.signal_id, at(each.known_at), each.timeframe, each.analyzer, each.signal_type, price(each.price),
            at(each.bar), each.signal_id,
            "" if each.superseded_at is None else "no longer holds since bars were revised",
        )
        for each in signals
    ])  # fmt: skip


def _verdicts(verdicts: Sequence[VerdictShown]) -> None:
    sheet = Sheet("Rules", ["rule", "says", "because"], "No rule was asked.")
    sheet.show([row(place, each.rule, _stands(each.stands), each.words) for place, each in enumerate(verdicts)])


def _note_row(note: NoteShown) -> Row:
    signal = note.signal
    outcome: Cell = {"v": f"refused by {note.refused_by}", "tone": "warn"} if note.refused_by else "nothing to decide"
    if note.decision_id is not None:
        outcome = {"v": "led to a decision", "href": f"/why?decision={note.decision_id}"}
    return row(
        (note.coordinator, signal.signal_id), at(note.known_at), note.contract_id, signal.timeframe,
        {"v": signal.signal_type, "pick": str(signal.signal_id)}, price(signal.price), signal.analyzer, outcome,
    )  # fmt: skip


def _stands(stands: bool) -> Cell:  # noqa: FBT001 - what it is about
    return {"v": "yes", "tone": "good"} if stands else {"v": "no", "tone": "warn"}


def _moment(moment: datetime) -> dict[str, Any]:
    cell = at(moment)
    return cell if isinstance(cell, dict) else {}


def _day(words: str) -> datetime | None:
    try:
        day = date.fromisoformat(words)
    except ValueError:
        return None  # a date that is half written
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
