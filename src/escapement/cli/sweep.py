"""``escapement sweep``: the best settings over history, and how much of them is luck."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from escapement import wiring_sweep
from escapement.backtest.run import History
from escapement.cli import app
from escapement.cli.past import (
    Bars,
    Changes,
    Contracts,
    SettingsFile,
    TickSize,
    TickValue,
    Trades,
    past,
    settings_of_past,
    ticks_of,
    write,
)
from escapement.cli.spans import From, Span, To
from escapement.cli.tables import print_table
from escapement.errors import InvalidInput
from escapement.moments import iso_from_ns
from escapement.search.ledger import Ledger
from escapement.search.page import page
from escapement.search.space import Dimension, Optuna, Proposer, chosen_by_chance, dimension, grid, key, size
from escapement.search.sweep import CHOSEN, Choice, Search, Trial, rows, search, warnings
from escapement.search.windows import Window, windows
from escapement.search.workers import Workers, dask, local, ray
from escapement.settings import setting_paths
from escapement.settings.fields import from_yaml

_MOST_POINTS = 100_000
_SEARCHED = "analyzers", "coordinator", "execution", "risk", "backtest"
_SHOWN = 10


class Method(StrEnum):
    """How points are chosen."""

    GRID = "grid"
    RANDOM = "random"
    OPTUNA = "optuna"


class Objective(StrEnum):
    """The figure by which points are compared; more is better."""

    NET = "net"
    SHARPE = "sharpe"
    SORTINO = "sortino"
    CALMAR = "calmar"
    PROFIT_FACTOR = "profit_factor"
    EXPECTANCY = "expectancy"


@app.command()
def sweep(
    context: typer.Context,
    over: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=VALUES",
            help="A setting and its values, such as execution.stop_ticks=10,20,40 or =10..50..5; repeatable. A number "
            "in the name is a place in a list: analyzers.run.0.params.fast.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where results go; there, the same sweep goes on.")],
    bars: Bars = None,
    trades: Trades = None,
    contracts: Contracts = None,
    begin: From = None,
    end: To = None,
    settings_file: SettingsFile = None,
    changes: Changes = None,
    tick_size: TickSize = None,
    tick_value: TickValue = None,
    method: Annotated[Method, typer.Option(help="How points are chosen.")] = Method.GRID,
    trials: Annotated[int, typer.Option(min=1, help="Points a window, unless all of the grid are tried.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Of chance; the same gives the same.")] = 1,
    objective: Annotated[Objective, typer.Option(help="What points are compared by.")] = Objective.SHARPE,
    rolling: Annotated[int, typer.Option("--windows", help="Walk forward over so many windows.")] = 1,
    out_of_sample: Annotated[
        float, typer.Option(metavar="SHARE", help="Share of each window that has no say in the choice.")
    ] = 0.3,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes here; as many as there are cores.")] = None,
    dask_address: Annotated[str | None, typer.Option("--dask", metavar="ADDRESS", help="Scheduler of Dask.")] = None,
    ray_address: Annotated[
        str | None, typer.Option("--ray", metavar="ADDRESS", help="Cluster of Ray; local starts one here.")
    ] = None,
) -> None:
    """Try settings on history, choose the best, and try that on days that had no say in the choice."""
    dimensions = _dimensions(over)
    if method is Method.GRID and size(dimensions) > _MOST_POINTS:
        raise InvalidInput(f"--over: the grid has {size(dimensions):,} points; name fewer values, or --method random")
    helpers, count = _workers(workers, dask_address, ray_address)
    chosen = settings_of_past(context, settings_file, contracts, changes)
    console = Console(stderr=True)
    settings, histories, from_ns, to_ns = past(
        chosen, bars, trades, ticks_of(tick_size, tick_value), Span.parse(begin, end)
    )
    plain = wiring_sweep.plain(settings)
    wiring_sweep.changed(plain, {each.name: each.values[0] for each in dimensions})
    sessions = [each for each in histories[0].calendar.sessions_between(from_ns, to_ns) if each.open_ns < to_ns]
    stretches = [_from(each, from_ns) for each in windows(sessions, to_ns, rolling, out_of_sample)]
    work = wiring_sweep.PointWork(plain, histories)
    total = size(dimensions) if method is Method.GRID else min(trials, size(dimensions))
    plan = Search(stretches, lambda: _proposer(method, dimensions, trials, seed), objective.value, work.group_of, count)
    about = {
        "settings": plain, "over": [asdict(each) for each in dimensions], "method": method.value,
        "trials": total, "seed": seed, "windows": [asdict(each) for each in stretches],
        "objective": objective.value, "history": [_print_of(each) for each in histories],
    }  # fmt: skip
    with Ledger(out / "results.jsonl", about) as ledger, _progress(console, total, rolling) as seen:
        if len(ledger):
            typer.echo(f"{len(ledger):,} results are there already; going on", err=True)
        found, choices = search(plan, work, helpers, ledger, seen)
    warned = warnings(found, choices)
    write("--out", out / "table.csv", _csv(found))
    write("--out", out / "summary.json", _summary(choices, warned, objective))
    described = (
        f"{method.value} of {total:,} points, compared by {objective.value}, {rolling} window(s), "
        f"{out_of_sample:.0%} of each out of sample; {iso_from_ns(from_ns)[:10]} to {iso_from_ns(to_ns)[:10]}"
    )
    title = f"Sweep of {', '.join(each.contract.contract_id for each in histories)}"
    write("--out", out / "report.html", page(title, described, dimensions, objective.value, found, choices, warned))
    _print(found, choices, dimensions, objective)
    for each in warned:
        typer.echo(f"warning: {each}", err=True)
    typer.echo(f"table, summary and heat map: {out}")


def _dimensions(over: Sequence[str]) -> list[Dimension]:
    found = [dimension(each, from_yaml) for each in over]
    known = {*setting_paths()}
    for each in found:
        path = each.name
        if not any(path == name or path.startswith(f"{name}.") for name in known):
            raise InvalidInput(f"--over {path} is no setting; escapement config show lists them")
        if path.partition(".")[0] not in _SEARCHED:
            raise InvalidInput(f"--over {path} changes nothing in a backtest; name a setting of {', '.join(_SEARCHED)}")
    names = [each.name for each in found]
    twice = sorted({each for each in names if names.count(each) > 1})
    if twice:
        raise InvalidInput(f"--over {twice[0]} is named twice; name all its values together")
    return found


def _workers(count: int | None, dask_address: str | None, ray_address: str | None) -> tuple[Workers, int]:
    named = [name for name, each in (("--workers", count), ("--dask", dask_address), ("--ray", ray_address)) if each]
    if len(named) > 1:
        raise InvalidInput(f"{' and '.join(named)} are both named; name one kind of workers")
    cores = os.cpu_count() or 1
    if dask_address is not None:
        return dask(dask_address), cores
    if ray_address is not None:
        return ray(ray_address), cores
    return local(count or cores), count or cores


def _proposer(method: Method, dimensions: Sequence[Dimension], trials: int, seed: int) -> Proposer:
    match method:
        case Method.GRID:
            return grid(dimensions)
        case Method.RANDOM:
            return chosen_by_chance(dimensions, trials, seed)
        case Method.OPTUNA:
            return Optuna(dimensions, trials, seed)


def _from(window: Window, from_ns: int) -> Window:
    """Let a window begin no earlier than the stretch that was named."""
    return Window(window.number, max(window.from_ns, from_ns), window.split_ns, window.to_ns)


def _print_of(history: History) -> Mapping[str, Any]:
    """Return what tells this history from another."""
    digest = hashlib.sha256()
    for timeframe, some in sorted(history.bars.items()):
        digest.update(f"{timeframe} {len(some)}".encode())
        for bar in some:
            digest.update(b"%d %r %r %r %r" % (bar.end_ns, bar.open, bar.high, bar.low, bar.close))
    for trade in history.trades or ():
        digest.update(b"%d %r %d" % (trade.at_ns, trade.price, trade.volume))
    return {"contract": history.contract.contract_id, "sha256": digest.hexdigest()}


@contextmanager
def _progress(console: Console, total: int, count: int) -> Iterator[Callable[[int, int], None]]:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        tasks = [progress.add_task(f"window {number + 1}", total=total) for number in range(count)]
        yield lambda window, done: progress.update(tasks[window], completed=done)


def _csv(trials: Sequence[Trial]) -> str:
    table = rows(trials)
    names = list(dict.fromkeys(name for row in table for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue()


def _summary(choices: Sequence[Choice], warned: Sequence[str], objective: Objective) -> str:
    told = {
        "objective": objective.value,
        "windows": [
            {
                "from": iso_from_ns(each.window.from_ns), "split": iso_from_ns(each.window.split_ns),
                "to": iso_from_ns(each.window.to_ns), "trials": each.trials, "point": each.best.point,
                "in_sample": each.best.result, "out_of_sample": None if each.tried is None else each.tried.result,
                "deflated_sharpe": each.more_than_luck,
            }
            for each in choices
        ],
        "out_of_sample_net": sum(each.tried.result.get("net", 0.0) for each in choices if each.tried is not None),
        "warnings": list(warned),
    }  # fmt: skip
    return orjson.dumps(told, option=orjson.OPT_INDENT_2).decode()


def _print(
    trials: Sequence[Trial], choices: Sequence[Choice], dimensions: Sequence[Dimension], objective: Objective
) -> None:
    chosen_on = [each for each in trials if each.part == CHOSEN and each.score is not None]
    best = sorted(chosen_on, key=lambda each: (-(each.score or 0.0), each.window.number, key(each.point)))[:_SHOWN]
    names = [each.name for each in dimensions]
    print_table(
        ["window", *names, f"by {objective.value}", "net", "trades"],
        [
            (each.window.number + 1, *(each.point[name] for name in names), f"{each.score:.4g}",
             f"{each.result['net']:,.2f}", f"{each.result['trades']:,}")
            for each in best
        ],
    )  # fmt: skip
    for each in choices:
        point = ", ".join(f"{name} {value}" for name, value in each.best.point.items())
        luck = "" if each.more_than_luck is None else f"; deflated Sharpe ratio {each.more_than_luck:.0%}"
        tried = "not tried on new days"
        if each.tried is not None:
            result = each.tried.result
            tried = result.get("error") or f"on new days net {result['net']:,.2f} in {result['trades']:,} trades"
        typer.echo(f"\nwindow {each.window.number + 1}: chosen {point}; {tried}{luck}")
