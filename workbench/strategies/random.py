"""A random part of the configurations answers every question."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from workbench.contracts import Round, Standings
from workbench.records import digest
from workbench.strategies._standings import check_count, check_share, contenders, last_round, left, refuse

if TYPE_CHECKING:
    from workbench.specification import Goal


class RandomSearch:
    """A few configurations at a time, drawn by the seed, until the share has answered everything."""

    def __init__(self, share: float, at_once: int) -> None:
        self._share = share
        self._at_once = at_once

    def propose(self, standings: Standings, goal: Goal, seed: int) -> Round | None:
        """All questions for the next configurations of the order; those not drawn are out."""
        order = drawn(standings, seed)
        wanted = math.ceil(self._share * len(order))
        everything = range(standings.answered.shape[1])
        asked = [(row, left(standings, row, everything)) for row in order[:wanted]]
        open_rows = [(row, cells) for row, cells in asked if cells]
        if not open_rows:
            return last_round(standings)
        cells = [cell for _, cells in open_rows[: self._at_once] for cell in cells]
        out = {row: f"random: not among the {wanted} of {len(order)} that were drawn" for row in order[wanted:]}
        done = wanted - len(open_rows)
        return Round(cells=cells, out=out, said=f"{done} of {wanted} random configurations are through")


def drawn(standings: Standings, seed: int) -> list[int]:
    """The contenders in random order; a configuration that joins later takes its place without moving the others."""
    return sorted(
        contenders(standings), key=lambda row: digest(f"strategy random, seed {seed}", standings.configurations[row].id)
    )


def build(*, share: float = 0.2, at_once: int = 4) -> RandomSearch:
    """A random share of the configurations answers every question, a few at a time, so that a stop leaves whole ones."""
    refuse([*check_share("random", share), *check_count("random", "at_once", at_once, 1)])
    return RandomSearch(share, at_once)
