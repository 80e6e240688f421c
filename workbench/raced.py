"""The choice of a run that was raced: where the race stands, what it has shown and what not, and why the others are out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from workbench.comparison import Comparison
from workbench.confirmation import Confirmed, confirm
from workbench.errors import InputError
from workbench.races import replayed
from workbench.racing import RaceState, settings, terms
from workbench.records import Configuration
from workbench.stats import (
    DIFFERENCE_PRIOR,
    Array,
    Interval,
    anytime_difference,
    paired_difference,
    paired_ratio,
    paired_ratios,
    questions_needed,
)
from workbench.verdict import A_BOUND, Against, Claim, Recommendation, Rejection, Verdict


def choose_raced(comparison: Comparison) -> Recommendation:
    """The recommendation of a race for the goal that was declared before it.

    Decided is: certified against every configuration (level ``every``), shown against the named reference (``reference``), or
    shown on new questions against the best-scoring one (``screen``, which certifies nothing on the questions it used).
    """
    return _Raced(comparison).make()


class _Raced:
    def __init__(self, comparison: Comparison) -> None:
        asked = settings(comparison.strategy)
        if asked is None or comparison.standings is None:
            raise InputError(f"run {comparison.run!r} was not raced; its strategy: {comparison.strategy}")
        self._comparison = comparison
        self._goal = comparison.goal
        self._standings = comparison.standings
        self._scores: Array = np.nan_to_num(self._standings.scores)
        self._configurations = comparison.matrix.configurations
        self._terms = terms(self._goal, self._configurations, **asked)
        self._state: RaceState = replayed(self._terms, self._standings)
        self._pick = self._state.pick
        self._reference = self._rival()
        self._confirmed = self._on_new_questions()
        self._in_question = self._state.rivals & ~self._state.barred  # claims are about these

    def make(self) -> Recommendation:
        """The verdict with its evidence."""
        state, pick, reference = self._state, self._pick, self._reference
        verdict = self._verdict()
        if verdict == "nothing qualifies":
            pick = reference = None
        difference = None if pick is None or reference is None else self._difference(pick, reference)
        savings: dict[str, Interval] = {}
        if pick is not None and reference is not None:
            mine, theirs = (self._comparison.costs_of(row, self._goal.minimise) for row in (pick, reference))
            savings = paired_ratios(mine, theirs, self._goal.confidence)
        return Recommendation(
            verdict=verdict,
            run=self._comparison.run,
            goal=self._goal,
            exploratory=False,
            questions=int(state.asked.max(initial=0)),
            chosen=self._named(pick),
            proven=self._named(pick) if state.certified and self._terms.level != "screen" else None,
            reference=self._named(reference),
            difference=difference,
            savings=savings,
            questions_needed=self._needed() if verdict == "undecided" else None,
            open_because=self._open_because() if verdict == "undecided" else "",
            leads=pick is not None and pick == state.leader,
            barred=bool(state.barred.any()),
            rejections=self._rejections(),
            nearest_miss=self._nearest_miss() if verdict == "nothing qualifies" else "",
            level=self._terms.level,
            claims=self._claims() if pick is not None else (),
            ties=tuple(self._configurations[row] for row in state.ties),
            screened_at=self._terms.screen_level if self._terms.level == "screen" else None,
        )

    # ------------------------------------------------------------------------------------------------- the judgement

    def _rival(self) -> int | None:
        """What the pick is held against: the pair that was confirmed, else the leader or the named reference."""
        tested, state = self._comparison.tested, self._state
        ids = [each.id for each in self._configurations]
        if tested is not None and self._pick is not None and tested.pick == ids[self._pick]:
            return ids.index(tested.reference)
        return state.leader

    def _on_new_questions(self) -> Confirmed | None:
        """The confirmation, if it was of this pick and could say anything."""
        tested = self._comparison.tested
        if tested is None or self._pick is None or tested.pick != self._configurations[self._pick].id:
            return None
        if tested.lost or not tested.alpha or not len(tested.pick_scores):
            return None
        return confirm(
            tested.pick_scores,
            tested.reference_scores,
            margin=self._goal.margin,
            alpha=tested.alpha,
            available=tested.available,
        )

    def _verdict(self) -> Verdict:
        state, level = self._state, self._terms.level
        if self._pick is None:
            return "nothing qualifies"
        if not state.ended or state.unpriced:
            return "undecided"
        if level == "screen":
            confirmed = self._confirmed is not None and self._confirmed.shown
            return "decided" if confirmed or self._alone() else "undecided"
        if level == "every":
            return "decided" if state.certified and not state.cheaper else "undecided"
        return "decided"  # the cheapest that passed, or nothing cheaper did and the reference stays

    def _alone(self) -> bool:
        """Whether there is nothing to choose from: one that lost answers may yet be mended, and is something."""
        mendable = self._standings.incomplete.copy()
        mendable[list(self._terms.bounds)] = False
        return int((self._in_question | mendable).sum()) == 1

    def _open_because(self) -> str:
        """What keeps the verdict open, where it is not that more questions would have to be asked."""
        state, tested, goal = self._state, self._comparison.tested, self._goal
        if state.ended and state.unpriced:
            return (
                f"{goal.minimise.replace('_', ' ')} are not known of setups that may be as good: {len(state.unpriced)}"
            )
        if not state.ended:
            begun = int(state.asked.max(initial=0)) == state.questions
            return "some setups still have questions to answer; run it again to continue" if begun else ""
        if self._terms.level != "screen" or self._confirmed is not None:
            return ""
        if self._in_question.sum() == 1 and not self._alone():
            return "others lost answers; mend with --retry-failed"
        if tested is None or self._pick is None or tested.pick != self._configurations[self._pick].id:
            return "a screening certifies nothing, and no new questions were asked: add a test split, and confirm: true"
        if not tested.alpha:
            return f"earlier claims have used up the error that the split {tested.split} allows"
        if tested.lost:
            return f"answers of the split {tested.split} were lost; mend with --retry-failed"
        return f"no question of the split {tested.split} was asked yet; run it again to continue"

    def _claims(self) -> tuple[Claim, ...]:
        level, goal, pick, reference = self._terms.level, self._goal, self._pick, self._reference
        assert pick is not None
        found: list[Claim] = []
        if level == "every":
            found = [*self._claims_against_every(pick, reference)]
        elif level == "reference" and reference is not None and pick != reference:
            found = [
                self._here(
                    "the reference",
                    f"it scores at most {goal.margin:g} {goal.metric} below {self._label(reference)}",
                    alpha=self._terms.alpha,
                    shown=self._state.certified,
                    reference=reference,
                )
            ]
        if self._confirmed is not None and reference is not None:
            found.append(
                Claim(
                    about="new questions",
                    against="the reference",
                    statement=f"on questions like those of the split {self._split()} it scores at most {goal.margin:g} "
                    f"{goal.metric} below {self._label(reference)}",
                    alpha=self._confirmed.alpha,
                    shown=self._confirmed.shown,
                    reference=self._named(reference),
                    difference=self._confirmed.difference,
                    questions=self._confirmed.questions,
                    available=self._confirmed.available,
                )
            )
        return tuple(found)

    def _claims_against_every(self, pick: int, reference: int | None) -> Iterator[Claim]:
        state, goal = self._state, self._goal
        which = " that meet the floor and limits" if state.barred.any() else ""
        yield self._here(
            "every configuration",
            f"it scores at most {goal.margin:g} {goal.metric} below every one of the {int(self._in_question.sum())} "
            f"configurations{which}",
            alpha=self._terms.alpha,
            shown=state.certified,
            reference=reference,
        )
        yield self._here(
            "anything cheaper",
            f"every cheaper configuration{which.replace('meet', 'meets')} scores more than "
            f"{self._terms.inferior_share * goal.margin:g} below the best",
            alpha=self._terms.inferior_level,
            shown=state.certified and not state.cheaper and not state.unpriced,
        )

    def _here(
        self, against: Against, statement: str, *, alpha: float, shown: bool, reference: int | None = None
    ) -> Claim:
        """A claim about the questions that were raced on."""
        pick, available = self._pick, self._state.questions
        assert pick is not None
        return Claim(
            about="these questions",
            against=against,
            statement=f"on these {available} questions {statement}",
            alpha=alpha,
            shown=shown,
            reference=self._named(reference),
            difference=None if reference is None else self._difference(pick, reference),
            questions=int(self._state.asked[pick]),
            available=available,
        )

    def _split(self) -> str:
        assert self._comparison.tested is not None
        return self._comparison.tested.split

    def _needed(self) -> int | None:
        """About how many questions in all would settle what is open: new ones where the pick was confirmed on some, otherwise
        these, of which all are always enough. ``None`` where no number is realistic, or it is not about questions."""
        state, pick, reference = self._state, self._pick, self._reference
        if pick is None:
            return None
        tested = self._comparison.tested
        if state.ended:
            if self._confirmed is None or tested is None:
                return None
            gaps = tested.pick_scores - tested.reference_scores
            return questions_needed(gaps, -self._goal.margin, self._goal.confidence, prior=DIFFERENCE_PRIOR)
        open_rows = [row for row in np.flatnonzero(state.rivals & ~state.settled) if row not in state.out]
        pairs = [(pick, int(row)) for row in open_rows if row != pick]
        pairs += [(row, reference) for row in state.cheaper if reference is not None and row != reference]
        needed = [int(state.asked.max())]
        for one, other in pairs:
            common = min(state.asked[one], state.asked[other])
            gaps = self._scores[one, :common] - self._scores[other, :common]
            count = questions_needed(gaps, -self._goal.margin, self._goal.confidence, prior=DIFFERENCE_PRIOR)
            needed.append(state.questions if count is None else count)
        return min(max(needed), state.questions)

    # ----------------------------------------------------------------------------------------------------- the others

    def _rejections(self) -> tuple[Rejection, ...]:
        found = [
            Rejection(configuration=self._configurations[row], reason=reason, open=is_open)
            for row in sorted(range(len(self._configurations)), key=self._cost)
            if row != self._pick
            for reason, is_open in [self._why_not(row)]
        ]
        return tuple(found)

    def _why_not(self, row: int) -> tuple[str, bool]:
        state, pick = self._state, self._pick
        figures = self._comparison.figures[row]
        if row in self._terms.bounds:
            return A_BOUND, False
        if row in state.out:
            return state.out[row], False
        if self._standings.closed[row] or self._standings.incomplete[row]:
            return f"incomplete: {figures.reason or 'answers were lost; mend with --retry-failed'}", False
        if not state.asked[row]:
            if self._terms.level == "reference" and state.ended:
                if pick is None:
                    return "not judged: there is no reference to hold it against", False
                return "never asked: not expected to be cheaper than the choice or the reference, by its axes", False
            return "not asked yet", not state.ended
        if pick is None:
            return "not judged", False
        gap = self._difference(row, self._reference if self._reference is not None else pick)
        shown = "" if gap is None else f" ({gap.mean:+.3f}, {gap.low:+.3f} to {gap.high:+.3f})"
        unit = self._goal.minimise.replace("_", " ")
        if row in state.cheaper:
            return f"cheaper, and neither shown to be good enough nor that it is not{shown}", True
        if row in state.ties:
            return f"costs about the same {unit}, and is not shown to be worse{shown}", False
        ratio = paired_ratio(
            self._comparison.matrix.costs[self._goal.minimise][row],
            self._comparison.matrix.costs[self._goal.minimise][pick],
            self._goal.confidence,
        )
        if row in state.unpriced:
            return f"its {unit}, or the choice's, are not known{shown}", True
        if ratio is None:  # the choice costs nothing
            times = f"more {unit}" if self._cost(row) else f"no {unit} either"
        else:
            times = f"{ratio.mean:.{2 if ratio.mean < 10 else 0}f}× the {unit}"
        if state.settled[row]:
            best = "the best score so far, but " if row == self._reference and row == state.leader else ""
            likely = "likely " if self._terms.level == "screen" else ""
            return f"{best}{times}, and {likely}at most the margin better{shown}", False
        return f"{times}; whether it is better by more than the margin is not shown{shown}", not state.ended

    def _nearest_miss(self) -> str:
        state, reference = self._state, self._terms.reference
        if reference is not None and (self._standings.closed | self._standings.incomplete)[reference]:
            return (
                f"The reference {self._label(reference)} could not be asked, or lost answers; see the reasons, and mend "
                "failures with --retry-failed"
            )
        judged = state.rivals | state.barred
        rows = [row for row in np.flatnonzero(judged) if state.asked[row]]
        if not rows:
            return "No configuration could be asked; see the reasons, and mend failures with --retry-failed"
        nearest = max(map(int, rows), key=self._mean)
        return f"{self._label(nearest)} comes nearest with {self._mean(nearest):.3f}: {state.out.get(nearest, '')}"

    # ------------------------------------------------------------------------------------------------------- figures

    def _difference(self, row: int, other: int) -> Interval | None:
        """Row − other on what both have answered: with an interval for these questions, or the bootstrap's where they are all."""
        common = int(min(self._state.asked[row], self._state.asked[other]))
        if not common:
            return None
        a, b = self._scores[row, :common], self._scores[other, :common]
        if common == self._state.questions:
            return paired_difference(a, b, self._goal.confidence)
        return anytime_difference(a, b, self._goal.confidence, population=self._state.questions)

    def _mean(self, row: int) -> float:
        """Over what was asked and the metric applies to."""
        scores = self._standings.scores[row, : int(self._state.asked[row])]
        known = scores[~np.isnan(scores)]
        return float(known.mean()) if len(known) else 0.0

    def _cost(self, row: int) -> float:
        values = self._comparison.matrix.costs[self._goal.minimise][row]
        kept = values[~np.isnan(values)]
        return float(kept.mean()) if len(kept) else float("inf")

    def _named(self, row: int | None) -> Configuration | None:
        return None if row is None else self._configurations[row]

    def _label(self, row: int | np.intp) -> str:
        return self._configurations[row].label
