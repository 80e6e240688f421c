"""A run that is going on as charts: its configurations as lanes, and what its process uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import altair as alt

from workbench.charts import CHOSEN, COLOURS, NEUTRAL, lane_axis, lane_key, layered, nothing_to_draw
from workbench.loads import Load
from workbench.standing import Lane, Lanes
from workbench.texts import NOT_MEASURED, energy_text, interval_text, significant

Strip = Literal["cpu", "power", "memory"]

_STRIPS = {
    "cpu": ("Busy vCPUs", COLOURS[0]),
    "power": ("Power, estimated from CPU time", COLOURS[1]),
    "memory": ("Memory", COLOURS[2]),
}
_STEP = 26  # pixels from lane to lane
_OUT, _IN, _BOUND = "out", "in question", "bound, no setup to choose"
_KINDS = (_IN, "pick or leader", _BOUND, _OUT)


def race_lanes(lanes: Lanes) -> alt.LayerChart:
    """One lane per configuration that was asked: its score so far with its interval, and its joules; those out in grey."""
    asked = [lane for lane in lanes.lanes if lane.score is not None]
    if not asked:
        return nothing_to_draw("No answer has a score yet.")
    rows = [_row(number, lane) for number, lane in enumerate(asked)]
    y = alt.Y(
        "lane:O",
        title=None,
        sort=None,
        axis=lane_axis(),
    )
    title = f"{lanes.metric} so far ({lanes.confidence:.0%} interval)"
    x = alt.X("mean:Q", title=title, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=6))
    colour = alt.Color(
        "kind:N",
        title=None,
        scale=alt.Scale(domain=list(_KINDS), range=[COLOURS[0], CHOSEN, COLOURS[3], NEUTRAL]),
    )
    opacity = alt.Opacity("opacity:Q", scale=None)
    base = alt.Chart(alt.NamedData("lanes")).encode(y=y)
    bars = base.mark_rule(strokeWidth=3, strokeCap="round").encode(
        x=alt.X("low:Q", title=title), x2="high:Q", color=colour, opacity=opacity
    )
    marks = base.mark_point(filled=True, size=90, opacity=1).encode(
        x=x,
        color=colour,
        opacity=opacity,
        tooltip=[
            alt.Tooltip("setup:N", title="setup"),
            alt.Tooltip("id:N", title="configuration"),
            alt.Tooltip("score:N", title=lanes.metric),
            alt.Tooltip("joules:N", title="J per answer (estimated)"),
            alt.Tooltip("asked:N", title="questions"),
            alt.Tooltip("fate:N", title="state"),
        ],
    )
    names = base.mark_text(align="left", dx=10, fontSize=12, fontWeight="bold", color=CHOSEN).encode(
        x="high:Q", text="mark:N"
    )
    return layered([bars, marks, names], {"lanes": rows}, height=alt.Step(_STEP))


def _row(number: int, lane: Lane) -> dict[str, Any]:
    score = lane.score
    assert score is not None
    out = lane.state in ("eliminated", "incomplete")
    marked = lane.mark not in ("", "bound")
    joules = NOT_MEASURED if lane.joules is None else energy_text(lane.joules)
    label = lane.configuration.label
    return {
        "lane": lane_key(number, label, "" if lane.joules is None else f" · {significant(lane.joules.central)} J"),
        "setup": label,
        "id": lane.configuration.id,
        "mean": score.mean,
        "low": score.low,
        "high": score.high,
        "kind": _BOUND if lane.mark == "bound" else _OUT if out else _KINDS[1] if marked else _IN,
        "opacity": 0.55 if out else 1.0,
        "mark": lane.mark if marked else "",
        "score": interval_text(score),
        "joules": joules,
        "asked": f"{lane.asked:,} of {lane.questions:,}",
        "fate": f"{lane.state}: {lane.reason}" if lane.reason else lane.state,
    }


def load_strip(loads: Sequence[Load], what: Strip) -> alt.LayerChart:
    """Busy vCPUs, estimated watts or memory of a run's process over the last looks at it."""
    known = [load for load in loads if load.busy_vcpus is not None]
    rows = [{"at": load.at * 1000, **_measured(load, what)} for load in known]
    if len(rows) < 2:
        return nothing_to_draw("looking …")
    title, colour = _STRIPS[what]
    x = alt.X("at:T", title=None, axis=alt.Axis(format="%H:%M:%S", tickCount=3))
    y = alt.Y("value:Q", title=None, scale=alt.Scale(domainMin=0), axis=alt.Axis(tickCount=3))
    base = alt.Chart(alt.NamedData("loads")).encode(x=x)
    area = base.mark_area(color=colour, opacity=0.2).encode(y=alt.Y("low:Q", title=None), y2="high:Q")
    line = base.mark_line(color=colour, strokeWidth=2).encode(
        y=y, tooltip=[alt.Tooltip("said:N", title=title), alt.Tooltip("at:T", title="at", format="%H:%M:%S")]
    )
    heading = alt.TitleParams(text=f"{title}: {rows[-1]['said']}", anchor="start", fontSize=13, fontWeight="normal")
    return layered([area, line], {"loads": rows}, height=170, title=heading)


def _measured(load: Load, what: Strip) -> dict[str, Any]:
    busy, watts, memory = load.busy_vcpus or 0.0, load.watts or (0.0, 0.0, 0.0), load.memory_bytes / 1e6
    if what == "cpu":
        return {"low": 0.0, "value": busy, "high": busy, "said": f"{busy:.2f}"}
    if what == "memory":
        return {"low": 0.0, "value": memory, "high": memory, "said": f"{memory:,.0f} MB"}
    low, central, high = watts
    return {"low": low, "value": central, "high": high, "said": f"{central:.2f} W ({low:.2f} to {high:.2f})"}
