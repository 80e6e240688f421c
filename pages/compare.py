"""The recommendation, the table behind it, and quality against cost."""

from functools import partial

import streamlit as st

import workbench
from pages._frame import added_up, begin, choose, chosen_run, roomy, told
from workbench.charts import pareto
from workbench.comparison import winners

_FILES = {"csv": "text/csv", "json": "application/json", "markdown": "text/markdown", "html": "text/html"}
_ENDINGS = {"markdown": "md"}
_COLUMNS = {
    "setup": st.column_config.TextColumn("Setup", pinned=True, width=300),
    "role": st.column_config.TextColumn(
        "Role", width=130, help="What it is in the choice; frontier: nothing else is both better and cheaper."
    ),
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


beside = begin("Compare")
overviews = {overview.record.name: overview for overview in workbench.runs()}
overview = overviews[chosen_run(list(overviews), beside)]
record = overview.record
if not overview.answers:
    st.info("This run has no answer yet; its figures appear here as they come.", icon=":material/hourglass_top:")
    st.page_link("pages/run.py", label="Watch it", icon=":material/play_circle:")
    st.stop()
comparison, recommendation = added_up(record.name, record.created, record.updated, overview.answers)
if record.state != "finished":
    st.info(
        f"This run is {record.state}: figures are of the {overview.answers:,} answers stored so far.",
        icon=":material/hourglass_top:",
    )

left, right = st.columns([2, 3], gap="medium")
with left.container(border=True):
    told(recommendation)
with right:
    costs = sorted(("joules", "tokens", "seconds"), key=lambda unit: unit != comparison.goal.minimise)
    cost = choose("Cost", "cost", costs, pills=True)
    st.altair_chart(pareto(comparison, cost, recommendation), width="stretch")

best = winners(comparison)
if len({figures.configuration.id for figures in best.values()}) > 1:
    with st.container(border=True):
        st.markdown("**Metrics disagree on the best setup**")
        shown = ((metric, figures, figures.scores[metric]) for metric, figures in best.items())
        st.dataframe(
            [
                {"Metric": metric, "Best setup": figures.configuration.label, "Mean": score.mean if score else None}
                for metric, figures, score in shown
            ],
            hide_index=True,
            column_config={"Mean": st.column_config.NumberColumn(format="%.3f")},
        )

rows = workbench.comparison_rows(comparison, recommendation)
deciding = {"quality": st.column_config.TextColumn(comparison.goal.metric, help="Decides; with its interval.")}
others = {key: key.partition(":")[2] for key in rows[0] if ":" in key}
st.dataframe(rows, hide_index=True, column_config=roomy(rows, _COLUMNS | deciding | others), placeholder="not measured")

with st.expander("Why not the others", icon=":material/balance:"):
    st.dataframe(
        [
            {"Setup": each.configuration.label, "Why not": each.reason, "Configuration": each.configuration.id}
            for each in recommendation.rejections
        ],
        hide_index=True,
    )
with st.expander("How the figures are known", icon=":material/science:", expanded=True):
    for note in workbench.notes(comparison):
        st.text(note)

st.caption("Take the comparison with you")
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
