"""Where every configuration of a run stands while it is going on: its score so far with an interval, its joules, its fate."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal

import numpy as np

from workbench.answered import Answered
from workbench.comparison import Asked, answered_by
from workbench.ledger import price, scale
from workbench.races import replayed
from workbench.racing import RaceState, settings, terms
from workbench.records import Configuration, Energy, Question, Reading, Trial, as_json, digest
from workbench.reports import compared_split, declared_goal, tariff_of
from workbench.specification import Goal
from workbench.stats import Array, Interval, anytime_interval, interval
from workbench.store import RunRecord, Store
from workbench.tally import Tally, among, tallies, tally_of, total
from workbench.tariffs import Tariff

Mark = Literal["", "pick", "leader", "pick and leader", "bound"]

_MOST_NEW = 2000  # answers read by name; more than that are read with all the others


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One configuration of a run that may be going on.

    ``score`` is over the ``asked`` questions, with an interval for the mean of all ``questions`` that holds whenever one
    looks, or the bootstrap's for a metric that counts; ``None``: nothing is known yet. ``joules`` are those of an answer
    alone. Nothing of it is about the split that the pick is confirmed on. ``mark``: pick is the cheapest of a race that is
    likely good enough, leader the best-scoring so far, or the named reference; a bound is no setup to choose.
    """

    configuration: Configuration
    state: str
    reason: str
    mark: Mark
    asked: int
    questions: int
    score: Interval | None
    joules: Energy | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lanes:
    """All configurations of a run side by side: those in question first, best first, then those that are out."""

    run: str
    metric: str
    confidence: float
    raced: bool
    decided: bool
    lanes: tuple[Lane, ...]


@dataclass(slots=True)
class _Followed:
    """The tally of a configuration as it was last looked at, so that only new answers are read."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    stand: int = -1
    tally: Tally | None = None


def lanes(run: str = "latest", *, store: Store | None = None) -> Lanes:
    """Where every configuration of a run stands; cheap enough to ask every second, as only new answers are read."""
    store = store or Store(create=False)
    record = store.get(run)
    goal = declared_goal(record)
    questions = store.questions(record.id)
    split = compared_split(record.experiment)
    asked = among(questions, split)
    trials, tariff = store.trials(record.id), tariff_of(record)
    given = [Asked.of(tally, questions, asked) for tally in tallied(store, record, trials, questions)]
    configurations = [trial.configuration for trial in trials]
    answered = answered_by(configurations, asked, given, goal, record.experiment["repeats"])
    scores = answered.scores()
    race = _race(record, goal, trials, answered) if trials and asked else None
    found = [
        _lane(row, trial, scores[row], given[row], goal, tariff, race, len(asked)) for row, trial in enumerate(trials)
    ]
    best = max((lane for lane in found if _counts(lane)), key=_mean, default=None) if race is None else None
    found = [replace(lane, mark="leader") if lane is best else lane for lane in found]
    return Lanes(
        run=record.name,
        metric=goal.metric,
        confidence=goal.confidence,
        raced=race is not None,
        decided=race is not None and race.ended,
        lanes=tuple(sorted(found, key=lambda lane: (lane.state == "eliminated", not lane.asked, -_mean(lane)))),
    )


def tallied(
    store: Store, record: RunRecord, trials: Sequence[Trial], questions: Sequence[Question] | None = None
) -> list[Tally]:
    """What every trial's answers come to, with what is new since the last look read now."""
    split, tariff = compared_split(record.experiment), tariff_of(record)
    under = digest(as_json([split, tariff]))
    followed = [_followed(store.url, record.id, record.created, trial.configuration.id, under) for trial in trials]
    stands = store.stands(record.id)
    if questions is None:  # a run that stands still is looked at every other second
        changed = any(
            each.stand != stands[trial.configuration.id] for trial, each in zip(trials, followed, strict=True)
        )
        questions = store.questions(record.id) if changed else ()
    first = [trial for trial, each in zip(trials, followed, strict=True) if each.tally is None]
    made = tallies(store, record, first, questions, split, tariff) if first else []
    fresh = dict(zip((trial.configuration.id for trial in first), made, strict=True))
    found = []
    for trial, each in zip(trials, followed, strict=True):
        stand = stands[trial.configuration.id]
        with each.lock:
            if each.tally is None:
                tally = fresh[trial.configuration.id]
            elif each.stand == stand:
                tally = each.tally
            else:
                tally = _caught_up(each.tally, store, record, trial, questions, split, tariff)
            each.tally, each.stand = tally, stand
        found.append(tally)
    return found


def _caught_up(
    tally: Tally,
    store: Store,
    record: RunRecord,
    trial: Trial,
    questions: Sequence[Question],
    split: str | None,
    tariff: Tariff,
) -> Tally:
    """A tally with the answers that were written since; made anew where some were dropped, or most are new."""
    names = [question.id for question in questions]
    seen = {(names[int(place)], int(repeat)) for place, repeat in zip(tally["question"], tally["repeat"], strict=True)}
    keys = store.keys(record.id, trial.configuration.id)
    new = keys - seen
    if not seen <= keys or len(new) > _MOST_NEW:
        return tallies(store, record, [trial], questions, split, tariff)[0]
    answers = store.answers(
        record.id, configuration=trial.configuration.id, question={name for name, _ in new}, figures_only=True
    )
    unread = (each for each in answers if (each.answer.question, each.answer.repeat) in new)
    return tally.joined(tally_of(unread, questions, split, tally.metrics, tariff))


def spent_so_far(store: Store, record: RunRecord, followed: Sequence[Tally]) -> Reading | None:
    """What answers, of which these are the tallies, and one-off work of a run took, as they ran; ``None`` before any did."""
    parts = [sums.spent for tally in followed for sums in (tally.asked, tally.unseen)]
    return total([*parts, *(work.reading for work in store.one_offs(record.id))])


@lru_cache(maxsize=1000)
def _followed(*_: object) -> _Followed:
    return _Followed()


def _race(record: RunRecord, goal: Goal, trials: Sequence[Trial], answered: Answered) -> RaceState | None:
    """Where the race stands, as the run itself sees it; ``None`` where nothing is raced."""
    asked = settings(record.experiment.get("strategy", "grid"))
    if asked is None:
        return None
    standings = answered.standings(
        np.array([trial.expected_cost for trial in trials]),
        np.array([trial.state == "incomplete" for trial in trials]),
    )
    return replayed(terms(goal, standings.configurations, **asked), standings)


def _lane(
    row: int,
    trial: Trial,
    scores: Array,
    given: Asked,
    goal: Goal,
    tariff: Tariff,
    race: RaceState | None,
    questions: int,
) -> Lane:
    asked = len(np.unique(given.columns))
    known = scores[~np.isnan(scores)]
    priced, alone = int((~np.isnan(given.tally.cost("joules"))).sum()), given.tally.asked.known
    mean = None if alone is None else scale(alone, 1 / priced)
    return Lane(
        configuration=trial.configuration,
        state=trial.state,
        reason=trial.reason,
        mark=_mark(row, trial.configuration, race),
        asked=asked,
        questions=questions,
        score=_score(known.tobytes(), questions - (asked - len(known)), goal.confidence) if len(known) else None,
        joules=None if mean is None else price(mean, tariff.coefficients),
    )


@lru_cache(maxsize=5000)
def _score(values: bytes, questions: int, confidence: float) -> Interval | None:
    """The mean with an interval that holds whenever one looks; the bootstrap's for values that are not from 0 to 1."""
    scores = np.frombuffer(values)
    if scores.min() < 0 or scores.max() > 1:
        return interval(scores, confidence)
    return anytime_interval(scores, confidence, population=max(questions, len(scores)))


def _mark(row: int, configuration: Configuration, race: RaceState | None) -> Mark:
    if configuration.is_bound:
        return "bound"
    if race is None:
        return ""
    if row == race.pick:
        return "pick and leader" if row == race.leader else "pick"
    return "leader" if row == race.leader else ""


def _counts(lane: Lane) -> bool:
    return lane.score is not None and lane.mark != "bound" and lane.state not in ("eliminated", "incomplete")


def _mean(lane: Lane) -> float:
    return -np.inf if lane.score is None else lane.score.mean
