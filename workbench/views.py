"""A run as rows of plain values, for tables that people sort and filter; a value that was not measured is ``None``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workbench.charts_compare import interval_bar
from workbench.coefficients import restore
from workbench.comparison import Comparison, Figures
from workbench.exports import sorted_figures, varying_axes
from workbench.ledger import price, spent, standalone
from workbench.recommendation import Recommendation
from workbench.records import Answer, Coefficients, Energy, Reading
from workbench.texts import NOT_MEASURED, axis_text, failures_text, interval_text, losses_text, significant

Row = dict[str, Any]

_AS_IT_RAN, _ALONE = "as it ran", "whole answer, alone"
_COUNTS = ("tokens_in", "tokens_cached", "tokens_out")
_COUNTED = {"prefill": _COUNTS[:2], "decode": _COUNTS[2:], "generate": _COUNTS, _AS_IT_RAN: _COUNTS, _ALONE: _COUNTS}


def comparison_rows(comparison: Comparison, recommendation: Recommendation) -> list[Row]:
    """One row per configuration, cheapest first: its role in the choice, deciding score, costs, failures, then the rest.

    ``joules_per_correct`` is infinite where no answer was correct. Axes are prefixed with ``axis:``, other metrics with
    ``score:``.
    """
    goal = comparison.goal
    ends = _ends(comparison)
    found = []
    for figures in sorted_figures(comparison):
        latency, joules, index = figures.seconds, figures.joules, figures.index
        score = figures.scores[goal.metric]
        per_correct = figures.joules_per_correct
        if per_correct is None and joules is not None and not figures.correct:
            per_correct = float("inf")
        found.append(
            {
                "setup": figures.configuration.label,
                "role": _role(figures.configuration.id, recommendation, bound=figures.configuration.is_bound)
                or ("frontier" if figures.frontier else ""),
                "quality": _score(figures, goal.metric),
                "mean": None if score is None else score.mean,
                "bar": interval_bar(score, *ends),
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


def _ends(comparison: Comparison) -> tuple[float, float]:
    """Between what the bars of the deciding score are drawn."""
    scores = [score for figures in comparison.figures if (score := figures.scores[comparison.goal.metric]) is not None]
    return min((score.low for score in scores), default=0.0), max((score.high for score in scores), default=1.0)


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


def arranged(
    rows: Sequence[Row], *, sort: str = "joules", descending: bool = False, text: str = "", only: str = "all"
) -> list[Row]:
    """Rows of ``comparison_rows`` whose setup holds a text, of one kind, sorted by a column; what is absent comes last.

    ``only``: ``all``, ``frontier`` (those on it, and those the choice is about) or ``failures``.
    """
    kept = [row for row in rows if text.strip().lower() in f"{row['setup']} {row['configuration']}".lower()]
    if only == "frontier":
        kept = [row for row in kept if row["role"] not in ("", "bound")]
    elif only == "failures":
        kept = [row for row in kept if row["failures"] != "0"]
    known = [row for row in kept if row[sort] is not None]
    absent = [row for row in kept if row[sort] is None]
    return [*sorted(known, key=lambda row: row[sort], reverse=descending), *absent]


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
