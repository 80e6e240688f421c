"""The race: stops the inferior and the needlessly expensive, and asks the rest only as far as the claim needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.contracts import Round, Standings
from workbench.errors import InputError
from workbench.races import race
from workbench.racing import Level, Race, terms

if TYPE_CHECKING:
    from workbench.specification import Goal


class Racing:
    """Asks what the race needs next; the race itself is replayed from what is stored, and kept between two rounds."""

    def __init__(self, level: Level | None, **asked: float | None) -> None:
        self._level = level
        self._asked = asked
        self._race: Race | None = None
        self._of: tuple[object, ...] = ()

    def propose(self, standings: Standings, goal: Goal, seed: int) -> Round | None:
        """What every configuration still in question needs to be asked next."""
        closed = standings.closed | standings.incomplete
        of = (closed.tobytes(), standings.answered.shape, standings.expected_costs.tobytes())
        if self._race is None or self._of != of:
            agreed = terms(goal, standings.configurations, level=self._level, **self._asked)
            self._of = of
            self._race = race(agreed, standings.expected_costs, standings.answered.shape[1], closed)
        cells = self._race.advance(standings.scores, standings.answered, standings.costs, standings.seconds)
        if not cells:
            return None
        state = self._race.state
        racing = int(state.rivals.sum()) - len(state.out)
        said = f"{racing} configurations racing, {len(state.out)} out, {int(state.asked.max())} of {state.questions} questions"
        return Round(cells=cells, out=state.out, said=said)


def build(
    *, level: str | None = None, inferior_share: float = 0.5, pilot: int = 10, screen_level: float | None = None
) -> Racing:
    """The cheapest that is good enough, decided while answers come in; level screen, every or reference."""
    problems = []
    if level not in (None, "screen", "every", "reference"):
        problems.append(f"race: level is {level!r}; expected screen, every or reference")
    if not 0 <= inferior_share <= 1:
        problems.append(f"race: inferior_share is {inferior_share}; expected 0 to 1")
    if pilot < 2:
        problems.append(f"race: pilot is {pilot}; expected at least 2 questions")
    if screen_level is not None and not 0 < screen_level < 1:
        problems.append(f"race: screen_level is {screen_level}; expected more than 0 and less than 1")
    if problems:
        raise InputError(problems)
    return Racing(level, inferior_share=inferior_share, pilot=pilot, screen_level=screen_level)  # type: ignore[arg-type]
