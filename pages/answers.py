"""One run's answers question by question: what was asked, found, sent and said, and what it took."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

import workbench
from pages._frame import begin, choose, chosen_run, keep, roomy
from workbench.records import Question, ScoredAnswer
from workbench.views import Row

_LIST = {
    "id": st.column_config.TextColumn("Id", width="small"),
    "repeat": None,
    "question": st.column_config.TextColumn("Question", width="large"),
    "answer": st.column_config.TextColumn("Answer", width="medium"),
    "accepted": st.column_config.TextColumn("Accepted", width="medium"),
    "score": st.column_config.TextColumn("Score", width="small", help="The metric that decides."),
    "failure": st.column_config.TextColumn("Failure", width="small"),
    "lost": st.column_config.TextColumn("Lost", width="small", help="Where in the pipeline a wrong answer was lost."),
    "seconds": st.column_config.NumberColumn("Seconds", format="%.3f"),
    "tokens": st.column_config.NumberColumn("Tokens", format="%.0f", help="Prompt and output."),
    "joules": st.column_config.NumberColumn("Joules", format="%.3g", help="Estimated, as if the answer had run alone."),
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


def chosen_row(rows: list[Row], table: str) -> Row:
    """The row that is chosen in the table; at first the one that the address names, or the topmost."""
    asked = (st.query_params.get("question", ""), st.query_params.get("repeat", "0"))
    keys = [(row["id"], str(row["repeat"])) for row in rows]
    position = keys.index(asked) if asked in keys else 0
    event = st.dataframe(
        rows,
        hide_index=True,
        height=280,
        column_config=roomy(rows, _LIST),
        placeholder="not measured",
        key=table,
        on_select="rerun",
        selection_mode="single-row-required",
        selection_default={"selection": {"rows": [position]}},
    )
    chosen = rows[event.selection.rows[0] if event.selection.rows else position]
    keep("question", chosen["id"], rows[0]["id"])
    keep("repeat", str(chosen["repeat"]), "0")
    return chosen


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
    st.markdown("**Passages in the prompt**")
    if not answer.passages:
        st.caption("None: this configuration retrieves nothing, or found nothing.")
    for passage in answer.passages:
        chunk = passage.chunk
        with st.container(border=True):
            with st.container(horizontal=True):
                st.badge(f"{passage.rank}", color="gray")
                if question.evidence is not None and chunk.document_id in question.evidence:
                    st.badge("gold document", color="green", icon=":material/verified:")
                st.text(
                    f"{chunk.document_id}, characters {chunk.start:,} to {chunk.end:,}, score {passage.score:.3f}  {chunk.title}"
                )
            st.code(chunk.text, language=None, wrap_lines=True)
    if question.evidence is None:
        st.caption("Which documents hold the answer is not known for this question.")
    st.markdown("**Prompt as sent**")
    if answer.prompt:
        st.code(answer.prompt, language=None, wrap_lines=True, height=320)
    else:
        st.caption("No prompt: this configuration answers without a generative model.")


beside = begin("Answers")
records = {overview.record.name: overview.record for overview in workbench.runs()}
record = records[chosen_run(list(records), beside)]
labels = {trial.configuration.id: trial.configuration.label for trial in workbench.watch(record.name).trials}
left, right = st.columns([5, 2])
with left:
    configuration = choose("Configuration", "configuration", list(labels), show=lambda key: f"{labels[key]} [{key}]")
with right:
    show = choose("Show", "show", ["all", "wrong", "failures"], pills=True)
rows = workbench.answer_rows(record.name, configuration, show=show)
if not rows:
    st.info("No answer to show: none is stored yet, or none is of this kind.", icon=":material/filter_alt_off:")
    st.stop()
st.caption(f"{len(rows):,} answers; choose one to read it in full.")
chosen = chosen_row(rows, f"answers of {record.name}, {configuration}, {show}")
for question, scored in workbench.answers(record.name, configuration=configuration, question=chosen["id"]):
    if scored.answer.repeat == chosen["repeat"]:
        draw(question, scored, record.environment)
