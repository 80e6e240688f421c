"""What questions can decide: laws of the formulas, and figures held against simulated races and confirmations."""

from __future__ import annotations

from math import inf, isclose

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import power, races
from workbench.confirmation import confirm
from workbench.racing import SCREEN_LEVEL, Level, Terms

COSTS = np.geomspace(1, 30, 60)
levels = st.floats(1e-4, 0.4)
sds = st.floats(0.1, 0.5)


def needed(gap: float, level: float, questions: int, sd: float = 0.37) -> float:
    return float(power.questions_for(np.array([gap]), level, questions, sd)[0])


@given(st.floats(0.001, 1), st.floats(0, 1), levels, st.integers(10, 5000), sds)
def test_a_wider_gap_never_takes_more_questions_and_nothing_takes_more_than_there_are(gap, more, level, questions, sd):
    assert needed(gap + more, level, questions, sd) <= needed(gap, level, questions, sd) <= questions
    assert needed(-gap, level, questions, sd) == needed(0.0, level, questions, sd) == questions


@given(st.integers(1, 2000), st.integers(20, 2000), levels, sds)
def test_the_margin_shown_after_some_questions_takes_as_many(asked, questions, level, sd):
    margin = power.margin_here(asked, questions, level, sd)
    if asked >= questions:
        assert margin == 0
    elif margin != inf:
        assert isclose(needed(margin, level, questions, sd), asked, rel_tol=1e-6)


@given(st.integers(1, 100_000), st.floats(0.6, 0.999), sds)
def test_the_margin_of_new_questions_takes_as_many_of_them(questions, confidence, sd):
    margin = power.margin_of_new_questions(questions, confidence, sd)
    assert isclose(power.new_questions_for(margin, confidence, sd), questions, rel_tol=1e-9)
    assert power.margin_of_new_questions(questions + 1, confidence, sd) < margin
    assert power.margin_of_new_questions(questions, min(confidence + 0.0005, 0.9995), sd) > margin


def test_nothing_is_shown_without_questions_or_without_a_margin():
    assert power.margin_of_new_questions(0, 0.95) == inf
    assert power.new_questions_for(0.0, 0.95) == inf
    assert power.margin_here(3, 100, 0.001) == inf


@pytest.mark.parametrize(
    ("sd", "margin", "simulated"),
    [(0.25, 0.05, 300), (0.25, 0.10, 92), (0.35, 0.02, 3200), (0.35, 0.05, 550), (0.35, 0.10, 137), (0.45, 0.05, 740)],
)
def test_test_split_sizes_are_those_that_simulations_found(sd, margin, simulated):
    assert power.new_questions_for(margin, 0.95, sd) == pytest.approx(simulated, rel=0.3)


@pytest.mark.parametrize("margin", [0.1, 0.2])
def test_so_many_new_questions_show_the_margin_of_an_equal_pick_about_four_times_in_five(margin):
    questions, runs = round(power.new_questions_for(margin, 0.95)), 400
    generator = np.random.default_rng(7)
    shown = 0
    for _ in range(runs):
        won = generator.choice(
            [-1.0, 0.0, 1.0], size=questions, p=[0.0685, 0.863, 0.0685]
        )  # a standard deviation of .37
        pick, reference = (1 + won) / 2, (1 - won) / 2
        pick, reference = np.where(won == 0, 0.5, pick), np.where(won == 0, 0.5, reference)
        shown += confirm(pick, reference, margin=margin, alpha=0.05, available=questions).shown
    assert 0.7 <= shown / runs <= 0.95


@pytest.mark.parametrize(
    ("level", "margin", "questions", "wide", "typical"),
    [
        ("screen", 0.05, 200, (0.183, 0.256), (0.244, 0.298)),
        ("screen", 0.10, 200, (0.157, 0.202), (0.209, 0.238)),
        ("screen", 0.05, 500, (0.101, 0.149), (0.152, 0.199)),
        ("screen", 0.10, 500, (0.080, 0.108), (0.110, 0.137)),
        ("every", 0.05, 200, (0.307, 0.432), (0.416, 0.504)),
        ("every", 0.10, 200, (0.301, 0.403), (0.407, 0.479)),
        ("every", 0.05, 500, (0.193, 0.295), (0.307, 0.391)),
        ("every", 0.10, 500, (0.184, 0.267), (0.279, 0.345)),
    ],
)
def test_expected_races_are_those_that_simulations_found(level, margin, questions, wide, typical):
    """Shares of the full grid's answers and of its cost, of 60 configurations whose costs lie between 1 and 30.

    As ``benchmarks/search.py`` measured them, of screenings without the test split.
    """
    asked = power.race(COSTS, questions, Terms(margin=margin, level=level))
    for row, simulated in zip(asked, (wide, typical), strict=False):
        found = row.mean() / questions, row @ COSTS / COSTS.sum() / questions
        assert found == pytest.approx(simulated, rel=0.35)


def test_a_race_of_made_up_configurations_asks_about_what_was_expected():
    """Real races over scores drawn as the typical landscape has them; the mean of a few lies in the planned range."""
    count, questions, terms = 24, 150, Terms(margin=0.1, level="screen")
    expected = power.race(np.arange(count) + 1.0, questions, terms).sum(axis=1)
    took = []
    for seed in range(6):
        generator = np.random.default_rng(seed)
        shape, scale = power.LANDSCAPES[1]
        distance = scale * (-np.log(1 - (generator.permutation(count) + 0.5) / count)) ** (1 / shape)
        means = np.clip(0.75 - distance, 0.02, 0.98)
        hard = generator.random(questions)
        own = generator.random((count, questions))
        scores = (np.sqrt(hard * own) < np.sqrt(means)[:, None] * 0.9).astype(
            float
        )  # part of the luck is the question's
        took.append(_played(scores, terms))
    assert expected[0] * 0.6 <= np.mean(took) <= expected[2] * 1.4


def _played(scores: np.ndarray, terms: Terms) -> int:
    count, questions = scores.shape
    costs = np.arange(count) + 1.0
    race = races.race(terms, costs, questions, np.zeros(count, dtype=bool))
    answered = np.zeros((count, questions), dtype=bool)
    while cells := race.advance(
        np.where(answered, scores, np.nan),
        answered,
        np.where(answered, costs[:, None], np.nan),
        np.where(answered, 1.0, np.nan),
    ):
        for row, column in cells:
            answered[row, column] = True
    return int(answered.sum())


@given(st.integers(1, 40), st.integers(1, 300), st.sampled_from(["screen", "every", "reference"]), st.data())
def test_expected_questions_lie_between_none_and_all(count, questions, level: Level, data):
    reference = data.draw(st.integers(0, count - 1)) if level == "reference" else None
    terms = Terms(margin=data.draw(st.floats(0, 0.5)), level=level, reference=reference)
    costs = np.array(data.draw(st.lists(st.floats(0.1, 100), min_size=count, max_size=count)))
    asked = power.race(costs, questions, terms)
    assert asked.shape == (3, count)
    assert (asked >= 0).all()
    assert (asked <= questions + 1e-9).all()
    if reference is None:
        assert (asked >= min(terms.pilot, questions) - 1e-9).all()
    else:
        assert (asked[:, costs > costs[reference]] == 0).all()


def test_the_level_of_a_certificate_pays_for_the_number_of_configurations():
    assert Terms(margin=0.05, level="screen").within_level(60) == SCREEN_LEVEL
    assert Terms(margin=0.05, level="every").within_level(60) == pytest.approx(0.05 / 118)
    assert Terms(margin=0.05, level="every").within_level(1) == pytest.approx(0.025)
