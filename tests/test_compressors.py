"""What every compressor promises: never longer, never beyond the budget, word for word and in order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import needs_minilm, passages
from tests.test_retrievers import WordVectors
from workbench import registry, tokens
from workbench.booking import Recorder
from workbench.compressors._similarity import by_words
from workbench.contracts import Tools
from workbench.errors import InputError
from workbench.meters.cpu_time import CpuTime
from workbench.packing import MARK_TOKENS, pack
from workbench.records import Passage

QUESTION = "Who keeps the lamp of the lighthouse?"
FOUND = passages(
    "The lighthouse was lit in 1894. Its keeper is Ada.  Ada Brandt keeps the lamp of the lighthouse. It has 112 steps.",
    "The bakery opens at six. The baker keeps cats.",
    "在北京的灯塔很高。它的灯由阿达看守。",  # sentences without a space between them
)
COMPRESSORS = [name for name in registry.names("compressors") if name != "none"]


def compressor(name: str = "sentences", **parameters: Any) -> Any:
    given = Tools(embedder=lambda choice=None: WordVectors(), model=None)
    return registry.build("compressors", {"name": name, **parameters}, given)


def words(text: str) -> int:
    return len(text.split())


def texts(found: list[Passage]) -> list[str]:
    return [passage.chunk.text for passage in found]


# ------------------------------------------------------------------------------------------------- every compressor

prose = st.text(st.sampled_from("ab cd. X!?\n。 é12"), max_size=60)


WAYS = [
    compressor(name, **parameters)
    for name in COMPRESSORS
    for parameters in ({}, {"by": "words"}, {"by": "words", "share": 1}, {"share": 0.2})
]


@pytest.mark.parametrize("way", WAYS)
@given(st.lists(prose, max_size=4), prose, st.integers(0, 80), st.sampled_from([words, len, tokens.count]))
def test_never_longer_and_never_beyond_the_budget(way, given_texts, question, budget, count):
    found = passages(*given_texts)
    kept = way.compress(question, found, budget, count)
    assert sum(count(text) + MARK_TOKENS for text in texts(kept)) <= budget
    assert pack(kept, budget, count) == tuple(kept)
    assert [passage.rank for passage in kept] == sorted({passage.rank for passage in kept})
    for passage in kept:
        before = found[passage.rank - 1].chunk
        assert (passage.chunk.id, passage.chunk.start, passage.chunk.end) == (before.id, before.start, before.end)
        assert len(passage.chunk.text) <= len(before.text)
        remaining = iter(before.text)  # every character is there in its order
        assert all(character in remaining for character in passage.chunk.text if not character.isspace())
    assert way.compress(question, found, budget, count) == kept


@pytest.mark.parametrize("name", COMPRESSORS)
def test_its_work_is_the_answers_stage_compress(name):
    with Recorder(CpuTime()) as recorder:
        compressor(name).compress(QUESTION, FOUND, 100, words)
    assert set(recorder.stages()) == {"assemble", "compress"}


# --------------------------------------------------------------------------------------------------------- sentences


@pytest.mark.parametrize("by", ["embedder", "words"])
def test_the_sentences_closest_to_the_question_stay_in_their_order(by):
    found = compressor(by=by, share=0.6).compress(QUESTION, FOUND[:2], 40, words)
    assert "Ada Brandt keeps the lamp of the lighthouse." in texts(found)[0]
    assert [passage.chunk.document_id for passage in found] == ["d1", "d2"][: len(found)]
    tight = compressor(by=by).compress(QUESTION, FOUND, 8 + MARK_TOKENS, words)
    assert texts(tight) == ["Ada Brandt keeps the lamp of the lighthouse."]


def test_the_share_bounds_what_stays_though_the_budget_is_wide():
    for share in (0.1, 0.3, 0.5, 0.9):
        kept = texts(compressor(by="words", share=share).compress(QUESTION, FOUND, 1000, words))
        assert sum(map(words, kept)) <= max(share * sum(map(words, texts(FOUND))), 8)
        assert "Ada Brandt keeps the lamp of the lighthouse." in kept[0]
    whole = compressor(by="words", share=1).compress(QUESTION, FOUND, 1000, words)
    assert whole == list(FOUND)
    with pytest.raises(InputError, match=r"share is 0\.0; expected more than 0, at most 1"):
        compressor(share=0)


def test_what_stood_side_by_side_keeps_what_was_between():
    kept = compressor(by="words", share=0.99).compress("keeper Ada Brandt lamp lighthouse 1894", FOUND[:1], 100, words)
    assert texts(kept) == [
        "The lighthouse was lit in 1894. Its keeper is Ada.  Ada Brandt keeps the lamp of the lighthouse."
    ]
    apart = compressor(by="words", share=0.85).compress("Brandt lamp lit 112 steps", FOUND[:1], 100, words)
    assert texts(apart) == [
        "The lighthouse was lit in 1894. Ada Brandt keeps the lamp of the lighthouse. It has 112 steps."
    ]
    chinese = compressor(by="words", share=0.5).compress("灯由谁看守", FOUND[2:], 100, len)
    assert texts(chinese) == ["它的灯由阿达看守。"]


def test_nothing_that_fits_is_nothing():
    assert compressor(by="words").compress(QUESTION, FOUND, MARK_TOKENS, words) == []
    assert compressor().compress(QUESTION, (), 50, words) == []


def test_rare_words_count_more_and_long_sentences_less():
    found = ["the lamp", "the cat", "the cat and the lamp and a great many other things besides", "nothing"]
    scores = by_words("the lamp", found)
    assert scores[0] > scores[1] > 0
    assert scores[0] > scores[2]
    assert scores[3] == 0


@needs_minilm
def test_a_real_embedder_finds_the_sentence_without_a_common_word():
    embedder = registry.build("embedders", "embedded:minilm-l6")
    given = Tools(embedder=lambda choice=None: embedder, model=None)
    found = passages("The bakery opens at six. A physician treated the wounded sailor. Roses grow along the wall.")
    kept = registry.build("compressors", "sentences", given).compress("Which doctor helped him?", found, 12, words)
    assert texts(kept) == ["A physician treated the wounded sailor."]
