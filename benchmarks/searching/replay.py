"""A search replayed on a complete matrix: it sees only what it has asked, and every answer it asked is counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from benchmarks.searching.matrix import Array
from workbench import registry
from workbench.confirmation import confirm, contenders
from workbench.contracts import Standings, Strategy
from workbench.races import replayed
from workbench.racing import RaceState, settings, terms
from workbench.records import Configuration, PluginChoice
from workbench.sequential import Flags
from workbench.specification import Goal


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What one replay runs on: questions in the order they are asked, those that the search may ask and those of the test.

    All arrays have the shape (configurations, questions); ``expected_costs`` are guesses of which only the order counts.
    """

    configurations: tuple[Configuration, ...]
    scores: Array
    joules: Array
    test_scores: Array
    test_joules: Array
    expected_costs: Array
    margin: float
    confidence: float
    seed: int

    @property
    def alpha(self) -> float:
        """The error that a claim may have."""
        return 1 - self.confidence

    @property
    def best(self) -> int:
        """The row with the highest mean."""
        return int(self.scores.mean(axis=1).argmax())


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search came to: its pick, what it took, which answers of the case it ``asked``, and what it claims.

    ``certified``: that the pick is within the margin on these questions, of the best or of ``reference`` where one was
    named; ``confirmed``: on new questions, of ``reference``. ``None``: it makes no such claim.
    """

    pick: int
    evaluations: int
    joules: float
    asked: Flags = field(compare=False, repr=False)
    certified: bool | None = None
    confirmed: bool | None = None
    reference: int | None = None


@dataclass(slots=True)
class Desk:
    """Hands out answers and counts them."""

    case: Case
    answered: Flags = field(init=False)

    def __post_init__(self) -> None:
        self.answered = np.zeros(self.case.scores.shape, dtype=bool)

    def ask(self, rows: int | Sequence[int], columns: slice | Sequence[int]) -> Array:
        """Scores of rows on columns; asking again costs nothing."""
        self.answered[np.ix_(np.atleast_1d(rows), np.arange(self.answered.shape[1])[columns])] = True
        return self.case.scores[rows][..., columns]

    def found(self, pick: int, **claims: bool | int | None) -> Found:
        """The result, with what was asked for it."""
        return Found(
            pick=pick,
            evaluations=int(self.answered.sum()),
            joules=float(self.case.joules[self.answered].sum()),
            asked=self.answered,
            **claims,  # type: ignore[arg-type]
        )

    def cheapest_within(self, rows: Sequence[int]) -> int:
        """The cheapest of the rows whose mean is within the margin of the best of them; all answered everything."""
        means = {row: float(self.case.scores[row].mean()) for row in rows}
        enough = max(means.values()) - self.case.margin - 1e-12
        return min((row for row in rows if means[row] >= enough), key=lambda row: float(self.case.joules[row].mean()))

    def standings(self) -> Standings:
        """What a strategy of the product is shown."""
        case = self.case
        nobody = np.zeros(len(case.configurations), dtype=bool)
        return Standings(
            configurations=case.configurations,
            answered=self.answered,
            scores=np.where(self.answered, case.scores, np.nan),
            costs=np.where(self.answered, case.joules, np.nan),
            seconds=np.full(case.scores.shape, np.nan),
            expected_costs=case.expected_costs,
            closed=nobody,
            incomplete=nobody,
        )


def play(case: Case, choice: PluginChoice, goal: Goal) -> Desk:
    """Let a strategy of the product ask until it has nothing more to ask."""
    strategy: Strategy = registry.build("strategies", choice)
    desk = Desk(case)
    while (proposed := strategy.propose(desk.standings(), goal, case.seed)) is not None:
        rows, columns = zip(*proposed.cells, strict=True)
        desk.answered[list(rows), list(columns)] = True
    return desk


def searched(case: Case, choice: PluginChoice) -> Found:
    """A strategy of the product that does not race; of those that answered everything the cheapest within the margin."""
    desk = play(case, choice, Goal(margin=case.margin, confidence=case.confidence))
    return desk.found(desk.cheapest_within(np.flatnonzero(desk.answered.all(axis=1)).tolist()))


def race(case: Case, level: str, *, inferior_share: float = 0.5, reference: int | None = None) -> Found:
    """The product's race at a level; at ``screen`` its pick is confirmed on the test split, as the product does it."""
    choice = {"name": "race", "level": level, "inferior_share": inferior_share}
    named = {} if reference is None else {"reference": case.configurations[reference].id}
    goal = Goal.model_validate({"margin": case.margin, "confidence": case.confidence, **named})
    desk = play(case, choice, goal)
    state = replayed(terms(goal, case.configurations, **settings(choice) or {}), desk.standings())
    assert state.pick is not None
    if level != "screen":
        return desk.found(state.pick, certified=state.certified, reference=reference)
    found = desk.found(state.pick)
    return confirmed(case, found, state, desk)


_AT_ONCE = 10  # new questions between two looks, as in the product


def confirmed(case: Case, found: Found, state: RaceState, desk: Desk) -> Found:
    """The pick held against its reference on new questions, which are counted with the rest."""
    pair = contenders(state, desk.standings().scores, named=False)
    available = case.test_scores.shape[1]
    if pair is None or not available:
        return found
    for asked in [*range(_AT_ONCE, available, _AT_ONCE), available]:
        pick, other = (case.test_scores[row, :asked] for row in pair)
        judged = confirm(pick, other, margin=case.margin, alpha=case.alpha, available=available)
        if judged.shown:
            break
    return replace(
        found,
        evaluations=found.evaluations + 2 * asked,
        joules=found.joules + float(case.test_joules[list(pair), :asked].sum()),
        confirmed=judged.shown,
        reference=pair[1],
    )
