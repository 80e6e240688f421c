"""Where every configuration of a run stands while it is going on: its score so far with an interval, its joules, its fate."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal

import numpy as np

from workbench.contracts import Standings
from workbench.ledger import add, price, scale, spent, standalone
from workbench.races import replayed
from workbench.racing import RaceState, settings, terms
from workbench.records import Configuration, Energy, Question, Reading, ScoredAnswer, Trial
from workbench.reports import declared_goal, kept_split
from workbench.specification import Goal
from workbench.stats import Array, Interval, anytime_interval, interval
from workbench.store import RunRecord, Store
from workbench.tariffs import Tariff, costs_of, of_environment

Mark = Literal["", "pick", "leader", "pick and leader", "bound"]

_MOST_NEW = 2000  # answers read by name; more than that are read with all the others


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One configuration of a run that may be going on.

    ``score`` is over the ``asked`` questions, with an interval for the mean of all ``questions`` that holds whenever one
    looks, or the bootstrap's for a metric that counts; ``None``: nothing is known yet. ``joules`` are those of an answer
    alone. ``mark``: pick is the cheapest of a race that is likely good enough, leader the best-scoring so far, or the named
    reference; a bound is no setup to choose.
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
class Tally:
    """What is known of one configuration's answers, kept between two looks so that only new answers are read.

    By question: sums over repeats of the deciding score, of the cost that the goal minimises and of undisturbed seconds,
    with the number of answers; NaN where one is not known.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    seen: set[tuple[str, int]] = field(default_factory=set)
    questions: dict[str, tuple[int, float, float, float]] = field(default_factory=dict)
    lost: int = 0
    alone: list[Reading] = field(default_factory=list)
    spent: list[Reading] = field(default_factory=list)
    priced: int = 0
    seconds: list[float] = field(default_factory=list)

    def forget(self) -> None:
        """Start over."""
        for kept in (self.seen, self.questions, self.alone, self.spent, self.seconds):
            kept.clear()
        self.lost = self.priced = 0


def lanes(run: str = "latest", *, store: Store | None = None) -> Lanes:
    """Where every configuration of a run stands; cheap enough to ask every second, as only new answers are read."""
    store = store or Store(create=False)
    record = store.get(run)
    goal = declared_goal(record)
    questions = store.questions(record.id)
    split = kept_split(record.experiment)
    asked = [question for question in questions if question.split != split]
    trials = store.trials(record.id)
    tallies = tallied(store, record, trials)
    scores = np.array([_means(tally, asked, 1) for tally in tallies]).reshape(len(trials), len(asked))
    race = _race(record, goal, trials, asked, tallies, scores) if trials and asked else None
    tariff = of_environment(record.environment)
    found = [
        _lane(row, trial, scores[row], tallies[row], goal, tariff, race, len(asked)) for row, trial in enumerate(trials)
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


def tallied(store: Store, record: RunRecord, trials: list[Trial]) -> list[Tally]:
    """What is known of every trial's answers, with what is new read now."""
    goal, tariff = declared_goal(record), of_environment(record.environment)
    counts = store.counts(record.id)
    priced = (goal.metric, goal.minimise, str(record.environment.get("tariff_digest")), tariff.coefficients.digest)
    found = []
    for trial in trials:
        configuration = trial.configuration.id
        tally = _tally(store.url, record.id, record.created, configuration, *priced)
        with tally.lock:
            if counts.get(configuration, (0, 0))[0] != len(tally.seen):
                _catch_up(tally, store, record, configuration, goal, tariff)
        found.append(tally)
    return found


def spent_so_far(store: Store, record: RunRecord) -> Reading | None:
    """What answers and one-off work of a run took so far, as they ran; ``None`` before anything did."""
    parts = [reading for tally in tallied(store, record, store.trials(record.id)) for reading in tally.spent]
    parts += [work.reading for work in store.one_offs(record.id)]
    return add(parts) if parts else None


@lru_cache(maxsize=5000)
def _tally(*_: object) -> Tally:
    return Tally()


def _catch_up(tally: Tally, store: Store, record: RunRecord, configuration: str, goal: Goal, tariff: Tariff) -> None:
    keys = store.keys(record.id, configuration)
    if not tally.seen <= keys:  # answers were dropped, to be tried again
        tally.forget()
    new = keys - tally.seen
    wanted = {question for question, _ in new} if tally.seen and len(new) <= _MOST_NEW else None
    for scored in store.answers(record.id, configuration=configuration, question=wanted, figures_only=True):
        if (scored.answer.question, scored.answer.repeat) in new:
            _count(tally, scored, goal, tariff)
    tally.alone, tally.spent = (_one(readings) for readings in (tally.alone, tally.spent))


def _count(tally: Tally, scored: ScoredAnswer, goal: Goal, tariff: Tariff) -> None:
    answer = scored.answer
    tally.seen.add((answer.question, answer.repeat))
    infrastructure = answer.failure is not None and answer.failure.kind == "infrastructure"
    tally.lost += infrastructure
    stages = answer.ledger.stages
    alone = standalone(answer.ledger)
    paid = costs_of(alone, tariff) if stages and not infrastructure else {}
    known = (
        next((each.value for each in scored.scores if each.metric == goal.metric), None),
        paid.get(goal.minimise),
        alone.seconds if stages and answer.undisturbed else None,
    )
    count, *sums = tally.questions.get(answer.question, (0, 0.0, 0.0, 0.0))
    score, cost, seconds = (total + (np.nan if one is None else one) for total, one in zip(sums, known, strict=True))
    tally.questions[answer.question] = (count + 1, score, cost, seconds)
    if not stages:
        return
    ran = spent(answer.ledger)
    tally.spent.append(ran)
    tally.seconds.append(ran.seconds)
    if paid.get("joules") is not None:
        tally.alone.append(alone)
        tally.priced += 1


def _one(readings: list[Reading]) -> list[Reading]:
    return [add(readings)] if readings else []


def _means(tally: Tally, questions: list[Question], which: int) -> Array:
    """By question the mean over repeats of the score (1), the cost (2) or the seconds (3); NaN where it is not known."""
    nothing = (1, np.nan, np.nan, np.nan)
    rows = (tally.questions.get(question.id, nothing) for question in questions)
    return np.array([row[which] / row[0] for row in rows])


def _race(
    record: RunRecord,
    goal: Goal,
    trials: list[Trial],
    questions: list[Question],
    tallies: list[Tally],
    scores: Array,
) -> RaceState | None:
    """Where the race stands, as the run itself sees it; ``None`` where nothing is raced."""
    asked = settings(record.experiment.get("strategy", "grid"))
    if asked is None:
        return None
    costs, seconds = (np.array([_means(tally, questions, which) for tally in tallies]) for which in (2, 3))
    repeats = [trial.configuration.repeats(record.experiment["repeats"]) for trial in trials]
    answered = np.array(
        [
            [tally.questions.get(question.id, (0,))[0] >= wanted for question in questions]
            for tally, wanted in zip(tallies, repeats, strict=True)
        ]
    )
    standings = Standings(
        configurations=tuple(trial.configuration for trial in trials),
        answered=answered,
        scores=scores,
        costs=costs,
        seconds=seconds,
        expected_costs=np.array([trial.expected_cost for trial in trials]),
        closed=np.zeros(len(trials), dtype=bool),
        incomplete=np.array(
            [trial.state == "incomplete" or tally.lost > 0 for trial, tally in zip(trials, tallies, strict=True)]
        ),
    )
    return replayed(terms(goal, standings.configurations, **asked), standings)


def _lane(
    row: int,
    trial: Trial,
    scores: Array,
    tally: Tally,
    goal: Goal,
    tariff: Tariff,
    race: RaceState | None,
    questions: int,
) -> Lane:
    asked = len(tally.questions)
    known = scores[~np.isnan(scores)]
    mean = scale(tally.alone[0], 1 / tally.priced) if tally.alone else None
    return Lane(
        configuration=trial.configuration,
        state=trial.state,
        reason=trial.reason,
        mark=_mark(row, trial.configuration, race),
        asked=min(asked, questions),
        questions=questions,
        score=_score(known.tobytes(), questions - int(asked - len(known)), goal.confidence) if len(known) else None,
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
