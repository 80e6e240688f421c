"""What happens between a ranking and a prompt: threshold, reranking, duplicates, order, whole findings, forms of answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from workbench import templates
from workbench.contracts import Sources
from workbench.meters.cpu_time import CpuTime
from workbench.pipeline import Pipeline, Rendered, Task
from workbench.records import Answer, Configuration, Corpus, Document, Passage, Question, Span

PLUGINS = """
from tests.test_pipeline import Backwards, Listed


def listed(sources):
    return Listed(sources)


def backwards(tools, *, depth_seen: int = 0):
    return Backwards()
"""
TEXTS = {
    "a": "The ferry leaves at seven in the morning from the old pier.",
    "b": "the ferry leaves at seven in the morning, from the old pier",
    "c": "The bakery opens at six and sells bread until noon.",
    "d": "The museum keeps a whale skeleton in its hall.",
}
CORPUS = Corpus(name="c", documents=tuple(Document(id=id, text=text) for id, text in TEXTS.items()), digest="c")
ASKED = Question(id="q", question="When does the ferry leave?", answers=("seven",), evidence=("a",))


class Listed:
    """A retriever of the user's own: every chunk in the order of the corpus, scores 0.9, 0.8, …"""

    def __init__(self, sources: Sources) -> None:
        self._chunks = sources.chunks

    def search(self, question: str) -> list[Passage]:
        return [Passage(chunk=chunk, score=0.9 - rank / 10, rank=rank + 1) for rank, chunk in enumerate(self._chunks)]


class Backwards:
    """A reranker of the user's own."""

    def rerank(self, question: str, passages: Sequence[Passage]) -> list[Passage]:
        return list(passages)[::-1]


@pytest.fixture(autouse=True)
def own_plugins(own_folder: Path) -> None:
    (own_folder / "own_plugins.py").write_text(PLUGINS)


@contextmanager
def pipeline(corpus: Corpus = CORPUS, **settings: Any) -> Iterator[Pipeline]:
    made = Pipeline(corpus, meter=CpuTime(), record=lambda work: None, cache=None, **settings)
    try:
        yield made
    finally:
        made.close()


def configuration(**axes: Any) -> Configuration:
    plain = {"model": "scripted", "retriever": "python:own_plugins:listed", "chunker": "document", "passages": 4}
    return Configuration(plain | axes)


def rendered(
    question: Question = ASKED, corpus: Corpus = CORPUS, questions: Sequence[Question] = (), **axes: Any
) -> Rendered:
    point = configuration(**axes)
    with pipeline(corpus, questions=questions) as made:
        made.prepare(point)
        return made.render(point, question)


def shown(**axes: Any) -> list[str]:
    return [passage.chunk.document_id for passage in rendered(**axes).passages]


def test_passages_below_the_threshold_are_left_out():
    assert shown(min_score=0.75) == ["a", "b"]
    found = rendered(min_score=0.95)
    assert (found.passages, found.ranking) == ((), ())
    assert found.prompt is not None
    assert "Use these passages" not in found.prompt.text


def test_a_reranker_sees_the_first_of_the_ranking_and_the_rest_follows():
    assert shown(rerank="python:own_plugins:backwards", rerank_depth=3) == ["c", "b", "a", "d"]
    found = rendered(rerank="python:own_plugins:backwards", rerank_depth=3)
    assert [place.document_id for place in found.ranking or ()] == ["c", "b", "a", "d"]
    assert [passage.rank for passage in found.passages] == [1, 2, 3, 4]


def test_duplicates_make_room_for_others():
    assert shown(passages=2) == ["a", "b"]
    assert shown(passages=2, deduplicate=True) == ["a", "c"]


def test_the_best_passage_can_stand_last():
    assert shown(order="best_last") == ["d", "c", "b", "a"]
    assert shown(order="best_last", context_tokens=40) == shown(context_tokens=40)[::-1]


def test_the_ranking_is_kept_as_places_and_no_deeper_than_asked():
    point = configuration()
    with pipeline(ranking_depth=2) as made:
        made.prepare(point)
        assert made.render(point, ASKED).ranking == (Span("a", 0, len(TEXTS["a"])), Span("b", 0, len(TEXTS["b"])))


def test_small_chunks_bring_their_parents_each_once():
    text = " ".join(f"Sentence number {number} tells of the ferry." for number in range(40))
    corpus = Corpus(name="long", documents=(Document(id="long", text=text),), digest="l")
    found = rendered(corpus=corpus, chunker="parent", chunk_tokens=16, passages=2, retriever="bm25")
    small = rendered(corpus=corpus, chunker="tokens", chunk_tokens=16, passages=2, retriever="bm25")
    assert len({passage.chunk.id for passage in found.passages}) == len(found.passages)
    for passage in found.passages:
        assert text[passage.chunk.start : passage.chunk.end] == passage.chunk.text
        assert len(passage.chunk.text) > 2 * len(small.passages[0].chunk.text)


def test_everything_puts_the_whole_corpus_into_the_prompt():
    assert shown(retriever="everything", passages=0, context_tokens=400) == list(TEXTS)


def test_oracle_finds_the_gold_by_the_question():
    found = rendered(retriever="oracle", questions=[ASKED])
    assert [passage.chunk.document_id for passage in found.passages] == ["a"]


# ------------------------------------------------------------------------------------------------------- examples

OTHERS = tuple(Question(id=f"o{n}", question=f"What is {n}?", answers=(str(n),), split="dev") for n in range(5))


def test_examples_stand_between_the_instruction_and_the_question():
    prompt = rendered(questions=[*OTHERS, ASKED], examples=2).prompt
    assert prompt is not None
    assert [message.role for message in prompt.messages] == ["system", *["user", "assistant"] * 2, "user"]
    assert prompt.messages[-1].content.endswith(ASKED.question)
    assert ASKED.question not in "".join(message.content for message in prompt.messages[:-1])


def test_only_the_development_split_gives_examples():
    held_out = [Question(id="t", question="Secret?", answers=("yes",), split="test")]
    prompt = rendered(questions=held_out, examples=2).prompt
    assert prompt is not None
    assert len(prompt.messages) == 2


def test_examples_answer_in_the_form_of_the_template():
    prompt = rendered(questions=OTHERS, examples=1, prompt="json").prompt
    assert prompt is not None
    assert json.loads(prompt.messages[2].content)["answer"] in "01234"


# ------------------------------------------------------------------------------------------------- forms of answers


def replied(reply: str, **axes: Any) -> Answer:
    point = configuration(model={"name": "scripted", "replies": {"ferry": reply}}, **axes)
    with pipeline() as made:
        made.prepare(point)
        return made.answer(Task(configuration=point, question=ASKED))


def test_an_answer_is_read_out_of_its_form_and_the_completion_kept():
    answer = replied('Sure: {"answer": "at seven", "passages": [1, 9]} .', prompt="json")
    assert (answer.text, answer.citations) == ("at seven", (1,))
    assert answer.completion == 'Sure: {"answer": "at seven", "passages": [1, 9]} .'
    assert replied("seven").completion == ""


def test_the_last_answer_line_counts_after_reasoning():
    steps = templates.load("steps")
    assert steps.read("It says so.\nAnswer: seven", 1).answer == "seven"
    assert steps.read("Answer: six\nNo, later.\n**Answer:** seven\n", 1).answer == "seven"
    assert steps.read("Answer: -5 °C", 1).answer == "-5 °C"
    assert steps.read("Seven, I think", 1).answer == "Seven, I think"


def test_a_form_that_is_not_kept_is_a_failure_of_the_model():
    answer = replied("at seven", prompt="json")
    assert answer.failure is not None
    assert (answer.failure.kind, answer.failure.code) == ("model", "malformed_output")
    assert answer.ledger.stages
