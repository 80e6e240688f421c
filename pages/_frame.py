"""What every page shares: errors as sentences, choices that live in the address, the first steps when there is no run.

Texts of users, corpora and models go to the page through ``st.text``, ``st.code`` and data frames only: labels, alerts
and captions would read them as Markdown.
"""

import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from platform import python_version
from typing import Any, Literal

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

import workbench
from workbench.app_process import load
from workbench.comparison import Comparison
from workbench.recommendation import Recommendation
from workbench.reports import RunOverview

load()  # before any page: sessions are threads, and Altair uses a pandas that another one has only half imported

# Drawn here, because Streamlit fetches its own icons for a browser's tab from the network.
ICON = """<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64" viewBox="0 0 64 64">
<rect width="64" height="64" rx="12" fill="#0072b2"/>
<path d="M10 50H26V34H42V18H56" fill="none" stroke="#fff" stroke-width="4" stroke-dasharray="8 5"/>
<circle cx="26" cy="34" r="8" fill="#e69f00"/><circle cx="46" cy="46" r="5" fill="#fff"/>
</svg>"""

Colour = Literal["green", "blue", "orange", "red", "gray", "violet"]

VERDICTS: dict[str, tuple[str, Colour]] = {
    "decided": ("Decided", "green"),
    "undecided": ("Undecided", "orange"),
    "nothing qualifies": ("Nothing qualifies", "red"),
}

_STYLE = """<style>
.stMainBlockContainer {padding-top: 4.5rem; padding-bottom: 3rem}
[class*="st-key-headline"] .stText p, [class*="st-key-headline"] .stText {font-size: 1.2rem; line-height: 1.45; font-weight: 600}
[class*="st-key-small"] .stText {font-size: 0.85rem; opacity: 0.8}
</style>"""

_framed: ContextVar[bool] = ContextVar("framed", default=False)


def show() -> None:
    """The app: the page of the address, each page at the name of its file; the root leads to the first."""
    st.set_page_config(page_title="RAG workbench", page_icon=ICON, layout="wide")
    pages = [
        st.Page(_to_the_first, default=True, visibility="hidden"),
        st.Page("pages/overview.py", title="Overview", url_path="overview", icon=":material/home:"),
        st.Page("pages/experiment.py", title="Experiment", url_path="experiment", icon=":material/science:"),
        st.Page("pages/run.py", title="Run", url_path="run", icon=":material/play_circle:"),
        st.Page("pages/compare.py", title="Compare", url_path="compare", icon=":material/scatter_plot:"),
        st.Page("pages/answers.py", title="Answers", url_path="answers", icon=":material/quiz:"),
        st.Page("pages/playground.py", title="Playground", url_path="playground", icon=":material/forum:"),
        st.Page("pages/recommend.py", title="Recommend", url_path="recommend", icon=":material/recommend:"),
        st.Page("pages/footprint.py", title="Footprint", url_path="footprint", icon=":material/eco:"),
    ]
    with explained():
        st.navigation(pages, position="top").run()


def _to_the_first() -> None:
    st.switch_page("pages/overview.py")


def begin(title: str) -> DeltaGenerator:
    """A page's heading; returns the place beside it, for the choice of the run.

    Streamlit takes a folder named ``pages`` for its old kind of app until ``st.navigation`` is called once: a link that
    opens a page first of all runs that page without ``app.py``. Then the page is shown within the app from here.
    """
    if not _framed.get():
        show()
        st.stop()
    st.html(_STYLE)
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    left.title(title, anchor=False)
    return right


@contextmanager
def explained(summary: str = "This did not work.") -> Iterator[None]:
    """Show what goes wrong inside as sentences with a next step, under a summary; no traceback reaches the page."""
    outer = _framed.set(True)
    try:
        yield
    except workbench.WorkbenchError as error:
        st.error(summary, icon=":material/error:")
        st.text("\n".join(f"• {problem}" for problem in str(error).splitlines()))
    except Exception as error:
        traceback.print_exc()
        st.error(
            "The app made a mistake. Reload the page; if it stays, report it with the details below.",
            icon=":material/bug_report:",
        )
        st.caption("Copy details with the button in the corner of the box.")
        st.code(_details(error), language=None, wrap_lines=True)
    finally:
        _framed.reset(outer)


def _details(error: Exception) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"{type(error).__name__}: {error}\n"
        f"in {where.name}, {where.filename}:{where.lineno}\n"
        f"rag-workbench {workbench.__version__}, streamlit {st.__version__}, Python {python_version()}, {sys.platform}"
    )


def choose(
    label: str,
    key: str,
    options: Sequence[str],
    *,
    show: Callable[[str], str] = str,
    pills: bool = False,
    always: bool = False,
) -> str:
    """One of the options, kept in the address under ``key`` and from page to page; the first where none is named.

    The first is left out of the address, unless ``always``: every entry there is one more step for the back button.
    """
    widget, memory = f"choice of {key}", f"last {key}"
    wanted = st.query_params.get(key) or st.session_state.get(memory)
    if key in st.query_params and wanted not in options and memory not in st.session_state:
        st.warning(f"The link names a {key} that is not here. This is another one.", icon=":material/link_off:")
    st.session_state[widget] = wanted if wanted in options else options[0]
    first = None if always else options[0]

    def changed() -> None:
        keep(key, st.session_state[widget], first)

    if pills:
        chosen = st.segmented_control(label, options, key=widget, format_func=show, on_change=changed)
    else:
        chosen = st.selectbox(label, options, key=widget, format_func=show, on_change=changed)
    keep(key, chosen or options[0], first)
    return chosen or options[0]


def keep(key: str, value: str | None, first: str | None = None) -> None:
    """Put a value into the address, or take it out where it is what one sees first anyway."""
    if value is None:
        return
    st.session_state[f"last {key}"] = value  # before the address: there a second click may end this pass over the page
    if value == first:
        st.query_params.pop(key, None)
    elif st.query_params.get(key) != value:
        st.query_params[key] = value


def number(
    label: str,
    key: str,
    first: float | None,
    *,
    low: float,
    high: float,
    step: float,
    help: str | None = None,
    slide: bool = False,
) -> float | None:
    """A number kept in the address under ``key`` and from page to page; ``first``, which may be none, is left out of it."""
    widget = f"choice of {key}"
    asked = st.query_params.get(key) or st.session_state.get(f"last {key}") or _written(first)
    try:
        value = None if asked == _written(None) else float(asked)
        if value is not None and not low <= value <= high:
            raise ValueError
    except ValueError:
        st.warning(f"The link names a {key} that is no number from {low:g} to {high:g}.", icon=":material/link_off:")
        value = first
    st.session_state[widget] = value

    def changed() -> None:
        keep(key, _written(st.session_state[widget]), _written(first))

    chosen: float | None
    if slide:
        chosen = st.slider(label, low, high, step=step, format="%g", key=widget, help=help, on_change=changed)
    else:
        chosen = st.number_input(
            label, low, high, None, step, "%g", widget, help, changed, placeholder=None if first else "none"
        )
    keep(key, _written(chosen), _written(first))
    return chosen


def _written(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


def forget(*keys: str) -> None:
    """Take values out of the address and out of what goes from page to page, so that what stood there first is back."""
    for key in keys:
        st.query_params.pop(key, None)
        st.session_state.pop(f"last {key}", None)


def told(recommendation: Recommendation) -> None:
    """A recommendation in words: its badge, the first sentence large, then the others."""
    word, colour = VERDICTS[recommendation.verdict]
    with st.container(horizontal=True):
        st.badge(word, color=colour)
        if recommendation.exploratory:
            st.badge("Exploratory", color="violet", icon=":material/explore:")
    first, *others = workbench.sentences(recommendation)
    with st.container(key=f"headline of {recommendation.run}"):
        st.text(first)
    if others:
        st.text("\n\n".join(others))


def chosen_run(runs: Sequence[str], place: DeltaGenerator) -> str:
    """The run that a page is about; without any, the page says what to do first and ends."""
    if not runs:
        st.info(
            "There is no run yet. Start one, and its figures appear here while it is going on.",
            icon=":material/rocket_launch:",
        )
        st.page_link("pages/run.py", label="Start a run", icon=":material/play_circle:")
        st.caption("From a terminal, `workbench demo` runs the demonstration.")
        st.stop()
    with place:
        return choose("Run", "run", runs, always=True)


def answered_run(place: DeltaGenerator, awaited: str) -> tuple[RunOverview, dict[str, RunOverview]]:
    """The run that a page is about, once it has answers, and all runs by name; without, the page says what to do and ends."""
    overviews = {overview.record.name: overview for overview in workbench.runs()}
    overview = overviews[chosen_run(list(overviews), place)]
    if not overview.answers:
        st.info(f"This run has no answer yet; its {awaited} here as they come.", icon=":material/hourglass_top:")
        name = overview.record.name
        st.page_link("pages/run.py", label="Watch it", icon=":material/play_circle:", query_params={"run": name})
        st.stop()
    return overview, overviews


def version_of(overview: RunOverview) -> tuple[str, float, float, int]:
    """What a run is called and all that changes when it does: what is worked out of it is kept under this."""
    return overview.record.name, overview.record.created, overview.record.updated, overview.answers


def so_far(overview: RunOverview, said: str = "figures are of") -> None:
    """Say of a run that is not finished that it is not."""
    if overview.record.state != "finished":
        st.info(
            f"This run is {overview.record.state}: {said} the {overview.answers:,} answers stored so far.",
            icon=":material/hourglass_top:",
        )


@st.cache_resource(max_entries=8, show_spinner="Adding up the run")
def added_up(run: str, *version: float) -> tuple[Comparison, Recommendation, list[str]]:
    """The comparison of a run, its recommendation and notes, worked out once per version of the run, for all pages."""
    comparison = workbench.compare(run)
    return comparison, workbench.recommend(comparison), workbench.notes(comparison)


def roomy(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Any]) -> dict[str, Any]:
    """Column settings with room for the words "not measured" where a cell will say so."""
    silent = {key for row in rows for key, value in row.items() if value is None}
    return {
        key: {**column, "width": 115} if key in silent and isinstance(column, dict) else column
        for key, column in columns.items()
    }
