"""What the newest run found, in one look; the example run that ships with the project where there is none."""

from datetime import datetime

import streamlit as st

import workbench
from pages._frame import added_up, begin, choose, so_far, told, version_of
from workbench.charts import pareto
from workbench.comparison import Comparison
from workbench.recommendation import Recommendation

_RECENT = 6
_COLUMNS = 4
_START = "pages/experiment.py"


@st.cache_resource(show_spinner="Reading the example run")
def example_run() -> tuple[Comparison, Recommendation]:
    """The example run and its recommendation, read once."""
    comparison = workbench.example()
    return comparison, workbench.recommend(comparison)


def draw(comparison: Comparison, recommendation: Recommendation) -> None:
    """The verdict, the headline figures of its setup, the chart, and what the search took."""
    left, right = st.columns([2, 3], gap="medium")
    with left.container(border=True):
        told(recommendation)
    with right:
        st.altair_chart(pareto(comparison, comparison.goal.minimise, recommendation), width="stretch")
    if recommendation.chosen is not None:
        tiles(comparison, recommendation)
    st.markdown("**What the search took**")
    for sentence in workbench.search_sentences(comparison, recommendation):
        st.text(sentence)


def tiles(comparison: Comparison, recommendation: Recommendation) -> None:
    """The headline figures of the chosen setup, each with its range."""
    decided = recommendation.verdict == "decided"
    st.markdown(f"**Figures of the {'recommended' if decided else 'provisionally chosen'} setup**")
    figures = workbench.headlines(comparison, recommendation.chosen)
    for start in range(0, len(figures), _COLUMNS):
        for column, each in zip(st.columns(_COLUMNS), figures[start : start + _COLUMNS], strict=False):
            with column.container(border=True, height="stretch", gap=None, key=f"small range of {each.label}"):
                st.metric(each.label, each.value, help=each.known)
                st.text(each.range or each.known)


beside = begin("Overview")
overviews = workbench.runs()
answered = {overview.record.name: overview for overview in overviews if overview.answers}
if answered:
    with beside:
        overview = answered[choose("Run", "run", list(answered), always=True)]
    record = overview.record
    so_far(overview)
    draw(*added_up(*version_of(overview))[:2])
    with st.container(horizontal=True):
        for page, label, icon in (
            ("pages/compare.py", "Compare its setups", ":material/scatter_plot:"),
            ("pages/answers.py", "Read its answers", ":material/quiz:"),
            ("pages/recommend.py", "Ask what if, and take the setup along", ":material/recommend:"),
        ):
            st.page_link(page, label=label, icon=icon, query_params={"run": record.name})
else:
    with st.container(border=True):
        st.badge("Example run", color="violet", icon=":material/science:")
        st.markdown(
            "**Nothing here is yours yet.** What you see below is a real run of the demonstration experiment that ships "
            "with the project. It was measured on another machine; your models, your documents and your machine will "
            "give other figures."
        )
        with st.container(horizontal=True):
            if st.button("Make a run of your own", type="primary", icon=":material/rocket_launch:"):
                st.switch_page(_START)
            st.caption("From a terminal, `workbench demo` runs the demonstration here.")
    draw(*example_run())

if overviews:
    st.subheader("Recent runs", anchor=False)
    for overview in overviews[:_RECENT]:
        record = overview.record
        with st.container(border=True):
            name, state, size, when, links = st.columns([4, 1.3, 3, 2, 3], vertical_alignment="center")
            name.text(record.name)
            state.badge(record.state, color="green" if record.state == "finished" else "gray")
            size.text(f"{overview.configurations:,} setups, {overview.answers:,} answers")
            when.text(datetime.fromtimestamp(record.created).strftime("%Y-%m-%d %H:%M"))
            with links.container(horizontal=True):
                st.page_link("pages/run.py", label="Run", query_params={"run": record.name})
                if overview.answers:
                    st.page_link("pages/compare.py", label="Compare", query_params={"run": record.name})
                    st.page_link("pages/answers.py", label="Answers", query_params={"run": record.name})
    if len(overviews) > _RECENT:
        st.caption(f"And {len(overviews) - _RECENT:,} older ones: choose any of them at the top of a page.")
