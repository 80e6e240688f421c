"""A comparison as charts beside the one of quality against cost: any two figures, joules by stage, small interval bars."""

from __future__ import annotations

import base64
from typing import Any, Literal

import altair as alt
import numpy as np
import vl_convert

from workbench.charts import CHOSEN, COLOURS, NEUTRAL, SHAPES, lane_axis, lane_key, layered, nothing_to_draw
from workbench.comparison import Comparison, Figures
from workbench.duels import Duel
from workbench.errors import InputError
from workbench.exports import sorted_figures
from workbench.recommendation import Recommendation
from workbench.records import plugin_label
from workbench.stats import Interval
from workbench.tariffs import UNITS
from workbench.texts import significant

QUANTITIES = ("quality", *UNITS)
"""What a scatter plot can show on either axis."""

PICTURES = {"png": "image/png", "svg": "image/svg+xml"}

_TITLES = {
    "joules": "energy per answer (J, estimated)",
    "tokens": "tokens per answer (prompt and output)",
    "seconds": "time per answer (s)",
    "dollars": "money per answer (dollars)",
    "grams_co2e": "CO2e per answer (g, estimated)",
}
_STAGE_COLOURS = (*COLOURS, CHOSEN, "#f0e442", NEUTRAL)
_STAGES = ("rewrite", "embed", "search", "rerank", "compress", "prefill", "decode")
_WIDTH = 1060  # pixels of a downloaded picture
_BAR = (120, 26)  # pixels of a small interval bar


def scatter(
    comparison: Comparison,
    x: str,
    y: str,
    recommendation: Recommendation,
    *,
    logarithmic: tuple[bool, bool] = (False, False),
) -> alt.LayerChart:
    """Any two of quality and the costs per answer against each other; the choice is ringed, the frontier filled.

    What was not measured cannot be drawn; the subtitle counts it, and what a logarithmic axis has no place for.
    """
    for quantity in (x, y):
        if quantity not in QUANTITIES:
            raise InputError(f"{quantity!r} cannot be drawn; expected one of {', '.join(QUANTITIES)}")
    chosen = recommendation.chosen.id if recommendation.chosen is not None else None
    points = [
        point
        for row, figures in enumerate(comparison.figures)
        if (point := _point(comparison, row, figures, x, y, chosen)) is not None
        and not (logarithmic[0] and point["x"] <= 0)
        and not (logarithmic[1] and point["y"] <= 0)
    ]
    if not points:
        return nothing_to_draw(f"Nothing to draw: no configuration has both {_name(x)} and {_name(y)}.")
    retrievers = list(dict.fromkeys(point["retriever"] for point in points))
    models = list(dict.fromkeys(point["model"] for point in points))
    colour = alt.Color(
        "retriever:N",
        title="retriever",
        scale=alt.Scale(domain=retrievers, range=[COLOURS[at % len(COLOURS)] for at in range(len(retrievers))]),
    )
    shape = alt.Shape(
        "model:N",
        title="model",
        scale=alt.Scale(domain=models, range=[SHAPES[at % len(SHAPES)] for at in range(len(models))]),
    )
    base = alt.Chart(alt.NamedData("points")).encode(
        x=alt.X("x:Q", **_axis(x, comparison, logarithmic=logarithmic[0])),
        y=alt.Y("y:Q", **_axis(y, comparison, logarithmic=logarithmic[1])),
    )
    layers = []
    if "quality" in (x, y):
        low, high = ("x", "x2") if x == "quality" else ("y", "y2")
        channel = alt.X if x == "quality" else alt.Y
        rule = base.mark_rule(strokeWidth=1.5, opacity=0.5).encode(
            **{low: channel("low:Q", title=_title("quality", comparison)), high: "high:Q", "color": colour}
        )
        layers.append(rule)
    layers.append(
        base.mark_point(size=110, filled=True, opacity=1).encode(
            color=colour,
            shape=shape,
            tooltip=[
                alt.Tooltip("setup:N", title="setup"),
                alt.Tooltip("id:N", title="configuration"),
                alt.Tooltip("said x:N", title=_name(x)),
                alt.Tooltip("said y:N", title=_name(y)),
            ],
        )
    )
    ringed = base.transform_filter(alt.FieldEqualPredicate(field="chosen", equal=True))
    layers.append(ringed.mark_point(size=380, shape="circle", filled=False, strokeWidth=3, color=CHOSEN, opacity=1))
    missing = len(comparison.figures) - len(points)
    title = alt.TitleParams(
        text=f"{_name(y).capitalize()} against {_name(x)}",
        subtitle="ringed: the choice"
        + (f" · {missing} not drawn: not measured, or 0 on a log axis" if missing else ""),
        anchor="start",
        fontSize=15,
        subtitleFontSize=12,
        offset=12,
    )
    return layered(layers, {"points": points}, height=420, title=title)


def _name(quantity: str) -> str:
    return quantity.replace("grams_co2e", "CO2e")


def _title(quantity: str, comparison: Comparison) -> str:
    if quantity == "quality":
        return f"{comparison.goal.metric} ({comparison.goal.confidence:.0%} interval)"
    return _TITLES[quantity]


def _axis(quantity: str, comparison: Comparison, *, logarithmic: bool) -> dict[str, Any]:
    return {
        "title": _title(quantity, comparison),
        "scale": alt.Scale(type="log", nice=False, padding=30) if logarithmic else alt.Scale(zero=False, nice=True),
        "axis": alt.Axis(format=",~r", tickCount=6, labelPadding=8),
    }


def _point(
    comparison: Comparison, row: int, figures: Figures, x: str, y: str, chosen: str | None
) -> dict[str, Any] | None:
    values = {quantity: _value(comparison, row, figures, quantity) for quantity in {x, y}}
    if None in values.values():
        return None
    score = figures.scores[comparison.goal.metric]
    return {
        "x": values[x],
        "y": values[y],
        "low": None if score is None else score.low,
        "high": None if score is None else score.high,
        "setup": figures.configuration.label,
        "id": figures.configuration.id,
        "model": plugin_label(figures.configuration["model"]),
        "retriever": plugin_label(figures.configuration["retriever"]),
        "chosen": figures.configuration.id == chosen,
        "said x": f"{values[x]:.4g}",
        "said y": f"{values[y]:.4g}",
    }


def _value(comparison: Comparison, row: int, figures: Figures, quantity: str) -> float | None:
    if quantity == "quality":
        score = figures.scores[comparison.goal.metric]
        return None if score is None else score.mean
    costs = comparison.matrix.costs[quantity][row]
    known = costs[~np.isnan(costs)]
    return float(known.mean()) if len(known) else None


def stages(comparison: Comparison) -> alt.LayerChart:
    """Joules per answer by stage, stacked, one bar per configuration, cheapest first."""
    rows = []
    labels = []
    missing = 0
    for number, figures in enumerate(sorted_figures(comparison)):
        if not figures.stages or any(stage.joules is None for stage in figures.stages.values()):
            missing += 1
            continue
        labels.append(lane_key(number, figures.configuration.label))
        for name, stage in figures.stages.items():
            energy = stage.joules
            assert energy is not None
            said = f"{significant(energy.central)} ({significant(energy.low)}–{significant(energy.high)})"
            rows.append(
                {
                    "lane": labels[-1],
                    "setup": figures.configuration.label,
                    "stage": name,
                    "order": _order(name),
                    "joules": energy.central,
                    "said": said + (f", {stage.rebuilt:,} answers divided by rates" if stage.rebuilt else ""),
                    "seconds": f"{stage.seconds:.4g}",
                }
            )
    if not rows:
        return nothing_to_draw("No joules by stage: the energy of no configuration was measured.")
    names = sorted({str(row["stage"]) for row in rows}, key=_order)
    bars = (
        alt.Chart(alt.NamedData("stages"))
        .mark_bar(height=16)
        .encode(
            y=alt.Y("lane:O", title=None, sort=None, axis=lane_axis()),
            x=alt.X("joules:Q", title="energy per answer by stage (J, estimated)", stack="zero"),
            color=alt.Color(
                "stage:N",
                title="stage",
                sort=names,
                scale=alt.Scale(
                    domain=names, range=[_STAGE_COLOURS[at % len(_STAGE_COLOURS)] for at in range(len(names))]
                ),
            ),
            order=alt.Order("order:Q"),
            tooltip=[
                alt.Tooltip("setup:N", title="setup"),
                alt.Tooltip("stage:N", title="stage"),
                alt.Tooltip("said:N", title="J per answer (estimated)"),
                alt.Tooltip("seconds:N", title="seconds per answer"),
            ],
        )
    )
    title = alt.TitleParams(
        text="Where the joules go",
        subtitle="cheapest first" + (f" · {missing} not drawn: not measured" if missing else ""),
        anchor="start",
        fontSize=15,
        subtitleFontSize=12,
        offset=12,
    )
    return layered([bars], {"stages": rows}, height=alt.Step(26), title=title)


def _order(stage: str) -> int:
    return _STAGES.index(stage) if stage in _STAGES else len(_STAGES)


def differences(duel: Duel) -> alt.LayerChart:
    """Question by question, how much better the one configuration is than the other, from its wins to its losses."""
    if not duel.questions:
        return nothing_to_draw("The two were not asked any question in common.")
    ordered = sorted(duel.questions, key=lambda each: -each.difference)
    rows = [
        {
            "at": number,
            "difference": each.difference,
            "question": each.question.question,
            "said": f"{each.score:.3f} against {each.other_score:.3f}",
            "who": "won" if each.difference > 0 else "lost" if each.difference < 0 else "tied",
        }
        for number, each in enumerate(ordered)
    ]
    bars = (
        alt.Chart(alt.NamedData("questions"))
        .mark_bar()
        .encode(
            x=alt.X("at:O", title=f"{len(rows):,} questions, best for the first", axis=alt.Axis(labels=False)),
            y=alt.Y("difference:Q", title=f"difference in {duel.metric}"),
            color=alt.Color(
                "who:N",
                title=None,
                scale=alt.Scale(domain=["won", "tied", "lost"], range=[COLOURS[0], NEUTRAL, CHOSEN]),
            ),
            tooltip=[alt.Tooltip("question:N"), alt.Tooltip("said:N", title=duel.metric)],
        )
    )
    return layered([bars], {"questions": rows}, height=220)


def interval_bar(score: Interval | None, low: float, high: float) -> str | None:
    """A small bar for a table's cell: the mean and its interval between the least and the highest of the column."""
    if score is None or high <= low:
        return None
    width, height = _BAR
    a, b, middle = (
        (min(max(value, low), high) - low) / (high - low) * (width - 12) + 6
        for value in (score.low, score.high, score.mean)
    )
    drawing = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
        f'<rect x="0" y="12.25" width="{width}" height="1.5" fill="{NEUTRAL}" opacity=".35"/>'
        f'<rect x="{a:.1f}" y="10.5" width="{max(b - a, 1):.1f}" height="5" rx="2.5" fill="{COLOURS[4]}"/>'
        f'<circle cx="{middle:.1f}" cy="13" r="4.5" fill="{COLOURS[0]}"/></svg>'
    )
    return f"data:image/svg+xml;base64,{base64.b64encode(drawing.encode()).decode()}"


def picture(chart: alt.LayerChart, kind: Literal["png", "svg"]) -> bytes:
    """A chart as a picture on white, to be kept: PNG at twice the size, or SVG; nothing is fetched."""
    drawn = chart.properties(width=_WIDTH, background="white").to_dict()
    if kind == "svg":
        return str(vl_convert.vegalite_to_svg(drawn, allowed_base_urls=[])).encode()
    found: bytes = vl_convert.vegalite_to_png(drawn, scale=2, allowed_base_urls=[])
    return found
