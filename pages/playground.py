"""Ask one question of up to three setups, one after the other, and see what each answer takes."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

import workbench
from pages._frame import added_up, begin, choose, explained, keep, version_of
from workbench.playground import LONGEST_QUESTION, MOST_SETUPS, Asked, Told, figures, setup_files
from workbench.reports import RunOverview

_LEDGER = {
    "stage": "Stage",
    "seconds": st.column_config.NumberColumn("Seconds", format="%.4f"),
    "tokens_in": st.column_config.TextColumn("Tokens in", alignment="right"),
    "tokens_cached": st.column_config.TextColumn("of them cached", alignment="right"),
    "tokens_out": st.column_config.TextColumn("Tokens out", alignment="right"),
    "joules": st.column_config.NumberColumn("J (estimated)", format="%.3g"),
    "energy_source": "Known by",
    "cpu_seconds": None,
    "joules_low": None,
    "joules_high": None,
}
Results = dict[int, Told | str]


def setups_of(run: str) -> dict[str, tuple[str, Asked]]:
    """What can be asked, by a key for the address: the run's configurations, then setup files; each with its label."""
    found = {}
    if run:
        for trial in workbench.watch(run).trials:
            configuration = trial.configuration
            found[configuration.id] = (configuration.label, Asked(run=run, configuration=configuration.id))
    return found | {file: (file, Asked(file=file)) for file in setup_files()}


def first_setups(overview: RunOverview | None, known: Mapping[str, tuple[str, Asked]]) -> list[str]:
    """What one most likely wants to ask: the recommended setup beside the best-scoring one, as soon as there are answers."""
    found = []
    if overview is not None and overview.answers:
        _, recommendation, _ = added_up(*version_of(overview))
        both = (recommendation.chosen, recommendation.reference)
        found = list(dict.fromkeys(each.id for each in both if each is not None and each.id in known))
    return found or list(known)[:1]


def chosen_setups(known: Mapping[str, tuple[str, Asked]], first: list[str]) -> list[str]:
    """Up to three of them, kept in the address."""
    named = [key for key in st.query_params.get("setups", "").split(",") if key in known]
    chosen = st.multiselect(
        "Setups",
        list(known),
        named[:MOST_SETUPS] or first,
        format_func=lambda key: f"{known[key][0]} [{key}]" if key != known[key][0] else key,
        max_selections=MOST_SETUPS,
        key=f"setups of {','.join(known)}"[:200],
        help="They answer one after the other, so that none disturbs the figures of another.",
    )
    keep("setups", ",".join(chosen))
    return chosen


def edited(run: str, chosen: list[str]) -> str | None:
    """The prompt's text, if it is to be another one this once."""
    prompts = {
        trial.configuration.id: trial.configuration["prompt"]
        for trial in (workbench.watch(run).trials if run else ())
        if trial.configuration["model"] != "none"
    }
    prompt = next((prompts[key] for key in chosen if key in prompts), None)
    with st.expander("Edit the prompt for this question", icon=":material/edit:"):
        use = st.toggle("Ask with this text in place of the setups' own prompts", key="edit prompt")
        with explained("The prompt cannot be read."):
            text = st.text_area(
                "Prompt template", workbench.prompt_text(prompt or "terse"), height=300, key=f"template {prompt}",
                help="Sections [system], [context] and [user], as in the files of workbench/prompts.",
            )  # fmt: skip
            return text if use else None
    return None


def asking(question: str, chosen: list[tuple[str, Asked]], template: str | None) -> Results:
    """Ask them all; what each says appears as it comes."""
    worker = st.session_state.setdefault("playground worker", workbench.Playground())
    results: Results = {}
    said = dict.fromkeys(range(len(chosen)), "")
    places = []
    for column, (label, _) in zip(st.columns(len(chosen)), chosen, strict=True):
        with column.container(border=True):
            st.text(label)
            places.append((st.empty(), st.empty()))
    for text, state in places:
        text.text("")
        state.caption("waits for its turn")
    for event in worker.ask(question, [asked for _, asked in chosen], template=template):
        text, state = places[event.setup]
        if event.kind == "loading":
            state.caption("answers" if not event.text else "loads")
        elif event.kind == "piece":
            said[event.setup] += event.text
            text.text(said[event.setup])
        else:
            results[event.setup] = event.reply or event.text
            state.caption("done")
    return results


def draw(label: str, result: Told | str) -> None:
    """One setup's answer with what it took, or why there is none."""
    with st.container(border=True):
        st.text(result.label if isinstance(result, Told) else label)
        if isinstance(result, str):
            st.error("This setup could not be asked.", icon=":material/error:")
            st.text("\n".join(f"• {problem}" for problem in result.splitlines()))
            return
        if result.failure:
            st.error("No answer.", icon=":material/error:")
            st.text(result.failure)
        else:
            st.code(
                result.text or "no passage was found, so there is nothing to answer from",
                language=None,
                wrap_lines=True,
            )
        left, right = st.columns(2)
        for number, (name, value, known) in enumerate(figures(result)):
            with (left, right)[number % 2]:
                st.caption(name, help=known)
                st.text(value)
        for note in result.notes:
            st.text(f"• {note}")
        with st.expander(f"Passages used: {len(result.passages)}"):
            for passage in result.passages:
                chunk = passage.chunk
                st.text(
                    f"{passage.rank}. {chunk.document_id}, characters {chunk.start:,} to {chunk.end:,}, "
                    f"score {passage.score:.3f}"
                )
                st.code(chunk.text, language=None, wrap_lines=True)
        if result.prompt:
            with st.expander("Prompt as sent"):
                st.code(result.prompt, language=None, wrap_lines=True, height=300)
        with st.expander("What it took, by stage"):
            st.dataframe(list(result.rows), hide_index=True, column_config=_LEDGER, placeholder="not measured")


def adding(question: str, results: Results) -> None:
    """Keep the question for later runs."""
    with st.expander("Add this question to an evaluation set", icon=":material/playlist_add:"):
        sets = workbench.own_evalsets()
        if not sets:
            st.text("This folder has no evaluation set of its own yet: import data on the page Experiment.")
            return
        left, right = st.columns([1, 2])
        evalset = left.selectbox("Evaluation set", sets, key="add to")
        unanswerable = left.checkbox("The documents do not hold the answer", key="add unanswerable")
        said = [each.text for each in results.values() if isinstance(each, Told) and each.text]
        answers = right.text_area(
            "Accepted answers, one a line", key=f"accepted for {question}", disabled=unanswerable,
            placeholder="\n".join(said[:1]), max_chars=LONGEST_QUESTION,
        )  # fmt: skip
        accepted = [] if unanswerable else [line for line in answers.splitlines() if line.strip()]
        if st.button("Add", icon=":material/add:", disabled=not accepted and not unanswerable):
            with explained("The question was not added."):
                id = workbench.add_question(evalset, question, accepted)
                st.success("Added; the next run of this set asks it.", icon=":material/task_alt:")
                st.text(f"{evalset}, question {id}")


beside = begin("Playground")
overviews = {overview.record.name: overview for overview in workbench.runs() if overview.configurations}
run = ""
if overviews:
    with beside:
        run = choose("Run", "run", list(overviews), always=True)
known = setups_of(run)
if not known:
    st.info(
        "There is no setup to ask yet: those of a run appear here, and setup files of this folder.",
        icon=":material/rocket_launch:",
    )
    st.page_link("pages/run.py", label="Start a run", icon=":material/play_circle:")
    st.stop()
chosen = chosen_setups(known, first_setups(overviews.get(run), known))
question = st.text_area("Question", key="question", height=80, max_chars=LONGEST_QUESTION)
template = edited(run, chosen)
state: dict[str, Any] = st.session_state
if st.button("Ask", type="primary", icon=":material/send:", disabled=not chosen or not question.strip()):
    place = st.empty()
    with place.container(), explained("The question was not answered."):
        state.pop("asked", None)
        results = asking(question, [known[key] for key in chosen], template)
        state["asked"] = (question, [known[key][0] for key in chosen], results)
        place.empty()
if "asked" not in state:
    st.caption(
        "The setups answer in turn, in a process apart from this page; tokens, time and joules appear under each answer."
    )
else:
    asked, labels, results = state["asked"]
    st.text(asked)
    for column, (number, label) in zip(st.columns(len(labels)), enumerate(labels), strict=True):
        with column:
            draw(label, results.get(number, "it said nothing; ask again"))
    adding(asked, results)
