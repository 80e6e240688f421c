"""The choice: the cheapest configuration that is no worse than the best by more than a margin, with its evidence, in words."""

from __future__ import annotations

from typing import Any

from workbench.comparison import Comparison
from workbench.errors import InputError
from workbench.fixed_sample import choose_fixed_sample
from workbench.raced import choose_raced
from workbench.records import Configuration
from workbench.specification import Goal
from workbench.stats import Interval
from workbench.verdict import Claim, Recommendation


def choose(comparison: Comparison, goal: Goal | None = None) -> Recommendation:
    """The recommendation for a goal; any other than the one declared before the run is marked exploratory.

    Raises ``InputError`` for a metric that the run did not score.
    """
    declared = comparison.goal
    goal = goal or declared
    if goal.metric not in comparison.matrix.scores:
        raise InputError(
            f"metric {goal.metric!r} was not scored in run {comparison.run!r}; scored: {', '.join(comparison.matrix.scores)}"
        )
    if comparison.raced and goal == declared:
        return choose_raced(comparison)
    return choose_fixed_sample(comparison, goal, exploratory=goal != declared)


def sentences(recommendation: Recommendation) -> list[str]:
    """The recommendation in words a manager can read, one sentence or two per entry."""
    if recommendation.verdict == "nothing qualifies":
        return [f"Nothing qualifies. {recommendation.nearest_miss}."]
    assert recommendation.chosen is not None
    assert recommendation.reference is not None
    chosen, reference = recommendation.chosen, recommendation.reference
    raced = recommendation.level != "fixed sample"
    lines = _verdict_of_race(recommendation, chosen) if raced else _verdict_of_sample(recommendation, chosen)
    if chosen == reference:
        lines.append(
            "It is the reference itself."
            if recommendation.level == "reference"
            else f"It is also the best-scoring setup{_of_whom(recommendation)}."
        )
    else:
        lines[0] = f"{lines[0]} {_gain(recommendation)}".rstrip()
        lines += _against(recommendation, reference)
    if recommendation.ties:
        others = ", ".join(f"{each.label} [{each.id}]" for each in recommendation.ties)
        lines.append(f"About as cheap, and not shown to be worse: {others}.")
    if recommendation.exploratory:
        lines.append("Exploratory: this is not the goal that was declared before the run.")
    return lines


def _verdict_of_sample(recommendation: Recommendation, chosen: Configuration) -> list[str]:
    goal = recommendation.goal
    claim = f"{goal.metric} at most {goal.margin:g} below the best, at {goal.confidence:.0%} confidence"
    if recommendation.verdict == "decided":
        return [
            f"Decided on {recommendation.questions} questions: {chosen.label} [{chosen.id}] is the smallest setup with {claim}."
        ]
    few = f"{recommendation.questions} questions are too few for {claim}; {_how_many_more(recommendation)}"
    lines = [f"Undecided: {recommendation.open_because or few}."]
    lines.append(f"Provisional choice: {chosen.label} [{chosen.id}].")
    if recommendation.proven is not None and recommendation.proven != chosen:
        lines.append(f"Certain so far: {recommendation.proven.label} [{recommendation.proven.id}].")
    return lines


def _verdict_of_race(recommendation: Recommendation, chosen: Configuration) -> list[str]:
    decided = recommendation.verdict == "decided"
    name = f"{chosen.label} [{chosen.id}]"
    lines = [
        f"Decided: {name}." if decided else f"Undecided: {name} is the pick so far; {_how_many_more(recommendation)}."
    ]
    for claim in recommendation.claims:
        asked = f"{claim.questions} of {claim.available} questions asked"
        if claim.shown:
            lines.append(f"Shown, with an error of at most {claim.alpha:.1%}: {claim.statement} ({asked}).")
        else:
            lines.append(f"Not shown (allowed error {claim.alpha:.1%}): {claim.statement} ({asked}).")
    if recommendation.screened_at is not None:
        lines.append(
            "The race was a screening: setups went out when they fell behind at a level of "
            f"{recommendation.screened_at:.0%} each, dearer ones when they were unlikely to matter, so nothing is certified on "
            "the questions it used."
        )
    return lines


def _how_many_more(recommendation: Recommendation) -> str:
    needed, asked = recommendation.questions_needed, recommendation.questions
    tested = [claim.questions for claim in recommendation.claims if claim.about == "new questions"]
    if tested:
        asked = tested[-1]
    if recommendation.open_because:
        return recommendation.open_because
    if needed is None:
        return "no realistic number of questions would decide: a candidate lies on the margin"
    kind = "new questions in all" if tested else "more questions"
    count = needed if tested else max(needed - asked, 0)
    return f"about {count:,} {kind} would decide"


def _gain(recommendation: Recommendation) -> str:
    """What the choice is for: the saving in what should be small, and what it costs in score."""
    goal, difference = recommendation.goal, recommendation.difference
    found = []
    if (ratio := recommendation.savings.get(goal.minimise)) is not None:
        found.append(f"it needs {_saving(goal.minimise, ratio)} per answer")
    if difference is not None:
        found.append(
            f"{goal.metric} differs by {difference.mean:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})"
        )
    return f"Against {_whom(recommendation)} {', and '.join(found)}." if found else ""


def _against(recommendation: Recommendation, reference: Configuration) -> list[str]:
    lines = [f"{_whom(recommendation).capitalize()} is {reference.label} [{reference.id}]."]
    others = [
        _saving(unit, ratio) for unit, ratio in recommendation.savings.items() if unit != recommendation.goal.minimise
    ]
    if others:
        lines.append(f"Against it the choice also needs {', '.join(others)} per answer.")
    return lines


def _whom(recommendation: Recommendation) -> str:
    if recommendation.level == "reference":
        return "the reference"
    return ("the next best setup" if recommendation.leads else "the best-scoring setup") + _of_whom(recommendation)


def _of_whom(recommendation: Recommendation) -> str:
    return " of those that meet the floor and limits" if recommendation.barred else ""


def _saving(unit: str, ratio: Interval) -> str:
    """A ratio in words: percent where it is near 1, times where it is far from it."""
    if ratio.low > 0 and ratio.high < 0.1:
        return f"{_figure(1 / ratio.mean)}× fewer {unit} ({_figure(1 / ratio.high)}–{_figure(1 / ratio.low)}×)"
    if ratio.high == 0:
        return f"no {unit} at all"
    if ratio.low == ratio.high == 1:
        return f"the same {unit}"
    change, low, high = (100 * (1 - value) for value in (ratio.mean, ratio.high, ratio.low))
    if low < 0 < high:
        return f"about the same {unit} ({-high:+.0f} to {-low:+.0f} %)"
    if change >= 0:
        return f"{change:.0f} % fewer {unit} ({low:.0f} to {high:.0f} %)"
    return f"{-change:.0f} % more {unit} ({-high:.0f} to {-low:.0f} %)"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _identified(configuration: Configuration | None) -> dict[str, Any] | None:
    if configuration is None:
        return None
    return {"id": configuration.id, "label": configuration.label, "axes": dict(configuration.axes)}


def _numbers(found: Interval | None) -> dict[str, float] | None:
    return None if found is None else {"mean": found.mean, "low": found.low, "high": found.high, "n": found.n}


def _claim_mapping(claim: Claim) -> dict[str, Any]:
    return {
        "about": claim.about,
        "against": claim.against,
        "statement": claim.statement,
        "alpha": round(claim.alpha, 12),
        "shown": claim.shown,
        "reference": _identified(claim.reference),
        "difference": _numbers(claim.difference),
        "questions": claim.questions,
        "available": claim.available,
    }


def as_mapping(recommendation: Recommendation) -> dict[str, Any]:
    """The recommendation as plain data, for JSON."""

    return {
        "run": recommendation.run,
        "verdict": recommendation.verdict,
        "exploratory": recommendation.exploratory,
        "goal": recommendation.goal.model_dump(mode="json"),
        "questions": recommendation.questions,
        "chosen": _identified(recommendation.chosen),
        "proven": _identified(recommendation.proven),
        "reference": _identified(recommendation.reference),
        "difference": _numbers(recommendation.difference),
        "ratios": {unit: _numbers(ratio) for unit, ratio in recommendation.savings.items()},
        "questions_needed": recommendation.questions_needed,
        "level": recommendation.level,
        "claims": [_claim_mapping(claim) for claim in recommendation.claims],
        "ties": [_identified(each) for each in recommendation.ties],
        "rejections": [
            {"id": each.configuration.id, "label": each.configuration.label, "reason": each.reason, "open": each.open}
            for each in recommendation.rejections
        ],
        "nearest_miss": recommendation.nearest_miss,
        "summary": " ".join(sentences(recommendation)),
    }
