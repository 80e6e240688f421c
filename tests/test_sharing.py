"""Work done once: what is shared serves everybody, costs nobody twice, and flatters nobody (DESIGN §7, Standalone)."""

from __future__ import annotations

import statistics
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import corpus_folder, needs_embedded
from workbench.booking import BASE_STAGE
from workbench.executors.local import LocalWorkers
from workbench.ledger import spent, standalone
from workbench.library import load_corpus, load_evalset
from workbench.meters.cpu_time import CpuTime
from workbench.models import scripted
from workbench.pipeline import Pipeline, Task
from workbench.records import Answer, Completion, Configuration, Corpus, Decoding, Prompt, Question, Reading, StageCost
from workbench.sharing import Memory, merged

PLUGINS = """
from tests.test_sharing import Counting, Once


def model(*, fail: str = "none", fail_attempts: int = 0, context_tokens: int = 4096):
    return Counting(fail, fail_attempts, context_tokens)


def retriever(sources):
    return Once(sources)
"""
CALLS: Counter[tuple[Prompt, Decoding]] = Counter()
SEARCHES: Counter[str] = Counter()
_LOCK = threading.Lock()


class Counting:
    """The scripted model, which counts the calls it is asked for."""

    accepts = scripted.build().accepts - {"min_p"}
    style = "chat"
    runs_here = True
    digest = "counting"

    def __init__(self, fail: Any, fail_attempts: int, context_tokens: int) -> None:
        self._model = scripted.build(fail=fail, fail_attempts=fail_attempts, context_tokens=context_tokens)

    def generate(self, prompt: Prompt, decoding: Decoding) -> Completion:
        with _LOCK:
            CALLS[prompt, decoding] += decoding.max_tokens != 1  # warm-ups ask for one token
        return self._model.generate(prompt, decoding)

    def count_tokens(self, text: str) -> int:
        return self._model.count_tokens(text)

    def close(self) -> None:
        self._model.close()


class Once:
    """BM25, which counts its searches."""

    def __init__(self, sources: Any) -> None:
        self._retriever = sources.retriever("bm25")

    def search(self, question: str) -> Sequence[Any]:
        with _LOCK:
            SEARCHES[question] += 1
        return self._retriever.search(question)


@pytest.fixture(autouse=True)
def counting_plugins(own_folder: Path) -> None:
    (own_folder / "counting_plugins.py").write_text(PLUGINS)
    CALLS.clear()
    SEARCHES.clear()


@pytest.fixture
def data(own_folder: Path) -> tuple[Corpus, list[Question]]:
    folder = corpus_folder(own_folder)
    corpus = load_corpus(folder)
    return corpus, list(load_evalset(folder, corpus).questions)


@contextmanager
def pipeline(corpus: Corpus) -> Iterator[Pipeline]:
    made = Pipeline(corpus, meter=CpuTime(), record=lambda work: None, cache=None, sleep=lambda seconds: None)
    try:
        yield made
    finally:
        made.close()


def sweep(
    corpus: Corpus, configurations: Sequence[Configuration], questions: Sequence[Question]
) -> dict[tuple[str, str], Answer]:
    """Every answer of all configurations through one pipeline, configuration after configuration."""
    answers = {}
    with pipeline(corpus) as shared:
        for configuration in configurations:
            shared.prepare(configuration)
            tasks = [Task(configuration=configuration, question=question) for question in questions]
            for answer in LocalWorkers(shared).run(tasks, configuration["concurrency"]):
                answers[configuration.id, answer.question] = answer
    return answers


def alone(
    corpus: Corpus, configurations: Sequence[Configuration], questions: Sequence[Question]
) -> dict[tuple[str, str], Answer]:
    """The same with a pipeline of its own for each configuration."""
    return {key: answer for each in configurations for key, answer in sweep(corpus, [each], questions).items()}


def points(**values: Sequence[Any]) -> list[Configuration]:
    """Every combination of some axes' values, over the counting model and retriever."""
    found: list[dict[str, Any]] = [
        {"model": "python:counting_plugins:model", "retriever": "python:counting_plugins:retriever"}
    ]
    for axis, choices in values.items():
        found = [{**axes, axis: choice} for axes in found for choice in choices]
    return [Configuration(axes) for axes in found]


def booked(answer: Answer) -> dict[str, tuple[int | None, int | None, int | None]]:
    """Stage → the tokens of its standalone reading."""
    return {
        cost.stage: (alone.tokens_in, alone.tokens_cached, alone.tokens_out)
        for cost in answer.ledger.stages
        for alone in [cost.standalone or cost.reading]
    }


GRID = {"passages": [1, 2, 3], "prompt": ["terse", "fewshot"], "temperature": [0, 0.7], "max_tokens": [8, 24]}


# ----------------------------------------------------------------------------------------------------------- the law


@pytest.mark.parametrize("backwards", [False, True])
def test_tokens_and_stages_are_the_same_alone_and_in_a_sweep(data, backwards):
    corpus, questions = data
    configurations = points(**GRID)
    together = sweep(corpus, configurations[::-1] if backwards else configurations, questions)
    for key, lonely in alone(corpus, configurations, questions).items():
        answer = together[key]
        assert booked(answer) == booked(lonely)
        for field in ("text", "passages", "retrieved", "prompt", "citations", "finish_reason", "failure"):
            assert getattr(answer, field) == getattr(lonely, field)
        assert not lonely.reused
        assert all(cost.standalone is None for cost in lonely.ledger.stages)


def test_seconds_alone_are_those_of_the_first_execution(data):
    corpus, questions = data
    slow = {"name": "scripted", "seconds": 0.02, "seconds_per_token": 0.001}
    configurations = [
        Configuration({"model": slow, "passages": passages, "context_tokens": tokens, "temperature": temperature})
        for passages, tokens, temperature in ((5, 900, 0), (6, 900, 0), (6, 950, 0), (5, 900, 0.7))
    ]
    together = sweep(corpus, configurations, questions[:4])
    lonely = alone(corpus, configurations, questions[:4])
    for configuration in configurations:
        for question in questions[:4]:
            answer = together[configuration.id, question.id]
            least = 0.02 + 0.001 * (standalone(answer.ledger).tokens_out or 0)
            assert standalone(answer.ledger).seconds >= least  # the clock may be late, and never early
            assert (answer.seconds_to_first_token or 0) >= 0.02
        seconds = [
            statistics.median(standalone(answers[configuration.id, each.id].ledger).seconds for each in questions[:4])
            for answers in (together, lonely)
        ]
        assert seconds[0] == pytest.approx(seconds[1], abs=0.2)
    first, second = (together[configuration.id, questions[0].id] for configuration in configurations[:2])
    assert second.reused[-1] == f"decode: as for {first.configuration}, same prompt and decoding"
    assert second.seconds_to_first_token == first.seconds_to_first_token
    assert second.undisturbed == first.undisturbed
    for one, other in zip(first.ledger.stages, second.ledger.stages, strict=True):
        if one.stage != BASE_STAGE:
            assert (other.reading.seconds, other.standalone) == (0, one.reading)


def test_what_a_sweep_spends_is_less_than_its_configurations_alone(data):
    corpus, questions = data
    configurations = points(**GRID)
    together = sweep(corpus, configurations, questions)
    lonely = alone(corpus, configurations, questions)
    assert tokens(together.values(), spent) < tokens(lonely.values(), spent) == tokens(together.values(), standalone)


def tokens(answers: Any, reading: Any) -> int:
    found = [reading(answer.ledger) for answer in answers]
    return sum((each.tokens_in or 0) + (each.tokens_out or 0) for each in found)


# ------------------------------------------------------------------------------------------------------- what is done


def test_a_question_is_searched_once_for_all_and_named_as_reused(data):
    corpus, questions = data
    first, *others = points(**GRID)
    together = sweep(corpus, [first, *others], questions)
    assert {question.question: 1 for question in questions} == SEARCHES
    for question in questions:
        assert not any(line.startswith("search") for line in together[first.id, question.id].reused)
        for other in others:
            answer = together[other.id, question.id]
            assert f"search: as for {first.id}, same retriever and question" in answer.reused
            [search] = [cost for cost in answer.ledger.stages if cost.stage == "search"]
            [original] = [cost for cost in together[first.id, question.id].ledger.stages if cost.stage == "search"]
            assert search.reading == Reading(seconds=0.0, cpu_seconds=0.0)
            assert search.standalone == original.reading


def test_only_what_decides_the_ranking_keeps_searches_apart(data):
    corpus, questions = data
    sweep(corpus, points(min_score=[None, 0.1], passages=[1, 2]), questions[:1])
    assert SEARCHES.total() == 2
    sweep(corpus, points(concurrency=[1, 2], passages=[1, 2]), questions[:1])
    assert SEARCHES.total() == 4


def test_the_same_prompt_and_decoding_is_one_generation(data):
    corpus, questions = data
    configurations = points(passages=[5, 6, 7])  # the corpus has five chunks, so that these reach the same prompt
    together = sweep(corpus, configurations, questions)
    assert CALLS.total() == len(questions)
    for configuration in configurations[1:]:
        for question in questions:
            answer = together[configuration.id, question.id]
            assert answer.reused[-1] == f"decode: as for {configurations[0].id}, same prompt and decoding"
            stages = {cost.stage: cost.reading for cost in answer.ledger.stages}
            assert stages["prefill"] == Reading(seconds=0.0, cpu_seconds=0.0, tokens_in=0, tokens_cached=0)
            assert stages["decode"] == Reading(seconds=0.0, cpu_seconds=0.0, tokens_out=0)
            assert (spent(answer.ledger).tokens_in, spent(answer.ledger).tokens_out) == (0, 0)
            assert spent(answer.ledger).seconds > 0  # its own packing and rendering


def test_sampling_is_never_shared(data):
    corpus, questions = data
    sweep(corpus, points(passages=[5, 6], temperature=[0.7]), questions)
    assert CALLS.total() == 2 * len(questions)


def test_a_configuration_never_reuses_what_it_did_itself(data):
    corpus, questions = data
    [configuration] = points(passages=[2])
    with pipeline(corpus) as own:
        own.prepare(configuration)
        answers = [own.answer(Task(configuration=configuration, question=questions[0])) for _ in range(3)]
    assert (CALLS.total(), SEARCHES.total()) == (3, 3)
    assert all(not answer.reused for answer in answers)


def test_a_models_failure_is_reused_with_its_cost(data):
    corpus, questions = data
    model = {"name": "python:counting_plugins:model", "context_tokens": 30}
    configurations = [Configuration({"model": model, "passages": passages}) for passages in (5, 6)]
    together = sweep(corpus, configurations, questions)
    assert CALLS.total() == len(questions)
    for question in questions:
        first, second = (together[configuration.id, question.id] for configuration in configurations)
        assert first.failure == second.failure
        assert first.failure is not None
        assert first.failure.code == "context_overflow"
        assert standalone(second.ledger).tokens_in is None
        assert [cost.stage for cost in second.ledger.stages] == [cost.stage for cost in first.ledger.stages]
        assert second.reused[-1].startswith(f"generate: as for {configurations[0].id}")


def test_a_failure_of_the_surroundings_is_never_reused(data):
    corpus, questions = data
    model = {"name": "python:counting_plugins:model", "fail": "rate_limit", "fail_attempts": 4}
    configurations = [Configuration({"model": model, "passages": passages}) for passages in (5, 6)]
    together = sweep(corpus, configurations, questions[:1])
    first, second = (together[configuration.id, questions[0].id] for configuration in configurations)
    assert first.failure is not None
    assert first.failure.kind == "infrastructure"
    assert second.failure is None
    assert (first.attempts, second.attempts) == (4, 1)
    assert not any(line.startswith(("prefill", "decode")) for line in second.reused)


def test_what_asks_models_while_searching_is_reused_with_its_tokens(data):
    corpus, questions = data
    hyde = {"name": "hyde", "retriever": "bm25"}
    configurations = [
        Configuration({"model": "python:counting_plugins:model", "retriever": hyde, "prompt": prompt})
        for prompt in ("terse", "fewshot")
    ]
    together = sweep(corpus, configurations, questions)
    assert CALLS.total() == 3 * len(questions)
    for key, lonely in alone(corpus, configurations, questions).items():
        assert booked(together[key]) == booked(lonely)
        assert "rewrite" in booked(lonely)
    second = together[configurations[1].id, questions[0].id]
    assert (spent(second.ledger).tokens_in or 0) < (standalone(second.ledger).tokens_in or 0)


@pytest.mark.parametrize("concurrency", [2, 4])
def test_the_books_are_right_with_several_answers_at_once(data, concurrency):
    corpus, questions = data
    configurations = points(passages=[4, 5, 6], max_tokens=[8, 24], concurrency=[concurrency])
    together = sweep(corpus, configurations, questions)
    lonely = alone(corpus, configurations, questions)
    assert {key: booked(answer) for key, answer in together.items()} == {
        key: booked(answer) for key, answer in lonely.items()
    }
    assert tokens(together.values(), spent) < tokens(lonely.values(), spent)


# ---------------------------------------------------------------------------------------------------------- the parts


def test_the_memory_forgets_the_questions_that_were_not_asked_for_the_longest():
    memory = Memory(questions=2)
    memory.keep("one", "key", 1)
    memory.keep("two", "key", 2)
    assert memory.recall(int, "one", "key") == 1
    memory.keep("three", "key", 3)
    assert [memory.recall(int, question, "key") for question in ("one", "two", "three")] == [1, None, 3]
    assert memory.recall(str, "one", "key") is None


READINGS = st.builds(
    Reading,
    seconds=st.integers(0, 9).map(float),
    cpu_seconds=st.integers(0, 9).map(float),
    tokens_in=st.none() | st.integers(0, 9),
)
COSTS = st.lists(
    st.builds(StageCost, stage=st.sampled_from("abc"), reading=READINGS, standalone=st.none() | READINGS), max_size=6
)


@given(COSTS)
def test_merging_keeps_sums_and_names_every_stage_once(costs):
    found = merged(costs)
    assert [cost.stage for cost in found] == list(dict.fromkeys(cost.stage for cost in costs))
    for field in ("seconds", "cpu_seconds", "tokens_in"):
        for each in (lambda cost: cost.reading, lambda cost: cost.standalone or cost.reading):
            before = sum(getattr(each(cost), field) or 0 for cost in costs)
            assert sum(getattr(each(cost), field) or 0 for cost in found) == before


# ------------------------------------------------------------------------------------------------------ a real engine


@needs_embedded
def test_on_a_real_engine_tokens_alone_are_the_same_and_cpu_seconds_alike(data):
    corpus, questions = data
    model = {"name": "embedded:smollm2-135m", "context_tokens": 768}
    configurations = [
        Configuration({"model": model, "max_tokens": 6, "temperature": temperature}) for temperature in (0, 0.8)
    ]
    together: dict[tuple[str, str], Answer] = {}
    with pipeline(corpus) as shared:
        for configuration in configurations:
            shared.prepare(configuration)
        for question in questions[:2]:  # decodings of the same prompt question by question, as a run orders them
            for configuration in configurations:
                answer = shared.answer(Task(configuration=configuration, question=question))
                together[configuration.id, question.id] = answer
    lonely = alone(corpus, configurations, questions[:2])
    first, second = configurations
    for (configuration, question), answer in together.items():
        stages, by_itself = booked(answer), booked(lonely[configuration, question])
        assert stages.keys() == by_itself.keys()
        assert stages["prefill"] == by_itself["prefill"]
        if configuration == first.id:  # after a cached prompt an engine's sums, and so the sampled text, may differ
            assert stages["decode"] == by_itself["decode"]
    for question in questions[:2]:
        assert f"alone as for {first.id}, same prompt" in together[second.id, question.id].reused[-1]
    for configuration in configurations:
        together_seconds, alone_seconds = (
            sum(standalone(answers[configuration.id, each.id].ledger).cpu_seconds or 0 for each in questions[:2])
            for answers in (together, lonely)
        )
        assert together_seconds == pytest.approx(alone_seconds, rel=0.5)
