"""Make an experiment: choose or bring data, what to try and what decides; see what it takes; save it and start it."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

import workbench
from pages._frame import begin, choose, explained, keep
from workbench.forms import (
    UPLOAD_MEGABYTES,
    UPLOAD_TYPES,
    Field,
    axis_fields,
    budget_fields,
    columns_of,
    compose,
    corpora,
    entries,
    evalsets,
    experiment_text,
    goal_fields,
    parameter_fields,
    region_names,
    strategy_fields,
)
from workbench.plans import Plan

_OPEN = ("Model and prompt", "Finding passages")


def draw_findings(found: Sequence[Any]) -> None:
    """What a check says of data, what is bad first."""
    bad = [each for each in found if each.state == "bad"]
    if bad:
        st.warning(f"{len(bad):,} findings should be mended before anything is measured.", icon=":material/rule:")
    else:
        st.success("Nothing is wrong with this data.", icon=":material/task_alt:")
    for each in dict.fromkeys([*bad, *found]):
        st.text(f"{'✗' if each.state == 'bad' else '✓'} {each.what}: {each.detail}")


def upload() -> None:
    """Drop files, name them, import them; what is wrong with them stands below."""
    limits = {"type": list(UPLOAD_TYPES), "max_upload_size": UPLOAD_MEGABYTES}
    left, right = st.columns(2)
    documents = left.file_uploader(
        "Documents",
        accept_multiple_files=True,
        key="uploaded documents",
        help="documents.jsonl, CSV or TSV with a header, SQuAD JSON, a BEIR set, or any number of texts: md, txt, html, pdf.",
        **limits,
    )
    questions = right.file_uploader(
        "Questions, if they are not with the documents",
        accept_multiple_files=True,
        key="uploaded questions",
        help="questions.jsonl, CSV or TSV with the columns question and answers.",
        **limits,
    )
    left, middle, right = st.columns(3)
    name = left.text_input("Name of the data", key="upload name", placeholder="our-handbook", max_chars=100)
    licence = middle.text_input("Licence", key="upload licence", placeholder="not stated", max_chars=200)
    columns = right.text_input(
        "Columns named otherwise",
        key="upload columns",
        placeholder="text=body, question=ask",
        help="Only for CSV, TSV and JSON lines: our field and the file's column.",
    )
    replace = st.checkbox("Replace data of that name", key="upload replace")
    if st.button("Import", icon=":material/upload_file:", disabled=not documents):
        with explained("These files were not imported; nothing was written."), st.spinner("Reading the files"):
            imported = workbench.import_upload(
                [(each.name, each.getvalue()) for each in documents or ()],
                name.strip(),
                questions=[(each.name, each.getvalue()) for each in questions or ()],
                licence=licence,
                columns=columns_of(columns) or None,
                force=replace,
            )
            st.session_state["imported"] = imported, workbench.check([imported.name])
            if imported.splits:
                keep("from", imported.name)
            st.rerun()
    if "imported" in st.session_state:
        imported, found = st.session_state["imported"]
        asked = ", ".join(f"{count:,} {split}" for split, count in imported.splits.items()) or "none"
        st.text(f"{imported.name}: {imported.documents:,} documents; questions: {asked}")
        for note in imported.notes:
            st.text(f"• {note}")
        draw_findings(found)


def several(field: Field, key: str, default: Sequence[str]) -> list[str]:
    """Values to try."""
    return st.multiselect(
        field.label,
        list(dict.fromkeys([*field.options, *default])),
        list(default),
        key=key,
        help=field.help,
        placeholder=f"default: {field.default}" if field.default else "default",
        accept_new_options=field.free,
        wrap=True,
    )


def one(field: Field, key: str, value: Any) -> Any:
    """One value: a number that may be left empty, or one of some."""
    if field.kind == "choice":
        options = list(dict.fromkeys([*field.options, str(value or field.default)]))
        position = options.index(str(value or field.default))
        return st.selectbox(field.label, options, position, key=key, help=field.help, accept_new_options=field.free)
    shown = value if value is not None else float(field.default) if field.default else None
    kind = int if field.kind == "integer" else float
    bounds = [None if each is None else kind(each) for each in (field.low, field.high, field.step)]
    return st.number_input(
        field.label,
        bounds[0],
        bounds[1],
        None if shown is None else kind(shown),
        bounds[2],
        key=key,
        help=field.help,
        placeholder="none",
    )


def axes_of(base: str, space: Mapping[str, Any]) -> tuple[dict[str, list[str]], dict[tuple[str, str], Any]]:
    """What to try: values of every axis, and the parameters of the plugins among them."""
    known, given = entries(space)
    axes: dict[str, list[str]] = {}
    parameters: dict[tuple[str, str], Any] = {}
    for heading, fields in axis_fields().items():
        with st.expander(heading, expanded=heading in _OPEN):
            for row in range(0, len(fields), 2):
                for column, field in zip(st.columns(2), fields[row : row + 2], strict=False):
                    with column:
                        axis = field.key
                        axes[axis] = several(field, f"{base} {axis}", known.get(axis, []))
                        for choice in axes[axis]:
                            with explained("This cannot be tried."):
                                own = parameter_fields(axis, choice)
                                if own:
                                    parameters[axis, choice] = parameters_of(
                                        choice, own, f"{base} {axis} {choice}", given.get((axis, choice), {})
                                    )
    return axes, parameters


def parameters_of(choice: str, fields: list[Field], key: str, given: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """The parameters of a plugin, behind a button beside its name."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.text(choice, width="content")
        with st.popover("Parameters", icon=":material/tune:"):
            st.caption("Values to try; with several, every combination.")
            found = {field.key: several(field, f"{key} {field.key}", given.get(field.key, [])) for field in fields}
        set_ = [f"{name}={' | '.join(values)}" for name, values in found.items() if values]
        if set_:
            st.text(", ".join(set_), width="content")
    return found


def rules_of(base: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """What decides, how it is searched, and where it stops."""
    goal, limits = content.get("goal", {}), content.get("goal", {}).get("limits", {})
    with st.expander("Goal and limits", expanded=True):
        columns = st.columns(3)
        entered = {}
        for number, field in enumerate(goal_fields()):
            value = limits.get(field.key.partition(".")[2]) if "." in field.key else goal.get(field.key)
            with columns[number % 3]:
                entered[field.key] = one(field, f"{base} goal {field.key}", value)
    with st.expander("Search and budget"):
        left, right = st.columns(2)
        strategy = content.get("strategy", "race")
        named = strategy if isinstance(strategy, str) else strategy["name"]
        offered = {each.name: each.description for each in workbench.plugins("strategies")}
        with left:
            chosen = st.selectbox("Strategy", list(offered), list(offered).index(named), key=f"{base} strategy")
            st.caption(offered[chosen])
        with right:
            regions = region_names()
            place = content.get("region", "WOR")
            place = place if isinstance(place, str) else place["name"]
            region = st.selectbox(
                "Region", regions, regions.index(place) if place in regions else 0, key=f"{base} region",
                help="Where its energy is used: for grams of CO2e.",
            )  # fmt: skip
        told = strategy if isinstance(strategy, dict) and chosen == named else {}
        own = strategy_fields(chosen)
        settings = {}
        for column, field in zip(st.columns(max(len(own), 1)), own, strict=False):
            options = ["", *field.options]
            value = str(told.get(field.key, ""))
            with column:
                settings[field.key] = st.selectbox(
                    field.label, list(dict.fromkeys([*options, value])), [*options, value].index(value),
                    key=f"{base} {chosen} {field.key}", help=field.help, accept_new_options=field.free,
                    format_func=lambda text: text or "default",
                )  # fmt: skip
        bounds = content.get("budget", {})
        budget = {}
        for column, field in zip(st.columns(5), budget_fields(), strict=False):
            with column:
                budget[field.key] = one(field, f"{base} budget {field.key}", bounds.get(field.key))
    return {
        "goal": entered,
        "strategy": chosen,
        "strategy_parameters": settings,
        "budget": budget,
        "region": content.get("region", "WOR") if region == place else region,
    }


def data_of(base: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Which documents, which questions, how many."""
    left, right = st.columns(2)
    of_documents = list(dict.fromkeys([content["corpus"], *corpora()]))
    of_questions = list(dict.fromkeys([content["evalset"], *evalsets()]))
    corpus = left.selectbox("Documents", of_documents, key=f"{base} corpus")
    evalset = right.selectbox("Questions", of_questions, key=f"{base} evalset")
    selection = content.get("questions", {})
    first, second, third, fourth = st.columns(4)
    splits = list(dict.fromkeys([selection.get("split", "dev"), "dev", "test", "all"]))
    split = first.selectbox("Split", splits, key=f"{base} split", accept_new_options=True)
    limit = second.number_input(
        "At most", 1, None, selection.get("limit"), key=f"{base} limit", placeholder="all of them",
        help="So many questions, of a seeded order.",
    )  # fmt: skip
    repeats = third.number_input("Repeats", 1, 100, content.get("repeats", 1), key=f"{base} repeats")
    seed = fourth.number_input("Seed", None, None, content.get("seed", 7), 1, key=f"{base} seed")
    if st.button("Check this data", icon=":material/rule:"):
        with explained("This data cannot be checked."), st.spinner("Checking"):
            draw_findings(workbench.check(list(dict.fromkeys([evalset, corpus]))))
    return {"corpus": corpus, "evalset": evalset, "split": split, "limit": limit, "repeats": repeats, "seed": seed}


def draw_plan(plan: Plan) -> None:
    """What it takes, what it can decide, and what to mind."""
    heading, *gone = workbench.plan_sentences(plan)
    st.text(heading)
    st.dataframe(workbench.plan_rows(plan), hide_index=True, column_config={"quantity": "About (low–high)"})
    for each in plan.decidable:
        st.text(f"{each.about.capitalize()} against {each.against}: {each.statement}.")
    for warning in plan.warnings:
        st.text(f"⚠ {warning}")
    with st.expander("How these figures are known"):
        for note in (*gone, *workbench.plan_notes(plan)):
            st.text(note)


def planning(content: Mapping[str, Any], name: str) -> None:
    """The plan, made when asked for; what it says of other entries is marked so."""
    with st.container(horizontal=True):
        pressed = st.button("Plan", icon=":material/calculate:", help="In a moment, without seconds and joules.")
        timed = st.button(
            "Plan and time",
            icon=":material/timer:",
            help="With seconds, joules and CO2e: another process loads the models and times a few answers of each.",
        )
    if pressed:
        with explained("This cannot be planned."), st.spinner("Making a few prompts ready"):
            st.session_state["plan"] = (content, workbench.plan({**content, "name": name}, calibrate=False))
    if timed:
        with explained("This cannot be planned."), st.status("Starting") as doing:
            plan = workbench.timed_plan(
                {**content, "name": name}, report=lambda what: doing.update(label=what.capitalize())
            )
            st.session_state["plan"] = (content, plan)
    if "plan" not in st.session_state:
        st.caption("What it takes in calls, tokens, energy and money, and which margin the questions can decide.")
        return
    planned, plan = st.session_state["plan"]
    if planned != content:
        st.warning("This plan is out of date: entries have changed since.", icon=":material/update:")
    draw_plan(plan)


def saving(content: Mapping[str, Any], base: str) -> None:
    """Save under a name, and start."""
    name = st.text_input("Name", f"{base}-2", max_chars=100, key=f"name after {base}").strip()
    replace = st.checkbox("Replace an experiment of that name", key="replace experiment")
    with st.container(horizontal=True):
        save = st.button("Save", icon=":material/save:")
        start = st.button("Save and start", type="primary", icon=":material/play_arrow:")
    # A plain mapping: nothing comes between the start and a note in it, as a second click can before the session's state.
    started: dict[str, Any] = st.session_state.setdefault("started", {})
    if save or start:
        with explained("The experiment was not saved."):
            path = workbench.save_experiment(content, name, replace=replace)
            st.success("Saved; `workbench run` takes it by its name.", icon=":material/task_alt:")
            st.code(str(path), language=None)
            if start and not under_way(started, name, content):
                run = workbench.free_name(name)
                workbench.start(path, run)
                started.update(run=run, name=name, content=content)
                keep("run", run)
    if started:
        run = started["run"]
        st.text(f"Run {run} was started.")
        st.page_link("pages/run.py", label="Watch it", icon=":material/play_circle:", query_params={"run": run})


def under_way(started: Mapping[str, Any], name: str, content: Mapping[str, Any]) -> bool:
    """Whether the last run started here is of just this and still going on: a second click starts no second one."""
    same = (started.get("name"), started.get("content")) == (name, content)
    return same and workbench.watch(started["run"]).live


beside = begin("Experiment")
known = workbench.experiments()
with st.expander("Bring your own data", icon=":material/upload_file:", expanded=not known):
    upload()
if not known:
    st.info(
        "There is no experiment to begin with: import data, and a first one is made.", icon=":material/description:"
    )
    st.stop()
with beside:
    base = choose("Begin with", "from", sorted(known), always=True)
left, right = st.columns([3, 2], gap="large")
content: dict[str, Any] = {}
with explained("The experiment to begin with cannot be read; choose another."):
    content = workbench.read_experiment(known[base]).model_dump(mode="json", exclude_unset=True)
if not content:
    st.stop()
with left:
    st.subheader("Data", anchor=False)
    chosen = data_of(base, content)
    st.subheader("What to try", anchor=False)
    st.caption("Each takes values to try; one that is left empty stays at its default. Write others into the field.")
    axes, parameters = axes_of(base, content.get("space", {}))
    st.subheader("What decides", anchor=False)
    chosen |= rules_of(base, content)
with right:
    written = compose(axes=axes, parameters=parameters, base=content, **chosen)
    st.subheader("What it takes", anchor=False)
    with explained("These entries cannot be run as they are."):
        workbench.read_experiment(written)
        planning(written, base)
    st.subheader("Save and start", anchor=False)
    saving(written, base)
    with st.expander("The experiment file", icon=":material/description:"):
        st.code(experiment_text(written), language="yaml", wrap_lines=True)
