"""What a search took and spared, and when it has paid for itself: sums that must agree, and words for what is not known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import compared
from workbench.comparison import Comparison
from workbench.recommendation import choose
from workbench.records import (
    HARNESS,
    Answer,
    Configuration,
    Ledger,
    OneOff,
    Question,
    Reading,
    Score,
    ScoredAnswer,
    StageCost,
    Trial,
)
from workbench.search_footprint import Amount, payback, search_footprint, search_sentences
from workbench.specification import Goal

WATTS = (1.0, 2.0, 4.0)
ENVIRONMENT: dict[str, Any] = {
    "coefficients": {"processor": "test", "watts_per_busy_vcpu": WATTS, "source": "test", "includes": "test"}
}


def reading(cpu: float | None, tokens: int = 10) -> Reading:
    return Reading(seconds=cpu or 0.0, cpu_seconds=cpu, tokens_in=tokens, tokens_out=0)


def asked(cpu: float | None, tokens: int = 10) -> Ledger:
    """A search and a generation that really ran, each of so many CPU-seconds."""
    return Ledger(
        stages=(
            StageCost(stage="search", reading=Reading(seconds=cpu or 0.0, cpu_seconds=cpu)),
            StageCost(stage="decode", reading=reading(cpu, tokens)),
        )
    )


def reused(cpu: float, tokens: int = 10) -> Ledger:
    """The same, taken from another answer."""
    costs = asked(cpu, tokens).stages
    return Ledger(stages=tuple(StageCost(stage=c.stage, reading=reading(0.0, 0), standalone=c.reading) for c in costs))


def comparison(
    answers: Mapping[str, Sequence[Ledger | None]], *, one_offs: Sequence[OneOff] = (), **goal: Any
) -> Comparison:
    """A run of configurations with the ledgers of their answers, question by question; ``None`` was never asked."""
    count = max(len(ledgers) for ledgers in answers.values())
    return compared(
        goal=Goal(**goal),
        environment=ENVIRONMENT,
        trials=[Trial(configuration=Configuration({"prompt": name}, id=name), state="finished") for name in answers],
        questions=[Question(id=f"q{number}", question="?", answers=("a",)) for number in range(count)],
        answers=[
            ScoredAnswer(
                answer=Answer(configuration=name, question=f"q{number}", ledger=ledger),
                scores=(Score(metric="token_f1", value=1.0),),
            )
            for name, ledgers in answers.items()
            for number, ledger in enumerate(ledgers)
            if ledger is not None
        ],
        one_offs=one_offs,
    )


def central(amount: Amount) -> tuple[float | None, float, int, float | None]:
    joules = None if amount.joules is None else amount.joules.central
    tokens = None if amount.tokens is None else amount.tokens.central
    return joules, amount.seconds.central, amount.answers, tokens


# --------------------------------------------------------------------------------------------------------- the parts


def test_spent_holds_answers_and_one_off_work_and_the_loops_window_only_once():
    works = [
        OneOff(work="index", what="bm25", reading=reading(3.0, 0)),
        OneOff(work="judge", what="scoring", reading=reading(1.0, 100)),
        OneOff(work=HARNESS, what="loop", reading=Reading(seconds=500.0, cpu_seconds=0.5)),
    ]
    found = search_footprint(comparison({"a": [asked(1.0), asked(1.0)]}, one_offs=works))
    assert central(found.spent) == (2.0 * (4 + 3 + 1 + 0.5), 8.0, 2, 120)
    assert found.spent.joules is not None
    assert (found.spent.joules.low, found.spent.joules.high) == (8.5, 34.0)


def test_sharing_is_what_answers_take_alone_less_what_they_took():
    found = search_footprint(comparison({"a": [asked(1.0), asked(2.0)], "b": [reused(1.0), asked(2.0)]}))
    assert central(found.spent) == (2.0 * (2 + 4 + 4), 10.0, 3, 30)
    assert central(found.shared) == (2.0 * 2, 2.0, 1, 10)
    assert found.shared.joules is not None
    assert (found.shared.joules.low, found.shared.joules.high) == (2.0, 8.0)


@given(st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=12))
def test_what_was_spent_and_what_was_shared_are_what_the_answers_take_alone(drawn):
    ledgers = [reused(cpu, tokens=cpu) if again else asked(cpu, tokens=cpu) for cpu, again in drawn]
    found = search_footprint(comparison({"a": ledgers}))
    lonely = search_footprint(comparison({"a": [asked(cpu, tokens=cpu) for cpu, _ in drawn]}))
    sums = [one + other for one, other in zip(central(found.spent), central(found.shared), strict=True)]  # type: ignore[operator]
    assert sums == pytest.approx(central(lonely.spent))
    assert central(lonely.shared) == (0, 0, 0, 0)


def test_stopping_early_saves_the_mean_of_what_was_asked_for_each_cell_that_was_not():
    found = search_footprint(comparison({"a": [asked(1.0)] * 8, "b": [asked(2.0)] * 2 + [None] * 6}))
    assert central(found.stopped) == (2.0 * 6 * 4, 24.0, 6, 60)
    assert found.unknown == 0
    assert found.stopped.joules is not None
    assert found.stopped.joules.low <= 24 <= found.stopped.joules.central == 48 <= 96 <= found.stopped.joules.high


def test_reused_answers_are_stopped_at_what_they_cost_alone():
    alone = search_footprint(comparison({"a": [asked(1.0)] * 4, "b": [asked(1.0)] * 2 + [None] * 2}))
    shared = search_footprint(comparison({"a": [asked(1.0)] * 4, "b": [reused(1.0)] * 2 + [None] * 2}))
    assert alone.stopped == shared.stopped


def test_the_fewer_answers_the_wider_the_range():
    def width(answers: int) -> float:
        costs = [asked(0.5 + number % 3) for number in range(answers)]
        stopped = search_footprint(
            comparison({"a": [asked(1.0), asked(2.0)] * 20, "b": [*costs, *[None] * (40 - answers)]})
        ).stopped
        return (stopped.seconds.high - stopped.seconds.low) / stopped.seconds.central

    assert width(1) > width(3) > width(30) > 0


def test_nothing_is_stopped_where_everything_was_asked_and_setups_that_never_ran_are_unknown():
    whole = search_footprint(comparison({"a": [asked(1.0)] * 3}))
    assert central(whole.stopped) == (0, 0, 0, 0)
    found = search_footprint(comparison({"a": [asked(1.0)] * 3, "b": [None] * 3}))
    assert (central(found.stopped), found.unknown) == ((0, 0, 0, 0), 3)
    assert "3 answers of setups that never ran" in said(comparison({"a": [asked(1.0)] * 3, "b": [None] * 3}))


def test_joules_that_were_not_measured_are_absent_and_never_nothing():
    run = comparison({"a": [asked(None)] * 3, "b": [asked(None), None, None]})
    found = search_footprint(run)
    assert (found.spent.joules, found.shared.joules, found.stopped.joules) == (None, None, None)
    assert "not measured J" in said(run)


def said(run: Comparison) -> str:
    return " ".join(search_sentences(run, choose(run)))


# ---------------------------------------------------------------------------------------------------------- paid back


def back(run: Comparison, chosen: str, reference: str, unit: str = "joules") -> Any:
    return payback(run, Configuration({}, id=chosen), Configuration({}, id=reference), unit)


def test_a_search_is_paid_back_by_what_each_answer_saves():
    run = comparison({"cheap": [asked(1.0, 10)] * 20, "dear": [asked(3.0, 60)] * 20})
    spent = 20 * (2 + 6)  # CPU-seconds
    found = back(run, "cheap", "dear").answers
    assert found.central == pytest.approx(spent / (6 - 2))
    assert found.low < found.central < found.high < inf
    assert back(run, "cheap", "dear", "tokens").answers.central == pytest.approx(20 * 70 / 50)
    assert back(run, "cheap", "dear", "seconds").answers.central == pytest.approx(spent / 4)
    cheap, dear = (figures.configuration for figures in run.figures)
    sentences = search_sentences(run, replace(choose(run), chosen=cheap, reference=dear))
    assert f"paid for itself after 40 answers ({found.low:,.0f}–{found.high:,.0f}) in place of" in sentences[1]
    assert "sharing work saved nothing, stopping early nothing" in sentences[0]


@settings(max_examples=25)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 50))
def test_more_one_off_work_is_paid_back_later_and_a_larger_saving_sooner(cheap, more, work):
    def answers(saving: int, extra: int) -> float:
        one_offs = [OneOff(work="index", what="x", reading=reading(float(work + extra), 0))]
        ledgers = {"cheap": [asked(cheap)] * 3, "dear": [asked(cheap)] * 3, "dearest": [asked(cheap + saving)] * 3}
        found: float = back(comparison(ledgers, one_offs=one_offs), "cheap", "dearest").answers.central
        return found

    assert answers(more, 0) < answers(more, 5)
    assert answers(more, 0) > answers(more + 1, 0)


def test_only_questions_that_both_answered_tell_the_saving():
    hard, easy = asked(9.0), asked(1.0)
    run = comparison({"cheap": [easy, None, None], "dear": [asked(2.0), hard, hard]})
    found = back(run, "cheap", "dear").answers
    assert found.central == pytest.approx((2 + 4 + 18 + 18) / 2)
    assert found.high == inf  # one question in common proves no saving


def test_there_is_a_reason_where_nothing_is_paid_back():
    run = comparison({"cheap": [asked(1.0)] * 3, "dear": [asked(2.0)] * 3, "blind": [asked(None)] * 3})
    for chosen, reference, reason in (
        ("cheap", "cheap", "the reference itself"),
        ("dear", "cheap", "no fewer joules"),
        ("blind", "cheap", "no question in common"),
        ("cheap", "dear", "not measured"),  # what the third one took is not known
    ):
        found = back(run, chosen, reference)
        assert found.answers is None
        assert reason in found.reason
    assert payback(run, None, None).reason == "no setup was chosen"
    best = comparison({"only": [asked(1.0)] * 3})
    assert "It is not paid back: the reference itself was chosen" in said(best)
