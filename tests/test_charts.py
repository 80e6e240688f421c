"""Charts: every figure in them is the comparison's, and user text never becomes an expression."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import workbench
from tests.stores import SETUPS, filled_store
from workbench.charts import pareto, svg
from workbench.comparison import Comparison
from workbench.errors import InputError


@pytest.fixture
def comparison(own_folder: Path) -> Comparison:
    return workbench.compare(store=filled_store(own_folder / "store.db"))


def layers(comparison: Comparison, cost: str = "joules") -> dict[str, dict[str, Any]]:
    """The layers of a chart by their mark."""
    chart = pareto(comparison, cost, workbench.recommend(comparison)).to_dict()
    found = {}
    for layer in chart["layer"]:
        layer["rows"] = chart["datasets"][layer["data"]["name"]]
        found[f"{layer['mark']['type']}{'' if layer['mark'].get('filled', True) else ' ring'}"] = layer
    return found


@pytest.mark.parametrize("cost", ["joules", "tokens", "seconds"])
def test_points_and_frontier_are_those_of_the_comparison(comparison: Comparison, cost: str) -> None:
    drawn = layers(comparison, cost)
    points = {row["id"]: row for row in drawn["point"]["rows"]}
    assert set(points) == {figures.configuration.id for figures in comparison.figures}
    for row, figures in enumerate(comparison.figures):
        quality = figures.scores["token_f1"]
        assert quality is not None
        point = points[figures.configuration.id]
        assert point["cost"] == pytest.approx(comparison.matrix.costs[cost][row].mean())
        assert (point["quality"], point["low"], point["high"]) == (quality.mean, quality.low, quality.high)
    steps = [(row["cost"], row["quality"]) for row in drawn["line"]["rows"]]
    assert steps == sorted(steps)
    assert [quality for _, quality in steps] == sorted(quality for _, quality in steps)
    assert max(point["quality"] for point in points.values()) == steps[-1][1]


def test_the_chosen_point_is_ringed_and_named(comparison: Comparison) -> None:
    chosen = workbench.recommend(comparison).chosen
    assert chosen is not None
    drawn = layers(comparison)
    assert drawn["point ring"]["transform"] == [{"filter": {"field": "chosen", "equal": True}}]
    assert [row["id"] for row in drawn["point"]["rows"] if row["chosen"]] == [chosen.id]
    assert drawn["text"]["encoding"]["text"] == {"value": "provisional choice"}


def test_costs_far_apart_get_a_logarithmic_axis_unless_one_is_zero(comparison: Comparison) -> None:
    assert layers(comparison, "joules")["point"]["encoding"]["x"]["scale"]["type"] == "log"
    assert "type" not in layers(comparison, "tokens")["point"]["encoding"]["x"]["scale"]


def test_axes_carry_units_and_tooltips_exact_figures(comparison: Comparison) -> None:
    point = layers(comparison)["point"]
    assert point["encoding"]["x"]["title"] == "energy per answer (J, estimated from CPU time)"
    assert "interval" in point["encoding"]["y"]["title"]
    assert {each["field"] for each in point["encoding"]["tooltip"]} >= {"exact quality", "exact cost"}
    assert " J (" in point["rows"][0]["exact cost"]


def test_what_has_no_cost_is_counted_not_drawn(own_folder: Path) -> None:
    comparison = workbench.compare(store=filled_store(own_folder / "half.db", answered=0.6))
    chart = pareto(comparison, "joules").to_dict()
    assert "3 not drawn" in chart["title"]["subtitle"]


def test_user_text_is_data_never_an_expression(own_folder: Path) -> None:
    hostile = "']; datum.cost // ${x} {{y}} <b>"
    comparison = workbench.compare(
        store=filled_store(own_folder / "hostile.db", injection=hostile, setups=SETUPS[:4], questions=4)
    )
    chart = pareto(comparison, "joules", workbench.recommend(comparison)).to_dict()

    def expressions(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [str(value) for key, value in node.items() if key in ("expr", "signal", "calculate", "test")]
            return own + [
                each for key, value in node.items() if key not in ("values", "datasets") for each in expressions(value)
            ]
        return [each for value in node for each in expressions(value)] if isinstance(node, list) else []

    assert hostile in json.loads(json.dumps(chart))["datasets"]["points"][0]["setup"]
    assert expressions(chart) == []
    assert "<b>" not in svg(pareto(comparison))


def test_an_unknown_cost_is_refused(comparison: Comparison) -> None:
    with pytest.raises(InputError, match="cost is 'fun'; expected one of joules, tokens, seconds"):
        pareto(comparison, "fun")
