"""What a run's answers come to, configuration by configuration: scores with intervals, tokens, seconds, joules, failures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench import registry
from workbench.answered import Answered
from workbench.breakdown import ModelRates, StageFigures, load_of, model_label, rates_by_model, stage_figures
from workbench.contracts import Standings
from workbench.grids import Site
from workbench.ledger import add, net, price, scale
from workbench.pareto import frontier
from workbench.prices import Price
from workbench.racing import settings
from workbench.records import (
    CORRECT_FROM,
    Coefficients,
    Configuration,
    Energy,
    IndexFacts,
    OneOff,
    PluginChoice,
    Question,
    Reading,
    Trial,
    Triple,
)
from workbench.specification import Goal
from workbench.stats import Array, Interval, intervals
from workbench.tally import Tally, among, total
from workbench.tariffs import UNITS, Tariff, of_environment

if TYPE_CHECKING:
    from workbench.store import Claimed

COSTS = ("joules", "tokens", "seconds")
"""The costs that every setup is compared on; dollars and grams of CO2e where they are what the goal minimises."""

_ENOUGH_UNDISTURBED = 10  # answers; below that, latency is shown over all of them and marked


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Percentiles of standalone seconds per answer. ``disturbed``: other processes were busy, and too few answers were spared."""

    p50: float
    p95: float
    disturbed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One configuration's figures. Means are per answer; ``None`` is not measured.

    ``joules`` are gross, the mean over ``known`` of ``measured`` answers: the work of the others was seen by nobody.
    ``net_joules`` leave the machine's idle power out where counters tell it; ``once_joules`` are one loading of the model and
    one building of the index; ``stages`` sum to the answer; ``uncounted`` are answers whose tokens nobody told. ``failures``
    counts by code, ``losses`` by the place where wrong answers were lost. ``repeat_deviation`` is the standard deviation of
    the deciding score between repeats of a question, pooled over questions; ``elsewhere`` the tokens of models on other
    machines, by model.
    """

    configuration: Configuration
    state: str
    reason: str
    answers: int
    scores: dict[str, Interval | None]
    tokens_in: float | None
    tokens_out: float | None
    seconds: Latency | None
    joules: Energy | None
    joules_per_correct: float | None
    correct: int
    failures: dict[str, int]
    rebuilt: int
    losses: dict[str, int]
    repeat_deviation: float | None
    index: IndexFacts | None
    index_joules: Energy | None
    elsewhere: Mapping[str, Triple] = field(default_factory=dict)
    frontier: bool = False
    known: int = 0
    measured: int = 0
    uncounted: int = 0
    net_joules: Energy | None = None
    once_joules: tuple[Energy | None, ...] = ()
    stages: Mapping[str, StageFigures] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Per-question values: ``scores[metric]`` and ``costs[unit]`` of shape (configurations, questions), NaN where absent."""

    configurations: tuple[Configuration, ...]
    questions: tuple[Question, ...]
    scores: dict[str, Array]
    costs: dict[str, Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What the run itself took. ``one_offs`` maps work to its reading; joules are ``None`` where any part was not measured,
    but ``answering_known`` is that of all answers but ``unknown``.

    ``reading`` is what answering took as it ran, ``alone`` what the same answers take when nothing is shared
    (``None``: no answer has a stage); ``generated_before`` counts answers whose text another answer had been given,
    ``asked`` the questions of the comparison that each configuration was asked.
    """

    answers: int
    answering: Energy | None
    one_offs: dict[str, Reading]
    one_off_joules: Energy | None
    one_off_per_answer: Energy | None
    tokens: int
    unknown: int = 0
    answering_known: Energy | None = None
    reading: Reading | None = None
    alone: Reading | None = None
    generated_before: int = 0
    asked: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """What a pick and its reference, by their ids, scored on a split that the race never saw, in the order asked.

    ``alpha`` is the error that was left for this claim, 0 where the split had been used up before; ``available`` the
    number of its questions. ``lost``: answers were lost to infrastructure failures, so that nothing can be said.
    """

    pick: str
    reference: str
    split: str
    alpha: float
    available: int
    pick_scores: Array
    reference_scores: Array
    lost: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Everything the tables, charts and the recommendation are made from.

    ``site`` is where its energy is used, ``prices`` what is asked for tokens, by model; both as the run stored them. ``rates``
    are what a token takes, by model. One-off work is shown spread over ``over_answers`` where that is stated.
    ``standings`` is what its strategy decided on, ``tested`` how the pick of a race did on questions it never saw.
    """

    run: str
    state: str
    goal: Goal
    environment: dict[str, Any]
    figures: tuple[Figures, ...]
    matrix: Matrix
    spent: Spent
    site: Site | None = None
    prices: Mapping[str, Price | None] = field(default_factory=dict)
    rates: Mapping[str, ModelRates] = field(default_factory=dict)
    over_answers: int | None = None
    strategy: PluginChoice = "grid"
    standings: Standings | None = None
    tested: Tested | None = None

    def costs_of(self, row: int, unit: str) -> dict[str, Array]:
        """What a configuration costs by question, in every unit that setups are compared on and in ``unit``."""
        return {each: self.matrix.costs[each][row] for each in dict.fromkeys((*COSTS, unit))}

    @property
    def raced(self) -> bool:
        """Whether configurations were stopped while the run was going on."""
        return settings(self.strategy) is not None

    def of(self, configuration: str) -> Figures:
        """The figures of a configuration by its id."""
        return next(each for each in self.figures if each.configuration.id == configuration)


def compare_tallies(
    *,
    run: str,
    state: str,
    goal: Goal,
    environment: dict[str, Any],
    trials: Sequence[Trial],
    questions: Sequence[Question],
    tallies: Sequence[Tally],
    one_offs: Sequence[OneOff],
    tariff: Tariff | None = None,
    strategy: PluginChoice = "grid",
    repeats: int = 1,
    split: str | None = None,
    claimed: Claimed | None = None,
) -> Comparison:
    """Compare the trials of a run by what their answers come to, with the tariff that priced them.

    Intervals resample questions; repeats of a question are averaged first. Answers to questions that are not of ``split``
    (``None``: all are) stay out of every figure but what the run has spent; they judge the pair of ``claimed``.
    """
    tariff = of_environment(environment) if tariff is None else tariff
    coefficients = tariff.coefficients
    configurations = [trial.configuration for trial in trials]
    compared = among(questions, split)
    asked = [Asked.of(tally, questions, compared) for tally in tallies]
    matrix = _matrix(configurations, compared, asked)
    answered = answered_by(configurations, compared, asked, goal, repeats)
    rates = rates_by_model(configurations, [each.tally for each in asked])
    shown = {metric: intervals(values, goal.confidence) for metric, values in matrix.scores.items()}
    figures = [
        _figures(row, trial, each, matrix, shown, goal, coefficients, one_offs, rates)
        for row, (trial, each) in enumerate(zip(trials, asked, strict=True))
    ]
    quality = [
        None if configuration.is_bound else _known_mean(matrix.scores[goal.metric][row])
        for row, configuration in enumerate(configurations)
    ]
    costs = [_known_mean(matrix.costs[goal.minimise][row]) for row in range(len(figures))]
    on = frontier(list(zip(quality, costs, strict=True)))
    return Comparison(
        run=run,
        state=state,
        goal=goal,
        environment=environment,
        figures=tuple(replace(each, frontier=flag) for each, flag in zip(figures, on, strict=True)),
        matrix=matrix,
        spent=_spent(configurations, asked, one_offs, coefficients),
        site=tariff.site,
        prices=tariff.prices,
        rates=rates,
        strategy=strategy,
        standings=answered.standings(
            np.array([trial.expected_cost for trial in trials]),
            np.array([trial.state == "incomplete" for trial in trials]),
        ),
        tested=None
        if claimed is None
        else _tested(
            claimed,
            among(questions, claimed.split),
            questions,
            dict(zip((each.id for each in configurations), tallies, strict=True)),
            goal.metric,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The answers of a configuration to some questions, and the place of each answer's question among these."""

    tally: Tally
    columns: NDArray[np.intp]

    @classmethod
    def of(cls, tally: Tally, questions: Sequence[Question], chosen: Sequence[Question]) -> Asked:
        """The answers to the ``chosen`` ones of a run's questions."""
        place = {question.id: number for number, question in enumerate(chosen)}
        columns = np.array([place.get(question.id, -1) for question in questions], dtype=np.intp)[tally.positions()]
        return cls(tally=tally.among(columns >= 0), columns=columns[columns >= 0])

    def means(self, values: Array, width: int) -> Array:
        """By question the mean over repeats, NaN where nothing was answered or any value is not known."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.sums(values, width) / self.sums(np.ones(len(values)), width)

    def sums(self, values: Array, width: int) -> Array:
        """By question the sum over repeats."""
        found = np.zeros(width)
        np.add.at(found, self.columns, values)
        return found


def _tested(
    claimed: Claimed,
    unseen: Sequence[Question],
    questions: Sequence[Question],
    tallies: Mapping[str, Tally],
    metric: str,
) -> Tested:
    """The pair's scores on the unseen questions that both have answered, from the first on."""
    asked = {configuration: Asked.of(tally, questions, unseen) for configuration, tally in tallies.items()}
    pair = (str(claimed.claim["pick"]), str(claimed.claim["reference"]))
    both = np.all([np.isin(np.arange(len(unseen)), asked[one].columns) for one in pair], axis=0)
    count = len(unseen) if both.all() else int(np.argmin(both))
    pick, reference = (asked[one].means(asked[one].tally.score(metric), len(unseen))[:count] for one in pair)
    return Tested(
        pick=pair[0],
        reference=pair[1],
        split=claimed.split,
        alpha=claimed.alpha,
        available=len(unseen),
        pick_scores=pick,
        reference_scores=reference,
        lost=any(each.tally["lost"].any() for each in asked.values()),
    )


def _matrix(configurations: Sequence[Configuration], questions: Sequence[Question], asked: Sequence[Asked]) -> Matrix:
    """Means by question of every metric and cost."""
    width = len(questions)
    metrics = asked[0].tally.metrics if asked else ()
    return Matrix(
        configurations=tuple(configurations),
        questions=tuple(questions),
        scores={
            metric: _stacked([each.means(each.tally.score(metric), width) for each in asked], width)
            for metric in metrics
        },
        costs={unit: _stacked([each.means(each.tally.cost(unit), width) for each in asked], width) for unit in UNITS},
    )


def _stacked(rows: Sequence[Array], width: int) -> Array:
    return np.array(rows, dtype=np.float64).reshape(len(rows), width)


def answered_by(
    configurations: Sequence[Configuration],
    questions: Sequence[Question],
    asked: Sequence[Asked],
    goal: Goal,
    repeats: int,
) -> Answered:
    """What the strategy decides on."""
    answered = Answered(configurations, questions, metric=goal.metric, repeats=repeats)
    for row, each in enumerate(asked):
        tally = each.tally
        answered.fill(
            row,
            each.columns,
            scores=tally.score(goal.metric),
            costs=tally.cost(goal.minimise),
            seconds=tally.undisturbed_seconds(),
            lost=tally["lost"].astype(np.bool_),
        )
    return answered


def _figures(
    row: int,
    trial: Trial,
    asked: Asked,
    matrix: Matrix,
    scores: Mapping[str, Sequence[Interval | None]],
    goal: Goal,
    coefficients: Coefficients,
    one_offs: Sequence[OneOff],
    rates: Mapping[str, ModelRates],
) -> Figures:
    tally, sums = asked.tally, asked.tally.asked
    worked = (tally["lost"] == 0) & (tally["worked"] > 0)
    tokens_in, tokens_out = tally["tokens_in"][worked], tally["tokens_out"][worked]
    known = int((~np.isnan(tally.cost("joules"))).sum())
    mean = None if sums.known is None else scale(sums.known, 1 / known)
    joules = None if mean is None else price(mean, coefficients)
    correct = int((tally.score(goal.metric) >= CORRECT_FROM).sum())
    built = None if trial.index is None or trial.index.build is None else price(trial.index.build, coefficients)
    load, token = load_of(trial.configuration, one_offs), rates.get(model_label(trial.configuration))
    return Figures(
        configuration=trial.configuration,
        state=trial.state,
        reason=trial.reason,
        answers=len(tally),
        scores={metric: found[row] for metric, found in scores.items()},
        tokens_in=_known_mean(tokens_in),
        tokens_out=_known_mean(tokens_out),
        seconds=_latency(tally),
        joules=joules,
        joules_per_correct=None if joules is None or not correct else joules.central * int(worked.sum()) / correct,
        correct=correct,
        failures=dict(sums.failures),
        rebuilt=sums.rebuilt,
        losses=dict(sums.losses),
        repeat_deviation=_repeat_deviation(asked, goal.metric, len(matrix.questions)),
        index=trial.index,
        index_joules=built,
        elsewhere={} if mean is None else mean.elsewhere,
        known=known,
        measured=int(worked.sum()),
        uncounted=int((np.isnan(tokens_in) | np.isnan(tokens_out)).sum()),
        net_joules=None if mean is None else net(mean, coefficients),
        once_joules=(None if load is None else price(load, coefficients), *([] if trial.index is None else [built])),
        stages=stage_figures(sums, known, None if token is None else token.cpu_seconds, coefficients),
    )


def winners(comparison: Comparison) -> dict[str, Figures]:
    """The configuration with the best mean of every metric whose best is clear, for a look at whether metrics agree.

    Bounds are left aside, and so are metrics that count. Means over different questions are not compared: it is among those
    with the most values.
    """
    found = {}
    for metric in comparison.matrix.scores:
        if _counts(metric):
            continue
        scored = [
            (interval, figures)
            for figures in comparison.figures
            if (interval := figures.scores[metric]) is not None and not figures.configuration.is_bound
        ]
        most = max((interval.n for interval, _ in scored), default=0)
        ahead = [(interval.mean, figures) for interval, figures in scored if interval.n == most]
        best = max((mean for mean, _ in ahead), default=0.0)
        if [mean for mean, _ in ahead].count(best) == 1:
            found[metric] = next(figures for mean, figures in ahead if mean == best)
    return found


def _counts(metric: str) -> bool:
    """Whether a metric's values are a count; one of the user's is not imported to ask."""
    name = metric.partition("(")[0]
    return not name.startswith("python:") and bool(registry.unit(name))


def _repeat_deviation(asked: Asked, metric: str, width: int) -> float | None:
    values = asked.tally.score(metric)
    known = ~np.isnan(values)
    columns, values = asked.columns[known], values[known]
    repeated = [
        np.var(values[columns == column], ddof=1)
        for column in np.flatnonzero(np.bincount(columns, minlength=width) > 1)
    ]
    return float(np.sqrt(np.mean(repeated))) if repeated else None


def _latency(tally: Tally) -> Latency | None:
    answered = tally["lost"] == 0
    undisturbed = answered & (tally["undisturbed"] > 0)
    spared = int(undisturbed.sum()) >= _ENOUGH_UNDISTURBED
    seconds = tally["seconds"][undisturbed if spared else answered]
    seconds = seconds[~np.isnan(seconds)]
    if not len(seconds):
        return None
    p50, p95 = np.quantile(seconds, [0.5, 0.95])
    return Latency(p50=float(p50), p95=float(p95), disturbed=not spared and bool((answered & ~undisturbed).any()))


def _known_mean(values: Array) -> float | None:
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if len(kept) else None


def _spent(
    configurations: Sequence[Configuration],
    asked: Sequence[Asked],
    one_offs: Sequence[OneOff],
    coefficients: Coefficients,
) -> Spent:
    parts = [sums for each in asked for sums in (each.tally.asked, each.tally.unseen)]
    answers = sum(sums.answers for sums in parts)
    ran, known, alone = (total(getattr(sums, name) for sums in parts) for name in ("spent", "spent_known", "alone"))
    works: dict[str, list[Reading]] = {}
    for work in one_offs:
        works.setdefault(work.work, []).append(work.reading)
    by_work = {work: add(readings) for work, readings in works.items()}
    one_off = total(by_work.values())
    return Spent(
        answers=answers,
        answering=None if ran is None else price(ran, coefficients),
        answering_known=None if known is None else price(known, coefficients),
        one_offs=by_work,
        one_off_joules=None if one_off is None else price(one_off, coefficients),
        one_off_per_answer=None if one_off is None or not answers else price(scale(one_off, 1 / answers), coefficients),
        tokens=0 if ran is None else (ran.tokens_in or 0) + (ran.tokens_out or 0),
        unknown=sum(sums.ledgers - sums.ledgers_known for sums in parts),
        reading=ran,
        alone=alone,
        generated_before=sum(sums.generated_before for sums in parts),
        asked={
            configuration.id: len(np.unique(each.columns))
            for configuration, each in zip(configurations, asked, strict=True)
            if len(each.columns)
        },
    )
