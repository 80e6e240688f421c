"""One run's answers question by question: what was asked, found, sent and said, and what it took."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

import workbench
from pages._frame import begin, choose, chosen_run, keep, roomy
from workbench.browsing import ORDERS, SHOWS, AnswerPage
from workbench.records import Question, ScoredAnswer
from workbench.views import Row

_ALL = "all setups"
_ROWS = 50
_LIST = {
    "id": st.column_config.TextColumn("Id", width="small"),
    "repeat": None,
    "question": st.column_config.TextColumn("Question", width=345),
    "answer": st.column_config.TextColumn("Answer", width="medium"),
    "accepted": st.column_config.TextColumn("Accepted", width="medium"),
    "score": st.column_config.TextColumn("Score", width="small", help="The metric that decides."),
    "failure": st.column_config.TextColumn("Failure", width=105),
    "lost": st.column_config.TextColumn("Lost", width=105, help="Where in the pipeline a wrong answer was lost."),
    "seconds": st.column_config.NumberColumn("Seconds", format="%.3f", help="As if the answer had run alone."),
    "tokens": st.column_config.NumberColumn("Tokens", format="%.0f", help="Prompt and output."),
    "joules": st.column_config.NumberColumn("Joules", format="%.3g", help="Estimated, as if the answer had run alone."),
    "setup": st.column_config.TextColumn("Setup", width="medium"),
    "configuration": st.column_config.TextColumn("Configuration", width="small"),
}
_BESIDE = {
    **_LIST,
    "id": None,
    "question": None,
    "accepted": None,
    "setup": st.column_config.TextColumn("Setup", pinned=True, width=300),
}
_LEDGER = {
    "stage": "Stage",
    "seconds": st.column_config.NumberColumn("Seconds", format="%.4f"),
    "cpu_seconds": st.column_config.NumberColumn("CPU-seconds", format="%.4f"),
    "tokens_in": st.column_config.TextColumn("Tokens in", alignment="right"),
    "tokens_cached": st.column_config.TextColumn("of them cached", alignment="right"),
    "tokens_out": st.column_config.TextColumn("Tokens out", alignment="right"),
    "joules_low": st.column_config.NumberColumn("J low", format="%.3g"),
    "joules": st.column_config.NumberColumn("J central", format="%.3g"),
    "joules_high": st.column_config.NumberColumn("J high", format="%.3g"),
    "energy_source": "Energy from",
}


def chosen_row(rows: tuple[Row, ...], table: str, *, whose: bool) -> Row:
    """The row that is chosen in the table; at first the one that the address names, or the topmost."""
    asked = tuple(st.query_params.get(key, "") for key in ("question", "repeat", "of"))
    keys = [(row["id"], str(row["repeat"]) if row["repeat"] else "", row["configuration"]) for row in rows]
    position = next((at for at, key in enumerate(keys) if key == asked or (key[:2], "") == (asked[:2], asked[2])), 0)
    event = st.dataframe(
        rows,
        hide_index=True,
        height=280,
        column_config=roomy(rows, _LIST if whose else {**_LIST, "setup": None, "configuration": None}),
        placeholder="not measured",
        key=table,
        on_select="rerun",
        selection_mode="single-row-required",
        selection_default={"selection": {"rows": [position]}},
    )
    at = event.selection.rows[0] if event.selection.rows else position
    chosen = rows[at] if at < len(rows) else rows[0]
    keep("question", chosen["id"], rows[0]["id"])
    keep("repeat", str(chosen["repeat"]), "0")
    keep("of", chosen["configuration"], rows[0]["configuration"])
    return chosen


def turn(page: AnswerPage, place: str) -> None:
    """Which part of the answers is shown, and the way to the others."""
    with st.container(horizontal=True, vertical_alignment="center"):
        last = page.offset + len(page.rows)
        st.caption(f"Answers {page.offset + 1:,} to {last:,} of {page.total:,}; choose one to read it in full.")
        for label, icon, offset, wrong in (
            ("Before", "chevron_left", page.offset - _ROWS, page.offset == 0),
            ("Next", "chevron_right", page.offset + _ROWS, last >= page.total),
        ):
            if st.button(label, icon=f":material/{icon}:", disabled=wrong, key=f"{label} of {place}"):
                keep("page", str(max(offset, 0) // _ROWS + 1), "1")
                st.query_params.pop("question", None)
                st.rerun()


def asked_page() -> int:
    """The number of the page in the address, from 1; the first where it is none."""
    named = st.query_params.get("page", "1")
    return max(int(named), 1) if named.isdecimal() and len(named) < 9 else 1


def draw(question: Question, scored: ScoredAnswer, environment: Mapping[str, Any]) -> None:
    """One answer in full."""
    answer = scored.answer
    left, right = st.columns([3, 2], gap="large")
    with left:
        st.markdown("**Question**")
        st.text(question.question)
        st.markdown("**Accepted answers**")
        st.text("\n".join(question.answers) or "None: the corpus does not hold the answer.")
        st.markdown("**Answer**")
        if answer.failure is not None:
            st.badge("failed", color="red")
            st.text(f"{answer.failure.code}: {answer.failure.message}")
        st.text(answer.text or "(no text)")
        if answer.completion:
            st.caption("read out of what the model returned:")
            st.code(answer.completion, language=None, wrap_lines=True)
        if scored.loss:
            st.caption(f"Where it was lost: {scored.loss.replace('_', ' ')}")
    with right:
        st.markdown("**Scores**")
        st.dataframe(
            [
                {
                    "Metric": score.metric,
                    "Score": "does not apply" if score.value is None else f"{score.value:.3f}",
                    "Why": score.reason,
                }
                for score in scored.scores
            ],
            hide_index=True,
        )
    st.markdown("**What it took**")
    stages = workbench.ledger_rows(answer, environment)
    st.dataframe(stages, hide_index=True, column_config=roomy(stages, _LEDGER), placeholder="not measured")
    st.caption("Joules are estimated from readings; a stage without a CPU reading has none.")
    for note in answer.reused:
        st.text(f"Reused {note}.")
    draw_passages(question, scored)
    st.markdown("**Prompt as sent**")
    if answer.prompt:
        st.code(answer.prompt, language=None, wrap_lines=True, height=320)
    else:
        st.caption("No prompt: this configuration answers without a generative model.")


def draw_passages(question: Question, scored: ScoredAnswer) -> None:
    """What went into the prompt, gold marked, accepted answers highlighted."""
    st.markdown("**Passages in the prompt**")
    if not scored.answer.passages:
        st.caption("None: this configuration answers without passages, or none was found.")
    for passage in scored.answer.passages:
        chunk = passage.chunk
        with st.container(border=True):
            with st.container(horizontal=True):
                st.badge(f"{passage.rank}", color="gray")
                if workbench.gold(question, chunk):
                    st.badge(workbench.gold(question, chunk), color="green", icon=":material/verified:")
                st.text(
                    f"{chunk.document_id}, characters {chunk.start:,} to {chunk.end:,}, score {passage.score:.3f}  {chunk.title}"
                )
            st.html(workbench.highlighted(chunk.text, question.answers))
    if question.evidence is None:
        st.caption("Which documents hold the answer is not known for this question.")


beside = begin("Answers")
records = {overview.record.name: overview.record for overview in workbench.runs()}
record = records[chosen_run(list(records), beside)]
labels = workbench.setups(record.name)
left, right = st.columns([5, 3], vertical_alignment="bottom")
with left:
    configuration = choose(
        "Configuration",
        "configuration",
        [*labels, _ALL],
        show=lambda key: f"{labels[key]} [{key}]" if key in labels else key,
    )
with right:
    show = choose("Show", "show", SHOWS, pills=True)
left, right = st.columns([5, 3], vertical_alignment="bottom")
with left:
    text = st.text_input("Question or answer holds", st.query_params.get("text", ""), key=f"text in {record.name}")
    keep("text", text, "")
with right:
    order = choose("Order", "sort", ORDERS)
page = workbench.answer_page(
    record.name,
    configuration=None if configuration == _ALL else configuration,
    show=show,
    text=text,
    order=order,
    offset=(asked_page() - 1) * _ROWS,
    limit=_ROWS,
)
if not page.rows:
    st.info("No answer to show: none is stored yet, or none is of this kind.", icon=":material/filter_alt_off:")
    st.stop()
table = f"answers of {record.name}, {configuration}, {show}, {text}, {order}, {page.offset}"
chosen = chosen_row(page.rows, table, whose=configuration == _ALL)
turn(page, table)
view = choose("View", "view", ["in full", "side by side"], pills=True)
if view == "in full":
    for question, scored in workbench.answers(
        record.name, configuration=chosen["configuration"], question=chosen["id"]
    ):
        if scored.answer.repeat == chosen["repeat"]:
            draw(question, scored, record.environment)
else:
    st.markdown("**Question**")
    st.text(chosen["question"])
    st.markdown("**Accepted answers**")
    st.text(chosen["accepted"])
    rows = workbench.side_by_side(record.name, chosen["id"])
    st.dataframe(rows, hide_index=True, column_config=roomy(rows, _BESIDE), placeholder="not measured")
