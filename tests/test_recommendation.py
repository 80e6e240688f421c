"""The verdict: decided, undecided, nothing qualifies; each with its evidence and reasons."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.conftest import compared
from workbench.comparison import Comparison
from workbench.errors import InputError
from workbench.recommendation import Recommendation, as_mapping, choose, sentences
from workbench.records import Answer, Configuration, Ledger, Question, Reading, Score, ScoredAnswer, StageCost, Trial
from workbench.specification import Goal

ENVIRONMENT = {
    "coefficients": {"processor": "test", "watts_per_busy_vcpu": (1.0, 2.0, 4.0), "source": "test", "includes": "test"}
}


def comparison(
    scores: dict[str, list[float]], cpu: dict[str, float], seconds: dict[str, float] | None = None, **goal: Any
) -> Comparison:
    """A run with one configuration per entry: its scores question by question, its CPU-seconds and seconds per answer."""
    questions = [
        Question(id=f"q{number}", question="?", answers=("a",)) for number in range(len(next(iter(scores.values()))))
    ]
    trials = [Trial(configuration=Configuration({"prompt": name}, id=name), state="finished") for name in scores]
    answers = [
        ScoredAnswer(
            answer=Answer(
                configuration=name,
                question=question.id,
                ledger=Ledger(
                    stages=(
                        StageCost(
                            stage="decode",
                            reading=Reading(
                                seconds=(seconds or {}).get(name, 1.0),
                                cpu_seconds=cpu[name],
                                tokens_in=100,
                                tokens_out=10,
                            ),
                        ),
                    )
                ),
            ),
            scores=(Score(metric="token_f1", value=value),),
        )
        for name, values in scores.items()
        for question, value in zip(questions, values, strict=True)
    ]
    return compared(answers, trials=trials, questions=questions, goal=Goal(**goal), environment=ENVIRONMENT)


def drawn(mean: float, n: int, seed: int) -> list[float]:
    return list((np.random.default_rng(seed).random(n) < mean).astype(float))


def chosen(recommendation: Recommendation) -> str | None:
    return None if recommendation.chosen is None else recommendation.chosen.id


def test_decided_takes_the_cheapest_that_is_proven() -> None:
    hard = drawn(0.6, 400, 1)
    worse = [value * 0.2 for value in hard]
    found = choose(
        comparison({"dear": hard, "middle": hard, "cheap": worse}, {"dear": 9, "middle": 3, "cheap": 1}, margin=0.05)
    )
    assert found.verdict == "decided"
    assert chosen(found) == "middle"
    assert found.reference is not None
    assert found.savings["joules"].mean == pytest.approx(1 / 3) or found.reference.id == "middle"
    reasons = {rejection.configuration.id: rejection.reason for rejection in found.rejections}
    assert "worse than the best by more than the margin" in reasons["cheap"]
    assert "the joules" in reasons["dear"]


def test_the_first_sentence_says_what_is_saved_and_what_it_costs() -> None:
    best = drawn(0.6, 400, 1)
    cheap = [0.0 if number < 4 else value for number, value in enumerate(best)]
    found = choose(comparison({"dear": best, "cheap": cheap}, {"dear": 9, "cheap": 3}, margin=0.1))
    assert found.verdict == "decided"
    first, second, *others = sentences(found)
    lost = sum(best[:4]) / 400
    assert lost
    assert "Against the best-scoring setup it needs 67 % fewer joules (67 to 67 %) per answer" in first
    assert f"and token_f1 differs by -{lost:.3f} (" in first
    assert second == f"The best-scoring setup is {found.reference.label} [dear]."
    assert not any("joules" in sentence for sentence in others)
    assert (
        sentences(choose(comparison({"only": best}, {"only": 1}, margin=0.1)))[1]
        == "It is also the best-scoring setup."
    )


def test_undecided_names_a_provisional_choice_and_how_many_questions_more() -> None:
    best = drawn(0.6, 30, 2)
    cheap = [0.0, *best[1:29], 1.0] if best[0] else [*best[:28], 0.0, 0.0]
    found = choose(comparison({"dear": best, "cheap": cheap}, {"dear": 9, "cheap": 1}, margin=0.05))
    assert found.verdict == "undecided"
    assert found.chosen is not None
    assert any(rejection.open for rejection in found.rejections) or chosen(found) == "cheap"
    text = " ".join(sentences(found))
    assert "Undecided: 30 questions are too few" in text
    assert "more questions would decide" in text or "no realistic number" in text


def test_nothing_within_the_limits_names_the_nearest_miss() -> None:
    values = drawn(0.6, 50, 4)
    found = choose(
        comparison({"a": values, "b": values}, {"a": 1, "b": 2}, {"a": 3.0, "b": 2.5}, limits={"p95_seconds": 2})
    )
    assert found.verdict == "nothing qualifies"
    assert found.chosen is None
    assert "b" in found.nearest_miss
    assert "2.50 s against a limit of 2 s" in found.nearest_miss


def test_nothing_reaches_the_floor() -> None:
    found = choose(comparison({"a": drawn(0.3, 200, 5)}, {"a": 1}, floor=0.8))
    assert found.verdict == "nothing qualifies"
    assert "floor" in found.nearest_miss


def test_a_limit_excludes_whatever_its_quality() -> None:
    good, poor = [1.0] * 100, drawn(0.3, 100, 6)
    found = choose(
        comparison(
            {"slow": good, "fast": poor}, {"slow": 1, "fast": 2}, {"slow": 9.0, "fast": 0.1}, limits={"p95_seconds": 1}
        )
    )
    assert found.reference is not None
    assert found.reference.id == "fast"


def test_identical_answers_on_few_questions_decide_nothing_at_a_small_margin() -> None:
    values = drawn(0.5, 24, 8)
    found = choose(comparison({"a": values, "b": values}, {"a": 9, "b": 1}, margin=0.02))
    assert found.verdict == "decided" or chosen(found) == "b"
    assert found.reference is not None
    assert found.reference.id == "b"  # among equals the cheaper one is the reference, so nothing needs proving


def test_an_unmeasured_cost_is_never_the_cheapest() -> None:
    built = comparison(
        {"known": drawn(0.5, 50, 9), "unknown": drawn(0.5, 50, 9)}, {"known": 1, "unknown": None}, margin=0.1
    )  # type: ignore[dict-item]
    found = choose(built)
    assert chosen(found) == "known"
    assert any("not measured" in rejection.reason for rejection in found.rejections)


def test_another_goal_is_exploratory_and_an_unscored_metric_refused() -> None:
    built = comparison({"a": drawn(0.5, 50, 10)}, {"a": 1})
    assert not choose(built).exploratory
    other = choose(built, Goal(margin=0.3))
    assert other.exploratory
    assert "Exploratory" in sentences(other)[-1]
    with pytest.raises(InputError, match="scored: token_f1"):
        choose(built, Goal(metric="contains"))


def test_every_configuration_is_chosen_or_rejected_with_a_reason() -> None:
    built = comparison(
        {name: drawn(0.5, 40, seed) for seed, name in enumerate("abcd")},
        {name: seed + 1 for seed, name in enumerate("abcd")},
    )
    found = choose(built)
    named = {rejection.configuration.id for rejection in found.rejections} | {chosen(found)}
    assert named == set("abcd")
    assert all(rejection.reason for rejection in found.rejections)
    assert as_mapping(found)["verdict"] == found.verdict
