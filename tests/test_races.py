"""Races as functions of what is stored: what is decided, what is asked for, and what may never happen."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import workbench
from tests.conftest import ROOT, experiment
from workbench.contracts import Standings
from workbench.errors import InputError
from workbench.races import AgainstAll, AgainstReference, race, replayed
from workbench.racing import Race, RaceState, Terms, terms
from workbench.records import Configuration, EvalSet, Question
from workbench.selection import choose_questions
from workbench.specification import Goal, Selection
from workbench.stats import best_evidence
from workbench.store import Store
from workbench.strategies import race as racing


class World:
    """Scores and costs of everything, shown to a race only as far as it asks."""

    def __init__(self, scores: np.ndarray, costs: np.ndarray | None = None, **others: Any) -> None:
        self.scores = scores
        self.costs = np.ones(scores.shape) if costs is None else np.broadcast_to(costs, scores.shape)
        self.seconds = others.get("seconds", np.full(scores.shape, np.nan))
        self.closed = np.zeros(len(scores), dtype=bool)
        self.closed[others.get("closed", [])] = True
        self.answered = np.zeros(scores.shape, dtype=bool)

    def start(self, agreed: Terms) -> Race:
        return race(agreed, self.costs.mean(axis=1), self.scores.shape[1], self.closed)

    def advance(self, going: Race) -> list[tuple[int, int]]:
        stored = (np.where(self.answered, each, np.nan) for each in (self.scores, self.costs, self.seconds))
        scores, costs, seconds = stored
        return going.advance(scores, self.answered, costs, seconds)

    def answer(self, cells: list[tuple[int, int]]) -> None:
        for cell in cells:
            self.answered[cell] = True

    def run(self, agreed: Terms) -> RaceState:
        going = self.start(agreed)
        while cells := self.advance(going):
            self.answer(cells)
        return going.state


def landscape(seed: int, rows: int = 12, questions: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Like F1, correlated by difficulty; dearer ones are better on the whole."""
    generator = np.random.default_rng(seed)
    means = generator.uniform(0.2, 0.8, rows)
    latent = generator.normal(0, 1, questions) + generator.normal(0, 0.8, (rows, questions))
    scores = np.clip(means[:, None] + latent / 3, 0, 1).round(3)
    level = np.exp(3 * means + generator.normal(0, 0.4, rows))
    return scores, level[:, None] * np.exp(generator.normal(0, 0.3, (rows, questions)))


def same(a: RaceState, b: RaceState) -> bool:
    pairs = ((getattr(a, name), getattr(b, name)) for name in RaceState.__dataclass_fields__)
    return all(np.array_equal(x, y) if isinstance(x, np.ndarray) else x == y for x, y in pairs)


KINDS = [Terms(margin=0.1), Terms(margin=0.1, level="every"), Terms(margin=0.1, level="reference", reference=3)]


# ------------------------------------------------------------------------------------------- a function of the store


@pytest.mark.parametrize("agreed", KINDS, ids=lambda each: each.level)
def test_pitfall_15_killed_at_every_boundary_a_race_goes_on_as_if_it_had_not_been(agreed: Terms) -> None:
    world, again = World(*landscape(1)), World(*landscape(1))
    going = world.start(agreed)
    while cells := world.advance(going):
        reborn = again.start(agreed)
        assert sorted(again.advance(reborn)) == sorted(cells)
        assert same(reborn.state, going.state)
        world.answer(cells)
        again.answer(cells)
    reborn = again.start(agreed)
    assert again.advance(reborn) == []
    assert same(reborn.state, going.state)


@pytest.mark.parametrize("agreed", KINDS, ids=lambda each: each.level)
@settings(max_examples=6)
@given(seed=st.integers(0, 10**6))
def test_answer_by_answer_in_any_order_comes_to_the_same(agreed: Terms, seed: int) -> None:
    whole, single = World(*landscape(2)), World(*landscape(2))
    expected = whole.run(agreed)
    going = single.start(agreed)
    generator = np.random.default_rng(seed)
    while cells := single.advance(going):
        for number in generator.permutation(len(cells))[: generator.integers(1, len(cells) + 1)]:
            single.answer([cells[number]])
    assert same(going.state, expected)
    assert np.array_equal(single.answered, whole.answered)


@pytest.mark.parametrize("agreed", KINDS, ids=lambda each: each.level)
def test_pitfall_2_changing_later_scores_changes_no_earlier_decision(agreed: Terms) -> None:
    scores, costs = landscape(3)
    generator = np.random.default_rng(3)
    for cut in (10, 25, 40):
        changed = scores.copy()
        changed[:, cut:] = generator.random(changed[:, cut:].shape)
        worlds = [World(each, costs) for each in (scores, changed)]
        races = [world.start(agreed) for world in worlds]
        while all(going.state.asked.max() < cut for going in races):
            first, second = (world.advance(going) for world, going in zip(worlds, races, strict=True))
            beyond = any(column >= cut for _, column in first)
            assert first == second
            if beyond or not first:
                break
            for world in worlds:
                world.answer(first)
        assert same(*(going.state for going in races))


@pytest.mark.parametrize("cut", [4, 7, 9, 12, 30])
def test_pitfall_2_the_leader_of_a_question_does_not_depend_on_its_scores_or_later_ones(cut: int) -> None:
    scores, costs = landscape(3)
    changed = scores.copy()
    changed[:, cut:] = 1 - changed[::-1, cut:]
    leaders = []
    for each in (scores, changed):
        going = (world := World(each, costs)).start(Terms(margin=0.1, level="every"))
        while (cells := world.advance(going)) and going.state.asked.max() < 35:
            world.answer(cells)
        assert isinstance(going, AgainstAll)
        leaders.append(going._leaders)
    assert leaders[0][: cut + 1].tolist() == leaders[1][: cut + 1].tolist()
    assert set(leaders[0][:3]) == {-1}


def test_the_strategy_keeps_a_race_and_replays_it_where_configurations_close() -> None:
    scores, costs = landscape(4)
    configurations = [Configuration({"passages": number}) for number in range(len(scores))]
    goal = Goal(margin=0.1)
    world = World(scores, costs)

    def standings() -> Standings:
        shown = [np.where(world.answered, each, np.nan) for each in (scores, costs, world.seconds)]
        return Standings(
            configurations=configurations,
            answered=world.answered,
            scores=shown[0],
            costs=shown[1],
            seconds=shown[2],
            expected_costs=costs.mean(axis=1),
            closed=world.closed,
            incomplete=np.zeros(len(scores), dtype=bool),
        )

    kept = racing.build()
    for number in range(100):
        if number == 2:
            world.closed = world.closed | (np.arange(len(scores)) == 5)
        wanted = kept.propose(standings(), goal, 0)
        fresh = racing.build().propose(standings(), goal, 0)
        assert wanted == fresh
        if wanted is None:
            break
        assert not any(world.closed[row] for row, _ in wanted.cells)
        world.answer(list(wanted.cells))
    state = replayed(terms(goal, configurations), standings())
    assert state.ended
    assert not state.rivals[5]
    assert state.pick != 5


# --------------------------------------------------------------------------------------------------------- pitfalls


def test_pitfall_1_the_order_is_uniform_and_nothing_else_stands_between_a_race_and_a_false_certificate() -> None:
    questions = tuple(Question(id=f"q{number}", question="?", split="dev") for number in range(5))
    evalset = EvalSet(name="five", corpus="c", questions=questions, digest="d")
    runs = 1500
    first = [choose_questions(evalset, Selection(), seed)[0].id for seed in range(runs)]
    last = [choose_questions(evalset, Selection(), seed)[-1].id for seed in range(runs)]
    reach = 3.9 * sqrt(runs * 0.2 * 0.8)  # .1 % over all ten counts
    for found in (first, last):
        assert all(abs(found.count(question.id) - runs / 5) <= reach for question in questions)
    wins_first = (np.repeat([1.0, -1.0], [30, 40]) + 1) / 2  # on the whole .14 worse, beyond the margin of .1
    assert best_evidence(wins_first, 0.45, population=70) >= 40
    shuffled = np.random.default_rng(1).permuted(np.broadcast_to(wins_first, (2000, 70)), axis=1)
    share = float((best_evidence(shuffled, 0.45, population=70) >= 20).mean())
    assert share <= 0.05 + 3.1 * sqrt(0.05 * 0.95 / 2000)


@pytest.mark.parametrize("level", ["screen", "every"])
def test_pitfall_6_thirty_identical_answers_certify_nothing_at_a_small_margin(level: Any) -> None:
    """All alike for 30 questions, then the cheap one loses."""
    scores = np.ones((2, 200))
    scores[0, 30::5] = 0.0
    state = World(scores, np.array([[1.0], [2.0]])).run(Terms(margin=0.02, level=level))
    assert state.pick == 1
    going = (tied := World(np.ones((2, 200)), np.array([[1.0], [2.0]]))).start(Terms(margin=0.02, level=level))
    while (cells := tied.advance(going)) and going.state.asked.max() < 30:
        assert not going.state.certified
        tied.answer(cells)
    assert not going.state.certified
    assert best_evidence(np.full(30, 0.5), 0.49, population=200) < 5


def test_pitfall_7_a_race_that_grows_is_held_to_the_larger_number() -> None:
    """The same answers that were enough among two are not enough among fifty, and nothing is lost by growing."""
    generator = np.random.default_rng(7)
    two = np.vstack([np.ones(100), np.ones(100)])
    two[1, generator.permutation(100)[:3]] = 0.0
    costs = np.array([[1.0], [5.0]])
    small = World(two, costs)
    before = small.run(Terms(margin=0.1, level="every"))
    assert before.certified
    assert before.pick == 0
    losers = np.zeros((48, 100))
    grown = World(np.vstack([two, losers]), np.vstack([costs, np.full((48, 1), 9.0)]))
    grown.answered[:2] = small.answered
    reopened = grown.start(Terms(margin=0.1, level="every"))
    grown.answer(grown.advance(reopened))
    after = grown.run(Terms(margin=0.1, level="every"))
    assert after.certified
    assert after.asked[1] > before.asked[1]
    assert (grown.answered[:2] >= small.answered).all()


def test_pitfall_10_one_that_is_out_keeps_answering_until_the_certificate_does_not_need_it() -> None:
    """Some are shown inferior to the best before they are shown not to be the best at the certificate's level."""
    seen = False
    for seed in range(10):
        world = World(*landscape(seed))
        going = world.start(Terms(margin=0.1, level="every", inferior_share=0.0))
        while cells := world.advance(going):
            state = going.state
            asked = {row for row, _ in cells}
            for row in state.out:
                if not state.settled[row]:
                    seen = True
                    assert row in asked or state.asked[row] > min(state.asked[list(asked)])
            world.answer(cells)
        state = going.state
        assert state.certified
        assert state.settled[list(state.out)].all()
    assert seen


def test_pitfall_11_a_dearer_one_is_no_candidate_but_has_to_be_settled() -> None:
    """The pick is as good as a far dearer one, which is asked until that is shown; or worse, and then it is not certified."""
    costs = np.array([[1.0], [100.0], [2.0]])
    alike = np.vstack([np.ones((2, 100)), np.zeros((1, 100))])
    going = (world := World(alike, costs)).start(Terms(margin=0.1, level="every"))
    while cells := world.advance(going):
        state = going.state
        assert not state.certified
        assert state.asked[1] < 30 or state.pick == 0
        world.answer(cells)
    assert going.state.pick == 0
    assert going.state.certified
    assert going.state.asked[1] > 30
    worse = alike.copy()
    worse[[0, 2], ::2] = 0.0
    state = World(worse, costs).run(Terms(margin=0.1, level="every"))
    assert (state.pick, state.certified) == (1, True)


def test_pitfall_12_of_two_alike_whose_costs_are_noise_neither_is_cheaper_and_both_are_ties() -> None:
    generator = np.random.default_rng(12)
    runs, cheaper, tied = 80, 0, 0
    scores = np.tile([1.0, 0.0, 1.0], (2, 20))
    for _ in range(runs):
        state = World(scores, generator.lognormal(0, 0.7, scores.shape)).run(Terms(margin=0.1))
        cheaper += bool(state.cheaper)
        tied += bool(state.ties)
    assert cheaper == 0  # both are good enough, so that the one that looks cheaper is the pick
    assert tied >= 0.9 * runs
    unknown = World(scores, np.full(scores.shape, np.nan))
    unknown.costs = np.full(scores.shape, np.nan)
    going = race(Terms(margin=0.1), np.array([1.0, 2.0]), 60, unknown.closed)
    while cells := unknown.advance(going):
        unknown.answer(cells)
    assert (going.state.ties, going.state.unpriced) == ((), (1,))


def test_pitfall_17_a_single_exclusion_says_that_it_holds_alone() -> None:
    scores, costs = np.vstack([np.zeros((3, 60)), np.ones((2, 60))]), np.arange(1.0, 6.0)[:, None]
    for agreed in KINDS:
        state = World(scores, costs).run(agreed)
        behind = [reason for reason in state.out.values() if reason.startswith("worse than")]
        assert behind
        shown_at = {"screen": "0.9", "every": "0.95", "reference": "0.975"}[agreed.level]
        assert all(reason.endswith(f"(shown for it alone, at {shown_at})") for reason in behind)


# -------------------------------------------------------------------------------------------------------- decisions


@pytest.mark.parametrize("zeta", [0.5, 1.0])
def test_a_certificate_is_right_and_nothing_cheaper_would_do(zeta: float) -> None:
    """What is certified is within the margin, in races of many seeds and kinds of scores."""
    wrong = missed = runs = 0
    for seed in range(40):
        scores, costs = landscape(seed)
        if seed % 2:
            scores = (scores > 0.5).astype(float)
        state = World(scores, costs).run(Terms(margin=0.1, level="every", inferior_share=zeta))
        means = scores.mean(axis=1)
        assert state.ended
        assert state.pick is not None
        runs += 1
        wrong += state.certified and means[state.pick] < means.max() - 0.1 - 1e-9
        half = np.flatnonzero(means >= means.max() - zeta * 0.1 + 1e-9)
        missed += costs[state.pick].mean() > 1.1 * costs[half].mean(axis=1).min()
    most = 0.05 * runs + 3.1 * sqrt(runs * 0.05 * 0.95)
    assert wrong <= most
    assert missed <= most


def near_ties(seed: int, rows: int = 8, questions: int = 100) -> np.ndarray:
    """All alike but for a few questions each."""
    generator = np.random.default_rng(seed)
    alike = generator.random(questions) < 0.6
    return np.where(generator.random((rows, questions)) < 0.05, ~alike, alike).astype(float)


def test_a_screening_lets_dearer_near_ties_go_before_the_evidence_is_there() -> None:
    """A guess is enough for that."""
    guessed = dearer = 0
    for seed in range(10):
        scores, costs = near_ties(seed), np.arange(1.0, 9.0)[:, None]
        state = World(scores, costs).run(Terms(margin=0.1))
        assert state.ended
        assert state.pick is not None
        assert scores[state.pick].mean() >= scores.mean(axis=1).max() - 0.1 - 1e-9
        for row in range(state.pick + 1, 8):
            common = min(state.asked[row], state.asked[state.pick])
            gaps = scores[state.pick, :common] - scores[row, :common]
            guessed += float(best_evidence((gaps + 1) / 2, 0.45, population=100)) < 10
            dearer += 1
    assert guessed > dearer / 2


def test_a_screening_lets_nothing_go_on_a_guess_that_may_be_cheaper_than_the_pick() -> None:
    scores = near_ties(3, rows=2)
    noise = np.exp(np.random.default_rng(3).normal(0, 0.5, scores.shape))
    alike, dearer = (World(scores, np.array([[1.0], [ratio]]) * noise) for ratio in (1.0, 9.0))
    alike.run(Terms(margin=0.1))
    state = dearer.run(Terms(margin=0.1))
    assert state.pick == 0
    assert dearer.answered.sum() < alike.answered.sum()


def test_a_screening_learns_from_all_how_much_differences_vary() -> None:
    """Of two that rarely differ, the dearer one goes sooner where others rarely differ, too, than where nothing else is known."""

    def asked(scores: np.ndarray, rows: int) -> int:
        costs = np.arange(1.0, rows + 1)[:, None] * 2
        return int(World(scores[:rows], costs).run(Terms(margin=0.1)).asked[:2].sum())

    generator = np.random.default_rng(5)
    matrices = [0.5 + generator.normal(0, 0.3, 100) / 3 + generator.normal(0, 0.05, (12, 100)) for _ in range(10)]
    assert sum(asked(scores, 12) for scores in matrices) < 0.5 * sum(asked(scores, 2) for scores in matrices)


@pytest.mark.parametrize(("seed", "pick", "instead_of"), [(842, 0, 2), (880, 0, 1), (925, 1, 2)])
def test_a_screening_picks_none_that_a_surely_cheaper_one_is_no_worse_than(
    seed: int, pick: int, instead_of: int
) -> None:
    generator = np.random.default_rng(seed)
    means = generator.choice([0.03, 0.04, 0.05, 0.06, 0.07, 0.08], 6)
    scores = (generator.random((6, 60)) < means[:, None]).astype(float)
    state = World(scores, np.array([[0.04], [0.05], [2.4], [2.5], [2.6], [2.8]])).run(Terms(margin=0.05))
    assert state.leader is not None
    asked = state.asked[instead_of]
    assert scores[state.leader].mean() - scores[pick].mean() > 0.025  # so that it had gone out: all 60 were asked
    assert scores[pick, :asked].sum() >= scores[instead_of, :asked].sum()
    assert state.pick == pick
    assert pick not in state.out
    assert state.settled[pick]
    assert not set(state.cheaper + state.ties) & {pick, instead_of}


@pytest.mark.parametrize("sort", ["binary", "losses only"])
def test_a_screening_rarely_lets_one_go_that_is_better_by_more_than_the_margin(sort: str) -> None:
    """The dearer one is one question beyond the margin better: that is missed about as often as a decision may be wrong."""
    generator = np.random.default_rng(26)
    runs, missed = 150, 0
    for _ in range(runs):
        scores = np.ones((2, 100)) if sort == "losses only" else np.tile(np.repeat([1.0, 0.0], [60, 40]), (2, 1))
        scores[0, generator.choice(60, 11, replace=False)] = 0.0
        if sort == "binary":
            scores[0] = generator.permutation(scores[0])
        scores = scores[:, generator.permutation(100)]
        missed += World(scores, np.array([[1.0], [9.0]])).run(Terms(margin=0.1)).pick == 0
    assert missed <= 0.1 * runs + 3.1 * sqrt(runs * 0.1 * 0.9)


def test_a_race_asks_less_than_everything_and_never_one_that_is_closed_or_more_than_a_pilot_of_a_bound() -> None:
    scores, costs = landscape(21)
    world = World(scores, costs, closed=[2])
    state = world.run(Terms(margin=0.1, bounds=frozenset({4})))
    assert world.answered.mean() < 0.8
    assert not world.answered[2].any()
    assert world.answered[4].sum() == 10
    assert not state.rivals[[2, 4]].any()
    assert state.pick not in (2, 4)


@pytest.mark.parametrize("questions", [1, 2, 10, 11])
@pytest.mark.parametrize("agreed", KINDS, ids=lambda each: each.level)
def test_few_questions_are_decided_exactly(agreed: Terms, questions: int) -> None:
    scores, costs = landscape(22, questions=questions)
    state = World(scores, costs).run(agreed)
    assert state.ended
    assert state.pick is not None
    best = scores.mean(axis=1).max() if agreed.reference is None else scores[agreed.reference].mean()
    assert scores[state.pick].mean() >= best - 0.1 - 1e-9


def test_somebody_is_always_left_where_each_was_behind_another_for_a_while() -> None:
    """The first wins for a time and the second for a longer one, all within the pilot."""
    scores = np.repeat([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5]], [10, 25, 165], axis=1)
    state = World(scores, np.array([[1.0], [2.0]])).run(Terms(margin=0.05, pilot=40))
    assert state.pick is not None
    assert len(state.out) < 2


def test_those_below_the_floor_are_out_and_where_all_are_nothing_is_picked() -> None:
    scores = np.vstack([np.tile([0.0, 0.0, 0.0, 1.0], 25), np.tile([1.0, 1.0, 1.0, 0.0], 25)])
    costs = np.array([[1.0], [2.0]])
    state = World(scores, costs).run(Terms(margin=1.0, floor=0.5))
    assert state.pick == 1
    assert "floor of 0.5" in state.out[0]
    assert state.asked[0] < 100
    state = World(scores, costs).run(Terms(margin=1.0, floor=0.9))
    assert state.pick is None
    assert not state.certified
    assert set(state.out) == {0, 1}
    assert World(scores, costs).run(Terms(margin=1.0, floor=0.75)).pick == 1  # just reached


@pytest.mark.parametrize("level", ["screen", "every"])
def test_a_limit_on_latency_is_kept_whatever_the_quality_of_what_is_over_it(level: Any) -> None:
    """The best is too slow: it is no rival, and the other one is certified without it."""
    scores = np.vstack([np.tile([1.0, 0.0], 50), np.ones(100)])
    seconds = np.vstack([np.ones(100), np.tile([1.0, 9.0], 50)])
    state = World(scores, np.array([[1.0], [2.0]]), seconds=seconds).run(
        Terms(margin=0.1, level=level, limits={"p95_seconds": 5.0})
    )
    assert state.pick == 0
    assert state.certified
    assert "took more than the p95 of 5 s" in state.out[1]


def test_one_that_is_a_little_over_a_limit_after_everything_is_out_too() -> None:
    scores, seconds = np.ones((2, 100)), np.ones((2, 100))
    seconds[0, 5::15] = 9.0  # 7 of 100, too few to be shown against 5 %
    costs = np.array([[1.0], [2.0]])
    state = World(scores, costs, seconds=seconds).run(Terms(margin=0.02, level="every", limits={"p95_seconds": 5.0}))
    assert state.pick == 1
    seconds[0, 5::15] = np.nan  # where nothing undisturbed is known, nothing is held against it
    state = World(scores, costs, seconds=seconds).run(Terms(margin=0.02, level="every", limits={"p95_seconds": 5.0}))
    assert state.pick == 0


def test_floor_and_limits_rarely_exclude_one_that_just_meets_them() -> None:
    generator = np.random.default_rng(23)
    runs, out = 150, 0
    for _ in range(runs):
        scores = generator.permuted(np.repeat([[1.0, 0.0]], 50, axis=1), axis=1)
        going = (world := World(scores)).start(Terms(margin=0.1, floor=0.5))
        while (cells := world.advance(going)) and going.state.asked[0] < 100:
            world.answer(cells)
        out += bool(going.state.out)
    assert out <= 0.2 * runs + 3.1 * sqrt(runs * 0.2 * 0.8)


# ------------------------------------------------------------------------------------------------- a named reference


def test_against_a_reference_dearer_ones_never_run_and_the_first_that_passes_ends_it() -> None:
    scores, costs = np.ones((20, 100)), np.arange(1.0, 21.0)[:, None]
    scores[:3, ::2] = 0.0
    world = World(scores, costs)
    state = world.run(Terms(margin=0.1, level="reference", reference=15))
    assert isinstance(world.start(Terms(margin=0.1, level="reference", reference=15)), AgainstReference)
    assert isinstance(world.start(Terms(margin=0.1)), AgainstAll)
    assert state.pick == 3
    assert state.certified
    assert state.ended
    assert set(state.out) == {0, 1, 2}
    asked = world.answered.any(axis=1)
    assert not asked[16:].any()
    assert not asked[8:15].any()  # the second wave was not needed


def test_a_candidate_that_turns_out_no_cheaper_than_the_reference_is_not_picked() -> None:
    scores = np.ones((2, 100))
    costs = np.full((2, 100), 1.0)
    costs[0] = 1.01
    going = race(Terms(margin=0.1, level="reference", reference=1), np.array([0.5, 1.0]), 100, np.zeros(2, dtype=bool))
    world = World(scores, costs)
    while cells := world.advance(going):
        world.answer(cells)
    assert going.state.pick == 1
    assert not going.state.certified
    assert "no cheaper than the reference" in going.state.out[0]


def test_what_is_certified_against_a_reference_is_the_pick_itself_whenever_one_looks() -> None:
    for seed in range(12):
        world = World(*landscape(seed))
        going = world.start(Terms(margin=0.1, level="reference", reference=int(world.scores.mean(axis=1).argmax())))
        while cells := world.advance(going):
            state = going.state
            assert not state.certified or (state.pick is not None and state.settled[state.pick])
            world.answer(cells)


def test_where_the_reference_cannot_run_nothing_is_asked() -> None:
    world = World(*landscape(24), closed=[3])
    state = world.run(Terms(margin=0.1, level="reference", reference=3))
    assert state.ended
    assert state.pick is None
    assert not world.answered.any()


def test_a_false_certificate_against_a_reference_is_rare() -> None:
    """Eight cheap ones, each one question beyond the margin."""
    generator = np.random.default_rng(25)
    runs, false = 100, 0
    for _ in range(runs):
        scores = np.ones((9, 60))
        for row in range(8):
            scores[row, generator.permutation(60)[:7]] = 0.0
        state = World(scores, np.arange(1.0, 10.0)[:, None]).run(Terms(margin=0.1, level="reference", reference=8))
        false += state.certified
    assert false <= 0.05 * runs + 3.1 * sqrt(runs * 0.05 * 0.95)


def test_terms_ask_for_a_reference_that_is_there_and_a_level_that_goes_with_it() -> None:
    configurations = [Configuration({"passages": number}) for number in (1, 2)]
    named = terms(Goal(reference=configurations[1].id), configurations)
    assert (named.level, named.reference) == ("reference", 1)
    assert terms(Goal(), configurations).level == "screen"
    with pytest.raises(InputError, match="names none of the 2"):
        terms(Goal(reference="abcdef"), configurations)
    with pytest.raises(InputError, match="goes with a configuration that is named"):
        terms(Goal(), configurations, level="reference")
    with pytest.raises(InputError, match=r"(?s)inferior_share is 2.*pilot is 1"):
        racing.build(inferior_share=2, pilot=1)


# ------------------------------------------------------------------------------------------------------ through runs

SPACE = {"model": ["none", {"name": "scripted", "seconds": 0.02}], "retriever": ["none", "bm25"], "passages": [1, 3]}
KILLED_RUN = """
import sys, workbench
workbench.run(sys.argv[1], store=workbench.Store(sys.argv[2]), progress=lambda p: print(p.done, flush=True))
"""


def raced(**changes: Any) -> dict[str, Any]:
    return experiment(strategy={"name": "race", "pilot": 2}, space=SPACE, goal={"margin": 0.3}, **changes)


def decided(store: Store) -> tuple[Any, ...]:
    record = store.get("latest")
    trials = [(trial.configuration.id, trial.state, trial.reason) for trial in store.trials(record.id)]
    return sorted(trials), sorted(store.answered(record.id))


def test_a_race_killed_with_kill_9_and_resumed_decides_as_one_that_was_not(tmp_path: Path) -> None:
    file, store = tmp_path / "raced.yaml", tmp_path / "killed.db"
    file.write_text(yaml.safe_dump(raced()))
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED_RUN, str(file), str(store)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= 6:
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert Store(str(store)).get("latest").state == "interrupted"
    workbench.run(file, store=Store(str(store)))
    workbench.run(file, store=Store(str(tmp_path / "whole.db")))
    assert decided(Store(str(store))) == decided(Store(str(tmp_path / "whole.db")))


def test_one_that_was_out_and_is_back_in_the_end_ends_as_one_that_is_in() -> None:
    workbench.run(raced(), name="again")
    store = Store()
    record = store.get("again")
    trial = next(trial for trial in store.trials(record.id) if trial.state == "finished")
    store.set_trial(record.id, trial.configuration.id, "eliminated", "worse than the best, as it seemed")
    workbench.run(raced(), name="again")
    after = {each.configuration.id: each for each in store.trials(record.id)}[trial.configuration.id]
    assert (after.state, after.reason) == ("finished", "")


def test_running_a_finished_race_again_asks_nothing() -> None:
    workbench.run(raced())
    before = decided(Store())
    workbench.run(raced())
    assert decided(Store()) == before


def test_an_error_budget_of_a_split_is_kept_over_runs() -> None:
    """The same claim again costs nothing, another one is refused; of two announced tries the second has a fifth."""
    first = raced()
    workbench.run(first, name="first")
    store = Store()
    evalset = store.get("first").environment["evalset"]["digest"]
    [claimed] = store.claims(evalset, "test")
    assert claimed.alpha == pytest.approx(0.05)
    workbench.run(first, name="again")
    workbench.run(raced() | {"goal": {"metric": "token_f1", "margin": 0.35, "minimise": "tokens"}}, name="other")
    claims = store.claims(evalset, "test")
    assert {json.dumps(each.claim): each.alpha for each in claims if each.run == "again"} == {
        json.dumps(claimed.claim): pytest.approx(0.05)
    }
    assert [each.alpha for each in claims if each.run == "other"] == [0]
    new = {key[1] for key in store.answered(store.get("other").id)} & {
        question["id"]
        for question in map(json.loads, Path("tiny/questions.jsonl").read_text().splitlines())
        if question["split"] == "test"
    }
    assert not new  # what may not be claimed is not asked


def test_two_announced_tries_share_the_error_that_the_goal_allows() -> None:
    confirm = {"split": "test", "tries": 2}
    for number, margin in enumerate((0.3, 0.35, 0.4)):
        goal = {"metric": "token_f1", "margin": margin, "minimise": "tokens"}
        workbench.run(raced(confirm=confirm) | {"goal": goal}, name=f"try-{number}")
    store = Store()
    claims = store.claims(store.get("latest").environment["evalset"]["digest"], "test")
    assert [each.alpha for each in claims] == pytest.approx([0.04, 0.01, 0])
