"""``escapement evaluate``: a backtest's trades on accounts under a firm's rules, in many other orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from random import Random
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.progress import track

from escapement import firms
from escapement.backtest.evaluation import Chances, End, EvaluationParams, Played, chances, most_times
from escapement.cli import app, settings_of
from escapement.cli.tables import print_table
from escapement.core.risk import Pack
from escapement.errors import InvalidInput

_MOST_SIZES = 10


@app.command()
def evaluate(
    context: typer.Context,
    report: Annotated[Path, typer.Argument(metavar="REPORT.json", help="What escapement backtest --json wrote.")],
    pack: Annotated[str, typer.Option(metavar="NAME", help="The firm's rules, as escapement risk packs lists them.")],
    on: Annotated[str | None, typer.Option(metavar="DATE", help="The day whose rules are meant; else today.")] = None,
    trials: Annotated[int, typer.Option(min=1, help="How often an account is tried, for each size.")] = 2_000,
    block: Annotated[int, typer.Option(min=1, help="Sessions that are drawn together.")] = 5,
    longest: Annotated[int, typer.Option(min=1, help="Sessions a try may take.")] = 250,
    sizes: Annotated[int | None, typer.Option(min=1, help="Up to how many times the backtest's size.")] = None,
    seed: Annotated[int, typer.Option(help="Of chance; the same gives the same.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say how likely a firm's account passes or is paid with a backtest's trades, why it fails, and with which size."""
    settings = settings_of(context, logging={"level": "warning"})
    rules, told = _pack(pack, on), _read(report)
    sessions = played(told, rules)
    most = sizes or min(_MOST_SIZES, most_times(sessions, rules))
    params, console = EvaluationParams(trials, block, longest), Console(stderr=True)
    found = [
        chances(sessions, rules, settings.risk.limits(), params, times, Random(seed))  # noqa: S311 - repeatable
        for times in track(
            range(1, most + 1), "trying", console=console, transient=True, disable=not console.is_terminal
        )
    ]
    best = max(found, key=lambda each: (each.success, -each.times))
    warnings = _warnings(told, sessions)
    if json:
        typer.echo(orjson.dumps({
            "pack": rules.name, "trials": trials, "sessions": len(sessions),
            "best": best.times if best.success else None,
            "sizes": [
                {"times": each.times, "days": each.days, **{str(end): each.share(end) for end in End}} for each in found
            ],
            "warnings": warnings,
        }, option=orjson.OPT_INDENT_2).decode())  # fmt: skip
        return
    typer.echo(
        f"{rules.title}, {trials:,} tries for each size, {len(sessions):,} sessions drawn {block} at a time, at most "
        f"{longest} a try\n"
    )
    print_table(
        ["size", "succeeds", "sessions", "account lost", "no room left", "out of time"],
        [
            (
                f"{each.times} x", f"{each.success:.1%}", "-" if each.days is None else f"{each.days:.0f}",
                f"{each.share(End.MAXIMUM_LOSS):.1%}", f"{each.share(End.NO_ROOM):.1%}", f"{each.share(End.TIME):.1%}",
            )
            for each in found
        ],
    )  # fmt: skip
    typer.echo(f"\n{_conclusion(best)}")
    for each in warnings:
        typer.echo(f"warning: {each}", err=True)


def played(told: Mapping[str, Any], pack: Pack) -> list[list[Played]]:
    """Return the trades of a report, session by session, in money of one contract.

    Raises:
        InvalidInput: the report lacks something.
    """
    try:
        by_day: dict[str, list[Played]] = {day["trade_date"]: [] for day in told["days"]}
        deal, slippage = told["settings"]["execution"], told["settings"]["risk"]["slippage_ticks"]
        for trade in told["trades"]:
            value = float(told["contracts"][trade["contract"]]["tick_value"])
            parts = trade["contract"].split(".")
            product = parts[3] if len(parts) == 5 else trade["contract"]
            stop = deal["stop_ticks"].get(product, deal["stop_ticks"].get("*", 0))
            size, fees = trade["size"], trade["fees"] / trade["size"]
            by_day.setdefault(trade["trade_date"], []).append(
                Played(
                    trade["net"] / size, -trade["worst_ticks"] * value - fees, trade["best_ticks"] * value - fees,
                    (stop + slippage) * value + 2 * deal["fee_per_side"], size, float(pack.lots(product, 1)),
                )
            )  # fmt: skip
    except (KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
        raise InvalidInput(f"the report lacks {error}; write it anew with escapement backtest --json FILE") from None
    return [by_day[day] for day in sorted(by_day)]


def _conclusion(best: Chances) -> str:
    if not best.success:
        return "With no size did any try succeed."
    return f"Most tries succeed with {best.times} times the backtest's size: {best.success:.1%}."


def _warnings(told: Mapping[str, Any], sessions: Sequence[Sequence[Played]]) -> list[str]:
    found = []
    firm = told["settings"]["risk"].get("firm_rules")
    if firm is not None:
        found.append(
            f"the backtest was traded under {firm}, so what its floors refused is missing here; repeat it with "
            "--set risk.firm_rules=null"
        )
    traded = sum(map(bool, sessions))
    if traded < 30:
        found.append(f"only {traded} sessions have trades; what was drawn from so few says little")
    return found


def _pack(name: str, on: str | None) -> Pack:
    try:
        day = datetime.now(UTC).date() if on is None else date.fromisoformat(on)
    except ValueError:
        raise InvalidInput(f"--on {on!r} is no date; write for example 2026-11-24") from None
    return firms.pack(name, day)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        told = orjson.loads(path.read_bytes())
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}; name what escapement backtest --json wrote") from error
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"{path}: is no JSON ({error}); name what escapement backtest --json wrote") from error
    if not isinstance(told, dict) or "trades" not in told:
        raise InvalidInput(f"{path}: is no report of a backtest; name what escapement backtest --json wrote")
    return told
