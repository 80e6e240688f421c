"""What an axis buys: only pairs that differ in nothing else count, and the figures are those of the matrix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import workbench
from tests.stores import SETUPS, filled_store
from workbench.comparison import Comparison
from workbench.effects import POINT, axis_effects
from workbench.errors import InputError


@pytest.fixture
def comparison(own_folder: Path) -> Comparison:
    return workbench.compare(store=filled_store(own_folder / "store.db", questions=48))


def test_an_effect_is_the_mean_over_pairs_that_differ_in_that_axis_only(comparison: Comparison) -> None:
    effects = {(each.axis, each.before, each.after): each for each in axis_effects(comparison)}
    one, three = 3, 4  # bm25 with one passage and with three, all else equal
    effect = effects["passages", "1", "3"]
    scores, joules = comparison.matrix.scores["token_f1"], comparison.matrix.costs["joules"]
    assert effect.pairs == 1
    assert effect.score is not None
    assert effect.cost is not None
    assert effect.score.mean == pytest.approx((scores[three] - scores[one]).mean())
    assert effect.cost.mean == pytest.approx((joules[three] - joules[one]).mean())
    assert effect.cost.low < effect.cost.mean < effect.cost.high
    assert all(each.cost is None or each.cost.mean >= 0 for each in effects.values())


def test_a_price_per_point_is_given_only_where_the_score_certainly_rises(comparison: Comparison) -> None:
    priced = 0
    for each in axis_effects(comparison):
        assert each.score is not None
        assert each.cost is not None
        assert (each.cost_per_point is None) == (each.score.low <= 0)
        if each.cost_per_point is not None:
            priced += 1
            low, central, high = each.cost_per_point
            assert low <= central <= high
            assert central == pytest.approx(POINT * each.cost.mean / each.score.mean)
    assert priced


def test_pairs_that_share_a_change_are_taken_together(own_folder: Path) -> None:
    store = filled_store(own_folder / "store.db", setups=SETUPS[3:])
    comparison = workbench.compare(store=store)
    for each in axis_effects(comparison, "tokens"):
        first = [row for row in comparison.matrix.configurations if str(row.axes.get(each.axis)) == each.before]
        assert each.pairs >= 1
        assert each.questions == 24
        assert first or "(" in each.before


def test_what_was_not_measured_has_no_cost(own_folder: Path) -> None:
    effects = axis_effects(workbench.compare(store=filled_store(own_folder / "store.db", metered=False)))
    assert effects
    assert all(each.cost is None and each.cost_per_point is None for each in effects)
    assert all(each.score is not None and np.isfinite(each.score.mean) for each in effects)
    with pytest.raises(InputError, match="unit is 'smiles'"):
        axis_effects(workbench.compare(store=filled_store(own_folder / "other.db")), "smiles")
