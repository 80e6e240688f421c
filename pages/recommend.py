"""Ask what if: another margin, bar or objective than the declared one, judged at once on the answers there are."""

from functools import partial

import streamlit as st

import workbench
from pages._frame import added_up, begin, choose, chosen_run, forget, number, roomy, told
from workbench.certificate import certificate_text
from workbench.certificate_html import render_certificate
from workbench.comparison import COSTS, Comparison
from workbench.recommendation import Recommendation
from workbench.texts import NOT_MEASURED

_KEYS = ("metric", "margin", "confidence", "floor", "p50_seconds", "p95_seconds", "minimise")
_OBJECTIVES = {
    "joules": "energy",
    "tokens": "tokens",
    "seconds": "time",
    "dollars": "money",
    "grams_co2e": "CO2e",
}
_TABLES = {
    "csv": ("csv", "text/csv"),
    "json": ("json", "application/json"),
    "markdown": ("md", "text/markdown"),
    "html": ("html", "text/html"),
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
    "setup": st.column_config.TextColumn("Setup", width=300),
    "why": st.column_config.TextColumn("Why not", width=420),
    "open": st.column_config.TextColumn("", width=90),
    "quality": st.column_config.NumberColumn("Quality", format="%.3f", help="Mean of the metric that decides."),
    "cost": st.column_config.NumberColumn("Cost", format="%.3g", help="Mean per answer of what is to be small."),
    "configuration": "Configuration",
}


@st.cache_resource(max_entries=64, show_spinner=False)
def judged(_comparison: Comparison, goal: str, *version: float | str) -> Recommendation:
    """The recommendation for a goal, worked out once per version of the run; ``goal`` is its JSON."""
    return workbench.recommend(_comparison, workbench.changed_goal(_comparison.goal, {}, goal))


