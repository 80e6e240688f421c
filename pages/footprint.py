"""What the chosen setup takes where it will run: energy, CO2e, water, money, the regions ranked, and how it is known."""

import streamlit as st

import workbench
from pages._frame import Colour, added_up, answered_run, begin, choose, explained, version_of
from workbench.comparison import Comparison
from workbench.impacts import RANKED
from workbench.outlays import setup_of
from workbench.region_report import REGION_COLUMNS, region_notes, region_rows

_COUNTS = {"1,000": 1_000, "1 million": 1_000_000}
_OVER = {"left out": None, "over 1,000": 1_000, "over 100,000": 100_000, "over 1 million": 1_000_000}
_STATES: dict[str, tuple[str, Colour]] = {
    "ok": ("here", "green"),
    "missing": ("not here", "gray"),
    "bad": ("wrong", "red"),
}
_PROVIDERS = {"all clouds": None, **{each: each for each in RANKED}}


@st.cache_data(ttl=600, show_spinner="Looking at this machine")
def energy_findings() -> list[dict[str, str]]:
    """What can be measured here, and how."""
    return [
        {"what": each.what, "state": each.state, "detail": each.detail, "advice": each.advice}
        for each in workbench.check()
        if each.what in ("energy", "best meter here", "meters that there are not") or each.what.startswith("meter ")
    ]


def draw_outlays(comparison: Comparison, configuration: str) -> None:
    """Energy, CO2e, water and money of so many answers, each with its range."""
    left, right = st.columns([2, 3], vertical_alignment="bottom")
    with left:
        answers = _COUNTS[choose("Answers", "answers", list(_COUNTS), pills=True)]
    with right:
        over = _OVER[choose("Loading the model and building the index", "over", list(_OVER), pills=True)]
    found = workbench.footprint_of_setup(comparison, configuration, answers, over_answers=over)
    for place, each in zip(st.columns(len(found)), found, strict=True):
        with place.container(border=True, height="stretch"):
            st.metric(each.what, each.text, help=f"Estimated: {each.known}." if each.amount is not None else None)
            st.caption(each.range or ("no range: it is exact" if each.amount is not None else "no figure"))
    if over is not None:
        st.caption(f"With one loading of the model and one building of the index, spread over {over:,} answers.")


def draw_regions(run: str, configuration: str) -> None:
    """Where the same answers would take least CO2e."""
    provider = choose("Regions of", "provider", list(_PROVIDERS))
    with explained("Regions cannot be ranked."):
        ranking = workbench.regions(run, provider=_PROVIDERS[provider], configuration=configuration)
        st.dataframe(
            [dict(zip(REGION_COLUMNS, row, strict=True)) for row in region_rows(ranking)],
            hide_index=True,
            height=360,
            column_config={
                "region": st.column_config.TextColumn("Region", pinned=True),
                "place": st.column_config.TextColumn("Place", width=190),
                "grid": st.column_config.TextColumn("Grid data", width=260),
            },
        )
        with st.expander("How the ranking is known", icon=":material/science:", expanded=True):
            for note in region_notes(ranking):
                st.text(note)


beside = begin("Footprint")
overview, _ = answered_run(beside, "footprint appears")
record = overview.record
comparison, recommendation, notes = added_up(*version_of(overview))
chosen = setup_of(comparison, recommendation)
labels = {each.configuration.id: each.configuration.label for each in comparison.figures}
order = sorted(labels, key=lambda key: key != chosen)
configuration = choose("Setup", "configuration", order, show=lambda key: f"{labels[key]} [{key}]")
if configuration == chosen:
    st.caption("The setup that this run recommends, or the cheapest where none qualifies.")

draw_outlays(comparison, configuration)
site = comparison.site
if site is not None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge("where", color="gray", icon=":material/location_on:")
        st.text(f"{site.region.place or site.region.name}; building: {site.facility.place}")
if comparison.of(configuration).joules is None:
    st.info(
        "The energy of this setup was not measured, so no region can be ranked for it; choose another.",
        icon=":material/bolt:",
    )
else:
    st.subheader("Regions, least CO2e first", anchor=False)
    draw_regions(record.name, configuration)

st.subheader("How the figures are known", anchor=False)
for note in notes:
    st.text(note)
st.subheader("What can be metered on this machine", anchor=False)
st.caption("Of the machine this app runs on, now; a run says above what it was measured with.")
for finding in energy_findings():
    left, right = st.columns([1, 10])
    word, colour = _STATES[finding["state"]]
    left.badge(word, color=colour)
    right.text("\n".join([f"{finding['what']}: {finding['detail']}", *filter(None, [finding["advice"]])]))
