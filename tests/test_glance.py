"""A recommendation at a glance: figures are the comparison's, absence has words, and ranks bound a percentile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import workbench
from tests.stores import EXPERIMENT, filled_store
from workbench.comparison import Comparison
from workbench.glance import Headline, claim_rows, headlines, percentile_interval, rejection_rows, saving_rows
from workbench.recommendation import Recommendation
from workbench.texts import significant


def judged(folder: Path, **changes: object) -> tuple[Comparison, Recommendation]:
    comparison = workbench.compare(store=filled_store(folder / "store.db", **changes))  # type: ignore[arg-type]
    goal = workbench.changed_goal(comparison.goal, {"margin": 0.3})
    return comparison, workbench.recommend(comparison, goal)


def figures(comparison: Comparison, recommendation: Recommendation) -> dict[str, Headline]:
    assert recommendation.chosen is not None
    return {each.label: each for each in headlines(comparison, recommendation.chosen)}


def test_headlines_are_the_figures_of_the_chosen_setup(own_folder: Path) -> None:
    comparison, recommendation = judged(own_folder)
    assert recommendation.chosen is not None
    found = figures(comparison, recommendation)
    own = comparison.of(recommendation.chosen.id)
    assert own.joules is not None
    assert own.seconds is not None
    assert own.scores["token_f1"] is not None
    assert found["Quality"].value == f"{own.scores['token_f1'].mean:.3f}"
    assert found["Energy per answer"].value == f"{significant(own.joules.central)} J"
    assert "Estimated from CPU time" in found["Energy per answer"].known
    assert float(found["95 % of answers within"].value.split()[0]) == pytest.approx(own.seconds.p95, rel=0.01)
    assert found["Money per 1,000 answers"].value == "not priced"
    hours = float(found["Energy per 1,000 answers"].value.split()[0])
    assert hours == pytest.approx(own.joules.central * 1.25 / 3.6, rel=0.01)  # J × 1,000 / 3,600, × PUE 1.25


def test_what_was_not_measured_says_so_and_is_never_zero(own_folder: Path) -> None:
    comparison = workbench.compare(store=filled_store(own_folder / "store.db", metered=False))
    found = {each.label: each for each in headlines(comparison, comparison.figures[0].configuration)}
    for label in (
        "Energy per answer",
        "Energy per 1,000 answers",
        "CO2e per 1,000 answers",
        "Energy per correct answer",
    ):
        assert found[label].value == "not measured"
        assert found[label].range == ""
        assert found[label].known


def test_money_is_that_of_electricity_where_its_price_was_given(own_folder: Path) -> None:
    region = {"name": "SWE", "dollars_per_kwh": 0.2}
    comparison, recommendation = judged(own_folder, experiment={**EXPERIMENT, "region": region})
    found = figures(comparison, recommendation)
    assert found["Money per 1,000 answers"].value.endswith(" dollars")
    assert "Sweden (SWE)" in found["CO2e per 1,000 answers"].range


def test_savings_are_the_ratios_of_the_recommendation(own_folder: Path) -> None:
    comparison, recommendation = judged(own_folder)
    rows = {row["cost"]: row for row in saving_rows(comparison, recommendation)}
    assert set(rows) == {f"{unit} per answer" for unit in recommendation.savings}
    for unit, ratio in recommendation.savings.items():
        row = rows[f"{unit} per answer"]
        assert row["change"] == pytest.approx(100 * (ratio.mean - 1))
        means = [float(row[side].split()[0]) for side in ("chosen", "reference")]
        assert means[0] / means[1] == pytest.approx(ratio.mean, rel=0.02)
    itself = workbench.recommend(comparison, workbench.changed_goal(comparison.goal, {"margin": 0.0}))
    assert itself.chosen != itself.reference or saving_rows(comparison, itself) == []


def test_every_other_setup_has_its_reason(own_folder: Path) -> None:
    comparison, recommendation = judged(own_folder)
    rows = rejection_rows(comparison, recommendation)
    others = {each.configuration.id for each in comparison.figures} - {
        recommendation.chosen and recommendation.chosen.id
    }
    assert {row["configuration"] for row in rows} == others
    assert all(row["why"] and row["cost"] > 0 for row in rows)


def test_a_fixed_sample_has_one_claim_that_is_shown_where_the_choice_is_proven(own_folder: Path) -> None:
    comparison, recommendation = judged(own_folder)
    [claim] = claim_rows(recommendation)
    assert claim["alpha"] == pytest.approx(0.05)
    assert (claim["shown"] == "shown") == (recommendation.chosen == recommendation.proven)
    nothing = workbench.recommend(comparison, workbench.changed_goal(comparison.goal, {"floor": 0.99}))
    assert nothing.verdict == "nothing qualifies"
    assert claim_rows(nothing) == []
    assert saving_rows(comparison, nothing) == []


# -------------------------------------------------------------------------------------------------------- percentiles


def test_the_bounds_of_a_percentile_are_the_ranks_of_the_books() -> None:
    """The median of 10 values: ranks 2 and 9 hold it with 97.9 %; of 5 values no pair of ranks holds it with 95 %."""
    assert percentile_interval(np.arange(1.0, 11.0), 0.5, 0.95) == (2.0, 9.0)
    assert percentile_interval(np.arange(1.0, 6.0), 0.5, 0.95) == (None, None)
    assert percentile_interval(np.array([np.nan]), 0.5, 0.95) == (None, None)


def test_the_slowest_of_few_answers_bounds_nothing_from_above() -> None:
    low, high = percentile_interval(np.arange(24.0), 0.95, 0.95)
    assert low is not None
    assert high is None
    assert percentile_interval(np.arange(10_000.0), 0.95, 0.95) == pytest.approx((9457, 9542), abs=3)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([80, 200]), st.sampled_from([0.5, 0.9]))
def test_bounds_stand_in_order_around_the_percentile(seed: int, n: int, share: float) -> None:
    values = np.random.default_rng(seed).lognormal(size=n)
    low, high = percentile_interval(values, share, 0.95)
    assert low is not None
    assert low <= np.quantile(values, share)
    assert high is None or high >= np.quantile(values, share)


def test_the_interval_holds_the_percentile_as_often_as_it_says() -> None:
    generator = np.random.default_rng(3)
    truth = -np.log(1 - 0.9)  # of the exponential distribution
    held = 0
    for values in generator.exponential(size=(800, 120)):
        low, high = percentile_interval(values, 0.9, 0.9)
        held += (low or 0) <= truth <= (high or np.inf)
    assert held / 800 >= 0.88  # at least 0.9, less three standard errors of the simulation
