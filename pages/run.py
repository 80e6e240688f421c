"""Start an experiment as a process of its own, and watch it."""

from datetime import timedelta

import streamlit as st

import workbench
from pages._frame import Colour, begin, choose, explained, keep
from workbench.launch import RunProgress

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


def watched(run: str, was_live: bool) -> None:
    """The progress of a run; drawn anew every second while it is under way."""
    with explained():
        progress = workbench.watch(run)
        if was_live and not progress.live:
            st.rerun()
        draw(progress)
        buttons(progress)
        if progress.log and progress.state in ("failed", "interrupted"):
            st.caption("The last lines of its log")
            st.code("\n".join(progress.log), language=None, wrap_lines=True)


def draw(progress: RunProgress) -> None:
    """State, figures, and how far each configuration is."""
    state = "stopping" if progress.stopping else "pausing" if progress.pausing else progress.state
    st.badge(state, color=_COLOURS.get(progress.state, "gray"))
    if progress.state in _MEANINGS:
        st.caption(_MEANINGS[progress.state])
    if progress.note:
        st.text(progress.note)
    if not progress.total:
        return
    share = min(progress.answers / progress.total, 1.0)
    st.progress(share, text=f"{progress.answers:,} of {progress.total:,} answers")
    energy, seconds = progress.joules, progress.seconds
    left, middle, right = st.columns(3)
    left.metric(
        "Energy so far (estimated)",
        "not measured" if energy is None else f"{energy.central:,.1f} J",
        help=None
        if energy is None
        else f"{energy.low:,.1f} to {energy.high:,.1f} J, from {energy.source.replace('_', ' ')}; answers and one-off work.",
    )
    middle.metric("Time running", "not known" if seconds is None else str(timedelta(seconds=round(seconds))))
    right.metric("Failed answers", f"{progress.failures:,}")
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
        if progress.answers:
            st.page_link("pages/compare.py", label="Compare its setups", icon=":material/scatter_plot:")
            st.page_link("pages/answers.py", label="Read its answers", icon=":material/quiz:")


beside = begin("Run")
names = [overview.record.name for overview in workbench.runs()]
asked = st.query_params.get("run", "")
if asked and asked not in names and workbench.launched(asked):
    names.insert(0, asked)
if names:
    with beside:
        name = choose("Run to watch", "run", names, always=True)
    with st.container(border=True):
        live = workbench.watch(name).live
        st.fragment(watched, run_every=1 if live else None)(name, live)

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
        if st.button("Start", type="primary", icon=":material/play_arrow:"):
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
