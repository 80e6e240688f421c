"""Successive halving: all answer a few questions, the best by their means answer more."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from workbench.contracts import Round, Standings
from workbench.strategies._standings import check_count, contenders, last_round, leads, left, mean, refuse, shown

if TYPE_CHECKING:
    from workbench.specification import Goal


class Halving:
    """Heats over the first questions of the order: ``first_questions``, then ``eta`` times as many each time.

    After each, the ``1/eta`` with the highest means on the same questions go on; of equal ones the cheaper by expectation.
    The last one left, or those in the heat over all questions, answer everything. Whoever is closed before a heat is over
    falls out in it and makes nobody else stay.
    """

    def __init__(self, eta: float, first_questions: int) -> None:
        self._eta = eta
        self._first_questions = first_questions

    def propose(self, standings: Standings, goal: Goal, seed: int) -> Round | None:
        """The cells that the first heat lacks that is not over, with everybody who fell out before it."""
        total = standings.answered.shape[1]
        live = contenders(standings)
        out: dict[int, str] = {}
        questions = min(self._first_questions, total)
        while live:
            if len(live) == 1:
                questions = total
            cells = [cell for row in live for cell in left(standings, row, range(questions))]
            if cells:
                said = f"{len(live)} configurations on questions 1 to {questions} of {total}"
                return Round(cells=cells, out=out, said=said)
            if questions == total:
                break
            kept = self._best(standings, live, questions)
            out |= self._reasons(standings, live, kept, questions)
            live = kept
            questions = min(math.ceil(questions * self._eta), total)
        return last_round(standings)

    def _best(self, standings: Standings, live: list[int], questions: int) -> list[int]:
        """The rows that go on from a heat."""
        lead = dict(zip(live, leads(standings.scores[live, :questions]), strict=True))
        whole = [row for row in live if standings.answered[row, :questions].all()]
        best = sorted(whole, key=lambda row: (-lead[row], standings.expected_costs[row], row))
        return sorted(best[: math.ceil(len(live) / self._eta)])

    def _reasons(self, standings: Standings, live: list[int], kept: list[int], questions: int) -> dict[int, str]:
        return {
            row: f"halving: {shown(mean(standings.scores[row, :questions]))} on the first {questions} questions, "
            f"not among the best {len(kept)} of {len(live)}"
            for row in live
            if row not in kept
        }


def build(*, eta: float = 3, first_questions: int = 10) -> Halving:
    """Successive halving on means: everybody answers a few questions, the best 1/eta answer eta times as many, and so on."""
    refuse([*check_count("halving", "eta", eta, 1.5), *check_count("halving", "first_questions", first_questions, 1)])
    return Halving(eta, first_questions)
