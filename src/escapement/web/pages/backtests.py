"""*Backtests*: what was run and what came of it, sweeps as heat maps, and starting one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import Any, Final

from fastapi import Request
from nicegui import html, ui

from escapement.web.backtests import RunDetails, RunShown, RunState
from escapement.web.pages.components import Cell, Figures, HeatMap, Row, Sheet, at, row
from escapement.web.pages.fields import button
from escapement.web.pages.frame import ICON, Page, Site, attempt, framed, panel
from escapement.web.pages.runform import run_form

_POLL_S: Final = 1.0
_MOST_MAPS: Final = 4
_MOST_POINTS: Final = 200
_TONES: Final = {
    RunState.DONE: "good", RunState.FAILED: "bad", RunState.RUNNING: "", RunState.WAITING: "soft",
    RunState.CANCELLED: "soft",
}  # fmt: skip
_UNDER_WAY: Final = (RunState.RUNNING, RunState.WAITING)
_SHOWN_FIRST: Final = ("net", "trades", "win_rate", "max_drawdown", "sharpe", "profit_factor")
_COUNTS: Final = ("trades", "days")
_SHARES: Final = ("win_rate", "exposure", "max_drawdown_share", "cagr")


def register(site: Site) -> None:
    """Serve the page."""

    @ui.page("/backtests", favicon=ICON)
    async def backtests(request: Request, run: str = "") -> None:
        with framed(site, request, "/backtests") as page:
            built = _Backtests(page)
            await built.look()
            if run:
                await built.show(run)


class _Backtests:
    """The page of one browser."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._runs = page.site.parts.backtests
        self._chosen = ""
        self._was_under_way = False
        if page.visitor.may_steer:
            run_form(page)
        with panel("Runs", "newest first; choose one to see what came of it", "cards"):
            self._sheet = Sheet(
                "Runs",
                ["run", "kind", "state", "begun", ">net", ">trades", ">drawdown", ">Sharpe", "what"],
                "Nothing was run yet. Start a backtest above, or with escapement backtest.", self.show,
            )  # fmt: skip
        self._details = html.div()

    async def look(self) -> None:
        """Show all runs, and go on showing them."""
        topic = self._page.site.hub.topic("runs", self._runs.runs, frozenset(), _POLL_S)
        self._list(await topic.latest())
        self._page.follow(topic, self._list)

    def _list(self, runs: Any) -> None:
        self._sheet.show([_run_row(each) for each in runs])
        chosen = next((each for each in runs if each.name == self._chosen), None)
        under_way = chosen is not None and chosen.state in _UNDER_WAY
        if self._was_under_way and not under_way and not self._details.is_deleted:
            with self._details:  # what it came to is there now
                ui.timer(0, lambda: self.show(self._chosen), once=True)
        self._was_under_way = under_way

    async def show(self, name: str) -> None:
        """Show what came of a run."""

        async def show() -> None:
            found = await self._runs.details(name)
            self._chosen = name
            self._sheet.mark(name)
            self._was_under_way = found is not None and found.run.state in _UNDER_WAY
            self._details.clear()
            with self._details:
                if found is None:
                    html.p("There is no run of that name.").classes("empty panel")
                else:
                    self._show_details(found)

        await attempt(show)

    def _show_details(self, details: RunDetails) -> None:
        run = details.run
        with panel(run.title or run.name, run.state, "details"):
            if run.words:
                html.p(run.words).classes("bad")
            for warning in details.report.get("warnings", ()):
                html.p(str(warning)).classes("warn empty")
            if run.figures:
                Figures(run.name).show([_figure(name, value) for name, value in _ordered(run.figures)])
            if run.state in _UNDER_WAY and self._page.visitor.may_steer:
                button("Cancel this run", lambda: attempt(lambda: self._runs.cancel(self._page.visitor, run.name)))
            with html.div().classes("maps"):
                for each in _maps(details):
                    HeatMap(f"{each['figure']} by {each['x']} and {each['y']}").show(each)
            if details.points:
                _points(details)
            if run.has_page:
                page = f"/api/v1/backtests/{run.name}/page"
                report = html.iframe(src=page, sandbox="allow-scripts", title=f"Report of {run.name}", loading="lazy")
                report.classes("report")
                html.a("Open the report by itself", href=page, target="_blank")
            if details.log:
                with html.details():
                    html.summary("What the program said")
                    html.pre(details.log)


def _run_row(run: RunShown) -> Row:
    state: Cell = {"v": str(run.state), "tone": _TONES[run.state]}
    if run.state is RunState.RUNNING and run.progress is not None:
        state = {"v": f"running {run.progress:.0%}", "part": round(run.progress, 2)}
    net = run.figures.get("net")
    return row(
        run.name, {"v": run.name, "pick": run.name}, str(run.kind), state, at(run.made_at, "short"),
        {"v": _written("net", net), "tone": "" if not net else "up" if net > 0 else "down"},
        _written("trades", run.figures.get("trades")), _written("max_drawdown", run.figures.get("max_drawdown")),
        _written("sharpe", run.figures.get("sharpe")), run.words or run.title,
    )  # fmt: skip


def _written(name: str, value: float | None) -> str:
    if value is None:
        return ""
    if name in _SHARES:
        return f"{value:.1%}"
    return f"{value:,.0f}" if name in _COUNTS or isinstance(value, int) else f"{value:,.2f}"


def _figure(name: str, value: float | None) -> dict[str, Any]:
    tone = ("up" if value > 0 else "down") if name == "net" and value else ""
    return {"label": name.replace("_", " "), "value": _written(name, value) or "-", "tone": tone}


def _ordered(figures: Mapping[str, float | int | None]) -> list[tuple[str, float | int | None]]:
    first = [(name, figures[name]) for name in _SHOWN_FIRST if name in figures]
    return first + [(name, value) for name, value in figures.items() if name not in _SHOWN_FIRST]


def _maps(details: RunDetails) -> list[dict[str, Any]]:
    """Return heat maps for each two settings that were varied: the mean of all points that have them."""
    wanted = dict.fromkeys([str(details.report.get("objective", "")), "net"])
    figures = [name for name in wanted if any(isinstance(each.get(name), int | float) for each in details.points)]
    pairs = list(combinations(details.over, 2))
    return [_map(details.points, figure, x, y) for x, y in pairs for figure in figures][:_MOST_MAPS]


def _map(points: Sequence[Mapping[str, Any]], figure: str, x: str, y: str) -> dict[str, Any]:
    found: dict[tuple[str, str], list[float]] = {}
    for point in points:
        value, place = point.get(figure), (_setting(point.get(x)), _setting(point.get(y)))
        if isinstance(value, int | float):
            found.setdefault(place, []).append(value)
    xs, ys = (list(dict.fromkeys(_setting(point.get(name)) for point in points)) for name in (x, y))
    cells = [[fmean(found[across, down]) if (across, down) in found else None for across in xs] for down in ys]
    return {"figure": figure.replace("_", " "), "x": x, "y": y, "xs": xs, "ys": ys, "cells": cells}


def _setting(value: object) -> str:
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _points(details: RunDetails) -> None:
    figures = [name for name in ("score", *_SHOWN_FIRST) if any(name in each for each in details.points)]
    sheet = Sheet(
        "Points", [*details.over, *(f">{each.replace('_', ' ')}" for each in figures)], "Nothing was tried yet."
    )
    sheet.show([
        row(place, *(_setting(each.get(name)) for name in details.over),
            *(_written(name, each.get(name)) for name in figures))
        for place, each in enumerate(details.points[:_MOST_POINTS])
    ])  # fmt: skip
    if len(details.points) > _MOST_POINTS:
        sheet.note(f"and {len(details.points) - _MOST_POINTS:,} more")
