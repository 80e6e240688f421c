"""A run as rows of plain values, for tables that people sort and filter; a value that was not measured is ``None``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from workbench.coefficients import restore
from workbench.comparison import Comparison, Figures
from workbench.errors import InputError
from workbench.exports import sorted_figures, varying_axes
from workbench.ledger import price, spent, standalone, standalone_cost
from workbench.recommendation import Recommendation
from workbench.records import CORRECT_FROM, Answer, Coefficients, Energy, Question, Reading
from workbench.reports import answers
from workbench.store import Store
from workbench.texts import NOT_MEASURED, axis_text, failures_text, interval_text, losses_text, significant

Row = dict[str, Any]
Show = Literal["all", "wrong", "failures"]

_AS_IT_RAN, _ALONE = "as it ran", "whole answer, alone"
_COUNTS = ("tokens_in", "tokens_cached", "tokens_out")
_COUNTED = {"prefill": _COUNTS[:2], "decode": _COUNTS[2:], "generate": _COUNTS, _AS_IT_RAN: _COUNTS, _ALONE: _COUNTS}


def comparison_rows(comparison: Comparison, recommendation: Recommendation) -> list[Row]:
    """One row per configuration, cheapest first: its role in the choice, deciding score, costs, failures, then the rest.

    ``joules_per_correct`` is infinite where no answer was correct. Axes are prefixed with ``axis:``, other metrics with
    ``score:``.
    """
    goal = comparison.goal
    found = []
    for figures in sorted_figures(comparison):
        latency, joules, index = figures.seconds, figures.joules, figures.index
        per_correct = figures.joules_per_correct
        if per_correct is None and joules is not None and not figures.correct:
            per_correct = float("inf")
        found.append(
            {
                "setup": figures.configuration.label,
                "role": _role(figures.configuration.id, recommendation, bound=figures.configuration.is_bound)
                or ("frontier" if figures.frontier else ""),
                "quality": _score(figures, goal.metric),
                "joules": None if joules is None else joules.central,
                "joules_range": _range(joules),
                "energy_source": None if joules is None else joules.source.replace("_", " "),
                "joules_per_correct": per_correct,
                "tokens_in": figures.tokens_in,
                "tokens_out": figures.tokens_out,
                "p50_seconds": None if latency is None else latency.p50,
                "p95_seconds": None if latency is None else latency.p95,
                "disturbed": "*" if latency is not None and latency.disturbed else "",
                "failures": failures_text(figures.failures),
                "lost": losses_text(figures.losses),
                "answers": figures.answers,
                "repeat_deviation": figures.repeat_deviation,
                "index_megabytes": None if index is None or index.bytes is None else index.bytes / 1e6,
                "index_joules": None if figures.index_joules is None else figures.index_joules.central,
                "index_recall": None if index is None else index.recall,
                "state": f"{figures.state}: {figures.reason}" if figures.reason else figures.state,
                **{f"score:{name}": _score(figures, name) for name in figures.scores if name != goal.metric},
                **{f"axis:{axis}": axis_text(figures, axis) for axis in varying_axes(comparison)},
                "configuration": figures.configuration.id,
            }
        )
    return found


def _role(configuration: str, recommendation: Recommendation, *, bound: bool) -> str:
    if bound:
        return "bound"
    chosen, proven, reference = recommendation.chosen, recommendation.proven, recommendation.reference
    if chosen is not None and configuration == chosen.id:
        return "recommended" if recommendation.verdict == "decided" else "provisional choice"
    if reference is not None and configuration == reference.id:
        return "best score"
    if proven is not None and configuration == proven.id:
        return "certain so far"
    return ""


def _score(figures: Figures, metric: str) -> str:
    return interval_text(figures.scores[metric]) if figures.answers else "no answer yet"


def _range(energy: Energy | None) -> str | None:
    return None if energy is None else f"{significant(energy.low)}–{significant(energy.high)}"


def answer_rows(run: str, configuration: str, *, show: Show = "all", store: Store | None = None) -> list[Row]:
    """A configuration's answers in the order of their questions, without prompts and passages.

    ``wrong`` keeps those whose deciding score is below 0.5, ``failures`` those that failed.
    """
    if show not in ("all", "wrong", "failures"):
        raise InputError(f"show is {show!r}; expected all, wrong or failures")
    store = store or Store(create=False)
    record = store.get(run)
    metric = record.experiment["goal"]["metric"]
    coefficients = restore(record.environment["coefficients"])
    found = []
    for question, scored in answers(record.name, configuration=configuration, texts=False, store=store):
        answer = scored.answer
        score = next((each.value for each in scored.scores if each.metric == metric), None)
        if show == "wrong" and (score is None or score >= CORRECT_FROM):
            continue
        if show == "failures" and answer.failure is None:
            continue
        found.append(
            {
                "id": question.id,
                "repeat": answer.repeat,
                "question": question.question,
                "answer": answer.text,
                "accepted": _accepted(question),
                "score": "does not apply" if score is None else f"{score:.3f}",
                "failure": answer.failure.code if answer.failure else "",
                "lost": scored.loss.replace("_", " "),
                **{unit: standalone_cost(answer, unit, coefficients) for unit in ("seconds", "tokens", "joules")},
            }
        )
    return found


def _accepted(question: Question) -> str:
    return " | ".join(question.answers) if question.answers else "none: the corpus does not hold the answer"


def ledger_rows(answer: Answer, environment: Mapping[str, Any]) -> list[Row]:
    """An answer's stages as they ran, priced by its run's environment, then the whole answer as it would be alone."""
    coefficients = restore(environment["coefficients"])
    stages = answer.ledger.stages
    found = [_ledger_row(cost.stage, cost.reading, coefficients) for cost in stages]
    if any(cost.standalone is not None for cost in stages):
        found.append(_ledger_row(_AS_IT_RAN, spent(answer.ledger), coefficients))
    if stages:
        found.append(_ledger_row(_ALONE, standalone(answer.ledger), coefficients))
    return found


def _ledger_row(stage: str, reading: Reading, coefficients: Coefficients) -> Row:
    energy = price(reading, coefficients)
    counts = {"tokens_in": reading.tokens_in, "tokens_cached": reading.tokens_cached, "tokens_out": reading.tokens_out}
    expected = _COUNTED.get(stage, ())
    return {
        "stage": stage,
        "seconds": reading.seconds,
        "cpu_seconds": reading.cpu_seconds,
        **{
            name: f"{count:,}" if count is not None else NOT_MEASURED if name in expected else ""
            for name, count in counts.items()
        },
        "joules_low": None if energy is None else energy.low,
        "joules": None if energy is None else energy.central,
        "joules_high": None if energy is None else energy.high,
        "energy_source": NOT_MEASURED if energy is None else energy.source.replace("_", " "),
    }
