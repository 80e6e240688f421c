"""The order in which a round's cells run: as little loading, warming and reading of prompts as possible, and no favour to anyone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from workbench.records import DECODING_AXES, DEFAULT_AXES, Configuration, as_json, plugin_name

Cell = tuple[int, int]
"""A configuration's row and a question's column."""


def in_blocks(configurations: Sequence[Configuration], cells: Iterable[Cell], *, reverse: bool) -> list[list[Cell]]:
    """A round's cells in blocks, each of which needs nothing loaded or warmed once it has begun.

    Blocks follow each other by model and concurrency, then prompt with its examples, then retriever. A block holds
    configurations of one concurrency that differ in decoding only, and takes as many questions at a time as are
    answered at once: the engine's prefix cache still holds what one configuration read when the next one asks. ``reverse``,
    for every other round, turns the order of configurations around and leaves that of questions.
    """
    columns: dict[int, list[int]] = {}
    for row, column in sorted(cells):
        columns.setdefault(row, []).append(column)
    families: dict[tuple[str, ...], list[int]] = {}
    for row in sorted(columns):
        families.setdefault(_family(configurations[row]), []).append(row)
    return [
        _interleaved(
            {row: columns[row] for row in sorted(families[family], reverse=reverse)},
            configurations[families[family][0]]["concurrency"],
        )
        for family in sorted(families, reverse=reverse)
    ]


def _interleaved(columns: dict[int, list[int]], at_once: int) -> list[Cell]:
    """The cells of some rows, so many questions at a time."""
    asked = sorted({column for own in columns.values() for column in own})
    wanted = {row: set(own) for row, own in columns.items()}
    return [
        (row, column)
        for start in range(0, len(asked), at_once)
        for row, own in wanted.items()
        for column in asked[start : start + at_once]
        if column in own
    ]


@lru_cache(maxsize=4096)  # asked for anew in every round
def _family(configuration: Configuration) -> tuple[str, ...]:
    """What a configuration's prompts depend on, what is dearest to change first."""
    closed_book = plugin_name(configuration["retriever"]) == "none"
    fixed = configuration["examples"] if configuration["example_choice"] == "fixed" else 0
    first = (configuration["model"], configuration["concurrency"], configuration["prompt"], fixed, closed_book)
    rest = (configuration[axis] for axis in ("retriever", *sorted(DEFAULT_AXES.keys() - set(DECODING_AXES))))
    return tuple(map(as_json, (*first, *rest)))
