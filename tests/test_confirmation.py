"""Confirming a pick on new questions: one pair, fixed beforehand, and an error that is spent once."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.test_races import World, landscape
from workbench.confirmation import confirm, contenders, level_left
from workbench.errors import InputError
from workbench.racing import RaceState, Terms
from workbench.store import Claimed


def state(pick: int | None, leader: int | None, asked: list[int]) -> RaceState:
    count = len(asked)
    return RaceState(
        asked=np.array(asked),
        questions=100,
        rivals=np.ones(count, dtype=bool),
        leader=leader,
        pick=pick,
        settled=np.ones(count, dtype=bool),
        certified=True,
        cheaper=(),
        ties=(),
        unpriced=(),
        barred=np.zeros(count, dtype=bool),
        out={},
        ended=True,
    )


def claimed(claim: dict[str, Any], alpha: float, run: str = "r") -> Claimed:
    others = {"split": "test"} if "split" in Claimed.__dataclass_fields__ else {}
    return Claimed(run=run, created=0.0, claim=claim, alpha=alpha, **others)


# ----------------------------------------------------------------------------------------------------- new questions


def test_one_as_good_as_its_reference_is_shown_and_one_far_below_is_not() -> None:
    generator = np.random.default_rng(1)
    reference = (generator.random(300) < 0.7).astype(float)
    good, bad = reference.copy(), reference.copy()
    good[generator.permutation(300)[:2]] = 0.0
    bad[generator.permutation(300)[:120]] = 0.0
    shown = confirm(good, reference, margin=0.1, alpha=0.05, available=300)
    assert shown.shown
    assert (shown.questions, shown.available, shown.alpha) == (300, 300, 0.05)
    assert shown.difference is not None
    assert shown.difference.low > -0.1
    assert not confirm(bad, reference, margin=0.1, alpha=0.05, available=300).shown


@pytest.mark.parametrize("kind", ["losses only", "binary", "graded"])
def test_a_pick_just_beyond_the_margin_is_rarely_shown_on_new_questions(kind: str) -> None:
    generator = np.random.default_rng(2)
    runs, n, margin, alpha = 400, 100, 0.1, 0.05
    false = 0
    for _ in range(runs):
        if kind == "losses only":
            reference = np.ones(n)
            pick = (generator.random(n) >= margin).astype(float)
        elif kind == "binary":
            reference = (generator.random(n) < 0.6).astype(float)
            pick = (generator.random(n) < 0.5).astype(float)
        else:
            reference = generator.beta(0.6, 0.4, n)
            pick = generator.beta(0.5, 0.5, n)
        false += confirm(pick, reference, margin=margin, alpha=alpha, available=n).shown
    assert false <= alpha * runs + 3.1 * sqrt(runs * alpha * (1 - alpha))


def test_what_was_shown_once_stays_shown() -> None:
    """Looking after every batch of ten and looking once at the end come to the same."""
    generator = np.random.default_rng(3)
    found = set()
    for _ in range(20):
        reference = (generator.random(80) < 0.7).astype(float)
        pick = (generator.random(80) < 0.7).astype(float)
        looks = [
            confirm(pick[:n], reference[:n], margin=0.2, alpha=0.05, available=80).shown for n in range(10, 81, 10)
        ]
        assert looks == sorted(looks)
        found.add(looks[-1])
    assert found == {True, False}


def test_pitfall_4_without_new_questions_nothing_is_shown_of_new_questions() -> None:
    nothing = confirm(np.zeros(0), np.zeros(0), margin=0.1, alpha=0.05, available=0)
    assert not nothing.shown
    assert nothing.difference is None
    all_alike = confirm(np.ones(10), np.ones(10), margin=0.02, alpha=0.05, available=10)
    assert not all_alike.shown  # ten of ten are everything there is, and say little of others
    assert all_alike.difference is not None
    assert all_alike.difference.high - all_alike.difference.low > 0.2


def test_pitfall_9_missing_scores_count_0_and_impossible_ones_are_refused() -> None:
    ones, none = np.ones(60), np.full(60, np.nan)
    assert not confirm(none, ones, margin=0.1, alpha=0.05, available=60).shown
    with pytest.raises(InputError, match="expected 0 to 1"):
        confirm(ones * 3, ones, margin=0.1, alpha=0.05, available=60)
    assert confirm(ones, ones, margin=1.0, alpha=0.05, available=60).shown


def test_pitfall_14_the_score_that_won_the_race_has_no_part_in_the_confirmation() -> None:
    """Two alike, of which the lucky one was picked: on new questions it is no better."""
    generator = np.random.default_rng(4)
    gaps, confirmed = [], []
    for _ in range(60):
        dev, new = generator.random((2, 12, 40))
        pick = int(dev.mean(axis=1).argmax())
        reference = (pick + 1) % 12
        gaps.append(dev[pick].mean() - dev[reference].mean())
        found = confirm(new[pick], new[reference], margin=0.1, alpha=0.05, available=40)
        assert found.difference is not None
        confirmed.append(found.difference.mean)
    assert np.mean(gaps) > 0.05
    assert abs(np.mean(confirmed)) < 4 * np.std(confirmed) / sqrt(60)


# -------------------------------------------------------------------------------------------------------- contenders


def test_the_pick_is_held_against_the_leader_or_the_best_of_the_others() -> None:
    scores = np.array([[0.5] * 4, [1.0] * 4, [0.9] * 4, [1.0, 1.0, np.nan, np.nan]])
    assert contenders(state(0, 1, [4, 4, 4, 2]), scores, named=False) == (0, 1)
    assert contenders(state(1, 1, [4, 4, 4, 2]), scores, named=False) == (1, 2)
    assert contenders(state(0, 2, [4, 4, 4, 2]), scores, named=True) == (0, 2)
    assert contenders(state(2, 2, [4, 4, 4, 2]), scores, named=True) is None
    assert contenders(state(None, None, [4, 4, 4, 2]), scores, named=False) is None
    assert contenders(state(0, 0, [4]), scores[:1], named=False) is None


def test_the_pair_is_fixed_before_any_new_question() -> None:
    world = World(*landscape(5))
    ended = world.run(Terms(margin=0.1))
    first = contenders(ended, np.where(world.answered, world.scores, np.nan), named=False)
    assert first is not None
    assert first[0] == ended.pick
    assert first[1] != first[0]


# ------------------------------------------------------------------------------------------------------- the ledger


def test_pitfall_13_a_split_that_was_used_carries_no_other_claim() -> None:
    one, other = {"pick": "a", "margin": 0.05}, {"pick": "b", "margin": 0.05}
    assert level_left(0.05, 1, one, []) == 0.05
    assert level_left(0.05, 1, one, [claimed(one, 0.05)]) == 0.05
    assert level_left(0.05, 1, dict(reversed(one.items())), [claimed(one, 0.05)]) == 0.05
    assert level_left(0.05, 1, other, [claimed(one, 0.05)]) == 0
    assert level_left(0.05, 1, one, [claimed(other, 0.0)]) == 0.05  # it was refused, and spent nothing


def test_two_tries_are_announced_before_the_first() -> None:
    one, other, third = ({"pick": name} for name in "abc")
    assert level_left(0.05, 2, one, []) == pytest.approx(0.04)
    assert level_left(0.05, 2, other, [claimed(one, 0.04)]) == pytest.approx(0.01)
    assert level_left(0.05, 2, third, [claimed(one, 0.04), claimed(other, 0.01)]) == 0
    assert level_left(0.05, 2, other, [claimed(one, 0.05)]) == 0  # announced only after the whole had been spent
    assert level_left(0.05, 1, one, [claimed(one, 0.1)]) == 0.05  # never at more than the goal allows


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from([1, 2]), st.booleans()), max_size=8),
    st.sampled_from([0.01, 0.05, 0.1]),
)
def test_whatever_is_announced_and_claimed_a_split_never_spends_more_than_alpha(
    asked: list[tuple[str, int, bool]], alpha: float
) -> None:
    made: list[Claimed] = []
    for name, tries, _ in asked:
        claim = {"pick": name}
        made.append(claimed(claim, level_left(alpha, tries, claim, made)))
    spent = {each.claim["pick"]: each.alpha for each in made if each.alpha}
    assert sum(spent.values()) <= alpha * (1 + 1e-9)
