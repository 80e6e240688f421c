"""Start an experiment as a process of its own, and watch its race."""

from datetime import timedelta

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

import workbench
from pages._frame import Colour, begin, choose, explained, keep
from workbench.charts_race import load_strip, race_lanes
from workbench.launch import RunProgress
from workbench.standing import Lanes
from workbench.vitals import Outlook

_COLOURS: dict[str, Colour] = {
    "finished": "green",
    "running": "blue",
    "starting": "blue",
    "paused": "violet",
    "stopped": "orange",
    "interrupted": "orange",
    "failed": "red",
}
_MEANINGS = {
    "starting": "The process is loading what it needs.",
    "paused": "The process waits with its models loaded; waiting does not count as time running.",
    "failed": "The process ended before it could write anything.",
    "interrupted": "The process is gone without having finished. What was answered is stored.",
}
_UNITS = {
    "minutes": "minutes",
    "watt_hours": "watt hours (estimated)",
    "tokens": "tokens",
    "dollars": "dollars",
    "calls": "calls",
}
_LOOKS = 120  # of the process, kept for the strip
_TALL = 430  # pixels, from which on the lanes scroll


def watched(run: str, was_live: bool) -> None:
    """The progress of a run; drawn anew every other second while it is under way."""
    with explained():
        progress = workbench.watch(run)
        if was_live and not progress.live:
            st.rerun()
        outlook = workbench.outlook(progress) if progress.trials else None
        draw(progress, outlook)
        buttons(progress)
        if progress.live and progress.trials:
            draw_load(run)
        if progress.answers:
            draw_lanes(workbench.lanes(run))
        draw_trials(progress)
        if progress.log and progress.state in ("failed", "interrupted"):
            st.caption("The last lines of its log")
            st.code("\n".join(progress.log), language=None, wrap_lines=True)


def draw(progress: RunProgress, outlook: Outlook | None) -> None:
    """State, figures, budget, and how long it will still take."""
    state = "stopping" if progress.stopping else "pausing" if progress.pausing else progress.state
    st.badge(state, color=_COLOURS.get(progress.state, "gray"))
    if progress.state in _MEANINGS:
        st.caption(_MEANINGS[progress.state])
    if progress.note:
        st.text(progress.note)
    if not progress.total:
        return
    left = progress.total - progress.answers
    if progress.state == "finished" and left > 0:
        st.progress(1.0, text=f"{progress.answers:,} answers; {left:,} more were not asked")
    else:
        share = min(progress.answers / progress.total, 1.0)
        st.progress(share, text=f"{progress.answers:,} of {progress.total:,} answers")
    energy, seconds = progress.joules, progress.seconds
    places = st.columns(4 if progress.live else 3)
    places[0].metric(
        "Energy so far (estimated)",
        "not measured" if energy is None else f"{energy.central:,.1f} J",
        help=None
        if energy is None
        else f"{energy.low:,.1f} to {energy.high:,.1f} J, from {energy.source.replace('_', ' ')}; answers and one-off work.",
    )
    places[1].metric("Time running", "not known" if seconds is None else str(timedelta(seconds=round(seconds))))
    places[2].metric("Failed answers", f"{progress.failures:,}")
    if progress.live:
        draw_remaining(places[3], outlook)
    if outlook is not None and outlook.gauges:
        for place, gauge in zip(st.columns(max(len(outlook.gauges), 2)), outlook.gauges, strict=False):
            used = "not known" if gauge.used is None else f"{gauge.used:,.3g}"
            place.progress(
                0.0 if gauge.used is None else min(gauge.used / gauge.bound, 1.0) if gauge.bound else 1.0,
                text=f"Budget: {used} of {gauge.bound:,.4g} {_UNITS[gauge.unit]}",
            )


def draw_remaining(place: DeltaGenerator, outlook: Outlook | None) -> None:
    """How long it will still take, with its range."""
    remaining = None if outlook is None else outlook.remaining_seconds
    if outlook is None or remaining is None:
        place.metric("Time left", "not known yet", help="Known once answers have come in.")
        return
    low, central, high = (str(timedelta(seconds=round(seconds))) for seconds in remaining)
    note = " A race ends sooner when it is decided." if outlook.at_most else ""
    place.metric(
        "Time left, at most (estimated)" if outlook.at_most else "Time left (estimated)",
        central,
        help=f"{low} to {high}: everything that may still be asked, at the pace so far.{note}",
    )


def draw_load(run: str) -> None:
    """What the run's process uses, over the last minutes."""
    key = f"loads of {run}"
    loads = st.session_state.get(key, [])
    load = workbench.process_load(run, loads[-1] if loads else None)
    if load is None:
        return
    st.session_state[key] = loads = [*loads[-_LOOKS:], load]
    for place, what in zip(st.columns(3), ("cpu", "power", "memory"), strict=True):
        place.altair_chart(load_strip(loads, what), width="stretch", key=f"{what} of {run}")


def draw_lanes(lanes: Lanes) -> None:
    """The race: every configuration's score so far, narrowing; those out in grey."""
    st.markdown("**The race**" if lanes.raced else "**Scores so far**")
    st.caption(
        "Pick: the cheapest that is likely good enough. Leader: the best score, or the named reference. Grey: out, "
        "with the reason on hover and in the table. Intervals hold whenever you look, for the mean over these questions. "
        "J: per answer, estimated."
        if lanes.raced
        else "Every configuration answers every question. Intervals hold whenever you look, for the mean over these "
        "questions: they close when all are answered. J: per answer, estimated."
    )
    asked = sum(lane.score is not None for lane in lanes.lanes)
    with st.container(height=_TALL if asked > 13 else "content", border=False):
        st.altair_chart(race_lanes(lanes), width="stretch", key=f"lanes of {lanes.run}")


def draw_trials(progress: RunProgress) -> None:
    """How far each configuration is, and why those that are out are out."""
    if not progress.trials:
        return
    st.dataframe(
        [
            {
                "setup": trial.configuration.label,
                "progress": 100 * trial.answers / trial.total if trial.total else 0.0,
                "answers": f"{trial.answers} of {trial.total}",
                "failed": trial.failures,
                "configuration": trial.configuration.id,
                "state": f"{trial.state}: {trial.reason}" if trial.reason else trial.state,
            }
            for trial in progress.trials
        ],
        hide_index=True,
        column_config={
            "setup": st.column_config.TextColumn("Setup", width=300),
            "progress": st.column_config.ProgressColumn("Progress", min_value=0, max_value=100, format="%d %%"),
            "answers": "Answers",
            "failed": "Failed",
            "configuration": "Configuration",
            "state": st.column_config.TextColumn("State", width=320),
        },
    )


def buttons(progress: RunProgress) -> None:
    """What can be done with a run in its state."""
    with st.container(horizontal=True, vertical_alignment="center"):
        if progress.state in ("running", "paused") and st.button(
            "Stop the run", icon=":material/stop_circle:", disabled=progress.stopping
        ):
            workbench.stop(progress.run)
            st.rerun()
        if progress.state == "running" and st.button("Pause", icon=":material/pause:", disabled=progress.pausing):
            workbench.pause(progress.run)
            st.rerun()
        if progress.state == "paused" and st.button("Go on", icon=":material/resume:", type="primary"):
            workbench.resume(progress.run)
            st.rerun()
        ended = progress.state in ("stopped", "interrupted", "failed") and progress.total and not progress.live
        if ended and st.button("Continue", icon=":material/resume:", type="primary"):
            workbench.resume(progress.run)
            st.rerun()
        lost = any(trial.state == "incomplete" for trial in progress.trials)
        if not progress.live and lost and st.button("Try failed answers again", icon=":material/replay:"):
            workbench.resume(progress.run, retry_failed=True)
            st.rerun()
        if progress.trials and progress.state != "finished":
            with st.popover("Budget", icon=":material/savings:"):
                change_budget(progress.run)
        if progress.answers:
            st.page_link("pages/compare.py", label="Compare its setups", icon=":material/scatter_plot:")
            st.page_link("pages/answers.py", label="Read its answers", icon=":material/quiz:")


def change_budget(run: str) -> None:
    """Bounds that can be changed while the run is going on, or before it is continued."""
    in_force = workbench.budget(run, {})
    with st.form(f"budget of {run}", border=False):
        st.caption("Where the run stops by itself; an empty field is no bound. A run at work follows within a second.")
        wanted = {
            unit: st.number_input(label.capitalize(), min_value=0.0, value=_number(bound), key=f"{unit} of {run}")
            for unit, label in _UNITS.items()
            for bound in [getattr(in_force, unit)]
        }
        if st.form_submit_button("Set the budget", type="primary"):
            with explained("The budget was not changed."):
                workbench.budget(run, {unit: _whole(amount) for unit, amount in wanted.items()})
                st.rerun()


def _number(bound: float | None) -> float | None:
    return None if bound is None else float(bound)


def _whole(amount: float | None) -> float | int | None:
    return int(amount) if amount is not None and amount == int(amount) else amount


beside = begin("Run")
names = [overview.record.name for overview in workbench.runs()]
asked = st.query_params.get("run") or st.session_state.get("last run", "")
if asked and asked not in names and workbench.launched(asked):
    names.insert(0, asked)
if names:
    with beside:
        name = choose("Run to watch", "run", names, always=True)
    with st.container(border=True):
        live = workbench.watch(name).live
        st.fragment(watched, run_every=2 if live else None)(name, live)

st.subheader("Start a run", anchor=False)
experiments = workbench.experiments()
if not experiments:
    st.info(
        "There is no experiment file yet: put one at `evals/NAME/experiment.yaml` in this folder.",
        icon=":material/description:",
    )
    st.stop()
left, right = st.columns([2, 3], gap="large")
with left:
    experiment = choose("Experiment", "experiment", sorted(experiments))
    with explained("The run was not started."):
        free = workbench.free_name(experiment)
        name = st.text_input("Name of the run", free, max_chars=200, key=f"name of a run of {experiment}, {free}")
        # The second click of two is for a button that is gone with the first: it starts nothing.
        if st.button("Start", type="primary", icon=":material/play_arrow:", key=f"start {free}"):
            workbench.start(experiments[experiment], name)
            keep("run", name.strip())
            st.rerun()
    st.caption(
        "A run is a process of its own: closing this page changes nothing for it. A name that exists continues that run."
    )
with right, explained("This experiment file cannot be run as it is."):
    described = workbench.outline(workbench.read_experiment(experiments[experiment]))
    st.dataframe(
        [{"what": what, "value": value} for what, value in described.items()],
        hide_index=True,
        height="content",
        column_config={
            "what": st.column_config.TextColumn("Setting", width=120),
            "value": st.column_config.TextColumn("Value", width=500),
        },
    )
