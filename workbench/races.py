"""The two kinds of race: every configuration against every other, and cheaper ones against a named reference."""

from __future__ import annotations

import numpy as np

from workbench.contracts import Standings
from workbench.racing import CHEAPER, Differences, Race, RaceState, Terms
from workbench.sequential import Flags, PairTests, Rows, SwitchingTest
from workbench.stats import Array

_LEADING = 4  # at the level screen, falling behind any of so many leading ones is enough
_NO_LEADER_BEFORE = 3  # questions
_WAVE = 8  # candidates that run at once against a named reference
_KEPT_DOWN_TO = 0.2  # probability of being good enough below which a pick loses its place


def race(terms: Terms, expected_costs: Array, questions: int, closed: Flags) -> Race:
    """A race of K configurations over N questions in uniformly random order.

    ``expected_costs`` (K) are guesses of which only the order counts; ``closed`` (K) those that cannot be asked.
    """
    kind = AgainstReference if terms.level == "reference" else AgainstAll
    return kind(terms, expected_costs, questions, closed)


def replayed(agreed: Terms, standings: Standings) -> RaceState:
    """Where a race stands after everything that is stored."""
    questions = standings.answered.shape[1]
    again = race(agreed, standings.expected_costs, questions, standings.closed | standings.incomplete)
    again.advance(standings.scores, standings.answered, standings.costs, standings.seconds)
    return again.state


class AgainstAll(Race):
    """Every configuration against every other: the levels ``screen`` and ``every``."""

    def __init__(self, terms: Terms, expected_costs: Array, questions: int, closed: Flags) -> None:
        super().__init__(terms, expected_costs, questions, closed)
        within = terms.within_level(int(self._rivals.sum()))
        inferior = (1 + terms.inferior_share * terms.margin) / 2
        self._within = PairTests(self._data, (1 - terms.margin) / 2, within, ties=True)
        self._behind = PairTests(self._data, inferior, terms.inferior_level)
        self._not_best = SwitchingTest(self._data, 0.5, terms.not_best_level)
        self._inferior = SwitchingTest(self._data, inferior, terms.inferior_level)
        self._leaders: Rows = np.full(questions, -1, dtype=np.intp)
        self._wanted[~closed] = self._pilot

    def _decide(self) -> None:
        if self._live().any():
            self._exclude_inferior()
        live = self._live()
        if not live.any():
            self._pick, self._ended = None, True
            return
        self._leader = self._best(live)
        if self._data.asked[self._leader] == self._data.questions:
            self._exclude_exactly()
            live = self._live()
        to_leader = self._differences(self._leader)
        self._pick = pick = self._cheapest_likely(live, to_leader)
        settled = self._not_best.shown | self._barred
        costs = self._cost_ratios(pick)
        if self._terms.level == "screen":
            settled[list(self._out)] = True
            settled |= self._hardly_matter(pick, to_leader, costs)
        self._settled = settled | self._within.against(pick, self._rivals & ~settled)
        self._settled[pick] = True
        perhaps_cheaper = self._weigh_costs(live, pick, costs)
        self._certified = bool(self._settled[self._rivals].all() and self._meets_bars()[pick])
        if self._certified and not perhaps_cheaper.any() and self._shown_to_meet_bars()[pick]:
            self._ended = True
        else:
            needed = (self._rivals & ~self._settled) | perhaps_cheaper
            needed[[pick, self._leader]] = True
            before = self._frontier
            self._move(np.flatnonzero(needed))
            self._leaders[before : self._frontier] = self._leader  # it was chosen on earlier questions only
        if self._ended and self._terms.level == "screen":
            self._prefer_no_worse(pick, costs)

    def _exclude_inferior(self) -> None:
        data = self._data
        if self._leader is None:  # the pilot: against the leader of the questions before, question by question
            rows = np.flatnonzero(self._rivals)
            for column in range(_NO_LEADER_BEFORE, self._pilot):
                self._leaders[column] = rows[np.argmax(data.sums[rows, column])]
        self._not_best.replay(self._leaders)
        self._inferior.replay(self._leaders)
        behind = self._inferior.shown
        if self._terms.level == "screen":
            front = np.flatnonzero(self._live() & (data.asked >= self._frontier))
            leading = front[np.argsort(-data.sums[front, self._frontier], kind="stable")[:_LEADING]]
            for row in leading:
                behind = behind | self._behind.against(int(row), self._live())
        live = self._live()
        if behind[live].all():  # each behind another at some time: then nothing is shown of the best of them
            behind[self._best(live)] = False
        for row in np.flatnonzero(behind & live):
            self._exclude(row, self._far_behind("the best"))

    def _best(self, live: Flags) -> int:
        """The highest mean among the live ones at the frontier (a leader that fell out leaves the place to the next)."""
        front = np.flatnonzero(live & (self._data.asked >= self._frontier))
        if not len(front):
            rows = np.flatnonzero(live)
            front = rows[self._data.asked[rows] == self._data.asked[rows].max()]
        counts = self._data.asked[front].min()
        return int(front[np.argmax(self._data.sums[front, counts])])

    def _exclude_exactly(self) -> None:
        data, leader = self._data, self._leader
        gaps = (data.sums[leader, -1] - data.sums[:, -1]) / data.questions
        far = gaps > self._terms.inferior_share * self._terms.margin + 1e-12
        for row in np.flatnonzero(self._live() & (data.asked == data.questions) & far):
            self._exclude(row, f"{gaps[row]:.3f} below the best over all {data.questions} questions")

    def _hardly_matter(self, pick: int, to_leader: Differences, costs: tuple[Array, Array, Array]) -> Flags:
        """Which surely cost no less than the pick and are unlikely to be so good that it is not within the margin of them.

        That is: better than the pick by more than the margin, or than the leader by more than what the margin leaves beyond
        the reach that the pick was chosen by. Guesses, which certify nothing.
        """
        data, likely = self._data, np.ones(len(self._data.asked), dtype=bool)
        to_pick = to_leader if pick == to_leader.base else self._differences(pick)
        for known, above in (to_pick, self._terms.margin), (to_leader, self._terms.margin - self._reach):
            common = np.minimum(data.asked, data.asked[known.base])
            likely &= known.probabilities(above) >= self._terms.unlikely(common, data.questions)
        _, low, _ = costs
        with np.errstate(invalid="ignore"):
            found: Flags = ~likely & (low >= CHEAPER)
        return found

    def _cheapest_likely(self, live: Flags, to_leader: Differences) -> int:
        """The cheapest that is likely good enough; the pick keeps its place for longer than another needs to gain it."""
        ratios, _, _ = self._cost_ratios(to_leader.base)
        enough = np.full(len(live), 0.5)
        if self._pick is not None:
            enough[self._pick] = _KEPT_DOWN_TO
        good = live & (self._data.asked > 0) & (to_leader.probabilities(-self._reach) >= enough) & self._meets_bars()
        likely = np.flatnonzero(good).tolist()
        known = [row for row in likely if not np.isnan(ratios[row])]
        if known:
            return min(known, key=lambda row: (ratios[row], -self._data.mean(row)))
        return max(likely, key=self._data.mean, default=to_leader.base)

    def _prefer_no_worse(self, pick: int, costs: tuple[Array, Array, Array]) -> None:
        """As a screening ends, the cheapest that costs surely less than the pick and scores no worse takes its place.

        One that went out, for being more than ζδ below the best, may be as good as a pick that only seems to be within reach. It
        must have answered whatever the pick answered: on fewer questions many are no worse by chance.
        """
        ratio, _, high = costs
        asked, to_pick = self._data.asked, self._differences(pick)
        with np.errstate(invalid="ignore"):
            no_worse = (asked >= asked[pick]) & (to_pick.means >= -1e-12)
            better = np.flatnonzero(self._rivals & self._shown_to_meet_bars() & no_worse & (high < CHEAPER)).tolist()
        if better:
            self._pick = chosen = min(better, key=lambda row: ratio[row])
            self._out.pop(chosen, None)
            self._settled[chosen] = True
            self._weigh_costs(self._live(), chosen, self._cost_ratios(chosen))

    def _weigh_costs(self, live: Flags, pick: int, costs: tuple[Array, Array, Array]) -> Flags:
        """Which live ones cost less than the pick, and which cannot be told from it; returns those that perhaps cost less."""
        ratio, low, high = costs
        others = live.copy()
        others[pick] = False
        known = others & ~np.isnan(ratio)
        with np.errstate(invalid="ignore"):
            dearer, less = low >= CHEAPER, high < CHEAPER
            perhaps: Flags = known & ~dearer & (ratio < CHEAPER)
        self._cheaper = tuple(np.flatnonzero(known & less).tolist())
        self._ties = tuple(np.flatnonzero(known & ~dearer & ~less & ~self._not_best.shown).tolist())
        self._unpriced = tuple(np.flatnonzero(others & ~known).tolist())
        return perhaps


class AgainstReference(Race):
    """Configurations cheaper than a named one against it, cheapest first, in waves; dearer ones never run."""

    def __init__(self, terms: Terms, expected_costs: Array, questions: int, closed: Flags) -> None:
        super().__init__(terms, expected_costs, questions, closed)
        assert terms.reference is not None, "the level reference needs one"
        self._leader = self._reference = terms.reference
        cheaper = self._rivals & (expected_costs < expected_costs[self._reference])
        cheaper[self._reference] = False
        self._queue = [int(row) for row in np.argsort(expected_costs, kind="stable") if cheaper[row]]
        level = terms.alpha / (2 * max(len(self._queue), 1))
        inferior = (1 + terms.inferior_share * terms.margin) / 2
        self._within = PairTests(self._data, (1 - terms.margin) / 2, level, named="b", ties=True)
        self._behind = PairTests(self._data, inferior, terms.inferior_level)
        self._rivals = cheaper
        self._judged = cheaper.copy()
        self._judged[self._reference] = True
        self._wave = self._next_wave()
        if closed[self._reference]:  # then nothing can be held against it
            self._leader, self._ended = None, True
        else:
            self._wanted[[self._reference, *self._wave]] = self._pilot

    def _next_wave(self) -> list[int]:
        wave, self._queue = self._queue[:_WAVE], self._queue[_WAVE:]
        return wave

    def _decide(self) -> None:
        data, reference = self._data, self._reference
        within = self._within.against(reference, self._rivals)
        behind = self._behind.against(reference, self._rivals)
        ratio, low, _ = self._cost_ratios(reference)
        everything = (data.asked == data.questions) & (data.asked[reference] == data.questions)
        for row in self._wave:
            if behind[row]:
                self._exclude(row, self._far_behind("the reference"))
            elif everything[row] and not within[row]:
                self._exclude(row, f"below the reference by more than the margin over all {data.questions} questions")
            elif low[row] >= CHEAPER or (everything[row] and ratio[row] >= CHEAPER):
                times = "which costs nothing" if np.isinf(ratio[row]) else f"{ratio[row]:.2f} times its cost"
                self._exclude(row, f"no cheaper than the reference: {times}")
            elif everything[row] and np.isnan(ratio[row]):
                self._exclude(row, "not known to be cheaper than the reference: costs were not measured")
        live, bars, kept = self._live(), self._meets_bars(), self._shown_to_meet_bars()
        while self._queue and not any(live[row] for row in self._wave):
            self._wave = self._next_wave()
        running = [row for row in self._wave if live[row]]
        costs = np.where(np.isnan(ratio), np.inf, ratio)
        passed = [row for row in running if within[row] and kept[row] and costs[row] < CHEAPER]
        best = min(passed, key=lambda row: costs[row], default=None)
        open_rows = [row for row in running if row not in passed]
        open_rows = [row for row in open_rows if best is None or not data.asked[row] or costs[row] < costs[best]]
        probability = self._differences(reference).probabilities(-self._reach)
        likely = [row for row in open_rows if data.asked[row] and bars[row] and probability[row] >= 0.5]
        likely = [row for row in likely if costs[row] < CHEAPER]
        self._certified = best is not None
        fallback = None if self._barred[reference] else reference
        self._pick = best if best is not None else min(likely, key=lambda row: costs[row], default=fallback)
        self._settled = within
        self._settled[reference] = True
        self._cheaper = tuple(open_rows)
        if self._pick is not None:
            _, low, _ = self._cost_ratios(self._pick)
            self._ties = tuple(row for row in passed if row != best and low[row] < CHEAPER)
        if open_rows:
            self._move(np.array([reference, *open_rows]))
        elif self._pick == reference and not kept[reference]:
            self._move(np.array([reference]))
        else:
            self._ended = True
