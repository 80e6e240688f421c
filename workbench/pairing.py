"""Two setups of two runs side by side, question by question, and what must be equal for their figures to compare."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from workbench.coefficients import restore
from workbench.comparison import Comparison
from workbench.errors import NotComparable
from workbench.ledger import price, standalone
from workbench.records import CORRECT_FROM, Answer, Coefficients, Configuration
from workbench.stats import Array
from workbench.store import RunRecord, Store

_MACHINE = {"processor": "the processor", "vcpus": "the vCPUs", "meter": "the meter"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two runs: its setup and what is known of each common question, NaN where nothing is.

    Means over repeats: the deciding score, and per answer tokens, seconds (undisturbed ones), central joules, and the share
    correct; ``texts`` are the answers themselves.
    """

    name: str
    comparison: Comparison
    configuration: Configuration
    scores: Array
    tokens: Array
    seconds: Array
    joules: Array
    correct: Array
    texts: tuple[frozenset[str], ...]


def must_compare(here: Comparison, base: Comparison, resources: Sequence[str]) -> None:
    """Raise ``NotComparable`` for another metric, or for another machine, meter or price of what is asked for."""
    problems = []
    if here.goal.metric not in base.matrix.scores:
        scored = ", ".join(base.matrix.scores)
        problems.append(
            f"run {base.run!r} was not scored by {here.goal.metric} (it was by: {scored}); run it again with it"
        )
    mine, theirs = here.environment, base.environment
    judged = [side.get("judges", {}).get("prompts", {}).get(here.goal.metric) for side in (mine, theirs)]
    if judged[0] != judged[1]:
        problems.append(
            f"the model behind {here.goal.metric} is asked something else in the two runs; run one of them again"
        )
    if set(resources) - {"tokens"}:
        differs = [
            f"{what} ({theirs.get(key)} → {mine.get(key)})"
            for key, what in _MACHINE.items()
            if theirs.get(key) != mine.get(key)
        ]
        if differs:
            problems.append(
                f"seconds and joules of another machine or meter do not compare: {'; '.join(differs)}. "
                "Run both on one machine, or compare quality and tokens only: --resource tokens"
            )
    if {"joules", "joules_per_correct"} & set(resources) and not _same_prices(here, base):
        problems.append(
            "the runs turn readings into joules by other coefficients; apply those of today to both with: workbench reprice RUN"
        )
    if problems:
        raise NotComparable("; ".join(problems))


def _same_prices(here: Comparison, base: Comparison) -> bool:
    mine, theirs = restore(here.environment["coefficients"]), restore(base.environment["coefficients"])
    watts = mine.watts_per_busy_vcpu, mine.watts_per_busy_gpu
    if watts != (theirs.watts_per_busy_vcpu, theirs.watts_per_busy_gpu):
        return False
    return all(mine.hosted[name] == theirs.hosted[name] for name in mine.hosted.keys() & theirs.hosted.keys())


def common_questions(here: Comparison, base: Comparison) -> list[str]:
    """The ids of the questions that both runs hold, in this run's order; ``NotComparable`` where they are not the same."""
    theirs = {question.id: question for question in base.matrix.questions}
    both = [(question, theirs[question.id]) for question in here.matrix.questions if question.id in theirs]
    changed = [mine.id for mine, other in both if (mine.question, mine.answers) != (other.question, other.answers)]
    if changed:
        raise NotComparable(
            f"{len(changed)} questions of the same id are others in the two runs ({', '.join(changed[:3])}, …): "
            "run both on one eval set"
        )
    if not both:
        raise NotComparable("the two runs have no question in common: run both on one eval set and split")
    return [mine.id for mine, _ in both]


def side(
    store: Store,
    record: RunRecord,
    comparison: Comparison,
    configuration: Configuration,
    common: Sequence[str],
    metric: str,
) -> Side:
    """What a run's setup made of the common questions, by the metric that decides."""
    coefficients = restore(comparison.environment["coefficients"])
    column = {question: number for number, question in enumerate(common)}
    found: dict[str, list[list[float]]] = {
        what: [[] for _ in common] for what in ("scores", "tokens", "seconds", "joules", "correct")
    }
    texts: list[set[str]] = [set() for _ in common]
    for scored in store.answers(record.id, configuration=configuration.id, texts=False):
        at = column.get(scored.answer.question)
        if at is None:
            continue
        value = next((score.value for score in scored.scores if score.metric == metric), None)
        if value is not None:
            found["scores"][at].append(value)
            found["correct"][at].append(float(value >= CORRECT_FROM))
        texts[at].add(f"{scored.answer.repeat}|{scored.answer.failure is not None}|{scored.answer.text}")
        for what, amount in _amounts(scored.answer, coefficients):
            found[what][at].append(amount)
    return Side(
        name=record.name,
        comparison=comparison,
        configuration=configuration,
        texts=tuple(map(frozenset, texts)),
        **{what: np.array([np.mean(each) if each else np.nan for each in values]) for what, values in found.items()},
    )


def _amounts(answer: Answer, coefficients: Coefficients) -> Iterator[tuple[str, float]]:
    """What one answer takes alone, where it is known; seconds only where no other process was in the way."""
    if not answer.ledger.stages or (answer.failure is not None and answer.failure.kind == "infrastructure"):
        return
    reading = standalone(answer.ledger)
    if reading.tokens_in is not None and reading.tokens_out is not None:
        yield "tokens", float(reading.tokens_in + reading.tokens_out)
    if answer.undisturbed:
        yield "seconds", reading.seconds
    energy = price(reading, coefficients)
    if energy is not None:
        yield "joules", energy.central


def same_answers(here: Side, base: Side) -> bool:
    """Whether it is the same setup, which answered word for word as before, and was scored so."""
    same_scores = np.array_equal(here.scores, base.scores, equal_nan=True)
    return here.configuration == base.configuration and here.texts == base.texts and any(here.texts) and same_scores


def notes(here: Side, base: Side) -> Iterator[str]:
    """What a reader must know of the pair, in sentences."""
    total = len(here.comparison.matrix.questions), len(base.comparison.matrix.questions)
    common = len(here.texts)
    if total != (common, common):
        yield f"{common} questions are common to the runs, of {total[0]} and {total[1]}"
    for part, what in (("corpus", "the corpus"), ("evalset", "the eval set")):
        mine, theirs = (side.comparison.environment.get(part, {}).get("digest") for side in (here, base))
        if mine != theirs:
            yield f"{what} has changed between the runs"
    if here.comparison.goal != base.comparison.goal:
        yield f"the runs declare other goals; judged by that of {here.name!r}"
