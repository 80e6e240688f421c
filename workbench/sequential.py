"""Anytime tests of many configurations at once over a growing prefix of questions, each question looked at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InputError
from workbench.stats import BETS, Array, evidence, winning_bets

Rows = NDArray[np.intp]
Flags = NDArray[np.bool_]

_ROUNDING = 1e-9


def as_scores(scores: Array) -> Array:
    """Scores as tests take them: 0 where there is none (NaN). Raises ``InputError`` for a score outside 0 to 1."""
    known = np.where(np.isnan(scores), 0.0, scores)
    wrong = known[(known < -_ROUNDING) | (known > 1 + _ROUNDING)]
    if len(wrong):
        raise InputError(
            f"a score of the deciding metric is {wrong[0]:g}; expected 0 to 1: choose another goal.metric, or mend the one "
            "that gave it"
        )
    return known


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
        known = as_scores(scores)
        self.scores[rows, start:stop] = known
        sums = np.column_stack([self.sums[rows, start], known])  # so that it adds up alike in one go and in many
        self.sums[rows, start + 1 : stop + 1] = np.cumsum(sums, axis=1)[:, 1:]
        self.asked[rows] = stop

    def mean(self, row: int) -> float:
        """The mean of a row's scores so far."""
        asked = int(self.asked[row])
        return float(self.sums[row, asked]) / asked if asked else 0.0

    def means(self) -> Array:
        """The mean of every row's scores so far; 0 where none was asked."""
        rows = np.arange(len(self.asked))
        found: Array = self.sums[rows, self.asked] / np.maximum(self.asked, 1)
        return found


class MeanTests:
    """For every row whether the mean of its values in 0..1 is above a boundary: of a ``population``, or of values to come."""

    def __init__(
        self,
        rows: int,
        boundary: float,
        level: float,
        *,
        population: int | None = None,
        bets: Sequence[float] = BETS,
    ) -> None:
        self._boundary = boundary
        self._needed = 1 / level
        self._population = population
        self._bets = bets
        self._wealth: Array = np.ones((rows, len(bets)))
        self._best: Array = np.ones(rows)

    @property
    def shown(self) -> Flags:
        """For which rows that has been shown."""
        found: Flags = self._best >= self._needed
        return found

    def play(self, rows: Rows, values: Array, *, before: Array | None = None, asked: int = 0) -> None:
        """The next values of some rows, as ``stats.evidence`` takes them; shape (rows, values)."""
        path, self._wealth[rows] = evidence(
            values,
            self._boundary,
            population=self._population,
            before=before,
            asked=asked,
            wealth=self._wealth[rows],
            bets=self._bets,
        )
        self._best[rows] = np.maximum(self._best[rows], path.max(axis=1))

    def play_pairs(self, data: Prefixes, a: int | Rows, b: int | Rows, rows: Rows, start: int, stop: int) -> None:
        """The values (score of a − score of b + 1) / 2 of some questions, for rows that are a or b."""
        gaps = data.scores[a, start:stop] - data.scores[b, start:stop]
        before = data.sums[a, start:stop] - data.sums[b, start:stop] + np.arange(start, stop)
        self.play(rows, (gaps + 1) / 2, before=before / 2, asked=start)


class PairTests:
    """For one row against others: is the mean of (a − b + 1)/2 above a boundary? From the first question on.

    ``named`` says which of a and b is the row that ``against`` is given. Once both have answered everything the means
    decide; at equality when ``ties``. What was found for a row is kept, so that asking again looks at new questions only.
    """

    def __init__(
        self, prefixes: Prefixes, boundary: float, level: float, *, named: str = "a", ties: bool = False
    ) -> None:
        self._prefixes = prefixes
        self._boundary = boundary
        self._level = level
        self._named = named
        self._slack = -1e-12 if ties else 1e-12
        self._known: dict[int, tuple[Rows, MeanTests]] = {}

    def against(self, row: int, among: Flags) -> Flags:
        """For every other row whether that is shown; of those that are not ``among``, what was known before."""
        data = self._prefixes
        if row not in self._known:
            tests = _of_pairs(data, self._boundary, self._level)
            self._known[row] = np.zeros(len(data.asked), dtype=np.intp), tests
        done, tests = self._known[row]
        common = np.minimum(data.asked, data.asked[row])
        for rows, start, stop in _steps(done, common, among & ~tests.shown):
            if self._named == "a":
                tests.play_pairs(data, row, rows, rows, start, stop)
            else:
                tests.play_pairs(data, rows, row, rows, start, stop)
            done[rows] = stop
        means = (data.sums[row, -1] - data.sums[:, -1]) / data.questions
        exact = ((means if self._named == "a" else -means) + 1) / 2 > self._boundary + self._slack
        shown: Flags = np.where(common == data.questions, exact, tests.shown)
        return shown


class SwitchingTest:
    """For every row: is the mean of (leader − row + 1)/2 above a boundary, where the leader may change with every question?

    Valid because the hypothesis holds against whichever row leads, as long as the leader of a question was chosen on
    earlier questions only. Wealth carries on over a change; the sums in it are those of the pair of the time. A row that
    leads does not play against itself.
    """

    def __init__(self, prefixes: Prefixes, boundary: float, level: float) -> None:
        self._prefixes = prefixes
        self._done: Rows = np.zeros(len(prefixes.asked), dtype=np.intp)
        self._tests = _of_pairs(prefixes, boundary, level)

    @property
    def shown(self) -> Flags:
        """Which rows have been shown to be that far behind."""
        return self._tests.shown

    def replay(self, leaders: Rows) -> None:
        """Look at every row's new questions, each against the leader of its time (−1: none)."""
        data = self._prefixes
        for rows, start, stop in _steps(self._done, data.asked, ~self.shown):
            changes = np.flatnonzero(np.diff(leaders[start:stop])) + start + 1
            for first, last in zip([start, *changes.tolist()], [*changes.tolist(), stop], strict=True):
                leader = int(leaders[first])
                others = rows[rows != leader]
                if leader >= 0 and len(others):
                    self._tests.play_pairs(data, leader, others, others, first, last)
            self._done[rows] = stop


def _of_pairs(prefixes: Prefixes, boundary: float, level: float) -> MeanTests:
    """A test for every row, with the bets that can win within the questions there are."""
    questions = prefixes.questions
    bets = winning_bets(boundary, level, questions)
    return MeanTests(len(prefixes.asked), boundary, level, population=questions, bets=bets)


def _steps(done: Rows, wanted: Rows, among: Flags) -> Iterator[tuple[Rows, int, int]]:
    """Rows that have the same questions to look at, with the first of these and the one after the last."""
    behind = np.flatnonzero(among & (done < wanted))
    for start, stop in sorted(set(zip(done[behind].tolist(), wanted[behind].tolist(), strict=True))):
        yield behind[(done[behind] == start) & (wanted[behind] == stop)], start, stop
