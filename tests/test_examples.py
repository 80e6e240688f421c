"""Worked examples: fixed and nearest ones, never the question itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workbench.examples import DECLINE, Examples
from workbench.records import Question


def asked(number: int, text: str, *answers: str, answerable: bool = True) -> Question:
    return Question(id=f"q{number:02}", question=text, answers=answers, answerable=answerable)


FERRY = asked(1, "When does the ferry leave the island?", "at seven")
BAKERY = asked(2, "When does the bakery open?", "six")
TICKET = asked(3, "How much does the ferry ticket cost?", answerable=False)
SILENT = asked(4, "Is there a ferry?")
ALL = (FERRY, BAKERY, TICKET, SILENT)


def test_questions_without_any_answer_are_no_examples():
    assert len(Examples(ALL, seed=1)) == 3


@given(st.integers(0, 5), st.integers(0, 9), st.sampled_from([each.question for each in ALL] + ["Something else?"]))
def test_a_question_is_never_its_own_example(count, seed, question):
    examples = Examples(ALL, seed)
    for shown in (examples.fixed(count, question), examples.nearest(count, question)):
        assert question not in {example.question for example in shown}
        usable = 3 - (question in {FERRY.question, BAKERY.question, TICKET.question})
        assert len(shown) == min(count, usable)


def test_fixed_examples_are_the_same_for_every_other_question_and_change_with_the_seed():
    examples = Examples(ALL, seed=1)
    assert examples.fixed(2, "One?") == examples.fixed(2, "Another?")
    orders = {tuple(example.question for example in Examples(ALL, seed).fixed(3, "")) for seed in range(20)}
    assert len(orders) > 1


def test_the_nearest_example_stands_last():
    near = Examples(ALL, seed=1).nearest(2, "When does the last ferry leave?")
    assert near[-1].question == FERRY.question


def test_an_unanswerable_example_declines():
    [example] = [each for each in Examples(ALL, seed=1).fixed(3, "") if each.question == TICKET.question]
    assert example.answer == DECLINE
