"""What every chunker promises: exact offsets, all visible text, no chunk too large or empty."""

import inspect
import itertools
import time
from pydoc_data.topics import topics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_text_splitters import RecursiveCharacterTextSplitter

from workbench import registry, tokens
from workbench.chunkers import recursive
from workbench.chunkers.markdown import headings
from workbench.chunkers.sentences import sentences as split_sentences
from workbench.errors import InputError
from workbench.records import Document

PLAIN = [
    "word",
    "another",
    "naïve",
    "日本語。",
    "สวัสดี",
    "👩‍👩‍👧",
    "e\u0301",
    "x" * 40,
    "\n\n",
    "   ",
    ".",
    "Dr.",
    "Yes!",
]
MARKS = ["# One\n", "\n## Two\n", "\n===\n", "\n---\n", "\n```\n", "- item", "\r\n"]
WORDS = st.lists(st.sampled_from(PLAIN + MARKS), max_size=120)
REPETITIVE = st.lists(st.sampled_from(["a", "b", " ", "\n", "\n\n"]), max_size=200).map("".join)
TEXTS = st.one_of(st.text(max_size=400), WORDS.map(" ".join), WORDS.map("".join), REPETITIVE)
CUTTING = [name for name in registry.names("chunkers") if name != "document"]


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
        assert chunk.document_id == "d"
        assert chunk.title == "t" or (chunker == "markdown" and chunk.title.startswith("t > "))
        assert chunk.text.strip()
        covered.update(range(chunk.start, chunk.end))
    assert all(position in covered or character.isspace() for position, character in enumerate(text))
    for before, after in itertools.pairwise(chunks):
        assert before.start < after.start
        assert before.end < after.end
    if accepts(chunker, "chunk_tokens"):
        assert all(tokens.count(chunk.text) <= size for chunk in chunks)


@pytest.mark.parametrize("chunker", CUTTING)
@settings(max_examples=60, deadline=None)
@given(text=TEXTS, size=st.integers(4, 40))
def test_without_overlap_chunks_share_nothing(chunker, text, size):
    chunks = built(chunker, chunk_tokens=size).split(Document(id="d", text=text))
    assert all(before.end <= after.start for before, after in itertools.pairwise(chunks))


@pytest.mark.parametrize("chunker", CUTTING)
@pytest.mark.parametrize("unit", [".", '."', "\n ", "# \n", "```\n", "a\n=\n", "1.\n", "ก", "a. ", "x"])
def test_no_text_takes_long(chunker, unit):
    cutter = built(chunker, chunk_overlap=16)
    started = time.process_time()
    cutter.split(Document(id="d", text=unit * (60_000 // len(unit))))
    assert time.process_time() - started < 2  # it takes tenths; what is not linear takes minutes


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
@pytest.mark.parametrize("chunker", CUTTING)
def test_impossible_windows_are_refused(chunker, parameters, problems):
    with pytest.raises(InputError) as caught:
        built(chunker, **parameters)
    assert len(caught.value.problems) == len(problems)
    assert all(found.startswith(wanted) for found, wanted in zip(caught.value.problems, problems, strict=True))


# -------------------------------------------------------------------------------------------------------- sentences


def cut(text, chunker="sentences", **parameters):
    return [chunk.text for chunk in built(chunker, **parameters).split(Document(id="d", text=text))]


@pytest.mark.parametrize(
    "sentences",
    [
        ["Dr. Smith met J. R. Tolkien at 5 p.m. in Oslo.", "Both left."],
        ['"Really?" he said.', '"Yes!"', "She agreed."],
        [
            "See Fig. 3, e.g. the U.S. Army.",
            "It has 3.14 stars.",
            "Is No. 5 alive?",
            "No.",
            "The end…",
            "So did I.",
            "Well.",
        ],
        ["Er kam z.B. am 3. nicht.", "Es war Dr. Huber et al. im Jahr 1894.", "Danach"],
        ["今天天气很好。", "我们去公园吧！", "「真的吗？」", "他说。", "好"],  # noqa: RUF001
        ["यह एक वाक्य है।", "यह दूसरा है।"],
        ["هل هذا سؤال؟", "نعم."],
        ["An intro:", "1. The first step.", "2. The second step", "- a point", "- another point"],
        ["A heading", "A paragraph without an end", "lower case after a blank line"],
    ],
)
def test_sentences_are_found(sentences):
    gap = "\n\n" if sentences[0] == "A heading" else "\n" if "1. The first step." in sentences else " "
    text = gap.join(sentences)
    found = list(split_sentences(text, 0, len(text)))
    assert [text[start:end] for start, end in found] == sentences


def test_chunks_are_whole_sentences():
    text = " ".join(f"Sentence number {number} is about {'many ' * (number % 7)}things." for number in range(200))
    chunks = cut(text, chunk_tokens=64)
    assert len(chunks) > 20
    assert all(chunk.startswith("Sentence") and chunk.endswith("things.") for chunk in chunks)
    assert min(tokens.count(chunk) for chunk in chunks[:-1]) > 64 - 16  # no further sentence would have fitted


def test_chunks_share_whole_sentences_of_at_most_the_overlap():
    text = " ".join(f"Sentence number {number} is about things." for number in range(200))
    chunks = built("sentences", chunk_tokens=64, chunk_overlap=20).split(Document(id="d", text=text))
    for before, after in itertools.pairwise(chunks):
        shared = text[after.start : before.end]
        assert shared.startswith("Sentence")
        assert shared.endswith("things.")
        assert 10 < tokens.count(shared) <= 20


def test_a_sentence_longer_than_a_chunk_is_cut_and_its_rest_goes_with_the_next():
    long = "A " + "word " * 150 + "end."
    chunks = cut(f"Short one. {long} Short two.", chunk_tokens=64)
    assert chunks[0] == "Short one."
    assert chunks[-1].endswith("end. Short two.")
    assert cut("สวัสดีครับวันนี้อากาศดี " * 40, chunk_tokens=32) == cut("สวัสดีครับวันนี้อากาศดี " * 40, "tokens", chunk_tokens=32)


# -------------------------------------------------------------------------------------------------------- recursive


def test_paragraphs_stay_whole_where_they_fit_then_lines_then_words():
    paragraph = "A paragraph of nine words stands here by itself.\n"
    assert cut(f"{paragraph}\n{paragraph}\n{paragraph}", "recursive", chunk_tokens=12) == [paragraph.strip()] * 3
    lines = cut("One line is here\nAnother line is there\nThe third is the last", "recursive", chunk_tokens=8)
    assert lines == ["One line is here", "Another line is there", "The third is the last"]
    assert cut("one two three four five six seven", "recursive", chunk_tokens=4) == [
        "one two three",
        "four five six",
        "seven",
    ]


def test_recursive_remembers_no_length_from_document_to_document():
    chunker = recursive.build(chunk_tokens=32, chunk_overlap=4)
    first = Document(id="first", text="\n\n".join(topics.values())[:20_000])
    alone = chunker.split(first)
    chunker.split(Document(id="second", text="Something else\n\nthat is said here."))
    assert all(text in "Something else\n\nthat is said here." for text in chunker._lengths)
    assert chunker.split(first) == alone


def test_recursive_cuts_as_the_library_does():
    text = "\n\n".join(f"Paragraph {number}. " + "Some words follow it here. " * (number % 9) for number in range(60))
    splitter = RecursiveCharacterTextSplitter(
        chunk_size=63, chunk_overlap=0, length_function=tokens.count, separators=["\n\n", "\n", " "]
    )
    assert cut(text, "recursive", chunk_tokens=64) == splitter.split_text(text)


# --------------------------------------------------------------------------------------------------------- markdown

GUIDE = """Before any heading.

# Guide #

## Install

Run this:

```bash
# not a heading
## nor this
```

Setext heading
--------------
Text below it.
- a point
---
#hashtag
    # indented code

# C#
### Deep
The end.
## Nothing below
"""


def test_markdown_is_cut_at_its_headings():
    chunks = built("markdown").split(Document(id="d", title="Manual", text=GUIDE))
    assert [(chunk.title, chunk.text.partition("\n")[0]) for chunk in chunks] == [
        ("Manual", "Before any heading."),
        ("Manual > Guide > Install", "# Guide #"),
        ("Manual > Guide > Setext heading", "Setext heading"),
        ("Manual > C# > Deep", "# C#"),
        ("Manual > C# > Nothing below", "## Nothing below"),
    ]


def test_a_title_that_is_the_first_heading_stands_once():
    chunks = built("markdown").split(Document(id="d", title="Guide", text="# Guide\nText.\n## Part\nMore."))
    assert [chunk.title for chunk in chunks] == ["Guide", "Guide > Part"]
    untitled = built("markdown").split(Document(id="d", text="# Guide\nText.\n## Part\nMore."))
    assert [chunk.title for chunk in untitled] == ["Guide", "Guide > Part"]


@pytest.mark.parametrize(
    "text", ["---\ntitle: x\n---\nText.", "``` not `closed\n# A\n", "a\nb\n---\nc", "| a |\n|---|"]
)
def test_what_only_looks_like_a_heading_is_none(text):
    found = [heading.title for heading in headings(text)]
    assert found == (["A"] if "# A" in text else [])


def test_an_open_fence_lasts_to_the_end():
    assert [heading.title for heading in headings("# A\n~~~~ python\n# B\n~~~\n# C\n~~~~\n# D\n```\n# E")] == ["A", "D"]


def test_long_sections_are_cut_between_sentences_and_keep_their_path():
    text = "# Part\n" + "This is a sentence of some length. " * 60
    chunks = built("markdown", chunk_tokens=64).split(Document(id="d", title="Book", text=text))
    assert len(chunks) > 5
    assert {chunk.title for chunk in chunks} == {"Book > Part"}
    assert all(chunk.text.endswith("length.") for chunk in chunks)


# ----------------------------------------------------------------------------------------------------------- parent


@settings(max_examples=80, deadline=None)
@given(text=TEXTS, size=st.integers(4, 20), overlap=st.integers(0, 19), times=st.integers(1, 5))
def test_every_small_chunk_lies_within_its_parent(text, size, overlap, times):
    parameters = {"chunk_tokens": size, "chunk_overlap": min(overlap, size - 1), "parent_tokens": times * size}
    chunks = built("parent", **parameters).split(Document(id="d", title="t", text=text))
    for chunk in chunks:
        parent = chunk.parent
        assert text[parent.start : parent.end] == parent.text
        assert parent.start <= chunk.start < chunk.end <= parent.end
        assert (parent.id, parent.document_id, parent.title) == (f"d#{parent.start}-{parent.end}", "d", "t")
        assert tokens.count(parent.text) <= times * size
    parents = list(dict.fromkeys(chunk.parent.id for chunk in chunks))
    assert parents == [
        chunk.id for chunk in built("tokens", chunk_tokens=times * size).split(Document(id="d", text=text))
    ]


def test_a_parent_is_four_times_as_wide_unless_said_otherwise():
    text = " ".join(f"word{number}" for number in range(400))
    [widest, *_] = sorted(
        (chunk.parent for chunk in built("parent", chunk_tokens=16).split(Document(id="d", text=text))),
        key=lambda parent: -len(parent.text),
    )
    assert 48 < tokens.count(widest.text) <= 64
    with pytest.raises(InputError, match="parent_tokens is 8; expected at least chunk_tokens, which is 16"):
        built("parent", chunk_tokens=16, parent_tokens=8)


# ------------------------------------------------------------------------------------------------------------ speed


def test_papers_are_cut_in_moments():
    paper = Document(
        id="d", text="\n\n".join("The cat sat on the mat, and looked at the moon. " * 8 for _ in range(45))
    )
    for chunker in registry.names("chunkers"):
        cutter = built(chunker)
        cutter.split(paper)
        started = time.process_time()
        for _ in range(10):
            cutter.split(paper)
        assert time.process_time() - started < 1
