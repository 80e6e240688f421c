"""Ask what if: another margin, bar or objective than the declared one, judged at once on the answers there are."""

from collections.abc import Callable
from functools import partial

import streamlit as st

import workbench
from pages._frame import (
    added_up,
    answered_run,
    begin,
    choose,
    explained,
    forget,
    number,
    roomy,
    so_far,
    told,
    version_of,
)
from workbench.certificate import certificate, certificate_text
from workbench.certificate_html import render_certificate
from workbench.charts import pareto
from workbench.comparison import Comparison
from workbench.recommendation import Goal, Recommendation
from workbench.texts import NOT_MEASURED

_KEYS = ("metric", "margin", "confidence", "floor", "p50_seconds", "p95_seconds", "minimise")
_OBJECTIVES = {
    "joules": "energy",
    "tokens": "tokens",
    "seconds": "time",
    "dollars": "money",
    "grams_co2e": "CO2e",
}
_JSON, _HTML = "application/json", "text/html"
_TABLES = {
    "csv": ("csv", "text/csv"),
    "json": ("json", _JSON),
    "markdown": ("md", "text/markdown"),
    "html": ("html", _HTML),
    "xlsx": ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
}
_CLAIMS = {
    "shown": "Shown?",
    "claim": st.column_config.TextColumn("Claim", width="large"),
    "alpha": st.column_config.NumberColumn("α", format="%.3g", help="The error that this claim may be wrong with."),
    "about": "About",
    "reference": st.column_config.TextColumn("Against", width="medium"),
    "difference": st.column_config.TextColumn("Difference", help="Chosen − reference, with its interval."),
    "questions": st.column_config.TextColumn("Questions asked"),
}
_SAVINGS = {
    "cost": "Per answer",
    "chosen": st.column_config.TextColumn("Chosen setup", alignment="right"),
    "reference": st.column_config.TextColumn("Reference", alignment="right"),
    "change": st.column_config.NumberColumn("Change", format="%+.0f %%"),
    "change_range": st.column_config.TextColumn("Interval", alignment="right", help="Paired over questions."),
    "questions": st.column_config.NumberColumn("Questions", help="That both setups answered."),
}
_OTHERS = {
    "setup": st.column_config.TextColumn("Setup", width=250),
    "why": st.column_config.TextColumn("Why not", width=545),
    "open": st.column_config.TextColumn("", width=78),
    "quality": st.column_config.NumberColumn(
        "Quality", format="%.3f", width=72, help="Mean of the metric that decides."
    ),
    "cost": st.column_config.NumberColumn(
        "Cost", format="%.3g", width=72, help="Mean per answer of what is to be small."
    ),
    "configuration": st.column_config.TextColumn("Configuration", width=100),
}


@st.cache_resource(max_entries=64, show_spinner=False)
def judged(_comparison: Comparison, _goal: Goal, *version: float | str) -> Recommendation:
    """The recommendation for a goal, worked out once per goal and version of the run, which ``version`` names."""
    return workbench.recommend(_comparison, _goal)


def wanted(comparison: Comparison) -> Goal:
    """The goal as the widgets have it; at first the declared one."""
    declared = comparison.goal
    objective = choose(
        "What should be small",
        "minimise",
        sorted(_OBJECTIVES, key=lambda unit: unit != declared.minimise),
        show=lambda unit: _OBJECTIVES[unit],
        pills=True,
    )
    columns = st.columns([2.4, 2.4, 2.4, 1.8, 1.8, 1.8], vertical_alignment="top")
    with columns[0]:
        margin = number(
            "Margin",
            "margin",
            declared.margin,
            low=0.0,
            high=max(0.3, declared.margin),
            step=0.005,
            slide=True,
            help="How much below the best score is still good enough.",
        )
    with columns[1]:
        metric = choose(
            "Metric that decides",
            "metric",
            sorted(comparison.matrix.scores, key=lambda name: name != declared.metric),
        )
    with columns[2]:
        confidence = number(
            "Confidence",
            "confidence",
            declared.confidence,
            low=min(0.6, declared.confidence),
            high=max(0.99, declared.confidence),
            step=0.01,
            slide=True,
            help="1 − α: how sure the claim must be.",
        )
    bounds = {}
    for column, label, key, first, low, high, step, help in (
        (columns[3], "Floor", "floor", declared.floor, 0.0, 1.0, 0.05, "The least acceptable score; empty: none."),
        *(
            (column, f"{name} at most (s)", f"{name}_seconds", declared.limits.get(f"{name}_seconds"), 0.001, 3600.0, 0.5,
             f"So many seconds within which {share} of answers must be; empty: no bound.")
            for column, name, share in ((columns[4], "p95", "95 %"), (columns[5], "p50", "half"))
        ),
    ):  # fmt: skip
        with column:
            bounds[key] = number(label, key, first, low=low, high=high, step=step, help=help)
    limits = {key: bounds[key] for key in ("p50_seconds", "p95_seconds") if bounds[key] is not None}
    changes = {"metric": metric, "margin": margin, "minimise": objective, "limits": limits}
    return workbench.changed_goal(declared, changes | {"confidence": confidence, "floor": bounds["floor"]})


def evidence(comparison: Comparison, recommendation: Recommendation) -> None:
    """What was shown and what not, what is saved, and why not the others."""
    st.subheader("Evidence", anchor=False)
    claims = workbench.claim_rows(recommendation)
    if claims:
        st.dataframe(claims, hide_index=True, column_config=_CLAIMS)
    savings = workbench.saving_rows(comparison, recommendation)
    if savings:
        st.markdown("**What the choice takes, against the reference**")
        st.dataframe(savings, hide_index=True, column_config=_SAVINGS)
        st.caption("Joules are estimated, as if each answer ran alone; what their range has in common cancels here.")
    st.markdown("**Why not the others**")
    rejections = workbench.rejection_rows(comparison, recommendation)
    if rejections:
        st.dataframe(rejections, hide_index=True, column_config=roomy(rejections, _OTHERS), placeholder=NOT_MEASURED)
        st.caption(f"Cost: {recommendation.goal.minimise.replace('_', ' ')} per answer.")
    else:
        st.caption("There is no other setup in this run.")


def downloads(comparison: Comparison, recommendation: Recommendation, *, at_work: bool) -> None:
    """The choice, its certificate, code that loads it, and the tables of the comparison, as files."""
    st.subheader("Take it with you", anchor=False)
    left, right = st.columns(2, gap="large")
    run = comparison.run
    with left:
        st.markdown("**The setup and its evidence**")
        with st.container(horizontal=True):
            if recommendation.chosen is not None:
                offered("setup.yaml", partial(workbench.setup_file, recommendation, comparison), "text/yaml")
            if not at_work:
                written = partial(certificate, recommendation, comparison)
                offered("certificate.json", lambda: certificate_text(written(workbench.Store(create=False))), _JSON)
                offered("certificate.html", lambda: render_certificate(written(workbench.Store(create=False))), _HTML)
        if at_work:
            st.caption("A certificate is of a run that has ended, or was stopped.")
        st.markdown("**The comparison**")
        with st.container(horizontal=True):
            for kind, (ending, mime) in _TABLES.items():
                offered(kind, partial(workbench.export, comparison, kind), mime, f"{run}.{ending}")
        st.caption(
            "These are of the whole run and its declared goal. A text that looks like a formula has an apostrophe in front."
        )
    with right:
        st.markdown("**Use the setup from LangChain**")
        if recommendation.chosen is None:
            st.caption("Nothing qualifies, so there is no setup to load.")
        else:
            st.code(workbench.snippet(), language="python", wrap_lines=True)
            offered("ask_setup.py", workbench.snippet, "text/x-python")


def offered(label: str, content: Callable[[], str | bytes], mime: str, file: str | None = None) -> None:
    """A button that makes its file when it is clicked."""
    st.download_button(label, content, file or label, mime, icon=":material/download:", on_click="ignore")


beside = begin("Recommend")
overview, _ = answered_run(beside, "choice appears")
record = overview.record
version = version_of(overview)
comparison, *_ = added_up(*version)
with st.container(border=True), explained("This goal cannot be judged."):
    goal = wanted(comparison)
recommendation = judged(comparison, goal, goal.model_dump_json(), *version)
if recommendation.exploratory:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.warning(
            "**Exploratory.** This is not the goal that was declared before the run, so that the choice is a hint for the "
            "next run and proves nothing: whoever tries goals until one fits will find one.",
            icon=":material/explore:",
            width="stretch",
        )
        st.button("Back to the declared goal", icon=":material/undo:", on_click=forget, args=_KEYS)
else:
    so_far(overview, "the choice is made on")
left, right = st.columns([2, 3], gap="medium")
with left.container(border=True):
    told(recommendation)
with right:
    st.altair_chart(pareto(comparison, goal.minimise, recommendation), width="stretch")
evidence(comparison, recommendation)
downloads(comparison, recommendation, at_work=record.state in ("running", "paused"))
