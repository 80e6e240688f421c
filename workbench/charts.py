"""Comparisons as Altair charts, and charts as SVG that can stand inside a page.

What users named (setups, models, metrics) enters a chart as data or as plain text, never as an expression. Colours are
those of Okabe and Ito, told apart by colour-blind people; models differ in shape too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import altair as alt
import numpy as np
import vl_convert

from workbench.comparison import Comparison
from workbench.errors import InputError
from workbench.pareto import frontier
from workbench.recommendation import Recommendation
from workbench.records import plugin_label
from workbench.stats import Array
from workbench.tariffs import UNITS

_AXIS_TITLES = {
    "joules": "energy per answer (J, {known})",
    "tokens": "tokens per answer (prompt and output)",
    "seconds": "time per answer (s)",
    "dollars": "money per answer (dollars)",
    "grams_co2e": "CO2e per answer (g)",
}
_KNOWN = {
    "counter": "measured by counters",
    "cpu_time": "estimated from CPU time",
    "utilisation": "estimated from utilisation",
    "modelled": "modelled",
}
_UNITS = {"joules": "J", "tokens": "tokens", "seconds": "s", "dollars": "dollars", "grams_co2e": "g"}
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9")
CHOSEN = "#d55e00"
NEUTRAL = "#808088"
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
_COLOURS_OF_THE_PAGE = {
    "axis": {
        "labelColor": "currentColor",
        "titleColor": "currentColor",
        "gridColor": "currentColor",
        "gridOpacity": 0.15,
    },
    "legend": {"labelColor": "currentColor", "titleColor": "currentColor"},
    "title": {"color": "currentColor", "subtitleColor": "currentColor"},
}
_LOGARITHMIC_FROM = 10.0  # times from the smallest cost to the largest
_LABEL_WIDTH = 0.25  # of the axis
_LONGEST_NAME = 64  # characters of a setup beside its lane


def pareto(
    comparison: Comparison, cost: str = "joules", recommendation: Recommendation | None = None
) -> alt.LayerChart:
    """Quality against joules, tokens or another cost per answer: one point per configuration, its interval, the frontier.

    The recommended configuration and its reference are ringed and labelled. What was not measured cannot be drawn; the subtitle counts it.
    Raises ``InputError`` for a cost that is none of ``UNITS``.
    """
    if cost not in UNITS:
        raise InputError(f"cost is {cost!r}; expected one of {', '.join(UNITS)}")
    chosen = recommendation.chosen.id if recommendation is not None and recommendation.chosen is not None else None
    label = "recommended" if recommendation is None or recommendation.verdict == "decided" else "provisional choice"
    reference = (
        recommendation.reference.id if recommendation is not None and recommendation.reference is not None else None
    )
    points = _points(comparison, cost, chosen, reference)
    if not points:
        return nothing_to_draw(
            f"Nothing to draw: no configuration has both {comparison.goal.metric} and measured {cost}."
        )
    known = sorted({_KNOWN[figures.joules.source] for figures in comparison.figures if figures.joules is not None})
    title = _AXIS_TITLES[cost].format(known=", ".join(known))
    x = alt.X("cost:Q", title=title, scale=_scale(points), axis=alt.Axis(format=",~r", tickCount=6, labelPadding=8))
    quality = f"{comparison.goal.metric} ({comparison.goal.confidence:.0%} interval)"
    y = alt.Y(
        "quality:Q", title=quality, scale=alt.Scale(zero=False, nice=True), axis=alt.Axis(tickCount=6, labelPadding=12)
    )
    base = alt.Chart(alt.NamedData("points")).encode(x=x, y=y)
    bars = base.mark_rule(strokeWidth=1.5, opacity=0.5).encode(
        y=alt.Y("low:Q", title=quality), y2="high:Q", color=_colour(points)
    )
    marks = base.mark_point(size=110, filled=True, opacity=1).encode(
        shape=_shape(points), color=_colour(points), tooltip=_tooltip(cost)
    )
    whom = "reference" if recommendation is not None and recommendation.level == "reference" else "best score"
    layers = [
        _frontier(x, y),
        bars,
        marks,
        *_ringed(base, points, "reference", whom, NEUTRAL),
        *_ringed(base, points, "chosen", label, CHOSEN),
    ]
    steps = [{"cost": each["cost"], "quality": each["quality"]} for each in points if each["frontier"]]
    steps.sort(key=lambda each: each["cost"])
    return layered(layers, {"points": points, "frontier": steps}, height=420, title=_title(comparison, points, cost))


def svg(chart: alt.LayerChart, width: int = 1060) -> str:
    """The chart as SVG that can stand inside a page: its text takes the page's colour, nothing is fetched or run.

    Nothing in these charts is clipped or graded, so that the SVG names no identifiers that could clash with the page's.
    """
    drawn = chart.properties(width=width).to_dict()
    for part, colours in _COLOURS_OF_THE_PAGE.items():
        drawn["config"].setdefault(part, {}).update(colours)
    picture: str = vl_convert.vegalite_to_svg(drawn, allowed_base_urls=[])
    return picture


# ------------------------------------------------------------------------------------------------------------ parts


def layered(layers: list[alt.Chart], data: dict[str, list[dict[str, Any]]], **properties: Any) -> alt.LayerChart:
    """A chart of layers in the looks that all charts have; the layers name the ``data`` they draw (``alt.NamedData``).

    Altair copies and checks a chart at every step of its making: data that stand in each layer would make that slow.
    """
    looks = alt.Config(
        background="transparent",
        view=alt.ViewConfig(stroke=None),
        title=alt.TitleConfig(subtitleColor=NEUTRAL),
        axis=alt.AxisConfig(domain=False, ticks=False, labelFontSize=12, titleFontSize=13, titlePadding=10),
        legend=alt.LegendConfig(
            orient="bottom",
            labelFontSize=12,
            titleFontSize=12,
            labelLimit=320,
            symbolSize=110,
            symbolOpacity=1,
            symbolBaseFillColor=NEUTRAL,
            padding=12,
        ),
    )
    return alt.LayerChart(layer=layers, datasets=data, config=looks, width="container", **properties)


def nothing_to_draw(reason: str) -> alt.LayerChart:
    """In place of a chart, why there is none."""
    text = alt.Chart(alt.NamedData("words")).mark_text(fontSize=14, color=NEUTRAL).encode(text="reason:N")
    return layered([text], {"words": [{"reason": reason}]}, height=80)


def lane_key(number: int, label: str, after: str = "") -> str:
    """What stands for a lane in the data: its number, so that lanes of one name stay apart, and the name to show."""
    longest = _LONGEST_NAME - len(after)
    return f"{number:05}\x01{label if len(label) <= longest else f'{label[: longest - 1]}…'}{after}"


def lane_axis() -> alt.Axis:
    """The axis of lanes by their keys."""
    return alt.Axis(labelExpr="split(datum.value, '\\u0001')[1]", labelLimit=440, domain=False, ticks=False)


def _points(comparison: Comparison, cost: str, chosen: str | None, reference: str | None) -> list[dict[str, Any]]:
    """One mapping per configuration that has a quality and a cost."""
    known = []
    for figures, costs in zip(comparison.figures, comparison.matrix.costs[cost], strict=True):
        quality, value = figures.scores[comparison.goal.metric], _mean(costs)
        if quality is not None and value is not None:
            known.append((figures, quality, value))
    on = frontier([(None if each.configuration.is_bound else quality.mean, value) for each, quality, value in known])
    found = []
    for (figures, quality, value), flag in zip(known, on, strict=True):
        found.append(
            {
                "id": figures.configuration.id,
                "setup": figures.configuration.label,
                "model": plugin_label(figures.configuration["model"]),
                "retriever": plugin_label(figures.configuration["retriever"]),
                "quality": quality.mean,
                "low": quality.low,
                "high": quality.high,
                "cost": value,
                "chosen": figures.configuration.id == chosen,
                "reference": figures.configuration.id == reference != chosen,
                "frontier": flag,
                "exact quality": f"{quality.mean:.4f} ({quality.low:.4f} to {quality.high:.4f})",
                "exact cost": f"{value:.4g} {_UNITS[cost]}{_range(comparison, figures.configuration.id, cost)}",
                "answers": figures.answers,
            }
        )
    return found


def _mean(values: Array) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def _range(comparison: Comparison, configuration: str, cost: str) -> str:
    energy = comparison.of(configuration).joules
    if cost != "joules" or energy is None:
        return ""
    return f" ({energy.low:.4g} to {energy.high:.4g}; {energy.source.replace('_', ' ')})"


def _frontier(x: alt.X, y: alt.Y) -> alt.Chart:
    """What the best quality is at each cost: it rises where a configuration of the frontier stands."""
    line = alt.Chart(alt.NamedData("frontier")).mark_line(
        interpolate="step-after", strokeDash=[6, 4], strokeWidth=1.5, color=NEUTRAL
    )
    drawn: alt.Chart = line.encode(x=x, y=y, order=alt.Order("cost:Q"))
    return drawn


def _scale(points: Sequence[Mapping[str, Any]]) -> alt.Scale:
    return alt.Scale(type="log", nice=False, padding=30) if _logarithmic(points) else alt.Scale(zero=True, nice=True)


def _logarithmic(points: Sequence[Mapping[str, Any]]) -> bool:
    values = [each["cost"] for each in points]
    return bool(values) and min(values) > 0 and max(values) > _LOGARITHMIC_FROM * min(values)


def _colour(points: Sequence[Mapping[str, Any]]) -> alt.Color:
    names = list(dict.fromkeys(each["retriever"] for each in points))
    colours = [COLOURS[number % len(COLOURS)] for number in range(len(names))]
    return alt.Color("retriever:N", title="retriever", scale=alt.Scale(domain=names, range=colours))


def _shape(points: Sequence[Mapping[str, Any]]) -> alt.Shape:
    names = list(dict.fromkeys(each["model"] for each in points))
    shapes = [SHAPES[number % len(SHAPES)] for number in range(len(names))]
    return alt.Shape("model:N", title="model", scale=alt.Scale(domain=names, range=shapes))


def _tooltip(cost: str) -> list[alt.Tooltip]:
    return [
        alt.Tooltip("setup:N", title="setup"),
        alt.Tooltip("id:N", title="configuration"),
        alt.Tooltip("exact quality:N", title="quality"),
        alt.Tooltip("exact cost:N", title=f"{cost} per answer"),
        alt.Tooltip("answers:Q", title="answers"),
    ]


def _ringed(
    base: alt.Chart, points: Sequence[Mapping[str, Any]], role: str, label: str, colour: str
) -> tuple[alt.Chart, alt.Chart]:
    """A ring around the point of a role, and its label."""
    point = base.transform_filter(alt.FieldEqualPredicate(field=role, equal=True))
    ring = point.mark_point(size=380, shape="circle", filled=False, strokeWidth=3, color=colour, opacity=1)
    side = _freer_side(points, role)
    name = point.mark_text(
        align="left" if side == "right" else "right",
        dx=16 if side == "right" else -16,
        dy=-12,
        fontSize=13,
        fontWeight="bold",
        color=colour,
    ).encode(text=alt.value(label))
    return ring, name


def _freer_side(points: Sequence[Mapping[str, Any]], role: str) -> Literal["left", "right"]:
    """The side of the point of a role on which fewer others would lie under its label."""
    chosen = next((each for each in points if each[role]), None)
    if chosen is None:
        return "right"
    scaled = [math.log(each["cost"]) if _logarithmic(points) else each["cost"] for each in points]
    here = scaled[points.index(chosen)]
    reach = _LABEL_WIDTH * (max(scaled) - min(scaled))
    if here - reach < min(scaled):
        return "right"
    if here + reach > max(scaled):
        return "left"
    left, right = (sum(0 < sign * (each - here) < reach for each in scaled) for sign in (-1, 1))
    return "left" if left < right else "right"


def _title(comparison: Comparison, points: Sequence[Mapping[str, Any]], cost: str) -> alt.TitleParams:
    missing = len(comparison.figures) - len(points)
    note = f" · {missing} not drawn: {cost} or {comparison.goal.metric} not known" if missing else ""
    return alt.TitleParams(
        text=f"Quality against {cost}",
        subtitle=f"up and to the left is better; dashed: the frontier{note}",
        anchor="start",
        fontSize=15,
        subtitleFontSize=12,
        offset=12,
    )
