"""Anytime tests of many configurations at once over a growing prefix of questions, each question looked at once."""

from __future__ import annotations

from math import log

import numpy as np
from numpy.typing import NDArray

from workbench.stats import BETS, Array, log_evidence, log_growth

Rows = NDArray[np.intp]
Flags = NDArray[np.bool_]


class Prefixes:
    """Scores in 0..1 of configurations (rows) on the first ``asked`` questions of each, in the order they are asked.

    ``sums[row, n]`` is the sum of a row's first n scores. A score that is not there (NaN) counts 0.
    """

    def __init__(self, rows: int, questions: int) -> None:
        self.questions = questions
        self.asked: Rows = np.zeros(rows, dtype=np.intp)
        self.scores: Array = np.zeros((rows, questions))
        self.sums: Array = np.zeros((rows, questions + 1))

    def extend(self, rows: Rows, scores: Array) -> None:
        """The next scores of rows that were asked the same number of questions; shape (rows, new questions)."""
        start = int(self.asked[rows[0]])
        stop = start + scores.shape[1]
        known = np.nan_to_num(scores)
        self.scores[rows, start:stop] = known
        self.sums[rows, start + 1 : stop + 1] = self.sums[rows, start, None] + np.cumsum(known, axis=1)
        self.asked[rows] = stop

    def mean(self, row: int) -> float:
        """The mean of a row's scores so far."""
        asked = int(self.asked[row])
        return float(self.sums[row, asked]) / asked if asked else 0.0


class PairTests:
    """For one row against every other: is the mean of (a − b + 1)/2 above a boundary? From the first question on.

    ``named`` says which of a and b is the row that ``against`` is given. Once both have answered everything the means
    decide; at equality when ``ties``. What was found for a row is kept, so that asking again looks at new questions only.
    """

    def __init__(
        self, prefixes: Prefixes, boundary: float, level: float, *, named: str = "a", ties: bool = False
    ) -> None:
        self._prefixes = prefixes
        self._boundary = boundary
        self._needed = log(1 / level)
        self._sign = 1 if named == "a" else -1
        self._slack = -1e-12 if ties else 1e-12
        self._known: dict[int, tuple[Rows, Array, Array]] = {}

    def against(self, row: int) -> Flags:
        """For every other row whether that is shown."""
        data = self._prefixes
        count = len(data.asked)
        if row not in self._known:
            self._known[row] = np.zeros(count, dtype=np.intp), np.zeros((count, len(BETS))), np.zeros(count)
        done, wealth, best = self._known[row]
        common = np.minimum(data.asked, data.asked[row])
        for start, stop in {(int(a), int(b)) for a, b in zip(done, common, strict=True) if a < b}:
            rows = np.flatnonzero((done == start) & (common == stop))
            gaps = self._sign * (data.scores[row, start:stop] - data.scores[rows, start:stop])
            before = self._sign * (data.sums[row, start] - data.sums[rows, start])
            growth = log_growth(
                (gaps + 1) / 2,
                np.full(len(rows), self._boundary),
                population=data.questions,
                before=(before + start) / 2,
                asked=start,
            )
            path = wealth[rows, None, :] + np.cumsum(growth, axis=1)
            wealth[rows] = path[:, -1]
            best[rows] = np.maximum(best[rows], log_evidence(path).max(axis=1))
            done[rows] = stop
        means = (self._sign * (data.sums[row, -1] - data.sums[:, -1]) / data.questions + 1) / 2
        shown: Flags = np.where(common == data.questions, means > self._boundary + self._slack, best >= self._needed)
        return shown


class SwitchingTest:
    """For every row: is the mean of (leader − row + 1)/2 above a boundary, where the leader may change with every question?

    Valid because the hypothesis holds against whichever row leads, as long as the leader of a question was chosen on
    earlier questions only. Wealth carries on over a change; the sums in it are those of the pair of the time. A row that
    leads does not play against itself.
    """

    def __init__(self, prefixes: Prefixes, boundary: float, level: float) -> None:
        rows = len(prefixes.asked)
        self._prefixes = prefixes
        self._boundary = boundary
        self._needed = log(1 / level)
        self._done: Rows = np.zeros(rows, dtype=np.intp)
        self._wealth: Array = np.zeros((rows, len(BETS)))
        self._best: Array = np.zeros(rows)

    @property
    def shown(self) -> Flags:
        """Which rows have been shown to be that far behind."""
        found: Flags = self._best >= self._needed
        return found

    def replay(self, leaders: Rows) -> None:
        """Look at every row's new questions, each against the leader of its time (−1: none)."""
        data = self._prefixes
        for start, stop in {(int(a), int(b)) for a, b in zip(self._done, data.asked, strict=True) if a < b}:
            rows = np.flatnonzero((self._done == start) & (data.asked == stop))
            changes = np.flatnonzero(np.diff(leaders[start:stop])) + start + 1
            for first, last in zip([start, *changes], [*changes, stop], strict=True):
                if leaders[first] >= 0:
                    self._play(rows[rows != leaders[first]], int(leaders[first]), int(first), int(last))
            self._done[rows] = stop

    def _play(self, rows: Rows, leader: int, start: int, stop: int) -> None:
        data = self._prefixes
        gaps = data.scores[leader, start:stop] - data.scores[rows, start:stop]
        growth = log_growth(
            (gaps + 1) / 2,
            np.full(len(rows), self._boundary),
            population=data.questions,
            before=(data.sums[leader, start] - data.sums[rows, start] + start) / 2,
            asked=start,
        )
        path = self._wealth[rows, None, :] + np.cumsum(growth, axis=1)
        self._wealth[rows] = path[:, -1]
        self._best[rows] = np.maximum(self._best[rows], log_evidence(path).max(axis=1))
