"""The experiment file: every bad value is named with its key, all at once, and nothing a user writes ends in a traceback."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ROOT, experiment
from workbench.errors import InputError, WorkbenchError
from workbench.records import DEFAULT_AXES
from workbench.space import points
from workbench.specification import (
    Experiment,
    Goal,
    Space,
    changed_goal,
    experiments,
    find_experiment,
    presets,
    read_experiment,
)

MINIMAL = {"corpus": "c", "evalset": "e"}


def problems(source: Any) -> list[str]:
    with pytest.raises(InputError) as caught:
        read_experiment(source)
    return list(caught.value.problems)


def problems_of(text: str | bytes) -> list[str]:
    Path("mine.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return problems("mine.yaml")


# ------------------------------------------------------------------------------------------------------- bad values

BAD = [
    ({"space": {"temperature": [0, "hot"]}}, "space.temperature[1] is 'hot'; expected a valid number"),
    ({"space": {"temperature": 2.5}}, "space.temperature[0] is 2.5; expected less than or equal to 2"),
    ({"space": {"temperature": [True]}}, "space.temperature[0] is True; expected a number"),
    ({"space": {"temperature": [float("nan")]}}, "space.temperature[0] is nan; expected a finite number"),
    ({"space": {"top_k": [-1]}}, "space.top_k[0] is -1; expected greater than or equal to 0"),
    ({"space": {"top_p": [0]}}, "space.top_p[0] is 0; expected greater than 0"),
    ({"space": {"repeat_penalty": 3}}, "space.repeat_penalty[0] is 3; expected less than or equal to 2"),
    ({"space": {"max_tokens": [0]}}, "space.max_tokens[0] is 0; expected greater than or equal to 1"),
    ({"space": {"stop": ["end"]}}, "space.stop[0] is 'end'; expected a valid list"),
    ({"space": {"passages": [1.5]}}, "space.passages[0] is 1.5; expected a valid integer"),
    ({"space": {"concurrency": [65]}}, "space.concurrency[0] is 65; expected less than or equal to 64"),
    ({"space": {"model": []}}, "space.model is []; expected at least 1 item"),
    ({"space": {"model": [7]}}, "space.model[0] is 7; expected a name, or a mapping with name and parameters"),
    ({"space": {"model": ["gpt"]}}, "space.model[0]: unknown model 'gpt'; available: none, "),
    ({"space": {"model": ["scripted:x"]}}, "space.model[0]: model 'scripted:x': scripted takes nothing after it"),
    ({"space": {"model": ["python:"]}}, "space.model[0]: model 'python:': expected python:package.module:function"),
    ({"space": {"model": ["openai:"]}}, "space.model[0]: unknown model 'openai:'"),
    (
        {"space": {"retriever": ["none", {"name": "hybrid", "wieght": 1}]}},
        "space.retriever[1]: hybrid has no parameter 'wieght'; its parameters: fusion, ",
    ),
    (
        {"space": {"retriever": {"name": "hybrid", "weight": "a lot"}}},
        "space.retriever[0]: hybrid: weight is 'a lot'; ",
    ),
    ({"space": {"retriever": ["bm52"]}}, "space.retriever[0]: unknown retriever 'bm52'; available: none, bm25"),
    ({"space": {"embedder": ["minilm"]}}, "space.embedder[0]: unknown embedder 'minilm'; available: embedded"),
    ({"space": {"chunker": ["pages"]}}, "space.chunker[0]: unknown chunker 'pages'; available: document, markdown, "),
    ({"space": {"rerank": ["cross"]}}, "space.rerank[0]: unknown reranker 'cross'; available: none"),
    ({"space": {"prompt": ["tense"]}}, "space.prompt[0]: unknown prompt 'tense'; available: abstain, cite, fewshot, "),
    ({"space": {"prompt": ["x" * 5000]}}, "space.prompt[0]: unknown prompt 'xxx"),
    ({"space": {"modle": ["none"]}}, "space.modle is not a known key; did you mean model?"),
    ({"space": [1]}, "space is [1]; expected a valid dictionary"),
    ({"metrics": ["bleu"]}, "metrics[0]: unknown metric 'bleu'; available: abstention, "),
    ({"metrics": ["recall@0"]}, "metrics[0]: recall@0: the cut-off must be a whole number from 1 to 50"),
    ({"metrics": []}, "metrics is []; expected at least 1 item"),
    ({"goal": {"metric": "bleu"}}, "goal.metric: unknown metric 'bleu'"),
    ({"goal": {"margin": -0.1}}, "goal.margin is -0.1; expected greater than or equal to 0"),
    ({"goal": {"confidence": 1}}, "goal.confidence is 1; expected less than 1"),
    ({"goal": {"minimise": "dollars"}}, "goal.minimise is 'dollars'; cannot be minimised yet: prices"),
    ({"goal": {"minimise": "fun"}}, "goal.minimise is 'fun'; expected 'joules', 'tokens' or 'seconds'"),
    ({"goal": {"limits": {"p99_seconds": 1}}}, "goal.limits.p99_seconds is 'p99_seconds'; expected 'p50_seconds' or"),
    ({"goal": {"limits": {"p95_seconds": 0}}}, "goal.limits.p95_seconds is 0; expected greater than 0"),
    ({"strategy": "chess"}, "strategy: unknown strategy 'chess'; available: "),
    (
        {"strategy": {"name": "grid", "rounds": 3}},
        "strategy: grid has no parameter 'rounds'; its parameters: round_questions",
    ),
    ({"budget": {"minutes": True}}, "budget.minutes is True; expected a number"),
    ({"budget": {"minutes": float("inf")}}, "budget.minutes is inf; expected a finite number"),
    ({"budget": {"dollars": 0}}, "budget.dollars is 0; expected greater than 0"),
    ({"budget": {"tokens": 1.5}}, "budget.tokens is 1.5; expected a valid integer"),
    (
        {"budget": {"euros": 3}},
        "budget.euros is not a known key; expected one of minutes, watt_hours, tokens, calls, dollars",
    ),
    ({"questions": {"limit": 0}}, "questions.limit is 0; expected greater than or equal to 1"),
    ({"repeats": 0}, "repeats is 0; expected greater than or equal to 1"),
    ({"retries": "three"}, "retries is 'three'; expected a valid integer"),
    ({"timeout_seconds": 0}, "timeout_seconds is 0; expected greater than 0"),
    ({"seed": 1.5}, "seed is 1.5; expected a valid integer"),
    ({"corpus": None}, "corpus is None; expected a valid string"),
    ({"name": 5}, "name is 5; expected a valid string"),
    ({"spase": {}}, "spase is not a known key; did you mean space?"),
    ({"xyzzy": 1}, "xyzzy is not a known key; expected one of corpus, evalset, "),
]


@pytest.mark.parametrize(("change", "said"), BAD, ids=[said.partition(";")[0][:50] for _, said in BAD])
def test_a_bad_value_is_named_with_its_key_the_value_and_what_is_allowed(change, said):
    [problem] = problems({**MINIMAL, **change})
    assert problem.startswith(f"experiment: {said}")
    assert len(problem) < 6000


def test_everything_wrong_is_said_at_once_and_names_the_file():
    space = {
        key: value
        for change, _ in BAD
        if isinstance(change.get("space"), dict)
        for key, value in change["space"].items()
    }
    others = {key: value for change, _ in BAD for key, value in change.items() if key != "space"}
    found = problems_of(yaml.safe_dump({**MINIMAL, **others, "space": space}))
    assert len(found) >= len(space) + len(others)
    assert all(problem.startswith("mine.yaml: ") for problem in found)
    assert problems_of("{}") == [f"mine.yaml: {key} is missing; it must be given" for key in ("corpus", "evalset")]


# -------------------------------------------------------------------------------------------------------- bad files


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("corpus: a\nevalset: b\ncorpus: c\n", "mine.yaml:3: not valid YAML: key 'corpus' stands twice"),
        ("space:\n  model: [none]\n  model: [scripted]\n", "mine.yaml:3: not valid YAML: key 'model' stands twice"),
        ("corpus: ü".encode("latin-1"), "mine.yaml: not UTF-8 at byte 8; save the file as UTF-8"),
        ("corpus: ü".encode("utf-16"), "mine.yaml: not UTF-8 at byte 0; save the file as UTF-8"),
        ("corpus: [a", "mine.yaml:1: not valid YAML: "),
        ("corpus: a\n\tevalset: b", "mine.yaml:2: not valid YAML: "),
        ("corpus: *nobody", "mine.yaml:1: not valid YAML: found undefined alias 'nobody'"),
        (
            "corpus: !!python/object/apply:os.getcwd []",
            "mine.yaml:1: not valid YAML: could not determine a constructor",
        ),
        ("? [a]\n: b", "mine.yaml: not valid YAML: unhashable"),
        ("corpus: 2024-99-99", "mine.yaml: not valid YAML: month must be in 1..12"),
        ("seed: " + "9" * 5000, "mine.yaml: not valid YAML: Exceeds the limit"),
        ("corpus: \0", "mine.yaml: not valid YAML: unacceptable character"),
        ("a: 1\n---\nb: 2", "mine.yaml:2: not valid YAML: "),
        ("corpus: " + "[" * 3000, "mine.yaml: not valid YAML: maximum recursion depth exceeded"),
        ("", "mine.yaml: expected key: value lines at the top, found NoneType"),
        ("- a", "mine.yaml: expected key: value lines at the top, found list"),
    ],
)
def test_files_that_cannot_be_read_say_where(text, said):
    [problem] = problems_of(text)
    assert problem.startswith(said)


@pytest.mark.parametrize("key", ["corpus: *b9", "space: {model: *b9, stop: *b9, temperature: *b9}", "metrics: *b9"])
def test_a_bomb_of_aliases_is_refused_at_once_and_in_few_words(key):
    bomb = "x: &b0 [boom]\n" + "".join(f"x{n}: &b{n} [{', '.join([f'*b{n - 1}'] * 9)}]\n" for n in range(1, 10))
    started = time.perf_counter()
    found = problems_of(f"evalset: e\n{bomb}{key}\n")
    assert time.perf_counter() - started < 5
    assert max(map(len, found)) < 1000


@pytest.mark.parametrize(
    "text", ["corpus: &c [*c]", "space: &s {model: [*s]}", "&m {space: *m}", "space: {stop: &t [*t]}"]
)
def test_a_value_inside_itself_is_refused(text):
    assert problems_of(text)


def test_a_missing_file_is_refused_with_the_names_there_are():
    Path("folder.yaml").mkdir()
    for name in ("nothing.yaml", "folder.yaml", "x" * 5000, "*", "**", "evalset"):
        [problem] = problems(name)
        assert problem.startswith(f"{name}: no such experiment file; available by name: demo")


# ------------------------------------------------------------------------------------------------------- good files


def test_defaults_are_those_of_the_configuration():
    read = read_experiment(MINIMAL)
    assert {axis: getattr(read.space, axis) for axis in DEFAULT_AXES} == {
        axis: [value] for axis, value in DEFAULT_AXES.items()
    }
    assert set(Space.model_fields) == set(DEFAULT_AXES)
    assert read.metrics == ["token_f1", "exact_match", "contains", "recall@5", "ndcg@10"]


def test_single_values_stand_for_lists_and_choices_for_their_names():
    read = read_experiment(
        {**MINIMAL, "space": {"model": "scripted", "temperature": 0.5, "retriever": {"name": "bm25"}}}
    )
    assert (read.space.model, read.space.temperature, read.space.retriever) == (["scripted"], [0.5], ["bm25"])


def test_the_deciding_metric_is_always_measured():
    assert read_experiment({**MINIMAL, "metrics": ["contains"], "goal": {"metric": "recall@3"}}).metrics == [
        "recall@3",
        "contains",
    ]
    assert read_experiment(
        {**MINIMAL, "metrics": ["contains", "contains"], "goal": {"metric": "contains"}}
    ).metrics == ["contains"]


def test_paths_are_looked_up_beside_the_file_and_names_come_from_it():
    folder = Path("evals/mine")
    folder.mkdir(parents=True)
    (folder / "data").mkdir()
    (folder / "experiment.yaml").write_text("corpus: data\nevalset: elsewhere\n")
    (folder / "small.yaml").write_text("corpus: data\nevalset: data\nname: chosen\n")
    for name in ("mine", folder, folder / "experiment.yaml"):
        read = read_experiment(name)
        assert (read.corpus, read.evalset, read.name) == (str(folder / "data"), "elsewhere", "mine")
    assert read_experiment("small").name == "chosen"
    assert set(experiments()) >= {"mine", "small", "demo"}
    assert find_experiment("small") == folder / "small.yaml"


@pytest.mark.parametrize(
    "name", sorted(path.name for path in (ROOT / "evals").glob("*/*.yaml") if path.name != "evalset.yaml")
)
def test_shipped_experiments_are_valid(name):
    [path] = (ROOT / "evals").glob(f"*/{name}")
    assert read_experiment(path).space.model


def test_a_changed_goal_is_checked_like_the_files():
    assert changed_goal(Goal(), {"margin": 0.1, "limits": {"p95_seconds": "2"}}).limits == {"p95_seconds": 2.0}
    with pytest.raises(InputError) as caught:
        changed_goal(Goal(), {"margin": 7, "limits": {"p95": 1}, "metrics": "x"})
    assert len(caught.value.problems) == 3
    assert all(problem.startswith("goal: ") for problem in caught.value.problems)


# ------------------------------------------------------------------------------------------------------------- fuzz

KEYS = st.sampled_from([*Experiment.model_fields, *DEFAULT_AXES])
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 70), st.floats(), st.text(max_size=8), st.dates(), st.binary(max_size=4),
    st.sampled_from(["none", "scripted", "embedded:x", "python:a:b", "python:.", "a:b", "recall@5", "token_f1", "@", ":", "bm25"]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(KEYS | st.sampled_from(["name", "metric"]) | SCALARS, inner, max_size=4)
    ),
    max_leaves=12,
)


@given(content=st.dictionaries(KEYS | st.text(max_size=4), VALUES, max_size=8))
def test_no_mapping_raises_anything_but_our_own_errors(content):
    try:
        points(read_experiment({**MINIMAL, **content}).space)
    except WorkbenchError as error:
        assert str(error).strip()


@given(
    changes=st.lists(
        st.tuples(st.integers(0, 400), st.sampled_from(list("{}[]:,&*!|>'\"%@`#-? \n\t~0aß\0"))), max_size=6
    )
)
def test_no_damaged_file_raises_anything_but_our_own_errors(changes):
    text = list(yaml.safe_dump(experiment()))
    for position, character in changes:
        text[position % len(text)] = character
    Path("damaged.yaml").write_text("".join(text), encoding="utf-8")
    try:
        read_experiment("damaged.yaml")
    except WorkbenchError as error:
        assert str(error).startswith("damaged.yaml")


# -------------------------------------------------------------------------------------------------- ranges, presets


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ({"from": 64, "to": 256, "factor": 2}, [64, 128, 256]),
        ({"from": 64, "to": 200, "step": 64}, [64, 128, 192]),
        ({"from": 1, "to": 3}, [1, 2, 3]),
        (7, [7]),
    ],
)
def test_numbers_may_be_ranges(given, values):
    assert read_experiment({**MINIMAL, "space": {"chunk_tokens": given}}).space.chunk_tokens == values


def test_ranges_of_decimals_hit_their_end():
    space = read_experiment({**MINIMAL, "space": {"temperature": {"from": 0, "to": 1, "step": 0.1}}}).space
    assert space.temperature == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]


@pytest.mark.parametrize(
    "given",
    [
        {"from": 64},
        {"from": 64, "to": 1},
        {"from": 1, "to": 9, "step": 0},
        {"from": 1, "to": 9, "factor": 1},
        {"from": 0, "to": 9, "factor": 2},
        {"from": 1, "to": 9, "by": 2},
        {"from": 1, "to": "9"},
        {"from": 1, "to": 10_000_000},
        {"from": 1, "to": float("nan")},
        {"from": True, "to": float("inf")},
    ],
)
def test_a_range_that_makes_no_sense_is_refused(given):
    with pytest.raises(InputError, match=r"space.chunk_tokens is .*(range|from|values)"):
        read_experiment({**MINIMAL, "space": {"chunk_tokens": given}})


@pytest.mark.parametrize("name", presets())
def test_every_preset_is_a_space_that_can_be_changed(name):
    whole = read_experiment({**MINIMAL, "space": name}).space
    changed = read_experiment({**MINIMAL, "space": {"preset": name, "model": ["none"], "passages": [9]}}).space
    assert whole.retriever == changed.retriever != Space().retriever
    assert (changed.model, changed.passages) == (["none"], [9])


def test_an_unknown_preset_is_refused_with_those_there_are():
    for space in ("tiny", {"preset": "tiny", "passages": [1]}):
        with pytest.raises(InputError, match=r"space\.preset is 'tiny'; expected one of small, thorough"):
            read_experiment({**MINIMAL, "space": space})


def test_a_count_cannot_decide():
    with pytest.raises(
        InputError, match=r"goal\.metric is 'length', which counts words; expected a metric from 0 to 1"
    ):
        read_experiment({**MINIMAL, "goal": {"metric": "length"}})


def test_columns_travel_with_the_name_of_the_data():
    source = {"path": "faq.csv", "columns": {"question": "ask", "answers": "the reply"}}
    assert read_experiment({**MINIMAL, "evalset": source}).evalset == "faq.csv?question=ask&answers=the+reply"
    with pytest.raises(InputError, match=r"corpus is .*expected a name, a path, or"):
        read_experiment({**MINIMAL, "corpus": {"path": 3}})
