"""Candles with signals, as a picture (PNG) or as a page to zoom in (HTML, one file that needs no network).

matplotlib, the optional extra ``charts``, draws pictures, plotly pages; both are loaded only when they are needed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from escapement.errors import InvalidInput, not_installed
from escapement.model import Bar, Fill, OrderSide, Signal
from escapement.moments import datetime_from_ns

_RISING, _FALLING = "#2a9d8f", "#d1495b"
_COLOURS = ("#1d4ed8", "#b45309", "#7c3aed", "#047857", "#be185d", "#374151")
_MARKER_DISTANCE = 0.02  # from the bar, as a share of the price range shown
_TICKS = 10


@dataclass(frozen=True, slots=True)
class _Mark:
    """One signal on the chart: the bars' places from 0; below the bar when it is about its low."""

    bar: int
    trigger: int
    is_below: bool
    y: float
    signal: Signal


def write_chart(
    path: Path, bars: Sequence[Bar], signals: Sequence[Signal], title: str, fills: Sequence[Fill] = ()
) -> None:
    """Draw bars and those signals whose bar is among them into ``path``; its ending, .png or .html, says how.

    A triangle stands at the bar a signal is about; a line leads from it to the close of the bar that revealed it. Fills
    are drawn in pictures only, at their price.

    Raises:
        ConfigurationError: the extra ``charts`` is not installed.
        InvalidInput: another ending, no bars, or the file cannot be written.
    """
    draws: dict[str, Callable[[Path, Sequence[Bar], dict[str, list[_Mark]], str], None]] = {
        ".png": partial(_write_png, fills=fills), ".html": _write_html,
    }  # fmt: skip
    draw = draws.get(path.suffix.lower())
    if draw is None:
        raise InvalidInput(f"--out {str(path)!r} is neither .png nor .html; name a file with one of these endings")
    if not bars:
        raise InvalidInput("there are no bars to draw; choose others")
    try:
        draw(path, bars, _marks(bars, signals), title)
    except ModuleNotFoundError as error:
        raise not_installed(f"{error.name} draws {path.suffix} files", "charts") from None
    except OSError as error:
        raise InvalidInput(f"--out {str(path)!r}: {error.strerror}; name a place that can be written") from error


def _marks(bars: Sequence[Bar], signals: Sequence[Signal]) -> dict[str, list[_Mark]]:
    place = {bar.start_ns: number for number, bar in enumerate(bars)}
    distance = _MARKER_DISTANCE * (max(bar.high for bar in bars) - min(bar.low for bar in bars))
    marks: dict[str, list[_Mark]] = {}
    for signal in signals:
        here, trigger = place.get(signal.bar_start_ns), place.get(signal.trigger_start_ns)
        if here is None or trigger is None:
            continue
        bar = bars[here]
        is_below = signal.price - bar.low < bar.high - signal.price
        y = bar.low - distance if is_below else bar.high + distance
        marks.setdefault(signal.signal_type, []).append(_Mark(here, trigger, is_below, y, signal))
    return dict(sorted(marks.items()))


def _times(bars: Sequence[Bar]) -> list[str]:
    form = "%Y-%m-%d %H:%M" if bars[0].timeframe.is_intraday else "%Y-%m-%d"
    return [datetime_from_ns(bar.start_ns).strftime(form) for bar in bars]


def _write_png(
    path: Path, bars: Sequence[Bar], marks: dict[str, list[_Mark]], title: str, fills: Sequence[Fill]
) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - an optional extra
    from matplotlib.figure import Figure  # noqa: PLC0415 - an optional extra

    figure = Figure(figsize=(min(40.0, max(12.0, len(bars) * 0.07)), 7), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    places = range(len(bars))
    colours = [_RISING if bar.close >= bar.open else _FALLING for bar in bars]
    axes.vlines(places, [bar.low for bar in bars], [bar.high for bar in bars], colors=colours, linewidth=0.8)
    bottoms = [min(bar.open, bar.close) for bar in bars]
    axes.bar(places, [abs(bar.close - bar.open) for bar in bars], 0.7, bottoms, color=colours)
    axes.hlines(bottoms, [n - 0.35 for n in places], [n + 0.35 for n in places], colors=colours, linewidth=0.8)
    for (signal_type, each), colour in zip(marks.items(), _COLOURS * len(marks), strict=False):
        for mark in each:
            axes.plot(
                [mark.bar, mark.trigger], [mark.y, bars[mark.trigger].close], color=colour, linewidth=0.6, alpha=0.5
            )
        for is_below, shape in ((True, "^"), (False, "v")):
            xy = [(mark.bar, mark.y) for mark in each if mark.is_below == is_below]
            if xy:
                x, y = zip(*xy, strict=True)
                axes.scatter(x, y, marker=shape, s=36, color=colour, label=signal_type, zorder=3)
    starts = [bar.start_ns for bar in bars]
    for side, letter, colour, label in (
        (OrderSide.BUY, "$B$", _RISING, "bought"),
        (OrderSide.SELL, "$S$", _FALLING, "sold"),
    ):
        xy = [(bisect_right(starts, each.at_ns) - 1, each.price) for each in fills if each.side is side]
        if xy:
            x, y = zip(*xy, strict=True)
            axes.scatter(x, y, marker="o", s=120, color="white", edgecolors=colour, label=label, zorder=4)
            axes.scatter(x, y, marker=letter, s=36, color="black", zorder=5)
    times = _times(bars)
    step = max(1, len(bars) // _TICKS)
    axes.set_xticks(list(places)[::step], times[::step], rotation=20, ha="right", fontsize=8)
    axes.set_xlim(-1, len(bars))
    axes.set_title(title)
    axes.set_ylabel("points")
    axes.set_xlabel("UTC")
    axes.grid(visible=True, alpha=0.2)
    if marks or fills:
        axes.legend(loc="best", fontsize=8)
    figure.savefig(path, dpi=110)


def _write_html(path: Path, bars: Sequence[Bar], marks: dict[str, list[_Mark]], title: str) -> None:
    from plotly import graph_objects  # noqa: PLC0415 - large

    times = _times(bars)
    prices = {name: [getattr(bar, name) for bar in bars] for name in ("open", "high", "low", "close")}
    figure = graph_objects.Figure()
    figure.add_candlestick(
        x=times, **prices, name="bars", increasing_line_color=_RISING, decreasing_line_color=_FALLING
    )
    for (signal_type, each), colour in zip(marks.items(), _COLOURS * len(marks), strict=False):
        ways = [(times[mark.bar], times[mark.trigger], mark.y, bars[mark.trigger].close) for mark in each]
        figure.add_scatter(
            x=[x for start, end, _, _ in ways for x in (start, end, None)],
            y=[y for _, _, start, end in ways for y in (start, end, None)],
            mode="lines", line={"color": colour, "width": 1}, opacity=0.4, hoverinfo="skip",
            legendgroup=signal_type, showlegend=False,
        )  # fmt: skip
        figure.add_scatter(
            x=[times[mark.bar] for mark in each],
            y=[mark.y for mark in each],
            mode="markers",
            marker={
                "color": colour, "size": 9,
                "symbol": ["triangle-up" if mark.is_below else "triangle-down" for mark in each],
            },
            text=[f"{mark.signal.rule}<br>{mark.signal.price:.15g}, known with {times[mark.trigger]}" for mark in each],
            hovertemplate=f"{signal_type} %{{x}}<br>%{{text}}<extra></extra>", name=signal_type,
            legendgroup=signal_type,
        )  # fmt: skip
    figure.update_layout(
        title=title, yaxis_title="points", xaxis_title="UTC", template="plotly_white",
        xaxis_rangeslider_visible=False, dragmode="pan",
        xaxis={"type": "category", "nticks": _TICKS, "categoryorder": "array", "categoryarray": times},
    )  # fmt: skip
    figure.write_html(path, include_plotlyjs=True, full_html=True, config={"scrollZoom": True})
