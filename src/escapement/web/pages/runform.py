"""The form that starts a backtest or a sweep."""

from __future__ import annotations

from typing import Final

from nicegui import html

from escapement.errors import InvalidInput
from escapement.web.backtests import RunKind, RunWish
from escapement.web.pages.fields import button, select, text
from escapement.web.pages.frame import Page, attempt, panel, tell

_KINDS: Final = {"backtest": "backtest", "sweep": "sweep over settings"}
_METHODS: Final = {"grid": "every point", "random": "points by chance", "optuna": "optuna"}
_OBJECTIVES: Final = ("sharpe", "net", "profit_factor")


def run_form(page: Page) -> None:
    """Build the form; what it starts shows among the runs."""
    given = {
        "kind": "backtest", "begin": "", "end": "", "contracts": "", "changes": "", "over": "", "method": "grid",
        "trials": "100", "objective": "sharpe", "windows": "1",
    }  # fmt: skip

    def put(name: str, value: str) -> None:
        given[name] = value
        sweep.set_visibility(given["kind"] == "sweep")

    async def start() -> None:
        async def begin() -> None:
            begun = await page.site.parts.backtests.start(page.visitor, wish_of(given))
            tell(f"{begun.name} is {begun.state}.")

        await attempt(begin)

    with panel("Start one", "over bars that are stored, by the settings in force"):
        with html.div().classes("fields"):
            select("What", _KINDS, "backtest", lambda value: put("kind", value))
            text("From", "", lambda value: put("begin", value), hint="2025-03-17")
            text("To", "", lambda value: put("end", value), hint="2025-03-21")
            text("Contracts", "", lambda value: put("contracts", value), hint="those of the settings")
            text("Changed settings", "", lambda value: put("changes", value), hint="execution.stop_ticks=20; …")
            button("Start", start, "primary")
        with html.div().classes("fields") as sweep:
            text("Vary", "", lambda value: put("over", value), hint="execution.stop_ticks=10,20,40; …")
            select("Try", _METHODS, "grid", lambda value: put("method", value))
            text("Points", "100", lambda value: put("trials", value), kind="number")
            select("Compare by", _OBJECTIVES, "sharpe", lambda value: put("objective", value))
            text("Windows", "1", lambda value: put("windows", value), kind="number")
        sweep.set_visibility(False)


def wish_of(given: dict[str, str]) -> RunWish:
    """Return what the form asks for.

    Raises:
        InvalidInput: a field cannot be read.
    """
    numbers = {}
    for name in ("trials", "windows"):
        if not given[name].isdecimal():
            raise InvalidInput(f"{name} {given[name]!r} is no whole number; write one, such as 1")
        numbers[name] = int(given[name])
    contracts = tuple(each.strip() for each in given["contracts"].split(",") if each.strip())
    return RunWish(
        RunKind(given["kind"]), given["begin"].strip(), given["end"].strip(), contracts, _pairs(given["changes"]),
        _pairs(given["over"]), given["method"], numbers["trials"], given["objective"], numbers["windows"],
    )  # fmt: skip


def _pairs(words: str) -> dict[str, str]:
    """Read ``name=value; name=value``."""
    pairs = {}
    for each in filter(None, (part.strip() for part in words.split(";"))):
        name, sign, value = each.partition("=")
        if not sign:
            raise InvalidInput(f"{each!r} has no =; write a setting and its value, such as execution.stop_ticks=20")
        pairs[name.strip()] = value.strip()
    return pairs
