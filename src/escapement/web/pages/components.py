"""What pages are put together from; each is a small Vue component in ``static/``, and what it shows is plain data."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import nicegui
from nicegui.dependencies import esm_modules
from nicegui.element import Element
from nicegui.elements import echart  # noqa: F401 - makes ECharts known to the page
from nicegui.events import GenericEventArguments

STATIC: Final = Path(__file__).parents[1] / "static"

Cell: TypeAlias = str | int | dict[str, Any] | None
"""A text; or ``v`` (a text), ``at`` or ``since`` (moments) with what sheet.js knows besides."""
Row: TypeAlias = dict[str, Any]
Tone: TypeAlias = Literal["", "up", "down", "soft", "warn", "bad", "good"]


def ms(moment: datetime | None) -> int | None:
    """Return a moment as browsers count it, milliseconds since 1970."""
    return None if moment is None else int(moment.timestamp() * 1000)


def at(moment: datetime | None, how: str = "moment", **more: Any) -> Cell:
    """Return a cell with a moment, written by the clock that the person chose; ``how`` as in shared/index.js."""
    return None if moment is None else {"at": ms(moment), "how": how, **more}


def row(key: object, *cells: Cell) -> Row:
    """Return a row of a sheet; ``key`` tells rows apart."""
    return {"key": str(key), "cells": list(cells)}


def direction(value: int) -> Cell:
    """Return a cell that says long, short or flat with a sign, so that colour is not all that tells."""
    words: dict[int, Cell] = {1: {"v": "▲ long", "tone": "up"}, -1: {"v": "▼ short", "tone": "down"}}
    return words.get(value, {"v": "= flat", "tone": "soft"})


@cache
def echarts_early() -> str:
    """Return links for a page's head by which browsers ask for ECharts at once.

    It is the largest file of the page, and is else asked for three answers later: by the file that the component's
    file imports.
    """
    key, folder = next((key, each.path) for key, each in esm_modules.items() if each.name == "nicegui-echart")
    names = ["index.js", *re.findall(r'from"\./([^"]+)"', (folder / "index.js").read_text("utf-8"))]
    place = f"/_nicegui/{nicegui.__version__}/esm/{key}"
    return "".join(f'<link rel="modulepreload" href="{place}/{name}">' for name in names)


class Shown(Element):
    """A component that shows one thing, and is sent to the browser only when that has changed."""

    name: str

    def show(self, value: object) -> None:
        """Show it, unless it is what is shown."""
        if not self.is_deleted and self._props.get(self.name) != value:
            self._props[self.name] = value


class Sheet(Shown, component=STATIC / "sheet.js", esm={"escapement-shared": str(STATIC / "shared")}):
    """A table of at most a few hundred rows.

    Args:
        label: what it is, for those who hear the page.
        columns: their heads; ``>`` before one puts its cells to the right, as figures are.
        empty: what to say, and to do, when there are no rows.
        on_pick: called with ``pick`` of the cell that was chosen.
    """

    name = "rows"

    def __init__(
        self, label: str, columns: Sequence[str], empty: str, on_pick: Callable[[str], object] | None = None
    ) -> None:
        super().__init__()
        self._props.update(label=label, rows=[], empty=empty, more="", chosen="")
        self.head(columns)
        if on_pick is not None:
            self.on("pick", lambda event: on_pick(str(event.args)))

    def head(self, columns: Sequence[str]) -> None:
        """Put other columns in place of those there are."""
        heads = [{"label": each.lstrip(">"), "align": "right" if each.startswith(">") else "left"} for each in columns]
        if self._props.get("columns") != heads:
            self._props["columns"] = heads

    def note(self, words: str) -> None:
        """Say something below the rows, such as that there are more."""
        if self._props["more"] != words:
            self._props["more"] = words

    def mark(self, key: str) -> None:  # type: ignore[override]
        """Mark a row as the chosen one."""
        self._props["chosen"] = key


class Figures(Shown, component=STATIC / "figures.js"):
    """Figures side by side: ``label`` with ``value`` or ``at``, ``tone`` and ``note``."""

    name = "items"

    def __init__(self, label: str) -> None:
        super().__init__()
        self._props.update(label=label, items=[])


class Meters(Shown, component=STATIC / "meters.js"):
    """How much of something is used up: ``label``, ``value`` or ``until``, ``part`` (0 to 1, or None), ``tone``."""

    name = "items"

    def __init__(self, label: str, empty: str) -> None:
        super().__init__()
        self._props.update(label=label, items=[], empty=empty)


class Calendar(Shown, component=STATIC / "calendar.js"):
    """Days as squares by week, coloured by how much of each is known; ``day``, ``known`` (0 to 1), ``words``."""

    name = "days"

    def __init__(self, label: str, empty: str, on_pick: Callable[[str], object]) -> None:
        super().__init__()
        self._props.update(label=label, days=[], empty=empty)
        self.on("pick", lambda event: on_pick(str(event.args)))


class HeatMap(Shown, component=STATIC / "heatmap.js"):
    """A figure by two settings: ``x``, ``y`` (names), ``xs``, ``ys`` (values), ``cells`` (rows of figures or None)."""

    name = "map"

    def __init__(self, label: str) -> None:
        super().__init__()
        self._props.update(label=label, map=None)


class KillSwitch(Shown, component=STATIC / "killswitch.js"):
    """Whether trading is stopped, and for who may steer a button that asks and turns it."""

    name = "state"

    def __init__(self, *, allowed: bool, on_turn: Callable[[bool, str], object]) -> None:
        super().__init__()
        self._props.update(allowed=allowed, state=None)
        self.on("turn", lambda event: on_turn(bool(event.args["killed"]), str(event.args["reason"])))


class Preferences(Element, component=STATIC / "preferences.js"):
    """The time, and the choice of clock and colours, which the browser keeps; ``zone`` is the exchange's."""

    def __init__(self, zone: str) -> None:
        super().__init__()
        self._props["zone"] = zone


class CandleChart(Element, component=STATIC / "candles.js"):
    """Candles and what happened on them; see ``pages.chart`` for what it is sent.

    Args:
        label: what is shown.
        opening: the first candles.
        on_range: called with ``from`` and ``to`` (milliseconds) and ``points`` when other candles are wanted.
    """

    def __init__(self, label: str, opening: dict[str, Any], on_range: Callable[[dict[str, Any]], object]) -> None:
        super().__init__()
        self._props.update(label=label, opening=opening)

        def asked(event: GenericEventArguments) -> object:
            return on_range(event.args)

        self.on("range", asked)
