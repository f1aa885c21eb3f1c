"""A backtest as one page that needs no network: figures, equity and drawdown, trades on candles, and where they came.

plotly draws; it is large and loaded only here, when something is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib import resources
from itertools import pairwise
from string import Template
from typing import Any, Final

import numpy as np

from escapement.backtest.figures import Curve, curve
from escapement.backtest.run import History, Outcome
from escapement.model import Bar, Timeframe
from escapement.moments import datetime_from_ns, ns_from_iso

_UP, _DOWN, _LINE = "#2a9d8f", "#d1495b", "#1d4ed8"
_MOST_CANDLES: Final = 5_000
_MOST_POINTS: Final = 4_000
_MOST_ROWS: Final = 2_000
_GROUPS: Final = {
    "by_hour": "Hour of entry (exchange)", "by_weekday": "Weekday of entry (exchange)", "by_rule": "Rule",
    "by_timeframe": "Timeframe", "by_exit": "Closed by", "by_direction": "Direction",
}  # fmt: skip
_CARDS: Final = (
    ("Net", "net", "money"), ("Trades", "trades", "count"), ("Win rate", "win_rate", "share"),
    ("Profit factor", "profit_factor", "ratio"), ("Expectancy", "expectancy", "money"),
    ("Largest drawdown", "max_drawdown", "money"), ("of its peak", "max_drawdown_share", "share"),
    ("Sharpe", "sharpe", "ratio"), ("Sortino", "sortino", "ratio"), ("Calmar", "calmar", "ratio"),
    ("CAGR", "cagr", "share"), ("Fees", "fees", "cost"), ("Average winner", "average_winner", "money"),
    ("Average loser", "average_loser", "money"), ("Largest winner", "largest_winner", "money"),
    ("Largest loser", "largest_loser", "money"), ("Time in the market", "exposure", "share"),
    ("Sessions", "days", "count"),
)  # fmt: skip


def page(outcome: Outcome, told: Mapping[str, Any], settings: str) -> str:
    """Return the page.

    Args:
        outcome: of the backtest.
        told: its report.
        settings: what it ran with, as text without secrets.
    """
    from plotly.offline import get_plotlyjs  # noqa: PLC0415 - large

    frame = Template(resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8"))
    contracts = ", ".join(told["contracts"])
    return frame.substitute(
        title=escape(f"Backtest of {contracts}, {told['from'][:10]} to {told['to'][:10]}"),
        contracts=escape(contracts), begin=escape(_minute(told["from"])), end=escape(_minute(told["to"])),
        filled=escape(", ".join(sorted({each["filled_by"] for each in told["contracts"].values()}))),
        start=_money(told["account"]["start_balance"]), balance=_money(told["account"]["equity"]),
        warnings="".join(f"<p class=warning>{escape(each)}</p>" for each in told["warnings"]),
        cards="".join(_card(*each, told["figures"]) for each in _CARDS),
        orders=_orders(told), equity=_equity(curve(outcome), told), candles="".join(_candles(outcome, told)),
        groups="".join(_group(name, title, told) for name, title in _GROUPS.items()),
        excursions=_excursions(told), trades=_trades(told), refused=_counts(told), settings=escape(settings),
        plotly=get_plotlyjs(),
    )  # fmt: skip


def _orders(told: Mapping[str, Any]) -> str:
    orders = told["other_orders"]
    if orders is None:
        return ""
    return (
        f"<p class=soft>The same trades in {orders['orders']:,} other orders: largest drawdown "
        f"{_money(orders['median'])} in the middle, {_money(orders['deep'])} or deeper in 5 of 100.</p>"
    )


def _card(title: str, name: str, kind: str, totals: Mapping[str, Any]) -> str:
    value = totals[name]
    colour = "" if kind != "money" or not value else (" up" if value > 0 else " down")
    return f"<div class=card><span>{escape(title)}</span><b class='{colour}'>{_shown(value, kind)}</b></div>"


def _shown(value: float | None, kind: str) -> str:
    if value is None:
        return "-"
    if kind in {"money", "cost"}:
        return _money(value)
    return f"{value:,}" if kind == "count" else f"{value:.1%}" if kind == "share" else f"{value:.2f}"


def _money(value: float) -> str:
    return f"{value:,.2f}".replace("-", "\u2212")


def _minute(text: str) -> str:
    return f"{text[:10]} {text[11:16]}"


def _plot(figure: Any, height: int) -> str:
    figure.update_layout(
        template="plotly_white", height=height, margin={"l": 56, "r": 12, "t": 28, "b": 36}, dragmode="pan",
        legend={"orientation": "h", "y": 1.08, "x": 0}, font={"family": "system-ui, sans-serif"},
    )  # fmt: skip
    drawn: str = figure.to_html(
        include_plotlyjs=False, full_html=False, config={"responsive": True, "scrollZoom": True, "displaylogo": False}
    )
    return drawn


def _equity(course: Curve, told: Mapping[str, Any]) -> str:
    from plotly import graph_objects  # noqa: PLC0415 - large
    from plotly.subplots import make_subplots  # noqa: PLC0415 - large

    places = _fewer(course)
    times = [datetime_from_ns(int(at_ns)) for at_ns in course.at_ns[places]]
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.7, 0.3], vertical_spacing=0.04)
    figure.add_trace(
        graph_objects.Scatter(x=times, y=course.equity[places], name="equity", line={"color": _LINE, "width": 1.4}),
        row=1, col=1,
    )  # fmt: skip
    figure.add_trace(
        graph_objects.Scatter(
            x=times, y=course.drawdown[places], name="drawdown", fill="tozeroy", line={"color": _DOWN, "width": 1}
        ),
        row=2, col=1,
    )  # fmt: skip
    figure.add_hline(y=told["account"]["start_balance"], line={"dash": "dot", "width": 1}, row=1, col=1)
    figure.update_yaxes(title_text="equity", row=1, col=1)
    figure.update_yaxes(title_text="drawdown", row=2, col=1)
    return _plot(figure, 460)


def _fewer(course: Curve) -> Any:
    """Return places of so many points as a screen can show, with the highest and lowest of each stretch among them."""
    size = course.equity.size
    if size <= _MOST_POINTS:
        return np.arange(size)
    edges = np.linspace(0, size, _MOST_POINTS // 2 + 1).astype(np.int64)
    kept = {0, size - 1}
    for begin, end in pairwise(edges):
        stretch = course.equity[begin:end]
        kept |= {int(begin + stretch.argmin()), int(begin + stretch.argmax())}
    return np.array(sorted(kept))


def _candles(outcome: Outcome, told: Mapping[str, Any]) -> Iterator[str]:
    for contract_id, history in outcome.histories.items():
        for timeframe in sorted(history.bars, reverse=True):
            bars = [each for each in history.bars[timeframe] if outcome.from_ns < each.end_ns <= outcome.to_ns]
            if bars:
                is_open = "" if timeframe != _first_shown(history, outcome) else " open"
                some = bars[-_MOST_CANDLES:]
                note = "" if some is bars or len(some) == len(bars) else f", the last {len(some):,} bars"
                title = escape(f"{contract_id} on {timeframe}{note}")
                drawn = _candle_plot(some, contract_id, timeframe, told)
                yield f"<details{is_open}><summary>{title}</summary>{drawn}</details>"


def _first_shown(history: History, outcome: Outcome) -> Timeframe:
    """Return the smallest timeframe whose bars all fit on one picture."""
    few = [
        timeframe for timeframe, bars in sorted(history.bars.items())
        if sum(outcome.from_ns < each.end_ns <= outcome.to_ns for each in bars) <= _MOST_CANDLES // 4
    ]  # fmt: skip
    return few[0] if few else max(history.bars)


def _candle_plot(bars: Sequence[Bar], contract_id: str, timeframe: Timeframe, told: Mapping[str, Any]) -> str:
    from plotly import graph_objects  # noqa: PLC0415 - large

    times = [datetime_from_ns(each.start_ns) for each in bars]
    figure = graph_objects.Figure()
    figure.add_candlestick(
        x=times, open=[each.open for each in bars], high=[each.high for each in bars], low=[each.low for each in bars],
        close=[each.close for each in bars], name=str(timeframe), increasing_line_color=_UP,
        decreasing_line_color=_DOWN, increasing_line_width=1, decreasing_line_width=1,
    )  # fmt: skip
    first, last = bars[0].start_ns, bars[-1].end_ns
    own = [
        each for each in told["trades"]
        if each["contract"] == contract_id and first <= ns_from_iso(each["opened_at"]) <= last
    ]  # fmt: skip
    for is_winner, colour, name in ((True, _UP, "winners"), (False, _DOWN, "losers")):
        some = [each for each in own if (each["net"] > 0) == is_winner]
        figure.add_scatter(
            x=[x for each in some for x in (each["opened_at"], each["closed_at"], None)],
            y=[y for each in some for y in (each["entry"], each["exit"], None)],
            mode="lines", line={"color": colour, "width": 1.5, "dash": "dot"}, name=name, hoverinfo="skip",
        )  # fmt: skip
    for direction, symbol in (("long", "triangle-up"), ("short", "triangle-down")):
        some = [each for each in own if each["direction"] == direction]
        figure.add_scatter(
            x=[each["opened_at"] for each in some], y=[each["entry"] for each in some], mode="markers", name=direction,
            marker={"symbol": symbol, "size": 7, "color": "#111827"},
            text=[f"{each['number']}: {each['rule']}, {each['by']}, {_money(each['net'])}" for each in some],
            hovertemplate="%{x}<br>%{y}<br>%{text}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(rangeslider_visible=False, rangebreaks=[{"bounds": ["sat", "sun"]}])
    figure.update_yaxes(title_text="points")
    return _plot(figure, 480)


def _group(name: str, title: str, told: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{escape(each['name'])}<td class=n>{each['trades']:,}<td class=n>"
        f"{_shown(each['winners'] / each['trades'], 'share')}<td class='n{_colour(each['net'])}'>{_money(each['net'])}"
        for each in told[name]
    )
    return (
        f"<div class=group><h3>{escape(title)}</h3><div class=wide><table><tr><th><th class=n>trades<th class=n>won"
        f"<th class=n>net{rows}</table></div></div>"
    )


def _colour(value: float) -> str:
    return " up" if value > 0 else " down" if value < 0 else ""


def _excursions(told: Mapping[str, Any]) -> str:
    from plotly import graph_objects  # noqa: PLC0415 - large

    figure = graph_objects.Figure()
    for is_winner, colour, name in ((True, _UP, "winners"), (False, _DOWN, "losers")):
        some = [each for each in told["trades"] if (each["net"] > 0) == is_winner]
        figure.add_scatter(
            x=[each["worst_ticks"] for each in some], y=[each["best_ticks"] for each in some], mode="markers",
            marker={"color": colour, "size": 7, "opacity": 0.55}, name=name,
            text=[f"trade {each['number']}: {_money(each['net'])}" for each in some],
            hovertemplate="%{x} ticks against, %{y} for it<br>%{text}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title_text="most against it, ticks (MAE)")
    figure.update_yaxes(title_text="most for it, ticks (MFE)")
    return _plot(figure, 380)


def _trades(told: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td class=n>{each['number']}<td>{escape(each['contract'])}<td>{each['direction']}<td class=n>"
        f"{each['size']}<td>{_second(each['opened_at'])}<td class=n>{each['entry']:.15g}<td>"
        f"{_second(each['closed_at'])}<td class=n>{each['exit']:.15g}<td>{escape(each['by'])}<td class=n>"
        f"{each['ticks']}<td class='n{_colour(each['net'])}'>{_money(each['net'])}<td class=n>"
        f"{each['worst_ticks']}<td class=n>{each['best_ticks']}<td>{escape(each['rule'])}<td>"
        f"{escape(each['timeframe'])}"
        for each in told["trades"][-_MOST_ROWS:]
    )
    count = len(told["trades"])
    note = f"<p>The last {_MOST_ROWS:,} of {count:,}; the JSON report has all.</p>" if count > _MOST_ROWS else ""
    head = "".join(
        f"<th>{each}"
        for each in ("", "contract", "side", "size", "opened (UTC)", "at", "closed (UTC)", "at", "by", "ticks", "net",
                     "MAE", "MFE", "rule", "timeframe")
    )  # fmt: skip
    return f"{note}<div class=wide><table><tr>{head}{rows}</table></div>"


def _second(text: str) -> str:
    return f"{text[:10]} {text[11:19]}"


def _counts(told: Mapping[str, Any]) -> str:
    counts = told["counts"]
    rows = [(f"refused: {code}", count) for code, count in counts["refusals"].items()]
    rows += [(f"the venue: {words}", count) for words, count in counts["rejections"].items()]
    head = [(name, counts[name]) for name in ("signals", "decisions", "orders", "fills")]
    body = "".join(f"<tr><td>{escape(name)}<td class=n>{count:,}" for name, count in [*head, *rows])
    alarms = "".join(f"<li>{_second(each['at'])} {escape(each['words'])}" for each in told["alarms"])
    return f"<div class=wide><table>{body}</table></div>{'<ul>' + alarms + '</ul>' if alarms else ''}"
