"""A search as one page that needs no network: what was chosen, heat maps, and the points.

plotly draws; it is large and loaded only here, when something is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib import resources
from itertools import combinations
from string import Template
from typing import Any, Final

import numpy as np

from escapement.search.space import Dimension, Value
from escapement.search.sweep import CHOSEN, Choice, Trial

_MOST_ROWS: Final = 500
_MOST_MAPS: Final = 6
_LOSING: Final = ((0.0, "#d1495b"), (0.5, "#f8f4ec"), (1.0, "#2a9d8f"))
_RISING: Final = ((0.0, "#f8f4ec"), (1.0, "#2a9d8f"))
_FIGURES: Final = (("net", "net", "{:,.2f}"), ("trades", "trades", "{:,}"), ("Sharpe", "sharpe", "{:.2f}"),
                   ("profit factor", "profit_factor", "{:.2f}"), ("drawdown", "max_drawdown", "{:,.2f}"))  # fmt: skip


def page(
    title: str,
    about: str,
    dimensions: Sequence[Dimension],
    objective: str,
    trials: Sequence[Trial],
    choices: Sequence[Choice],
    warned: Sequence[str],
) -> str:
    """Return the page.

    Args:
        title: above it.
        about: what was searched, in words.
        dimensions: the settings that were varied.
        objective: the figure that points were compared by.
        trials: all of them.
        choices: what was chosen.
        warned: why it should not be believed.
    """
    from plotly.offline import get_plotlyjs  # noqa: PLC0415 - large

    chosen_on = [each for each in trials if each.part == CHOSEN]
    frame = Template(resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8"))
    return frame.substitute(
        title=escape(title), about=escape(about), plotly=get_plotlyjs(),
        warnings="".join(f"<p class=warning>{escape(each)}</p>" for each in warned),
        choices=_table(_choice_heads(dimensions), [_choice_row(each, dimensions) for each in choices]),
        maps="".join(_maps(dimensions, objective, chosen_on)) or "<p class=soft>Nothing traded.</p>",
        points=_points(dimensions, objective, chosen_on),
    )  # fmt: skip


def _choice_heads(dimensions: Sequence[Dimension]) -> list[str]:
    names = [each.name for each in dimensions]
    figures = [f"{name} {part}" for part in ("in sample", "new days") for name, _, _ in _FIGURES[:3]]
    return ["window", *names, *figures, "deflated Sharpe"]


def _choice_row(choice: Choice, dimensions: Sequence[Dimension]) -> list[str]:
    point = [_text(choice.best.point[each.name]) for each in dimensions]
    tried: Mapping[str, Any] = {} if choice.tried is None else choice.tried.result
    figures = [_figure(result, *each[1:]) for result in (choice.best.result, tried) for each in _FIGURES[:3]]
    luck = "-" if choice.more_than_luck is None else f"{choice.more_than_luck:.0%}"
    return [str(choice.window.number + 1), *point, *figures, luck]


def _points(dimensions: Sequence[Dimension], objective: str, trials: Sequence[Trial]) -> str:
    ordered = sorted(trials, key=lambda each: float("-inf") if each.score is None else each.score, reverse=True)
    names = [each.name for each in dimensions]
    body = [
        [str(each.window.number + 1), *(_text(each.point[name]) for name in names),
         _figure(each.result, objective, "{:,.4g}"), *(_figure(each.result, key, form) for _, key, form in _FIGURES)]
        for each in ordered[:_MOST_ROWS]
    ]  # fmt: skip
    more = "" if len(ordered) <= _MOST_ROWS else f"<p class=soft>and {len(ordered) - _MOST_ROWS:,} more</p>"
    return _table(["window", *names, f"by {objective}", *(name for name, _, _ in _FIGURES)], body) + more


def _figure(result: Mapping[str, Any], name: str, form: str) -> str:
    value = result.get(name)
    return "-" if value is None else form.format(value)


def _text(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th{_side(place)}>{escape(each)}</th>" for place, each in enumerate(heads))
    body = "".join(
        "<tr>" + "".join(f"<td{_side(place)}>{escape(each)}</td>" for place, each in enumerate(row)) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _side(place: int) -> str:
    return " class=n" if place else ""


def _maps(dimensions: Sequence[Dimension], objective: str, trials: Sequence[Trial]) -> Iterator[str]:
    from plotly import graph_objects  # noqa: PLC0415 - large

    scored = [each for each in trials if each.score is not None]
    varied = [each for each in dimensions if len(each.values) > 1]
    if not scored:
        return
    if len(varied) == 1:
        only = varied[0]
        means = [_mean([each for each in scored if each.point[only.name] == value]) for value in only.values]
        figure = graph_objects.Figure(graph_objects.Bar(x=[_text(each) for each in only.values], y=means))
        figure.update_layout(xaxis={"title": only.name, "type": "category"}, yaxis={"title": objective})
        yield _plot(figure)
    for across, down in list(combinations(varied, 2))[:_MOST_MAPS]:
        cells = [
            [_mean([each for each in scored if each.point[across.name] == x and each.point[down.name] == y])
             for x in across.values]
            for y in down.values
        ]  # fmt: skip
        known = [each for row in cells for each in row if each is not None]
        is_mixed = bool(known) and min(known) < 0
        reach = max((abs(each) for each in known), default=1.0)
        figure = graph_objects.Figure(
            graph_objects.Heatmap(
                x=[_text(each) for each in across.values], y=[_text(each) for each in down.values], z=cells,
                colorscale=_LOSING if is_mixed else _RISING, zmid=0 if is_mixed else None,
                zmin=-reach if is_mixed else None, zmax=reach if is_mixed else None,
                text=[["" if each is None else f"{each:,.4g}" for each in row] for row in cells],
                texttemplate="%{text}" if len(known) <= 400 else None,
                hovertemplate=f"{across.name} %{{x}}<br>{down.name} %{{y}}<br>{objective} %{{z:.4g}}<extra></extra>",
                colorbar={"title": objective},
            )
        )  # fmt: skip
        figure.update_layout(
            xaxis={"title": across.name, "type": "category"}, yaxis={"title": down.name, "type": "category"}
        )
        yield _plot(figure)


def _mean(trials: Sequence[Trial]) -> float | None:
    scores = [each.score for each in trials if each.score is not None]
    return float(np.mean(scores)) if scores else None


def _plot(figure: Any) -> str:
    figure.update_layout(
        template="plotly_white", height=420, margin={"l": 64, "r": 12, "t": 16, "b": 48},
        font={"family": "system-ui, sans-serif"},
    )  # fmt: skip
    drawn: str = figure.to_html(
        include_plotlyjs=False, full_html=False, config={"responsive": True, "displayModeBar": False}
    )
    return drawn
