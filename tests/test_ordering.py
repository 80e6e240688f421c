"""The order of a round: every cell once, engines loaded once, decodings of one prompt side by side."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from workbench.ordering import in_blocks
from workbench.records import DECODING_AXES, DEFAULT_AXES, Configuration

AXES: dict[str, list[Any]] = {
    "model": ["none", "scripted", {"name": "scripted", "seconds": 0.1}],
    "prompt": ["terse", "fewshot"],
    "retriever": ["none", "bm25", "dense"],
    "passages": [1, 3],
    "temperature": [0, 0.7],
    "max_tokens": [8, 32],
    "concurrency": [1, 2],
}
CONFIGURATIONS = [Configuration(dict(zip(AXES, values, strict=True))) for values in itertools.product(*AXES.values())]
QUESTIONS = 7

POINTS = st.lists(st.sampled_from(CONFIGURATIONS), min_size=1, max_size=12, unique_by=lambda each: each.id)


@st.composite
def rounds(draw: st.DrawFn) -> tuple[list[Configuration], list[tuple[int, int]]]:
    """Some configurations and some of their cells, in any order."""
    configurations = draw(POINTS)
    every = list(itertools.product(range(len(configurations)), range(QUESTIONS)))
    return configurations, draw(st.lists(st.sampled_from(every), unique=True))


def rows(blocks: list[list[tuple[int, int]]]) -> list[int]:
    return [row for block in blocks for row, _ in block]


@given(rounds(), st.booleans())
def test_every_cell_runs_exactly_once(drawn, reverse):
    configurations, cells = drawn
    blocks = in_blocks(configurations, cells, reverse=reverse)
    assert sorted(cell for block in blocks for cell in block) == sorted(cells)
    assert all(blocks)


@given(rounds(), st.booleans())
def test_an_engine_is_left_only_when_it_is_done(drawn, reverse):
    configurations, cells = drawn
    visits = [
        (configuration["model"], configuration["concurrency"])
        for row in rows(in_blocks(configurations, cells, reverse=reverse))
        for configuration in [configurations[row]]
    ]
    changes = [key for key, _ in itertools.groupby(visits)]
    assert len(changes) == len({str(change) for change in changes})


@given(rounds(), st.booleans())
def test_a_block_differs_in_decoding_only(drawn, reverse):
    configurations, cells = drawn
    for block in in_blocks(configurations, cells, reverse=reverse):
        for axis in DEFAULT_AXES.keys() - set(DECODING_AXES):
            assert len({str(configurations[row][axis]) for row, _ in block}) == 1


@given(POINTS, st.booleans())
def test_the_next_round_is_turned_around(configurations, reverse):
    cells = list(itertools.product(range(len(configurations)), range(1)))
    forth = in_blocks(configurations, cells, reverse=reverse)
    back = in_blocks(configurations, cells, reverse=not reverse)
    assert rows(forth) == rows(back)[::-1]


def test_questions_come_in_the_order_of_their_columns():
    [configuration] = [Configuration({"model": "scripted"})]
    for reverse in (False, True):
        assert in_blocks([configuration], [(0, 4), (0, 1), (0, 3)], reverse=reverse) == [[(0, 1), (0, 3), (0, 4)]]


def test_decodings_of_one_prompt_take_as_many_questions_at_a_time_as_the_engine_has_slots():
    def block(concurrency: int) -> list[tuple[int, int]]:
        points = [
            Configuration({"model": "scripted", "temperature": temperature, "concurrency": concurrency})
            for temperature in (0, 0.5)
        ]
        [found] = in_blocks(points, [(row, column) for row in range(2) for column in range(3)], reverse=False)
        return found

    assert block(1) == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2)]
    assert block(2) == [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (1, 2)]


def test_prompts_that_begin_alike_follow_each_other():
    axes = [
        {"prompt": "terse", "retriever": "dense"},
        {"prompt": "fewshot", "retriever": "none"},
        {"prompt": "terse", "retriever": "none"},
        {"prompt": "fewshot", "retriever": "bm25"},
        {"prompt": "terse", "retriever": "bm25"},
        {"prompt": "fewshot", "retriever": "dense"},
    ]
    configurations = [Configuration({"model": "scripted", **each}) for each in axes]
    order = [
        configurations[row] for row in rows(in_blocks(configurations, [(row, 0) for row in range(6)], reverse=False))
    ]
    starts = [(each["prompt"], each["retriever"] == "none") for each in order]
    assert len([key for key, _ in itertools.groupby(starts)]) == len(set(starts)) == 4
