"""Our own race with other statistics, to see what ours buys, and the least that the same tests could do with hindsight."""

from __future__ import annotations

from math import log

import numpy as np

from benchmarks.searching.matrix import Array
from benchmarks.searching.replay import Case, Desk, Found
from workbench.races import AgainstAll
from workbench.racing import CHEAPER, Terms
from workbench.sequential import Flags, PairTests, Prefixes, Rows, SwitchingTest
from workbench.stats import evidence, winning_bets


def all_pairs(case: Case) -> Found:
    """The level ``every`` with ζ = 1, every comparison corrected for all pairs of configurations."""
    return _raced(case, _AllPairs)


def empirical_bernstein(case: Case) -> Found:
    """The level ``every`` with ζ = 1, with the empirical Bernstein process in the place of bets."""
    return _raced(case, _Bernstein)


def _terms(case: Case) -> Terms:
    return Terms(margin=case.margin, confidence=case.confidence, level="every", inferior_share=1.0)


def _raced(case: Case, kind: type[AgainstAll]) -> Found:
    desk = Desk(case)
    rows, questions = case.scores.shape
    race = kind(_terms(case), case.expected_costs, questions, np.zeros(rows, dtype=bool))
    while True:
        shown = desk.standings()
        cells = race.advance(shown.scores, shown.answered, shown.costs, shown.seconds)
        if not cells:
            break
        asked_rows, columns = zip(*cells, strict=True)
        desk.answered[list(asked_rows), list(columns)] = True
    assert race.state.pick is not None
    return desk.found(race.state.pick, certified=race.state.certified)


class _AllPairs(AgainstAll):
    def __init__(self, terms: Terms, expected_costs: Array, questions: int, closed: Flags) -> None:
        super().__init__(terms, expected_costs, questions, closed)
        rows = len(expected_costs)
        level = terms.alpha / (rows * (rows - 1))
        inferior = (1 + terms.inferior_share * terms.margin) / 2
        self._within = PairTests(self._data, (1 - terms.margin) / 2, level, ties=True)
        self._not_best = SwitchingTest(self._data, 0.5, level)
        self._inferior = SwitchingTest(self._data, inferior, level)


class _Bernstein(AgainstAll):
    def __init__(self, terms: Terms, expected_costs: Array, questions: int, closed: Flags) -> None:
        super().__init__(terms, expected_costs, questions, closed)
        within = terms.alpha / (2 * max(len(expected_costs) - 1, 1))
        inferior = (1 + terms.inferior_share * terms.margin) / 2
        self._within = _BernsteinPairs(self._data, (1 - terms.margin) / 2, within)
        self._not_best = _BernsteinSwitching(self._data, 0.5, terms.alpha / 2)
        self._inferior = _BernsteinSwitching(self._data, inferior, terms.inferior_level)


class _BernsteinPairs(PairTests):
    """The same comparisons, judged anew over the whole common prefix whenever they are asked for."""

    def __init__(self, prefixes: Prefixes, boundary: float, level: float) -> None:
        super().__init__(prefixes, boundary, level, ties=True)
        self._data, self._least, self._needed = prefixes, boundary, log(1 / level)

    def against(self, row: int, among: Flags) -> Flags:
        """For every other row whether its mean difference is shown to be above the boundary."""
        data = self._data
        width = int(data.asked[row])
        common = np.minimum(data.asked, width)
        values = (data.scores[row, :width] - data.scores[:, :width] + 1) / 2
        sums = (data.sums[row, :width] - data.sums[:, :width] + np.arange(width)) / 2
        best = _best_bernstein(values, sums, common, self._least, data.questions, self._needed)
        means = ((data.sums[row, -1] - data.sums[:, -1]) / data.questions + 1) / 2
        shown: Flags = np.where(common == data.questions, means > self._least - 1e-12, best >= self._needed)
        return shown


class _BernsteinSwitching(SwitchingTest):
    def __init__(self, prefixes: Prefixes, boundary: float, level: float) -> None:
        super().__init__(prefixes, boundary, level)
        self._data, self._least, self._needed = prefixes, boundary, log(1 / level)
        self._latest: Flags = np.zeros(len(prefixes.asked), dtype=bool)

    @property
    def shown(self) -> Flags:
        """Which rows have been shown to be that far behind."""
        return self._latest

    def replay(self, leaders: Rows) -> None:
        """Look at every row's questions, each against the leader of its time; those without one, or its own, are skipped."""
        data = self._data
        width = int(data.asked.max())
        columns = np.arange(width)
        lead = leaders[:width]
        values = (data.scores[lead, columns] - data.scores[:, :width] + 1) / 2
        sums = (data.sums[lead, columns] - data.sums[:, :width] + columns) / 2
        skipped = (lead < 0) | (lead == np.arange(len(values))[:, None])
        best = _best_bernstein(values, sums, data.asked, self._least, data.questions, self._needed, skipped)
        self._latest = best >= self._needed


def _best_bernstein(
    values: Array,
    sums: Array,
    asked: Rows,
    boundary: float,
    population: int,
    needed: float,
    skipped: Flags | None = None,
) -> Array:
    """The highest logarithm of the empirical Bernstein process of each row of values (rows, n) on its first ``asked``.

    ``sums`` are those of the values before each, of the pair of the time. E = exp Σ (λ(X − m) − (X − X̄)²ψ(λ)), ψ(λ) =
    −ln(1 − λ) − λ, λ_t = min(½, √(2·needed / (v·t·ln(1 + t)))), mean and variance v of the values before, starting from ½
    and ¼ (Waudby-Smith & Ramdas 2020, predictable plug-in, without replacement); infinite once m < 0.
    """
    width = values.shape[1]
    if not width:
        return np.zeros(len(values))
    played = np.arange(width) < asked[:, None]
    if skipped is not None:
        played = played & ~skipped
    limits = (population * boundary - sums) / (population - np.arange(width))
    count = np.cumsum(played, axis=1)
    total = np.cumsum(np.where(played, values, 0.0), axis=1)
    centre = (0.5 + total) / (1 + count)
    before = np.column_stack([np.full(len(values), 0.5), centre[:, :-1]])
    squares = np.cumsum(np.where(played, (values - centre) ** 2, 0.0), axis=1)
    variance = np.column_stack([np.full(len(values), 0.25), ((0.25 + squares) / (1 + count))[:, :-1]])
    turn = np.maximum(count, 1)
    bets = np.minimum(np.sqrt(2 * needed / (variance * turn * np.log1p(turn))), 0.5)
    growth = bets * (values - limits) - (values - before) ** 2 * (-np.log1p(-bets) - bets)
    growth = np.where(played, np.where(limits < 0, np.inf, growth), 0.0)
    return np.cumsum(growth, axis=1).max(axis=1, initial=0.0)


# ------------------------------------------------------------------------------------------------------- hindsight


def hindsight(case: Case) -> Found:
    """What the same tests need for one who knows the pick and the best from the start (ζ = 1): a floor, not a method.

    Every configuration answers until the pick is shown within the margin of it or it is shown not the best, and, where it is
    cheaper, until it is shown outside the margin; the pick and the best answer as far as those comparisons reach.
    """
    desk = Desk(case)
    rows, questions = case.scores.shape
    terms = _terms(case)
    best, pick = case.best, desk.cheapest_within(range(rows))
    within = _first(case, pick, (1 - case.margin) / 2, terms.alpha / (2 * (rows - 1)))
    not_best = _first(case, best, 0.5, terms.alpha / 2)
    inferior = _first(case, best, (1 + case.margin) / 2, terms.inferior_level)
    costs = case.joules.mean(axis=1)
    cheaper = costs < CHEAPER * costs[pick]
    bounded = np.minimum(within, not_best)
    needed = np.where(cheaper, np.maximum(bounded, inferior), bounded)
    others = ~np.isin(np.arange(rows), [pick, best])
    by_pick = others & (within <= not_best)
    needed[pick] = max(within[by_pick].max(initial=1), within[best] if pick != best else 1)
    of_best = np.where(cheaper, inferior, np.where(by_pick, 1, not_best))
    needed[best] = max(int(needed[best]), int(of_best[others].max(initial=1)))
    for row, count in enumerate(np.minimum(needed, questions)):
        desk.ask(row, slice(int(count)))
    return desk.found(pick, certified=True)


def _first(case: Case, row: int, boundary: float, level: float) -> Rows:
    """How many questions it takes until each configuration is shown in a test against a row; all where it is never shown."""
    questions = case.scores.shape[1]
    values = (case.scores[row] - case.scores + 1) / 2
    bets = winning_bets(boundary, level, questions)
    reached = evidence(values, boundary, population=questions, bets=bets)[0] >= 1 / level
    return np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, questions)
