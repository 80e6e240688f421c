"""Prompt templates: the static part first, nothing in a question or passage read as a placeholder, bad files refused."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import passages
from workbench import templates
from workbench.errors import InputError
from workbench.records import Message

SHIPPED = pytest.mark.parametrize("name", templates.available())
GOOD = "[system]\nBe short.\n[context]\nRead: {passages}\n[user]\n{context}Q: {question}\n[cue]\nA:\n"


def template(text: str | bytes, name: str = "mine") -> templates.Template:
    path = Path("prompts") / f"{name}.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return templates.load(name)


def problems(text: str | bytes) -> tuple[str, ...]:
    with pytest.raises(InputError) as caught:
        template(text)
    return caught.value.problems


def shared(one: str, other: str) -> str:
    """What both begin with."""
    return "".join(first for first, _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def test_three_templates_ship_and_describe_themselves():
    assert {"terse", "fewshot", "cite"} <= set(templates.available())
    for name in templates.available():
        assert templates.load(name).description.endswith(".")


@SHIPPED
@pytest.mark.parametrize(
    "found", [(passages("Zebras run."), passages("Ants dig.")), ((), ())], ids=["open", "closed book"]
)
def test_what_prompts_share_is_everything_up_to_what_varies(name, found):
    loaded = templates.load(name)
    first = loaded.render("Zoo?", found[0])
    second = loaded.render("Art?", found[1])
    varies = "Zebras" if found[0] else "Zoo"
    static = "\n\n".join(message.content for message in first.messages)
    for one, other in (
        (first.text, second.text),
        (static, "\n\n".join(message.content for message in second.messages)),
    ):
        assert shared(one, other) == one[: one.index(varies)]
    assert first.messages[:-1] == second.messages[:-1] == loaded.static
    assert first.text.endswith(loaded.cue)


@SHIPPED
@given(
    question=st.text(alphabet="ab{}[]0 \\\n").map("{question}".join)
    | st.sampled_from(["{context}", "{passages}", "{0}", r"\1"]),
    passage=st.sampled_from(["{question}", "{context}{passages}", "[user]\n{question}", "100 % {x!r}", r"\g<0>"]),
)
def test_braces_in_questions_and_passages_are_inert(name, question, passage):
    loaded = templates.load(name)
    plain = loaded.render("?", passages("!")).messages[-1].content
    filled = loaded.render(question, passages(passage)).messages[-1].content
    before, _, rest = plain.partition("[1] !")
    between, _, after = rest.rpartition("?")
    assert filled == f"{before}[1] {passage}{between}{question}{after}"


def test_other_braces_of_a_template_stay_as_they_are():
    loaded = template('[user]\nReply with {"answer": …} or {} to {question}\n')
    assert loaded.render("Why?", ()).messages[-1].content == 'Reply with {"answer": …} or {} to Why?'


@SHIPPED
def test_passages_are_numbered_and_closed_book_names_none(name):
    loaded = templates.load(name)
    assert "[1] one\n[2] two" in loaded.render("Why?", passages("one", "two")).messages[-1].content
    assert "passages:" not in loaded.render("Why?", ()).messages[-1].content


@SHIPPED
def test_more_passages_make_a_longer_prompt(name):
    lengths = [len(templates.load(name).render("Why?", passages(*["text"] * number)).text) for number in range(6)]
    assert lengths == sorted(set(lengths))


def test_examples_are_turns_and_their_answers_stand_after_the_cue():
    loaded = template("[example user]\nQ: 1+1?\n[example assistant]\n2\n[user]\nQ: {question}\n[cue]\nA:\n")
    assert [message.role for message in loaded.static] == ["user", "assistant"]
    assert loaded.render("2+2?", ()).text == "Q: 1+1?\n\nA: 2\n\nQ: 2+2?\n\nA:"


def test_a_projects_template_stands_before_the_shipped_one_and_its_text_is_its_digest():
    shipped = templates.load("terse")
    mine = template(GOOD, "terse")
    assert templates.load("terse") == mine
    assert mine.static == (Message(role="system", content="Be short."),)
    assert mine.digest != shipped.digest
    assert template(GOOD + "\n", "terse").digest != mine.digest
    assert templates.load("prompts/terse.txt").name == "terse"


@pytest.mark.parametrize(
    ("text", "plain", "cited"),
    [
        ("forty days [2]", "forty days", (2,)),
        ("[1] yes [3][1]", "yes", (1, 3)),
        ("no number", "no number", ()),
        ("out of range [4] [0]", "out of range [4] [0]", ()),
    ],
)
def test_citations_are_read_where_the_template_asks_for_them(text, plain, cited):
    assert templates.load("cite").read(text, 3) == templates.Reading(answer=plain, citations=cited)
    assert templates.load("terse").read(text, 3) == templates.Reading(answer=text)


def test_every_problem_of_a_template_is_named_at_once():
    found = problems("hello\n[example assistant]\nx\n[context]\nnothing\n[user]\nQ\n[cue]\nA\n[cue]\nB\n")
    assert len(found) == 5
    for word in (
        "before the first section: 'hello'",
        "{question}",
        "{passages}",
        "pairs",
        "[cue] stands more than once",
    ):
        assert any(word in problem for problem in found)
    assert all(problem.startswith("prompts/mine.txt: ") for problem in found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "[user] must hold {question}"),
        ("ü".encode("latin-1") + GOOD.encode(), "not UTF-8 at byte 0"),
        ("---\n: [\n---\n" + GOOD, "the header is not YAML"),
        ("---\n- a\n---\n" + GOOD, "key: value lines between two lines of ---"),
        ("---\ndescription: never closed\n" + GOOD, "key: value lines between two lines of ---"),
        (GOOD.replace("{context}", ""), "say where it goes with {context}"),
        (GOOD + "[example user]\nalone\n", "must come in pairs"),
    ],
)
def test_bad_templates_say_what_is_wrong(text, said):
    assert any(said in problem for problem in problems(text))


@pytest.mark.parametrize("name", ["nope", "", "../terse", "x" * 5000, "a\0b", "prompts", "\ud800"])
def test_unknown_templates_are_refused_with_what_there_is(name):
    with pytest.raises(InputError, match=r"unknown prompt .*available: abstain, cite, fewshot, .*terse"):
        templates.load(name)
