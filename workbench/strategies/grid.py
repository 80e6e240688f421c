"""Every configuration answers every question."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workbench.contracts import Round, Standings
from workbench.errors import InputError

if TYPE_CHECKING:
    from workbench.specification import Goal


class Grid:
    """Rounds of some questions for all configurations."""

    def __init__(self, round_questions: int) -> None:
        self._round_questions = round_questions

    def propose(self, standings: Standings, goal: Goal, seed: int) -> Round | None:
        """The first questions that some configuration still lacks, for all that lack them."""
        answered = standings.answered | standings.closed[:, None]
        open_questions = [int(column) for column in np.flatnonzero(~answered.all(axis=0))]
        if not open_questions:
            return None
        first = open_questions[0] // self._round_questions * self._round_questions
        columns = range(first, min(first + self._round_questions, answered.shape[1]))
        cells = [(row, column) for row in range(len(answered)) for column in columns if not answered[row, column]]
        asked = f"questions {first + 1} to {columns[-1] + 1} of {answered.shape[1]}"
        return Round(cells=cells, said=asked)


def build(*, round_questions: int = 12) -> Grid:
    """Every configuration answers every question: the full grid, in rounds so that drift favours nobody."""
    if round_questions < 1:
        raise InputError(f"grid: round_questions is {round_questions}; expected at least 1")
    return Grid(round_questions)
