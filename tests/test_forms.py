"""Forms: fields from the plugins' own parameters, and entries as the content of an experiment file."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from workbench import registry
from workbench.errors import InputError
from workbench.forms import (
    GROUPS,
    axis_fields,
    budget_fields,
    columns_of,
    compose,
    corpora,
    entries,
    evalsets,
    experiment_text,
    goal_fields,
    parameter_fields,
    region_names,
    strategy_fields,
    value_of,
    variants,
)
from workbench.records import DEFAULT_AXES
from workbench.space import points
from workbench.specification import KIND_OF_AXIS, Budget, experiments, read_experiment

FIELDS = {field.key: field for fields in axis_fields().values() for field in fields}
DATA = {"corpus": "python-reference", "evalset": "python-reference", "goal": {"metric": "token_f1"}}


def test_every_axis_is_shown_once_but_stop() -> None:
    shown = [axis for axes in GROUPS.values() for axis in axes]
    assert sorted([*shown, "stop"]) == sorted(DEFAULT_AXES)


@pytest.mark.parametrize("axis", sorted(FIELDS))
def test_what_a_field_offers_can_be_run(axis: str) -> None:
    field = FIELDS[axis]
    assert field.help.endswith(".")
    if field.default:
        assert field.default in field.options
    for option in field.options:
        content = compose(**DATA, axes={"model": ["scripted"], axis: [option]})
        assert read_experiment(content).space.model_dump()[axis] == content["space"].get(axis, [DEFAULT_AXES[axis]])


@pytest.mark.parametrize("axis", sorted(KIND_OF_AXIS))
def test_parameters_are_those_of_the_plugins_own_file(axis: str) -> None:
    for option in FIELDS[axis].options:
        file, _ = registry.resolve(KIND_OF_AXIS[axis], option)
        own = {each.name for each in registry.describe(KIND_OF_AXIS[axis], file).parameters}
        assert {field.key for field in parameter_fields(axis, option)} <= own


def test_parameters_say_what_they_allow() -> None:
    found = {field.key: field for field in parameter_fields("retriever", "hybrid")}
    assert found["fusion"].options == ("rrf", "scores")
    assert not found["fusion"].free
    assert found["weight"].default == "0.5"
    assert found["weight"].free
    assert "lexical" not in found  # another plugin is written in the file
    assert {field.key: field.options for field in parameter_fields("retriever", "bm25")}["stem"] == ("True", "False")
    assert parameter_fields("passages", "3") == []
    with pytest.raises(InputError, match="unknown retriever 'bm52'"):
        parameter_fields("retriever", "bm52")


@pytest.mark.parametrize("strategy", registry.names("strategies"))
def test_strategies_have_their_parameters(strategy: str) -> None:
    fields = strategy_fields(strategy)
    assert [field.key for field in fields] == [
        each.name for each in registry.describe("strategies", strategy).parameters
    ]
    given = {field.key: field.options[0] for field in fields if field.options}
    content = compose(**DATA, axes={}, strategy=strategy, strategy_parameters=given)
    assert read_experiment(content).strategy["name"] == strategy


def test_goal_budget_and_region_can_be_run_as_offered() -> None:
    assert [field.key for field in budget_fields()] == list(Budget.model_fields)
    metric, minimise = goal_fields()[:2]
    for option in metric.options:
        for cost in minimise.options:
            content = compose(**{**DATA, "goal": {"metric": option, "minimise": cost}}, axes={})
            assert read_experiment(content).goal.metric == option
    for region in (region_names()[0], region_names()[-1]):
        assert read_experiment(compose(**DATA, axes={}, region=region)).region == region
    assert "python-reference" in corpora()
    assert "python-reference" in evalsets()


def test_entries_become_what_a_person_would_have_written() -> None:
    content = compose(
        corpus="c",
        evalset="e",
        limit=60,
        axes={
            "model": ["none", "embedded:smollm2-135m"],
            "retriever": ["bm25", "hybrid"],
            "passages": ["1", "3"],
            "temperature": ["0"],
            "dimensions": ["none", "128"],
            "deduplicate": ["True", "False"],
            "prompt": [],
        },
        parameters={("retriever", "hybrid"): {"weight": ["0.3", "0.7"], "fusion": ["scores"], "depth": []}},
        goal={
            "metric": "token_f1",
            "margin": 0.05,
            "floor": None,
            "limits.p95_seconds": 5.0,
            "limits.p50_seconds": None,
        },
        strategy="race",
        strategy_parameters={"level": "screen", "pilot": ""},
        budget={"minutes": 10.0, "tokens": None},
    )
    assert content == {
        "corpus": "c",
        "evalset": "e",
        "questions": {"split": "dev", "limit": 60},
        "goal": {"metric": "token_f1", "margin": 0.05, "limits": {"p95_seconds": 5.0}},
        "strategy": {"name": "race", "level": "screen"},
        "budget": {"minutes": 10.0},
        "region": "WOR",
        "seed": 7,
        "space": {
            "model": ["none", "embedded:smollm2-135m"],
            "retriever": [
                "bm25",
                {"name": "hybrid", "weight": 0.3, "fusion": "scores"},
                {"name": "hybrid", "weight": 0.7, "fusion": "scores"},
            ],
            "dimensions": [None, 128],
            "passages": [1, 3],
            "deduplicate": [True, False],
        },
    }
    assert yaml.safe_load(experiment_text(content)) == content


@pytest.mark.parametrize("name", sorted(experiments()))
def test_a_shipped_experiment_survives_the_form(name: str) -> None:
    before = read_experiment(name)
    content = before.model_dump(mode="json", exclude_unset=True)
    axes, parameters = entries(content["space"])
    goal = content.get("goal", {})
    limits = {f"limits.{key}": value for key, value in goal.get("limits", {}).items()}
    strategy = content.get("strategy", "race")
    named = strategy if isinstance(strategy, str) else strategy["name"]
    told = {} if isinstance(strategy, str) else {key: str(value) for key, value in strategy.items() if key != "name"}
    selection = content.get("questions", {})
    after = read_experiment(
        compose(
            corpus=content["corpus"],
            evalset=content["evalset"],
            split=selection.get("split", "dev"),
            limit=selection.get("limit"),
            axes=axes,
            parameters=parameters,
            goal={**{key: value for key, value in goal.items() if key not in ("limits", "reference")}, **limits},
            strategy=named,
            strategy_parameters=told,
            budget=content.get("budget"),
            region=content.get("region", "WOR"),
            repeats=content.get("repeats", 1),
            seed=content.get("seed", 7),
            base=content,
        )
    )
    after_ids, before_ids = ({each.id for each in points(found.space).configurations} for found in (after, before))
    assert after_ids >= before_ids
    assert after.model_copy(update={"space": before.space, "name": before.name}) == before


@given(st.one_of(st.integers(-1000, 1000), st.floats(allow_nan=False, allow_infinity=False, width=16), st.booleans()))
def test_plain_values_are_read_as_they_were_written(value: float) -> None:
    assert value_of(str(value)) == value


@given(st.sampled_from(["nan", "inf", "-inf", "Infinity", "HNSW32", "1.2.3", "a b"]))
def test_what_is_no_number_stays_text(text: str) -> None:
    assert value_of(text) == text


def test_variants_are_every_combination() -> None:
    assert variants("retriever", "bm25", {}) == ["bm25"]
    assert variants("retriever", "bm25", {"k1": []}) == ["bm25"]
    found = variants("retriever", "bm25", {"k1": ["1", "2"], "stem": ["True", "default"]})
    assert found[:2] == [{"name": "bm25", "k1": 1, "stem": True}, {"name": "bm25", "k1": 1}]
    assert len(found) == 4


def test_a_parameter_at_its_default_is_the_plugin_itself() -> None:
    assert variants("retriever", "hybrid", {"weight": ["0.5", "0.3"]}) == ["hybrid", {"name": "hybrid", "weight": 0.3}]


def test_columns_are_pairs() -> None:
    assert columns_of(" text=body, question = ask ") == {"text": "body", "question": "ask"}
    assert columns_of("") == {}
    with pytest.raises(InputError, match="such as text=body"):
        columns_of("text")
