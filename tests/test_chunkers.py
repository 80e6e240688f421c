"""What every chunker promises: exact offsets, all visible text, no chunk too large or empty."""

import inspect
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench import registry, tokens
from workbench.errors import InputError
from workbench.records import Document

WORDS = st.lists(
    st.sampled_from(["word", "another", "naïve", "日本語", "👩‍👩‍👧", "e\u0301", "x" * 40, "\n\n", "   ", "."]),
    max_size=120,
)
TEXTS = st.one_of(st.text(max_size=400), WORDS.map(" ".join), WORDS.map("".join))


def accepts(chunker, parameter):
    module, _ = registry.load("chunkers", chunker)
    return parameter in inspect.signature(module.build).parameters


def built(chunker, **parameters):
    return registry.build("chunkers", {"name": chunker} | {k: v for k, v in parameters.items() if accepts(chunker, k)})


@pytest.mark.parametrize("chunker", registry.names("chunkers"))
@settings(max_examples=120, deadline=None)
@given(text=TEXTS, size=st.integers(4, 40), overlap=st.integers(0, 39))
def test_offsets_are_exact_and_all_text_is_covered(chunker, text, size, overlap):
    overlap = min(overlap, size - 1)
    document = Document(id="d", title="t", text=text)
    chunks = built(chunker, chunk_tokens=size, chunk_overlap=overlap).split(document)
    covered = set()
    for chunk in chunks:
        assert text[chunk.start : chunk.end] == chunk.text
        assert chunk.id == f"d#{chunk.start}-{chunk.end}"
        assert (chunk.document_id, chunk.title) == ("d", "t")
        assert chunk.text.strip()
        covered.update(range(chunk.start, chunk.end))
    assert all(position in covered or character.isspace() for position, character in enumerate(text))
    starts = [chunk.start for chunk in chunks]
    assert starts == sorted(set(starts))
    if accepts(chunker, "chunk_tokens"):
        assert all(tokens.count(chunk.text) <= size for chunk in chunks)


@settings(max_examples=80, deadline=None)
@given(text=WORDS.map(" ".join), size=st.integers(8, 40))
def test_windows_without_overlap_share_nothing(text, size):
    chunks = built("tokens", chunk_tokens=size).split(Document(id="d", text=text))
    assert all(before.end <= after.start for before, after in itertools.pairwise(chunks))


def test_windows_end_between_words():
    text = "one two three four five six seven eight nine ten eleven twelve " * 20
    chunks = built("tokens", chunk_tokens=16).split(Document(id="d", text=text))
    assert len(chunks) > 10
    assert all(text[chunk.end].isspace() for chunk in chunks)
    assert all(chunk.start == 0 or text[chunk.start - 1].isspace() for chunk in chunks)


def test_windows_share_at_most_the_overlap():
    text = " ".join(f"word{number}" for number in range(300))
    chunks = built("tokens", chunk_tokens=32, chunk_overlap=8).split(Document(id="d", text=text))
    shared = [text[after.start : before.end] for before, after in itertools.pairwise(chunks)]
    assert all(0 < tokens.count(each) <= 8 for each in shared)


def test_a_window_is_well_filled():
    text = "The cat sat on the mat and looked at the moon. " * 200
    counts = [tokens.count(chunk.text) for chunk in built("tokens").split(Document(id="d", text=text))]
    assert min(counts[:-1]) > 128 * 0.75


def test_white_space_alone_makes_no_chunk():
    for chunker in registry.names("chunkers"):
        assert built(chunker).split(Document(id="d", text=" \n\t ")) == []


def test_the_document_chunker_leaves_documents_whole():
    [chunk] = built("document").split(Document(id="d", text=" a\nb "))
    assert (chunk.text, chunk.start, chunk.end) == (" a\nb ", 0, 5)


@pytest.mark.parametrize(
    ("parameters", "problems"),
    [
        ({"chunk_tokens": 3}, ["chunk_tokens is 3; expected at least 4 (one character can take that many)"]),
        ({"chunk_overlap": -1}, ["chunk_overlap is -1; expected 0 or more"]),
        (
            {"chunk_tokens": 64, "chunk_overlap": 64},
            ["chunk_overlap is 64; expected less than chunk_tokens, which is 64"],
        ),
        ({"chunk_tokens": 2, "chunk_overlap": 9}, ["chunk_tokens is 2", "chunk_overlap is 9"]),
    ],
)
def test_impossible_windows_are_refused(parameters, problems):
    with pytest.raises(InputError) as caught:
        built("tokens", **parameters)
    assert len(caught.value.problems) == len(problems)
    assert all(found.startswith(wanted) for found, wanted in zip(caught.value.problems, problems, strict=True))
