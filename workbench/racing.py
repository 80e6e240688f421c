"""The race: which configuration is the cheapest that is good enough, decided while answers come in.

Three comparisons of configurations a and b, each an anytime test of the mean of X = (score of a − score of b + 1) / 2:

- *within* (a = the candidate, b = another): refutes "worse than b by more than the margin δ"; boundary (1 − δ)/2;
- *not the best* (a = the leader at the time): refutes "at least as good as the leader"; boundary ½;
- *inferior* (a = the leader at the time): refutes "at most ζδ below the best"; boundary (1 + ζδ)/2.

A candidate is certified on these questions when every other configuration is either not the best or one that it is
within the margin of. That is wrong with probability at most α: *within* has level α/(2(K − 1)) for K configurations (only
the selection of the candidate costs a factor), *not the best* α/2. That nothing cheaper would do (every cheaper one is
inferior) has its own level. Single exclusions hold one by one, not all at once. Configurations that are out by a floor or
a limit on latency are no rivals any more: a claim is about those that meet them.

The level ``screen`` certifies nothing, so that it may also stop asking dearer ones that are merely unlikely to be better than
the pick by more than the margin: near-ties, of which real runs are full, take most of the questions otherwise. As it ends, it
picks none that a surely cheaper one is no worse than.

Everything here is a function of the stored scores and costs: a race that is built anew and given the same answers comes to
the same decisions, whatever it was asked in between. An answer that the deciding metric does not apply to counts 0.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from workbench.bars import Bars
from workbench.errors import InputError
from workbench.records import Configuration, PluginChoice, plugin_name
from workbench.sequential import Flags, Prefixes, Rows
from workbench.stats import Array, cost_ratios, powers

if TYPE_CHECKING:
    from workbench.specification import Goal

Level = Literal["screen", "every", "reference"]

SCREEN_LEVEL = 0.1
"""The error of a single decision at the level ``screen``, unless the strategy says otherwise.

At 0.2 replays end within δ and near the cheapest in 88 to 97 % of cases, at 0.1 in 91 % and more, for a fifth to a quarter
more answers (``benchmarks/search.py``, other orders than its own).
"""
CHEAPER = 0.98
"""A configuration is cheaper than another when the whole interval of the ratio of their costs lies below this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a race is about. ``confidence`` is 1 − α; ``inferior_share`` is ζ; ``pilot`` the questions that all answer;
    ``screen_level`` the error of a single decision at the level ``screen``.

    ``reference`` is the row that candidates are held against at the level ``reference``; ``bounds`` are rows that are shown
    but are neither candidates nor rivals; ``limits`` are seconds, by ``p50_seconds`` or ``p95_seconds``.
    """

    margin: float
    confidence: float = 0.95
    level: Level = "screen"
    inferior_share: float = 0.5
    floor: float | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    reference: int | None = None
    bounds: frozenset[int] = frozenset()
    pilot: int = 10
    screen_level: float = SCREEN_LEVEL

    @property
    def alpha(self) -> float:
        """The error that a certificate may have."""
        return 1 - self.confidence

    @property
    def inferior_level(self) -> float:
        """The error that a single exclusion may have."""
        return {"screen": self.screen_level, "every": self.alpha, "reference": self.alpha / 2}[self.level]

    @property
    def not_best_level(self) -> float:
        """The error that showing one not to be the best may have."""
        return self.screen_level if self.level == "screen" else self.alpha / 2

    def within_level(self, configurations: int) -> float:
        """The error that showing a candidate within the margin of another may have, among so many configurations."""
        return self.screen_level if self.level == "screen" else self.alpha / (2 * max(configurations - 1, 1))

    def unlikely(self, asked: Array, questions: int) -> Array:
        """Below which probability a screening takes something to be unlikely after so many of its questions.

        Half the error of a decision, shared by two guesses. They are made after every step, and where one stops the questions
        nothing corrects it: so the fewer were asked, the less likely it has to be.
        """
        return self.screen_level / 4 * asked / questions


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceState:
    """Where a race stands, by rows of configurations. ``asked`` counts the answers of each that were used; ``rivals`` are
    those that take part.

    ``pick`` is the cheapest that is likely good enough, ``leader`` the best-scoring at the frontier, or the named reference.
    ``settled`` marks those that the pick is within the margin of (at the level ``screen``: likely), that are not the best, or
    that do not meet the bars;
    ``certified``: all of them are, and the pick meets the bars as far as one knows. ``cheaper`` are live rows that cost less
    than the pick (the whole interval does) and are not shown inferior, ``ties`` live rows whose cost cannot be told from the
    pick's, ``unpriced`` live rows of which it is not known. ``out`` are those no longer in question, with the reason, ``barred``
    those of them that miss the floor or a limit. ``ended``: nothing needs to be asked.
    """

    asked: Rows
    questions: int
    rivals: Flags
    leader: int | None
    pick: int | None
    settled: Flags
    certified: bool
    cheaper: tuple[int, ...]
    ties: tuple[int, ...]
    unpriced: tuple[int, ...]
    barred: Flags
    out: Mapping[int, str]
    ended: bool


def settings(strategy: PluginChoice) -> dict[str, Any] | None:
    """The settings of a race in an experiment's ``strategy``; ``None`` where it is another one."""
    if plugin_name(strategy) != "race":
        return None
    return {} if isinstance(strategy, str) else {key: value for key, value in strategy.items() if key != "name"}


def terms(goal: Goal, configurations: Sequence[Configuration], **asked: Any) -> Terms:
    """The terms of a goal, with what the strategy asks for (``level``, ``inferior_share``, ``pilot``,
    ``screen_level``; ``None`` is default).

    Raises ``InputError`` where the level asks for a reference that is not among the configurations.
    """
    given = {key: value for key, value in asked.items() if value is not None}
    reference = None
    if goal.reference != "best":
        found = [row for row, each in enumerate(configurations) if each.id.startswith(str(goal.reference))]
        if len(found) != 1:
            raise InputError(
                f"goal.reference is {goal.reference!r}, which names {len(found) or 'none'} of the {len(configurations)} "
                "configurations; expected the id of one, or its axes"
            )
        reference = found[0]
    level = given.setdefault("level", "screen" if reference is None else "reference")
    if (level == "reference") != (reference is not None):
        raise InputError(
            f"race: level is {level!r} and goal.reference is {goal.reference!r}; the level reference goes with a "
            "configuration that is named there, the other levels with best"
        )
    return Terms(
        margin=goal.margin,
        confidence=goal.confidence,
        floor=goal.floor,
        limits={str(name): limit for name, limit in goal.limits.items()},
        reference=reference,
        bounds=frozenset(row for row, each in enumerate(configurations) if each.is_bound),
        **given,
    )


class Race(ABC):
    """What both kinds of race share: what was asked, who is out, who is good enough so far."""

    def __init__(self, terms: Terms, expected_costs: Array, questions: int, closed: Flags) -> None:
        rows = len(expected_costs)
        self._terms = terms
        self._reach = (1 + terms.inferior_share) * terms.margin / 2  # how far below the best a pick may seem to be
        self._expected = expected_costs
        self._closed = closed
        self._rivals = ~closed
        self._rivals[list(terms.bounds)] = False
        self._data = Prefixes(rows, questions)
        self._costs: Array = np.zeros((3, rows, questions))  # powers, as ``stats.cost_ratios`` takes them
        self._wanted: Rows = np.zeros(rows, dtype=np.intp)
        self._pilot = min(terms.pilot, questions)
        self._frontier = self._pilot
        self._out: dict[int, str] = {}
        self._barred: Flags = np.zeros(rows, dtype=bool)
        self._judged = self._rivals  # rows that are held against the bars
        self._bars = Bars(rows, questions, floor=terms.floor, limits=terms.limits, level=terms.inferior_level)
        self._pick: int | None = None
        self._leader: int | None = None
        self._settled: Flags = np.zeros(rows, dtype=bool)
        self._cheaper: tuple[int, ...] = ()
        self._ties: tuple[int, ...] = ()
        self._unpriced: tuple[int, ...] = ()
        self._certified = self._ended = False

    def advance(self, scores: Array, answered: Flags, costs: Array, seconds: Array) -> list[tuple[int, int]]:
        """Take in what is stored and decide as far as it goes; returns the cells (row, column) that are needed to go on.

        All of shape (configurations, questions), questions in the order they are asked. Empty when the race has ended.
        """
        while True:
            marks = {(int(a), int(b)) for a, b in zip(self._data.asked, self._wanted, strict=True) if a < b}
            steps = [(np.flatnonzero((self._data.asked == a) & (self._wanted == b)), slice(a, b)) for a, b in marks]
            missing = [
                (int(rows[row]), new.start + int(column))
                for rows, new in steps
                for row, column in zip(*np.nonzero(~answered[rows, new]), strict=True)
            ]
            if missing or self._ended:
                return missing
            for rows, new in steps:
                self._data.extend(rows, scores[rows, new])
                self._costs[:, rows, new] = powers(costs[rows, new])
                self._bars.add(rows, new.start, scores[rows, new], seconds[rows, new])
            self._exclude_by_bars()
            self._decide()

    @property
    def state(self) -> RaceState:
        """Where the race stands."""
        return RaceState(
            asked=self._data.asked.copy(),
            questions=self._data.questions,
            rivals=self._rivals.copy(),
            leader=self._leader,
            pick=self._pick,
            settled=self._settled.copy(),
            certified=self._certified,
            cheaper=self._cheaper,
            ties=self._ties,
            unpriced=self._unpriced,
            barred=self._barred.copy(),
            out=dict(self._out),
            ended=self._ended,
        )

    @abstractmethod
    def _decide(self) -> None:
        """Draw what follows from the answers taken in."""

    def _move(self, needed: Rows) -> None:
        """Each one that is needed goes a step up; when all are at the frontier, the frontier moves."""
        asked = self._data.asked
        rows = needed[asked[needed] < self._data.questions]
        if not len(rows):
            self._ended = True
            return
        behind = rows[asked[rows] < self._frontier]
        if len(behind):
            steps = [min(self._step(int(asked[row])), self._frontier) for row in behind]
            self._wanted[behind] = np.maximum(self._wanted[behind], steps)
            return
        self._frontier = self._step(self._frontier)
        self._wanted[rows] = self._frontier

    def _step(self, asked: int) -> int:
        """The next mark: a fifth further in steps of five questions, at least five, the first one after the pilot."""
        return min(max(asked + max(5, asked // 25 * 5), self._pilot), self._data.questions)

    def _live(self) -> Flags:
        live = self._rivals.copy()
        live[list(self._out)] = False
        return live

    def _exclude(self, row: int | np.integer[Any], reason: str) -> None:
        self._out.setdefault(int(row), reason)

    def _far_behind(self, whom: str) -> str:
        share, level = self._terms.inferior_share, self._terms.inferior_level
        part = {1.0: "the margin", 0.5: "half the margin"}.get(share, f"{share:g} of the margin")
        gap = share * self._terms.margin
        return f"worse than {whom} by more than {gap:g}, {part} (shown for it alone, at {1 - level:.3g})"

    def _exclude_by_bars(self) -> None:
        """Those below the floor or above a limit on latency: as far as that is shown, and when everything was asked."""
        for row, reason in self._bars.missed(self._data.asked == self._data.questions).items():
            if self._judged[row] and row not in self._out:
                self._exclude(row, reason)
                self._barred[row] = True

    def _meets_bars(self) -> Flags:
        """For which rows floor and limits hold on what was answered so far."""
        return ~self._barred & self._bars.met

    def _shown_to_meet_bars(self) -> Flags:
        """For which rows that is shown, or known as everything was asked."""
        return ~self._barred & self._bars.shown(self._data.asked == self._data.questions)

    def _cost_ratios(self, base: int) -> tuple[Array, Array, Array]:
        """Every row's cost as a ratio to that of a base: estimate, low and high."""
        known = self._costs[:, :, : self._data.asked[base]]
        return cost_ratios(known, known[:, base], self._terms.confidence)

    def _differences(self, base: int) -> Differences:
        """What is known of every row's distance to a base, from the questions both answered, for the mean of all N questions.

        How much differences to the base vary is taken from a row's own questions and, with the weight of a pilot at most, from
        those of the others: ten answers that never differed do not show that none ever will. Where there are no others, one
        question lost and one won stand in for them.
        """
        data = self._data
        common = np.minimum(data.asked, data.asked[base])
        scores = data.scores[:, : data.asked[base]]  # 0 where a row was asked less
        own = scores[base]
        with np.errstate(invalid="ignore", divide="ignore"):
            means = (data.sums[np.arange(len(common)), common] - data.sums[base, common]) / common
            squares = (
                np.einsum("ij,ij->i", scores, scores) - 2 * (scores @ own) + np.append(0, np.cumsum(own**2))[common]
            )
            squares = np.where(common > 0, np.maximum(squares - common * means**2, 0.0), 0.0)
            degrees = np.maximum(common - 1, 0)
            others = self._rivals & (np.arange(len(common)) != base)
            known = degrees[others].sum() - np.where(others, degrees, 0)
            usual = (squares[others].sum() - np.where(others, squares, 0.0) + 1) / (known + 1)
            weight = np.minimum(known + 2, self._pilot)
            variances = (squares + weight * usual) / (degrees + weight)
            errors = np.sqrt(variances * (1 - common / data.questions) / common)
        return Differences(base=base, means=means, errors=errors)


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """Every row's mean score minus that of ``base``, with its standard error; NaN where no question is common."""

    base: int
    means: Array
    errors: Array

    def probabilities(self, above: float) -> Array:
        """That each row is at least so far above the base (below, if negative), by the normal; 1 for the base itself."""
        normal = NormalDist()
        found = [
            normal.cdf(over / error) if error > 1e-6 else float(over >= -1e-9)
            for over, error in zip((self.means - above).tolist(), self.errors.tolist(), strict=True)
        ]
        found[self.base] = 1.0
        return np.array(found)
