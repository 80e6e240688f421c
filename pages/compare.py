"""The recommendation, the table behind it, what each axis buys, and two setups face to face."""

from functools import partial
from typing import Any

import streamlit as st

import workbench
from pages._frame import added_up, answered_run, begin, choose, explained, keep, roomy, so_far, told, version_of
from workbench.charts import pareto
from workbench.charts_compare import PICTURES, QUANTITIES, differences, picture, scatter, stages
from workbench.comparison import Comparison, winners
from workbench.duels import Duel
from workbench.effects import AxisEffect
from workbench.recommendation import Recommendation
from workbench.texts import change_text

_FILES = {"csv": "text/csv", "json": "application/json", "markdown": "text/markdown", "html": "text/html"}
_ENDINGS = {"markdown": "md"}
_COLUMNS = {
    "setup": st.column_config.TextColumn("Setup", pinned=True, width=300),
    "role": st.column_config.TextColumn(
        "Role", width=130, help="What it is in the choice; frontier: nothing else is both better and cheaper."
    ),
    "bar": st.column_config.ImageColumn("Interval", width=135, help="The deciding score, on one scale for all rows."),
    "joules": st.column_config.NumberColumn(
        "J per answer", format="%.3g", help="Estimated, as if each answer ran alone."
    ),
    "joules_range": st.column_config.TextColumn(
        "J low–high", help="Mostly common to all rows: comparisons are tighter than it."
    ),
    "energy_source": st.column_config.TextColumn("Energy from"),
    "joules_per_correct": st.column_config.NumberColumn(
        "J per correct", format="%.3g", help="Joules per correct answer; Infinity: no answer was correct."
    ),
    "tokens_in": st.column_config.NumberColumn("Tokens in", format="%.0f"),
    "tokens_out": st.column_config.NumberColumn("Tokens out", format="%.1f"),
    "p50_seconds": st.column_config.NumberColumn("p50 (s)", format="%.3g", help="Half of the answers took no longer."),
    "p95_seconds": st.column_config.NumberColumn("p95 (s)", format="%.3g", help="95 % of the answers took no longer."),
    "disturbed": st.column_config.TextColumn(
        "*", help="Other processes kept the machine busy: these times are disturbed."
    ),
    "failures": "Failures",
    "lost": st.column_config.TextColumn("Lost", help="Where in the pipeline wrong answers were lost."),
    "answers": "Answers",
    "repeat_deviation": st.column_config.NumberColumn(
        "sd of repeats", format="%.3f", help="How much the deciding score varies between repeats of a question."
    ),
    "index_megabytes": st.column_config.NumberColumn("Index (MB)", format="%.2f"),
    "index_joules": st.column_config.NumberColumn(
        "J to index", format="%.3g", help="Cutting, embedding and indexing from nothing, whether shared or cached."
    ),
    "index_recall": st.column_config.NumberColumn(
        "Index recall", format="%.3f", help="Share of the exact ten nearest passages that an approximate index finds."
    ),
    "state": "State",
    "configuration": "Configuration",
}
_SORTS = {
    "joules": "energy",
    "mean": "score",
    "tokens_in": "tokens in",
    "p95_seconds": "p95 time",
    "joules_per_correct": "energy per correct answer",
    "setup": "name",
}
_GROUPS = {
    "energy": ("joules", "joules_range", "energy_source", "joules_per_correct"),
    "tokens and time": ("tokens_in", "tokens_out", "p50_seconds", "p95_seconds", "disturbed"),
    "failures": ("failures", "lost", "answers", "repeat_deviation"),
    "index": ("index_megabytes", "index_joules", "index_recall"),
    "state": ("state",),
}
_USUAL = ("energy", "tokens and time", "failures", "axes")
_UNITS = {"joules": "J", "tokens": "tokens", "seconds": "s", "dollars": "dollars", "grams_co2e": "g CO2e"}


@st.cache_resource(max_entries=40, show_spinner="Pairing setups")
def effects_of(_comparison: Comparison, unit: str, *version: float | str) -> list[AxisEffect]:
    """What each axis buys, worked out once per version of the run and unit."""
    return workbench.axis_effects(_comparison, unit)


def chart(drawn: Any, name: str, run: str) -> None:
    """A chart, with its pictures to keep; they are drawn when they are asked for."""
    st.altair_chart(drawn, width="stretch", key=f"{name} of {run}")
    with st.container(horizontal=True, horizontal_alignment="right"):
        for kind, mime in PICTURES.items():
            st.download_button(
                kind.upper(),
                partial(picture, drawn, kind),
                f"{run}-{name}.{kind}",
                mime,
                icon=":material/image:",
                on_click="ignore",
                type="tertiary",
                key=f"{name} of {run} as {kind}",
            )


def draw_table(comparison: Comparison, recommendation: Recommendation) -> None:
    """The configurations as one table: chosen columns, sorted, filtered."""
    rows = workbench.comparison_rows(comparison, recommendation)
    first, second, third, fourth = st.columns([2, 2, 3, 2], vertical_alignment="bottom")
    with first:
        sort = choose("Sort by", "sort", list(_SORTS), show=_SORTS.__getitem__)
    with second:
        direction = choose("Order", "order", ["lowest first", "highest first"])
    with third:
        only = choose("Show", "only", ["all", "frontier", "failures"], pills=True)
    with fourth:
        text = st.text_input("Setup holds", st.query_params.get("setup", ""), key=f"setup holds, {comparison.run}")
        keep("setup", text, "")
    groups = [*_GROUPS, "axes", "other metrics"]
    wanted = [each for each in st.query_params.get("columns", ",".join(_USUAL)).split(",") if each in groups]
    chosen = st.pills("Columns", groups, selection_mode="multi", default=wanted, key=f"columns of {comparison.run}")
    keep("columns", ",".join(chosen), ",".join(_USUAL))
    shown = workbench.arranged(rows, sort=sort, descending=direction == "highest first", text=text, only=only)
    if not shown:
        st.info("No setup is of this kind; show all, or clear the text.", icon=":material/filter_alt_off:")
        return
    columns = ["setup", "role", "bar", "quality", *(key for group in chosen for key in _GROUPS.get(group, ()))]
    columns += [key for key in rows[0] if key.startswith("axis:") and "axes" in chosen]
    columns += [key for key in rows[0] if key.startswith("score:") and "other metrics" in chosen]
    deciding = {"quality": st.column_config.TextColumn(comparison.goal.metric, help="Decides; with its interval.")}
    others = {key: key.partition(":")[2] for key in rows[0] if ":" in key}
    st.dataframe(
        shown,
        hide_index=True,
        column_order=[*columns, "configuration"],
        column_config=roomy(shown, _COLUMNS | deciding | others),
        placeholder="not measured",
    )


def draw_effects(comparison: Comparison, version: tuple[float | str, ...]) -> None:
    """What each axis buys."""
    unit = choose("Cost", "unit", list(QUANTITIES[1:]), show=lambda each: each.replace("_", " "), pills=True)
    effects = effects_of(comparison, unit, *version)
    if not effects:
        st.info("No two setups of this run differ in one axis only.", icon=":material/difference:")
        return
    short, metric = _UNITS[unit], comparison.goal.metric

    st.dataframe(
        [
            {
                "axis": each.axis,
                "change": f"{each.before} → {each.after}",
                "score": change_text(each.score, ".3f"),
                "cost": change_text(each.cost, ".3g"),
                "price": "no certain gain"
                if each.cost_per_point is None
                else "{1:.3g} ({0:.3g} to {2:.3g})".format(*each.cost_per_point),
                "pairs": each.pairs,
                "questions": each.questions,
            }
            for each in effects
        ],
        hide_index=True,
        column_config={
            "axis": st.column_config.TextColumn("Axis", pinned=True),
            "change": st.column_config.TextColumn(
                "From → to", width=230, help="From what costs less to what costs more."
            ),
            "score": st.column_config.TextColumn(f"{metric}", width=190, help="Change per question, paired interval."),
            "cost": st.column_config.TextColumn(f"{short} per answer", width=190, help="Change, paired interval."),
            "price": st.column_config.TextColumn(
                f"{short} per point", width=190, help=f"For every 0.01 of {metric}, where the score certainly rises."
            ),
            "pairs": st.column_config.NumberColumn("Pairs", help="Pairs of setups that differ in this axis only."),
            "questions": "Questions",
        },
        placeholder="not measured",
    )


def draw_duel(duel: Duel, names: tuple[str, str], runs: tuple[str, str]) -> None:
    """Two setups question by question."""
    st.text(f"{names[0]}\nagainst {names[1]}")
    places = st.columns(4)
    for place, (word, count) in zip(
        places, (("Won", duel.wins), ("Tied", duel.ties), ("Lost", duel.losses)), strict=False
    ):
        place.metric(word, f"{count:,}", help="Questions, by the deciding score.")
    gap = duel.difference
    places[3].metric(
        "Difference in the deciding score",
        "does not apply" if gap is None else f"{gap.mean:+.3f}",
        help=None
        if gap is None
        else f"{gap.low:+.3f} to {gap.high:+.3f}, "
        + ("an interval that holds although a race looked." if duel.anytime else "paired bootstrap interval."),
    )
    if gap is not None:
        st.text(f"{duel.metric}: {gap.mean:+.3f} ({gap.low:+.3f} to {gap.high:+.3f}) over {gap.n:,} questions.")
    for unit, ratio in duel.ratios.items():
        st.text(
            f"{unit.replace('_', ' ')}: {ratio.mean:.3g} times ({ratio.low:.3g} to {ratio.high:.3g}) those of the other."
        )
    if duel.not_compared:
        st.text(duel.not_compared)
    chart(differences(duel), "differences", runs[0])
    st.dataframe(
        [
            {"id": each.question.id, "question": each.question.question, "one": each.score, "other": each.other_score}
            for each in duel.questions[:200]
        ],
        hide_index=True,
        height=240,
        column_config={
            "id": st.column_config.TextColumn("Id", width="small"),
            "question": st.column_config.TextColumn("Question, where they differ most first", width="large"),
            "one": st.column_config.NumberColumn("The one", format="%.3f"),
            "other": st.column_config.NumberColumn("The other", format="%.3f"),
        },
    )


@st.fragment
def in_depth() -> None:
    """The views of the comparison; a choice here draws nothing else anew."""
    views = ["setups", "two figures", "axes", "stages", "face to face"]
    view = choose("View", "view", views, pills=True)
    if view == "setups":
        draw_table(comparison, recommendation)
    elif view == "two figures":
        first, second, third = st.columns([2, 2, 3], vertical_alignment="bottom")
        with first:
            x = choose("Across", "x", ["tokens", *(each for each in QUANTITIES if each != "tokens")])
        with second:
            y = choose("Up", "y", list(QUANTITIES))
        with third:
            scales = choose("Log scales", "log", ["none", "across", "up", "both"], pills=True)
        logarithmic = scales in ("across", "both"), scales in ("up", "both")
        chart(scatter(comparison, x, y, recommendation, logarithmic=logarithmic), "scatter", record.name)
    elif view == "axes":
        draw_effects(comparison, version_of(overview))
    elif view == "stages":
        chart(stages(comparison), "stages", record.name)
    else:
        first, second, third = st.columns(3, vertical_alignment="bottom")
        labels = {each.configuration.id: each.configuration.label for each in comparison.figures}
        with first:
            one = choose("The one", "configuration", list(labels), show=lambda key: f"{labels[key]} [{key}]")
        with second:
            against = choose("Of run", "against", [record.name, *(name for name in overviews if name != record.name)])
        other_comparison = added_up(*version_of(overviews[against]))[0]
        others = {each.configuration.id: each.configuration.label for each in other_comparison.figures}
        order = [key for key in others if key != one or against != record.name] or list(others)
        with third:
            other = choose("Against", "other", order, show=lambda key: f"{others[key]} [{key}]")
        with explained("These two do not compare."):
            duel = workbench.face_to_face(comparison, one, other, other_comparison=other_comparison)
            draw_duel(duel, (labels[one], others[other]), (record.name, against))


beside = begin("Compare")
overview, overviews = answered_run(beside, "figures appear")
record = overview.record
comparison, recommendation, notes = added_up(*version_of(overview))
so_far(overview)

left, right = st.columns([2, 3], gap="medium")
with left.container(border=True):
    told(recommendation)
with right:
    costs = sorted(("joules", "tokens", "seconds"), key=lambda unit: unit != comparison.goal.minimise)
    cost = choose("Cost", "cost", costs, pills=True)
    chart(pareto(comparison, cost, recommendation), "quality", record.name)

best = winners(comparison)
if len({figures.configuration.id for figures in best.values()}) > 1:
    with st.container(border=True):
        st.markdown("**Metrics disagree on the best setup**")
        by_metric = ((metric, figures, figures.scores[metric]) for metric, figures in best.items())
        st.dataframe(
            [
                {"Metric": metric, "Best setup": figures.configuration.label, "Mean": score.mean if score else None}
                for metric, figures, score in by_metric
            ],
            hide_index=True,
            column_config={"Mean": st.column_config.NumberColumn(format="%.3f")},
        )

in_depth()

with st.expander("Why not the others", icon=":material/balance:"):
    st.dataframe(
        [
            {"Setup": each.configuration.label, "Why not": each.reason, "Configuration": each.configuration.id}
            for each in recommendation.rejections
        ],
        hide_index=True,
    )
with st.expander("How the figures are known", icon=":material/science:", expanded=True):
    for note in notes:
        st.text(note)

st.caption("Take the comparison with you; html is one file to send to somebody.")
with st.container(horizontal=True):
    for kind, mime in _FILES.items():
        st.download_button(
            kind,
            partial(workbench.export, comparison, kind),
            f"{record.name}.{_ENDINGS.get(kind, kind)}",
            mime,
            icon=":material/download:",
            on_click="ignore",
        )
