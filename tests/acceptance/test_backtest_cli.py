"""``escapement backtest`` as users run it: files and database, settings, reports and what it refuses."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from escapement.calendars import calendar_for_contract
from escapement.csvfiles import read_bars, write_bars, write_trades
from escapement.model import Trade
from escapement.simulator.sources import trades_of_bar
from escapement.storage import DBHandler
from pasts import walk
from programs import program

MES = "CON.F.US.MES.M25"
SETTINGS = """
timeframes: [5m, 15m, 1h]
analyzers: {run: [trend_starts]}
coordinator:
  entries: [{rule: strategic_tactical, strategic: [1h], tactical: [5m, 15m]}]
  exits: [{rule: opposite_signal, timeframes: [15m]}]
execution: {stop_ticks: 20, target_ticks: 60}
risk: {firm_rules: topstep_combine_50k}
"""
LOOKS_AHEAD = '''
"""Says today what tomorrow brings."""
from __future__ import annotations
from dataclasses import dataclass
from typing import Any, ClassVar
from escapement.model import Bar, Signal

@dataclass(frozen=True)
class NoParams:
    """Nothing to choose."""

class Prophet:
    """Remembers what it saw in an earlier life."""
    name: ClassVar[str] = "prophet"
    version: ClassVar[int] = 1
    params_type: ClassVar[type[Any]] = NoParams
    seen: ClassVar[dict[int, float]] = {}

    def __init__(self, params: NoParams | None = None) -> None:
        self.last = 0

    @property
    def warm_up_bars(self) -> int:
        return 1

    def push(self, bar: Bar, /):
        self.seen[bar.start_ns] = bar.close
        later = [self.seen[each] for each in self.seen if each > bar.start_ns]
        if not later:
            return ()
        kind = "uptrendStart" if later[0] > bar.close else "downtrendStart"
        return (Signal("prophet", bar.contract_id, bar.timeframe, kind, bar.start_ns, bar.start_ns, bar.end_ns,
                       bar.close, "sight"),)

    def advance(self, to_ns: int, /):
        return ()

    def snapshot(self) -> dict[str, Any]:
        return {}

    def restore(self, state, /) -> None:
        pass
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("backtest")
    some = walk(1_500)
    write_bars(made / "bars.csv", some)
    calendar = calendar_for_contract(MES)
    trades = [trade for bar in some for trade in trades_of_bar(bar, calendar)]
    write_trades(made / "trades.csv", [Trade(each.contract_id, each.at_ns, each.price, each.volume) for each in trades])
    (made / "s.yaml").write_text(SETTINGS)
    (made / "prophet.py").write_text(LOOKS_AHEAD)
    return made


def run(folder: Path, *arguments: str, code: int = 0, variables: Mapping[str, str] | None = None) -> tuple[str, str]:
    with program(folder, "backtest", *arguments, **(variables or {})) as done:
        out, err = done.communicate(timeout=100)
    assert done.returncode == code, err
    return out, err


def told(folder: Path, *arguments: str, **variables: str) -> dict[str, Any]:
    out, _ = run(folder, *arguments, "--json", "-", "--no-check", variables=variables)
    found: dict[str, Any] = json.loads(out)
    return found


def test_bars_become_figures_a_page_and_json_that_agree(folder: Path) -> None:
    out, err = run(
        folder, "--settings", "s.yaml", "--bars", "bars.csv", "--html", "r.html", "--json", "r.json", "--from",
        "2025-03-18", "--to", "2025-03-20",
    )  # fmt: skip
    report = json.loads((folder / "r.json").read_text())
    trades = report["trades"]
    assert (report["from"], report["to"]) == ("2025-03-17T22:00:00Z", "2025-03-20T21:00:00Z")
    assert len(trades) > 10
    assert report["figures"]["trades"] == len(trades)
    assert sum(each["net"] for each in trades) == pytest.approx(report["figures"]["net"])
    assert report["account"]["balance"] == pytest.approx(50_000 + report["figures"]["net"])
    assert min(each["known_at"] for each in report["decisions"]) > report["from"]
    assert re.search(rf"trades +{len(trades)}\b", out)
    assert f"{report['figures']['net']:,.2f}" in out
    assert "warning: fills are estimated from bars" in err
    for name in ("by_hour", "by_weekday", "by_rule", "by_timeframe", "by_exit", "by_direction"):
        assert sum(group["trades"] for group in report[name]) == len(trades)
        assert sum(group["net"] for group in report[name]) == pytest.approx(report["figures"]["net"])
    page = (folder / "r.html").read_text()
    assert not re.search(r'(?:src|href)="?https?:', re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL))
    assert page.count("<tr><td class=n>") == len(trades)
    assert "firm_rules: topstep_combine_50k" in page


@pytest.mark.parametrize("plain", [True, False])
def test_quick_figures_are_those_of_every_order(folder: Path, *, plain: bool) -> None:
    given = ["--settings", "s.yaml", "--bars", "bars.csv", "--from", "2025-03-18"]
    given += ["--set", "risk.firm_rules=null", "--set", "risk.daily_loss=null"] if plain else []
    whole, quick = told(folder, *given), told(folder, *given, "--quick")
    assert whole["figures"]["trades"] > 10
    assert {name: quick[name] for name in ("from", "to", "figures")} == {
        name: whole[name] for name in ("from", "to", "figures")
    }
    out, _ = run(folder, *given, "--quick")
    assert re.search(rf"trades +{whole['figures']['trades']:,}\b", out)
    _, err = run(folder, *given, "--quick", "--html", "r.html", code=2)
    assert "--html" in err


def test_it_is_the_same_again_and_setting_by_setting(folder: Path) -> None:
    first = told(folder, "--settings", "s.yaml", "--bars", "bars.csv")
    assert told(folder, "--settings", "s.yaml", "--bars", "bars.csv") == first
    wider = told(
        folder, "--settings", "s.yaml", "--bars", "bars.csv", "--set", "execution.stop_ticks=40", "--set",
        "risk.firm_rules=null",
    )  # fmt: skip
    assert wider["decisions"] == first["decisions"]
    assert wider["settings"]["execution"]["stop_ticks"] == {"*": 40}
    assert min(each["ticks"] for each in wider["trades"]) < min(each["ticks"] for each in first["trades"]) <= -20


def test_trades_of_bars_lead_to_the_same_decisions_but_the_fills_of_their_own_prices(folder: Path) -> None:
    of_bars = told(folder, "--settings", "s.yaml", "--bars", "bars.csv")
    of_trades = told(folder, "--settings", "s.yaml", "--trades", "trades.csv")
    # The last bars cannot be known to have ended by the trades alone.
    known = {each["id"] for each in of_trades["decisions"]}
    assert [each["id"] for each in of_bars["decisions"] if each["id"] not in known] in (
        [], [of_bars["decisions"][-1]["id"]],
    )  # fmt: skip
    assert {each["filled_by"] for each in of_trades["contracts"].values()} == {"trades"}
    prints = {float(line.split(",")[1]) for line in (folder / "trades.csv").read_text().splitlines()[1:]}
    grid = {price + step for price in prints for step in (-0.5, -0.25, 0, 0.25, 0.5)}
    assert {each["price"] for each in of_trades["fills"]} <= grid
    # Entries are decided when a bar ends, and reach the venue a quarter of a second later.
    entries = {each["id"] for each in of_trades["orders"] if each["role"] == "entry"}
    filled = [each["at"] for each in of_trades["fills"] if each["order_id"] in entries]
    assert sum(at.endswith(":00.25Z") for at in filled) > 0.8 * len(filled) > 20


def test_stored_bars_give_what_a_file_gives(folder: Path, embedded_url: str, url: str) -> None:
    del embedded_url

    async def store() -> None:
        calendar = calendar_for_contract(MES)
        async with await DBHandler.open(url) as database:
            await database.store_bars(list(read_bars(folder / "bars.csv", lambda _: calendar)))

    asyncio.run(store())
    span = "--from", "2025-03-18", "--to", "2025-03-20", "--set", "timeframes=[5m]", "--set", (
        "coordinator.entries=[{rule: pass_through}]"
    ), "--set", "coordinator.exits=[]"  # fmt: skip
    of_file = told(folder, "--settings", "s.yaml", "--bars", "bars.csv", *span)
    stored = told(folder, "--settings", "s.yaml", "--contracts", MES, *span, DATABASE_URL=url)
    names = ("decisions", "orders", "fills", "trades", "figures", "days")
    assert [stored[name] for name in names] == [of_file[name] for name in names]
    assert len(stored["trades"]) > 10


def test_an_analyzer_that_looks_ahead_is_named_above_everything(folder: Path) -> None:
    prophet = ["--set", "analyzers.run=[{name: ./prophet.py}]", "--set", "timeframes=[5m]",
               "--set", "coordinator.entries=[{rule: pass_through}]", "--set", "coordinator.exits=[]"]  # fmt: skip
    _, err = run(folder, "--settings", "s.yaml", "--bars", "bars.csv", *prophet, "--html", "p.html")
    assert "warning: these figures are worth nothing" in err.splitlines()[0]
    assert "prophet on 5m: " in err
    assert "these figures are worth nothing" in (folder / "p.html").read_text()
    _, err = run(folder, "--settings", "s.yaml", "--bars", "bars.csv")
    assert "worth nothing" not in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--bars", "bars.csv", "--trades", "trades.csv"], "--bars and --trades are both named"),
        (["--bars", "none.csv"], "none.csv: No such file"),
        (["--bars", "bars.csv", "--from", "2026-03-01"], "there is no history after 2026-03-01T23:00:00Z"),
        (["--bars", "bars.csv", "--from", "2025-03-20", "--to", "2025-03-18"], "is not before --to"),
        (["--bars", "bars.csv", "--from", "soon"], "--from: "),
        (["--bars", "bars.csv", "--contracts", "CON.F.US.MNQ.M25"], "the files have none of them (CON.F.US.MES.M25)"),
        (["--bars", "bars.csv", "--set", "execution.stop_tick=20"], "--set execution.stop_tick is no setting"),
        (["--bars", "bars.csv", "--set", "execution.stop_ticks"], "write NAME=VALUE"),
        (["--bars", "bars.csv", "--set", "execution.contracts=none"], "execution.contracts 'none'"),
        (["--bars", "bars.csv", "--set", "timeframes=[1m]"], "timeframes: there are bars of none of them, only of 5m"),
        (["--bars", "bars.csv", "--html", "report.txt"], "does not end in .html"),
        (["--bars", "bars.csv", "--html", "no/where.html"], "name a place that can be written"),
        (["--bars", "bars.csv", "--tick-size", "x"], "--tick-size 'x' is not a positive number"),
        (["--from", "2025-03-18"], "contracts is empty"),
        (["--contracts", MES], "--from and --to are needed"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(folder: Path, arguments: list[str], said: str) -> None:
    out, err = run(folder, *arguments, code=2)
    assert said in err
    assert all(line.startswith(("error: ", "warning: ")) for line in err.splitlines()), err
    assert "Traceback" not in err + out


def test_a_contract_of_no_known_product_needs_its_tick(folder: Path) -> None:
    name = "CON.F.US.XYZ.Z25"
    text = (folder / "bars.csv").read_text().replace(MES, name)
    (folder / "own.csv").write_text(text)
    (folder / "own.yaml").write_text(f"{SETTINGS}\ncontracts: [{{id: {name}, calendar: cme_equity}}]\n")
    _, err = run(folder, "--settings", "own.yaml", "--bars", "own.csv", code=2)
    assert "is of no known product; name its tick with --tick-size and --tick-value" in err
    own = told(folder, "--settings", "own.yaml", "--bars", "own.csv", "--tick-size", "0.25", "--tick-value", "1.25")
    known = told(folder, "--settings", "s.yaml", "--bars", "bars.csv")
    assert [each["net"] for each in own["trades"]] == [each["net"] for each in known["trades"]]


def evaluate(folder: Path, *arguments: str, code: int = 0) -> tuple[str, str]:
    with program(folder, "evaluate", *arguments) as done:
        out, err = done.communicate(timeout=100)
    assert done.returncode == code, err
    return out, err


def test_a_backtests_trades_are_tried_on_a_firms_account(folder: Path) -> None:
    run(folder, "--settings", "s.yaml", "--bars", "bars.csv", "--set", "risk.firm_rules=null", "--json", "e.json")
    asked: tuple[str, ...] = (
        "e.json",
        "--pack",
        "topstep_combine_50k",
        "--on",
        "2026-11-24",
        "--trials",
        "60",
        "--sizes",
        "12",
    )
    asked = *asked, "--longest", "4", "--block", "1"
    found = json.loads(evaluate(folder, *asked, "--json")[0])
    assert (found["pack"], found["trials"], len(found["sizes"])) == ("topstep_combine_50k", 60, 12)
    for each in found["sizes"]:
        ways = ("passed", "paid", "maximum_loss", "no_room", "time")
        assert sum(each[way] for way in ways) == pytest.approx(1)
    assert json.loads(evaluate(folder, *asked, "--json")[0]) == found
    assert json.loads(evaluate(folder, *asked, "--json", "--seed", "2")[0]) != found
    out, err = evaluate(folder, *asked)
    assert "Trading Combine 50K, 60 tries for each size" in out
    assert [line.split()[0] for line in out.splitlines() if " x " in line] == [str(times) for times in range(1, 13)]
    assert "sessions have trades; what was drawn from so few says little" in err
    run(folder, "--settings", "s.yaml", "--bars", "bars.csv", "--json", "limited.json")
    _, err = evaluate(folder, "limited.json", *asked[1:])
    assert "the backtest was traded under topstep_combine_50k" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.json", "--pack", "topstep_combine_50k"], "none.json: No such file"),
        (["bars.csv", "--pack", "topstep_combine_50k"], "bars.csv: is no JSON"),
        (["list.json", "--pack", "topstep_combine_50k"], "list.json: is no report of a backtest"),
        (["part.json", "--pack", "topstep_combine_50k"], "the report lacks 'days'"),
        (["part.json", "--pack", "topstep"], "pack of rules 'topstep' is unknown"),
        (["part.json", "--pack", "topstep_combine_50k", "--on", "soon"], "--on 'soon' is no date"),
    ],
)
def test_what_cannot_be_evaluated_is_said_in_a_line(folder: Path, arguments: list[str], said: str) -> None:
    (folder / "list.json").write_text("[]")
    (folder / "part.json").write_text('{"trades": []}')
    out, err = evaluate(folder, *arguments, code=2)
    assert out == ""
    assert said in err
    assert len(err.splitlines()) == 1
