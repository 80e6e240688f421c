"""From a space to its distinct configurations: what is merged or impossible, why, and identifiers that mean something."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import experiment, python
from workbench.contracts import ModelFacts
from workbench.errors import InputError, MachineError
from workbench.records import ALL_PASSAGES, DEFAULT_AXES, Configuration
from workbench.space import Points, canonical, point_configuration, points
from workbench.specification import Space, read_experiment

EVERYTHING = frozenset({"temperature", "top_k", "top_p", "repeat_penalty", "max_tokens", "stop", "seed"})
FACTS = ModelFacts(accepts=EVERYTHING, style="chat", runs_here=True, digest="d")


def spread(**axes: Any) -> Points:
    return points(Space.model_validate(axes))


def identifier(**axes: Any) -> str:
    return point_configuration(Space.model_validate(axes)).id


CLOSED = {"model": ["scripted"], "retriever": ["none"]}


# ---------------------------------------------------------------------------------------------------------- merging


@pytest.mark.parametrize(
    ("axes", "left", "reason"),
    [
        (
            CLOSED | {"top_k": [1, 40], "top_p": [0.5, 1]},
            1,
            "at temperature 0, or top_k 1, the other samplers do not matter",
        ),
        (
            CLOSED | {"temperature": [0, 1.5], "top_k": [1]},
            1,
            "at temperature 0, or top_k 1, the other samplers do not matter",
        ),
        (CLOSED | {"passages": [1, 3], "chunk_tokens": [8, 9]}, 1, "closed book, retrieval settings do not matter"),
        (CLOSED | {"repeat_penalty": [1, 1.2]}, 1, "scripted does not accept repeat_penalty"),
        (CLOSED | {"temperature": [0, 0.0, 0]}, 1, "the same values twice"),
        (
            {"prompt": ["terse", "cite"], "temperature": [0, 1], "context_tokens": [64, 128]},
            1,
            "without a model, prompt, decoding and context settings do not matter",
        ),
        (
            {"embedder": ["a:b", "c:d"], "index": ["Flat", "HNSW8"]},
            1,
            "bm25 embeds nothing, so embedder and index do not matter",
        ),
        (
            {"chunker": ["document"], "chunk_tokens": [8, 9]},
            1,
            "whole documents are not cut, so chunk sizes do not matter",
        ),
        ({"retriever": ["bm25", {"name": "bm25"}]}, 1, "the same values twice"),
        (
            CLOSED | {"example_choice": ["fixed", "nearest"]},
            1,
            "without examples it does not matter how they are chosen",
        ),
        ({"rerank_depth": [5, 10]}, 1, "without a reranker its depth does not matter"),
        ({"dimensions": [None, 64]}, 1, "bm25 embeds nothing, so embedder and index do not matter"),
        (
            {"model": ["scripted"], "retriever": ["everything"], "passages": [1, 3]},
            1,
            "everything gives all it finds, so the number of passages does not matter",
        ),
    ],
)
def test_equivalent_points_are_one_configuration_with_the_reason(axes, left, reason):
    found = spread(**axes)
    assert len(found.configurations) == left
    assert found.merged == {reason: found.product - left}


@pytest.mark.parametrize(
    "axes",
    [
        {"temperature": [0, 0.5]},
        {"temperature": [0.5], "top_k": [2, 3]},
        {"temperature": [0.5], "top_p": [0.5, 1]},
        {"max_tokens": [1, 2]},
        {"stop": [[], ["a"]]},
        {"prompt": ["terse", "cite"]},
        {"model": ["scripted", {"name": "scripted", "style": "text"}]},
        {"concurrency": [1, 2]},
        {"retriever": ["bm25"], "passages": [1, 2]},
        {"retriever": ["bm25"], "context_tokens": [64, 65]},
        {"retriever": ["bm25"], "chunk_tokens": [64, 65]},
        {"retriever": ["bm25"], "chunk_overlap": [0, 1]},
        {"retriever": ["bm25"], "chunker": ["tokens", "document"]},
        {"retriever": ["bm25", {"name": "bm25", "k1": 1.2}]},
    ],
)
def test_points_that_differ_in_what_matters_stay_apart(axes):
    found = spread(**{**CLOSED, **axes})
    assert len(found.configurations) == 2
    assert found.merged == {}


def test_the_repeat_penalty_matters_at_temperature_0():
    kept, dropped = canonical({**DEFAULT_AXES, "model": "m", "repeat_penalty": 1.2, "top_k": 7}, FACTS)
    assert kept["repeat_penalty"] == 1.2
    assert "top_k" not in kept
    assert dropped == "at temperature 0, or top_k 1, the other samplers do not matter"


@pytest.mark.parametrize("setting", sorted(EVERYTHING - {"seed"}))
def test_a_setting_that_a_model_does_not_accept_is_dropped(setting):
    facts = ModelFacts(accepts=EVERYTHING - {setting}, style="chat", runs_here=False, digest="d")
    changed = {"temperature": 0.5, "top_k": 7, "top_p": 0.5, "repeat_penalty": 1.2, "max_tokens": 7, "stop": ["a"]}
    kept, dropped = canonical({**DEFAULT_AXES, "model": "m", **changed}, facts)
    assert setting not in kept
    assert dropped == f"m does not accept {setting}"
    assert set(changed) - {setting} <= set(kept)


# ------------------------------------------------------------------------------------------------------- impossible


def test_impossible_points_are_removed_with_the_reason():
    found = spread(model=["none", "scripted"], retriever=["none", "bm25"], chunk_tokens=[8, 16], chunk_overlap=[0, 8])
    assert found.impossible == {
        "neither a model nor a retriever: nothing could answer": 4,
        "chunk_overlap is not smaller than chunk_tokens": 2,
    }
    assert len(found.configurations) == 3 + 1 + 3


def test_a_space_nobody_could_run_is_refused_at_once():
    many = list(range(1, 101))
    with pytest.raises(InputError, match="the space has 1,000,000 points; expected at most 100,000"):
        spread(passages=many, max_tokens=many, context_tokens=many)


def test_closed_book_does_not_care_how_chunks_would_overlap():
    assert len(spread(**CLOSED, chunk_tokens=[8], chunk_overlap=[8]).configurations) == 1


def test_a_space_must_hold_one_point_where_one_is_asked_for():
    with pytest.raises(InputError, match="neither a model nor a retriever"):
        identifier(model=["none"], retriever=["none"])
    with pytest.raises(InputError, match="2 of them"):
        identifier(chunk_tokens=[8, 16])


@pytest.mark.parametrize("model", ["embedded:nope", "nosuchprovider:model"])
def test_models_that_cannot_be_described_are_refused(model):
    with pytest.raises((InputError, MachineError), match=r"nope|nosuchprovider"):
        spread(model=[model])


# -------------------------------------------------------------------------------------------------------------- laws

AXES = {
    "model": st.lists(
        st.sampled_from(["none", "scripted", {"name": "scripted", "style": "text"}]), min_size=1, max_size=2
    ),
    "retriever": st.lists(st.sampled_from(["none", "bm25"]), min_size=1, max_size=2),
    "prompt": st.lists(st.sampled_from(["terse", "cite"]), min_size=1, max_size=2),
    "temperature": st.lists(st.sampled_from([0, 0.7]), min_size=1, max_size=2),
    "top_k": st.lists(st.sampled_from([0, 1, 40]), min_size=1, max_size=2),
    "chunker": st.lists(st.sampled_from(["tokens", "document"]), min_size=1, max_size=2),
    "chunk_tokens": st.lists(st.sampled_from([8, 16]), min_size=1, max_size=2),
    "chunk_overlap": st.lists(st.sampled_from([0, 8]), min_size=1, max_size=2),
    "passages": st.lists(st.sampled_from([1, 3]), min_size=1, max_size=2),
}


@given(axes=st.fixed_dictionaries({}, optional=AXES))
def test_every_point_is_a_configuration_merged_or_impossible(axes):
    found = spread(**axes)
    assert len(found.configurations) + sum(found.merged.values()) + sum(found.impossible.values()) == found.product
    assert len({configuration.id for configuration in found.configurations}) == len(found.configurations)
    for configuration in found.configurations:
        assert configuration.label
        kept = {axis: [value] for axis, value in configuration.axes.items()}
        assert identifier(**kept) == configuration.id  # what is kept says everything


@given(axes=st.fixed_dictionaries({}, optional=AXES))
def test_naming_a_default_changes_nothing(axes):
    full = {**{axis: [value] for axis, value in DEFAULT_AXES.items()}, **axes}
    assert spread(**full) == spread(**axes)


# ------------------------------------------------------------------------------------------------------- identifiers


def test_identifiers_are_the_same_in_every_process():
    here = [configuration.id for configuration in points(read_experiment(experiment()).space).configurations]
    code = (
        "from tests.conftest import experiment\nfrom workbench.space import points\n"
        "from workbench.specification import read_experiment\n"
        "print(*(each.id for each in points(read_experiment(experiment()).space).configurations))"
    )
    for seed in ("1", "2"):
        result = python("-W", "ignore", "-c", code, PYTHONHASHSEED=seed)
        assert result.stdout.split() == here, result.stderr
    assert len(set(here)) == 4


def test_editing_a_template_makes_another_configuration_of_what_uses_it():
    prompts = Path("prompts")
    prompts.mkdir()
    before = {prompt: identifier(**CLOSED, prompt=[prompt]) for prompt in ("terse", "cite")}
    (prompts / "terse.txt").write_text("[user]\n{question}\n")
    assert identifier(**CLOSED, prompt=["terse"]) != before["terse"]
    assert identifier(**CLOSED, prompt=["cite"]) == before["cite"]
    assert identifier(prompt=["terse"]) == identifier(prompt=["cite"])  # no model reads it


def test_editing_a_plugin_makes_another_configuration(monkeypatch):
    plugin = Path("mine.py")
    body = "class M:\n    name = 'm'\ndef build():\n    return M()\n"
    plugin.write_text(body)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    first = identifier(chunker=["python:mine:build"])
    plugin.write_text(body + "# edited\n")
    assert identifier(chunker=["python:mine:build"]) != first


def test_identifiers_are_short_and_equality_is_theirs():
    one, same, other = Configuration({"passages": 3}), Configuration({}), Configuration({"passages": 4})
    assert len(one.id) == 10
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one != "one"
    assert Configuration({}, {"model": "other weights"}) != same


@pytest.mark.parametrize(
    ("axes", "why"),
    [
        (
            {"retriever": ["dense"], "precision": ["int8"], "index": ["HNSW8"]},
            "precision int8 goes with index Flat only",
        ),
        ({"retriever": ["hyde"]}, "hyde asks a model, and there is none"),
        ({"rerank": ["likelihood"]}, "likelihood asks a model, and there is none"),
    ],
)
def test_points_that_cannot_run_are_left_out_with_the_reason(axes, why):
    found = spread(**axes)
    assert found.configurations == ()
    [reason] = found.impossible
    assert reason.startswith(why)


def test_a_retriever_with_a_model_of_its_own_needs_none_to_answer():
    assert len(spread(retriever=[{"name": "hyde", "model": "scripted"}]).configurations) == 1


def test_everything_takes_all_it_finds_and_says_so():
    configuration = point_configuration(Space.model_validate({"model": ["scripted"], "retriever": ["everything"]}))
    assert configuration["passages"] == ALL_PASSAGES
    assert "0p" not in configuration.label
