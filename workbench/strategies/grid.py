"""Every configuration answers every question."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InputError
from workbench.records import Configuration, as_json


class Grid:
    """Rounds of some questions for all configurations, in blocks by model and prompt, reversed in every other round."""

    def __init__(self, round_questions: int) -> None:
        self._round_questions = round_questions

    def propose(
        self,
        configurations: Sequence[Configuration],
        answered: NDArray[np.bool_],
        scores: NDArray[np.float64],
        costs: NDArray[np.float64],
        seed: int,
    ) -> Sequence[tuple[int, int]]:
        """The first questions that some configuration still lacks, for all that lack them."""
        open_questions = [int(column) for column in np.flatnonzero(~answered.all(axis=0))]
        if not open_questions:
            return []
        number = open_questions[0] // self._round_questions
        first = number * self._round_questions
        columns = range(first, min(first + self._round_questions, answered.shape[1]))
        blocks = sorted(
            range(len(configurations)), key=lambda row: _block(configurations[row]), reverse=number % 2 == 1
        )
        return [(row, column) for row in blocks for column in columns if not answered[row, column]]


def _block(configuration: Configuration) -> tuple[str, str, str, str]:
    """Configurations that share an engine and a static prompt come one after another."""
    parts = ("model", "concurrency", "prompt", "retriever")
    model, concurrency, prompt, retriever = (as_json(configuration[part]) for part in parts)
    return model, concurrency, prompt, retriever


def build(*, round_questions: int = 12) -> Grid:
    """Every configuration answers every question: the full grid, in rounds so that drift favours nobody."""
    if round_questions < 1:
        raise InputError(f"grid: round_questions is {round_questions}; expected at least 1")
    return Grid(round_questions)
