"""Reading runs back: the comparison, the recommendation, the answers, the list of runs. Imports nothing that runs models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from workbench.comparison import Comparison, compare_answers
from workbench.errors import InputError
from workbench.recommendation import Recommendation, choose
from workbench.records import Question, ScoredAnswer, plugin_label
from workbench.specification import Goal
from workbench.store import RunRecord, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOverview:
    """A run in one line: its name, state, and how much of it is answered."""

    record: RunRecord
    configurations: int
    questions: int
    answers: int


def compare(run: str = "latest", *, store: Store | None = None) -> Comparison:
    """Every configuration's figures in a run (its name, or ``latest``)."""
    store = store or Store(create=False)
    record = store.get(run)
    return compare_answers(
        run=record.name,
        state=record.state,
        goal=Goal.model_validate(record.experiment["goal"]),
        environment=record.environment,
        trials=store.trials(record.id),
        questions=store.questions(record.id),
        answers=store.answers(record.id, texts=False),
        one_offs=store.one_offs(record.id),
        metrics=[plugin_label(choice) for choice in record.experiment["metrics"]],
    )


def recommend(
    run: str | Comparison = "latest", goal: Goal | None = None, *, store: Store | None = None
) -> Recommendation:
    """The smallest configuration that is still good enough, for the declared goal or another (then exploratory)."""
    comparison = run if isinstance(run, Comparison) else compare(run, store=store)
    return choose(comparison, goal)


def answers(
    run: str = "latest",
    *,
    configuration: str | None = None,
    question: str | None = None,
    texts: bool = True,
    store: Store | None = None,
) -> Iterator[tuple[Question, ScoredAnswer]]:
    """Stored answers with their questions; ``configuration`` may be the beginning of an id.

    Without ``texts``, prompts and passages are blank: much less to read where only figures are wanted.
    """
    store = store or Store(create=False)
    record = store.get(run)
    questions = {each.id: each for each in store.questions(record.id)}
    if question is not None and question not in questions:
        raise InputError(f"run {record.name!r} has no question {question!r}; see: workbench answers {record.name}")
    if configuration is not None:
        configuration = find_configuration(store, record, configuration)
    for scored in store.answers(record.id, configuration=configuration, question=question, texts=texts):
        yield questions[scored.answer.question], scored


def find_configuration(store: Store, record: RunRecord, beginning: str) -> str:
    """The one configuration id of a run that begins like this."""
    known = [trial.configuration.id for trial in store.trials(record.id)]
    found = [each for each in known if each.startswith(beginning)]
    if len(found) != 1:
        raise InputError(
            f"{len(found) or 'no'} configurations of run {record.name!r} begin with {beginning!r}; its configurations: {', '.join(known)}"
        )
    return found[0]


def runs(*, store: Store | None = None) -> list[RunOverview]:
    """Every run in the store, newest first; an empty list where there is no store yet."""
    try:
        store = store or Store(create=False)
    except InputError:
        return []
    return [
        RunOverview(
            record=record,
            configurations=len(store.trials(record.id)),
            questions=len(store.questions(record.id)),
            answers=store.count_answers(record.id),
        )
        for record in store.runs()
    ]


def stop(run: str, *, store: Store | None = None) -> None:
    """Ask the process that writes a run to stop after the answers it is making; running the experiment again continues it."""
    store = store or Store(create=False)
    store.request(store.get(run).id, "stop")
