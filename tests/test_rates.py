"""The fit of tokens to what they take: exact where the law is exact, never negative, and silent where it knows nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.rates import FARTHEST, FEWEST_ANSWERS, fit, generations, lacking
from workbench.records import Answer, Ledger, Reading, StageCost

coefficients = st.floats(min_value=0, max_value=10)
counts = st.lists(
    st.tuples(st.integers(1, 2000), st.integers(1, 200)), min_size=FEWEST_ANSWERS, max_size=60, unique=True
)


def made(
    tokens: Any, a: float, b: float, c: float, noise: float = 0.0, seed: int = 0
) -> list[tuple[float, float, float]]:
    """Readings of a machine that keeps the law, with noise."""
    generator = np.random.default_rng(seed)
    return [(x, y, max(a + b * x + c * y + noise * generator.normal(), 0.0)) for x, y in tokens]


def spread_out(number: int, seed: int = 0) -> list[tuple[int, int]]:
    generator = np.random.default_rng(seed)
    return [
        (int(x), int(y))
        for x, y in zip(generator.integers(50, 800, number), generator.integers(4, 48, number), strict=True)
    ]


def test_an_exact_law_is_found_again() -> None:
    found = fit(made(spread_out(40), 0.02, 0.0006, 0.009))
    assert found is not None
    assert (found.constant, found.per_token_in, found.per_token_out) == pytest.approx((0.02, 0.0006, 0.009))
    assert found.r_squared == pytest.approx(1.0)
    assert found.residual_sd == pytest.approx(0.0, abs=1e-9)
    assert found.answers == 40
    assert found.estimate(400, 20) == pytest.approx((0.44, 0.44, 0.44))


@given(counts, coefficients, coefficients, coefficients, st.floats(0, 5), st.integers(0, 99))
def test_no_coefficient_is_negative_and_nothing_non_negative_fits_better(
    tokens: list[tuple[int, int]], a: float, b: float, c: float, noise: float, seed: int
) -> None:
    readings = made(tokens, a, b, c, noise, seed)
    found = fit(readings)
    if found is None:
        assert lacking(readings)
        return
    rates = np.array([found.constant, found.per_token_in or 0.0, found.per_token_out or 0.0])
    assert (rates >= 0).all()
    table = np.array(readings)
    design = np.column_stack([np.ones(len(table)), table[:, :2]])

    def error(candidate: Any) -> float:
        return float(((table[:, 2] - design @ candidate) ** 2).sum())

    for other in ((a, b, c), rates * 1.01, *(rates + step for step in np.diag([0.01, 0.001, 0.001]))):
        assert error(rates) <= error(np.array(other)) * (1 + 1e-6) + 1e-6


@given(counts, coefficients, coefficients, coefficients)
def test_more_tokens_never_cost_less(tokens: list[tuple[int, int]], a: float, b: float, c: float) -> None:
    found = fit(made(tokens, a, b, c, 1.0))
    if found is None:
        return
    few, many = found.estimate(found.seen_in[0], found.seen_out[0]), found.estimate(found.seen_in[1], found.seen_out[1])
    if few and many:
        assert few[1] <= many[1]


def test_the_range_holds_most_new_answers() -> None:
    inside = 0
    for seed in range(200):
        found = fit(made(spread_out(30, seed), 0.5, 0.001, 0.02, 0.1, seed))
        assert found is not None
        estimate = found.estimate(400, 20)
        assert estimate is not None
        value = 0.5 + 0.4 + 0.4 + 0.1 * np.random.default_rng(10_000 + seed).normal()
        inside += estimate[0] <= value <= estimate[2]
    assert 180 <= inside <= 199


def test_a_mean_of_many_answers_is_known_better_than_one() -> None:
    found = fit(made(spread_out(30), 0.5, 0.001, 0.02, 0.1))
    assert found is not None
    one, many = found.estimate(400, 20), found.estimate(400, 20, answers=100)
    assert one is not None
    assert many is not None
    assert one[0] < many[0] < many[1] == one[1] < many[2] < one[2]


def test_too_few_answers_give_nothing_and_the_reason() -> None:
    readings = made(spread_out(FEWEST_ANSWERS - 1), 1, 1, 1)
    assert fit(readings) is None
    assert "at least 12" in lacking(readings)


def test_prompts_and_outputs_that_grow_together_are_not_told_apart() -> None:
    readings = made([(10 * count, count) for count in range(1, 30)], 1, 1, 1)
    assert fit(readings) is None
    assert "cannot be told apart" in lacking(readings)


def test_nothing_is_said_far_beyond_what_was_seen() -> None:
    found = fit(made(spread_out(40), 0.02, 0.0006, 0.009))
    assert found is not None
    fewest, most = found.seen_in
    assert found.estimate(most * FARTHEST, 20) is not None
    assert found.estimate(most * FARTHEST + 1, 20) is None
    assert "too far" in found.refusal(most * FARTHEST + 1, 20)
    assert found.estimate(fewest / FARTHEST - 1, 20) is None
    assert found.estimate(400, found.seen_out[1] * FARTHEST + 1) is None


def test_tokens_that_never_varied_have_no_rate() -> None:
    found = fit(made([(x, 32) for x in range(100, 140)], 0.1, 0.01, 0.5))
    assert found is not None
    assert found.per_token_out is None
    assert found.estimate(120, 32) == pytest.approx((17.3, 17.3, 17.3))
    assert found.estimate(120, 33) is None
    assert "no other number" in found.refusal(120, 33)
    assert found.prefill_share(120, 32) is None


def test_the_share_of_reading_is_that_of_its_tokens() -> None:
    found = fit(made(spread_out(40), 0.0, 0.001, 0.01))
    assert found is not None
    assert found.prefill_share(400, 40) == pytest.approx(0.5)


def answer(prefill: Reading | None, decode: Reading, **changes: Any) -> Answer:
    stages = [StageCost(stage="search", reading=Reading(seconds=9.0, cpu_seconds=9.0))]
    stages += [] if prefill is None else [StageCost(stage="prefill", reading=prefill)]
    stages.append(StageCost(stage="generate" if prefill is None else "decode", reading=decode))
    return Answer(configuration="c", question="q", ledger=Ledger(stages=tuple(stages)), **changes)


def test_only_generations_that_nothing_disturbed_are_taken() -> None:
    prefill = Reading(seconds=1.0, cpu_seconds=2.0, tokens_in=100, tokens_cached=40)
    decode = Reading(seconds=3.0, cpu_seconds=4.0, tokens_out=8)
    whole = Reading(seconds=3.0, cpu_seconds=4.0, tokens_in=10, tokens_out=8)
    good = [answer(prefill, decode), answer(None, whole)]
    bad = [
        answer(prefill, decode, undisturbed=False),
        answer(None, Reading(seconds=3.0, cpu_seconds=4.0, tokens_in=10, tokens_out=8, shared=True)),
        answer(None, Reading(seconds=3.0, cpu_seconds=None, tokens_in=10, tokens_out=8)),
        answer(None, Reading(seconds=3.0, cpu_seconds=4.0)),
    ]
    assert generations([*good, *bad]) == [(60.0, 8.0, 6.0), (10.0, 8.0, 4.0)]
    assert generations(good, "seconds") == [(60.0, 8.0, 4.0), (10.0, 8.0, 3.0)]
