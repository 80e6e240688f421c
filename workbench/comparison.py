"""What a run's answers come to, configuration by configuration: scores with intervals, tokens, seconds, joules, failures."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench import registry
from workbench.answered import Answered
from workbench.breakdown import ModelRates, StageFigures, load_of, model_label, rates_by_model, stage_figures
from workbench.contracts import Standings
from workbench.grids import Site
from workbench.ledger import add, generated_before, net, price, scale, spent, standalone
from workbench.pareto import frontier
from workbench.prices import Price
from workbench.racing import settings
from workbench.records import (
    CORRECT_FROM,
    Answer,
    Coefficients,
    Configuration,
    Energy,
    IndexFacts,
    OneOff,
    PluginChoice,
    Question,
    Reading,
    ScoredAnswer,
    Trial,
    Triple,
)
from workbench.specification import Goal
from workbench.stats import Array, Interval, interval
from workbench.tariffs import UNITS, Tariff, costs, of_environment

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


def compare_answers(
    *,
    run: str,
    state: str,
    goal: Goal,
    environment: dict[str, Any],
    trials: Sequence[Trial],
    questions: Sequence[Question],
    answers: Iterable[ScoredAnswer],
    one_offs: Sequence[OneOff],
    metrics: Sequence[str],
    tariff: Tariff | None = None,
    strategy: PluginChoice = "grid",
    repeats: int = 1,
    unseen: Sequence[Question] = (),
    claimed: Claimed | None = None,
) -> Comparison:
    """Add up a run, by the tariff it stored or another. Intervals resample questions; repeats of a question are averaged
    first.

    Answers to ``unseen`` questions stay out of every figure but what the run has spent; they judge the pair of ``claimed``.
    """
    tariff = of_environment(environment) if tariff is None else tariff
    coefficients = tariff.coefficients
    by_configuration: dict[str, list[ScoredAnswer]] = {trial.configuration.id: [] for trial in trials}
    new = {question.id for question in unseen}
    tests: list[ScoredAnswer] = []
    for scored in answers:
        if scored.answer.question in new:
            tests.append(scored)
        else:
            by_configuration[scored.answer.configuration].append(scored)
    configurations = [trial.configuration for trial in trials]
    answered = Answered(configurations, questions, metric=goal.metric, repeats=repeats)
    matrix = _matrix(trials, questions, by_configuration, metrics, tariff, answered, goal)
    rates = rates_by_model(trials, {key: [scored.answer for scored in each] for key, each in by_configuration.items()})
    figures = [
        _figures(row, trial, by_configuration[trial.configuration.id], matrix, goal, coefficients, one_offs, rates)
        for row, trial in enumerate(trials)
    ]
    quality = [
        None if trial.configuration.is_bound else _known_mean(matrix.scores[goal.metric][row])
        for row, trial in enumerate(trials)
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
        spent=_spent(
            [scored.answer for each in (*by_configuration.values(), tests) for scored in each],
            {question.id for question in questions},
            one_offs,
            coefficients,
        ),
        site=tariff.site,
        prices=tariff.prices,
        rates=rates,
        strategy=strategy,
        standings=answered.standings(
            np.array([trial.expected_cost for trial in trials]),
            np.array([trial.state == "incomplete" for trial in trials]),
        ),
        tested=None if claimed is None else _tested(claimed, unseen, tests, goal.metric),
    )


def _tested(claimed: Claimed, unseen: Sequence[Question], tests: Sequence[ScoredAnswer], metric: str) -> Tested:
    """The pair's scores on the unseen questions that both have answered, from the first on."""
    pair = (str(claimed.claim["pick"]), str(claimed.claim["reference"]))
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    lost = False
    for scored in tests:
        failure = scored.answer.failure
        lost |= failure is not None and failure.kind == "infrastructure"
        value = next((each.value for each in scored.scores if each.metric == metric), None)
        found[scored.answer.configuration, scored.answer.question].append(np.nan if value is None else value)
    both = list(itertools.takewhile(lambda each: all((one, each.id) in found for one in pair), unseen))
    pick, reference = (np.array([np.mean(found[one, each.id]) for each in both]) for one in pair)
    return Tested(
        pick=pair[0],
        reference=pair[1],
        split=claimed.split,
        alpha=claimed.alpha,
        available=len(unseen),
        pick_scores=pick,
        reference_scores=reference,
        lost=lost,
    )


def _matrix(
    trials: Sequence[Trial],
    questions: Sequence[Question],
    by_configuration: dict[str, list[ScoredAnswer]],
    metrics: Sequence[str],
    tariff: Tariff,
    answered: Answered,
    goal: Goal,
) -> Matrix:
    """Means by question of everything; what the strategy decides on is counted into ``answered``."""
    column = {question.id: number for number, question in enumerate(questions)}
    shape = (len(trials), len(questions))
    sums = {name: np.zeros(shape) for name in (*metrics, *UNITS)}
    counts = np.zeros(shape)
    for row, trial in enumerate(trials):
        for scored in by_configuration[trial.configuration.id]:
            at = row, column[scored.answer.question]
            counts[at] += 1
            values = {score.metric: score.value for score in scored.scores}
            for metric in metrics:
                value = values.get(metric)
                sums[metric][at] += np.nan if value is None else value
            infrastructure = scored.answer.failure is not None and scored.answer.failure.kind == "infrastructure"
            paid = dict.fromkeys(UNITS) if infrastructure else costs(scored.answer, tariff)
            for unit, amount in paid.items():
                sums[unit][at] += np.nan if amount is None else amount
            deciding = paid[goal.minimise]
            answered.add(scored, np.nan if deciding is None else deciding)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = {name: total / counts for name, total in sums.items()}
    return Matrix(
        configurations=tuple(trial.configuration for trial in trials),
        questions=tuple(questions),
        scores={metric: means[metric] for metric in metrics},
        costs={unit: means[unit] for unit in UNITS},
    )


def _figures(
    row: int,
    trial: Trial,
    scored: list[ScoredAnswer],
    matrix: Matrix,
    goal: Goal,
    coefficients: Coefficients,
    one_offs: Sequence[OneOff],
    rates: Mapping[str, ModelRates],
) -> Figures:
    answers = [each.answer for each in scored]
    answered = [answer for answer in answers if answer.failure is None or answer.failure.kind == "model"]
    alone = [(answer, standalone(answer.ledger)) for answer in answered]
    readings = [reading for answer, reading in alone if answer.ledger.stages]
    both = [(answer, reading) for answer, reading in alone if price(reading, coefficients) is not None]
    priced, known = [answer for answer, _ in both], [reading for _, reading in both]
    mean = scale(add(known), 1 / len(known)) if known else None
    joules = None if mean is None else price(mean, coefficients)
    correct = sum(
        1
        for each in scored
        for score in each.scores
        if score.metric == goal.metric and score.value is not None and score.value >= CORRECT_FROM
    )
    built = None if trial.index is None or trial.index.build is None else price(trial.index.build, coefficients)
    load, token = load_of(trial.configuration, one_offs), rates.get(model_label(trial.configuration))
    return Figures(
        configuration=trial.configuration,
        state=trial.state,
        reason=trial.reason,
        answers=len(answers),
        scores={metric: interval(values[row], goal.confidence) for metric, values in matrix.scores.items()},
        tokens_in=_mean_of_known([reading.tokens_in for reading in readings]),
        tokens_out=_mean_of_known([reading.tokens_out for reading in readings]),
        seconds=_latency(answered),
        joules=joules,
        joules_per_correct=None if joules is None or not correct else joules.central * len(readings) / correct,
        correct=correct,
        failures=dict(Counter(answer.failure.code for answer in answers if answer.failure is not None)),
        rebuilt=sum(1 for answer in answers if answer.reused),
        losses=dict(Counter(each.loss for each in scored if each.loss)),
        repeat_deviation=_repeat_deviation(scored, goal.metric),
        index=trial.index,
        index_joules=built,
        elsewhere={} if mean is None else mean.elsewhere,
        known=len(known),
        measured=len(readings),
        uncounted=sum(1 for reading in readings if reading.tokens_in is None or reading.tokens_out is None),
        net_joules=None if mean is None else net(mean, coefficients),
        once_joules=(None if load is None else price(load, coefficients), *([] if trial.index is None else [built])),
        stages=stage_figures(priced, None if token is None else token.cpu_seconds, coefficients),
    )


def winners(comparison: Comparison) -> dict[str, Figures]:
    """The configuration with the best mean of every metric whose best is clear, for a look at whether metrics agree.

    Bounds are left aside, and so are metrics that count.
    """
    found = {}
    for metric in comparison.matrix.scores:
        if _counts(metric):
            continue
        scored = [
            figures
            for figures in comparison.figures
            if figures.scores[metric] is not None and not figures.configuration.is_bound
        ]
        means = [interval.mean for figures in scored if (interval := figures.scores[metric]) is not None]
        if means and means.count(max(means)) == 1:
            found[metric] = scored[means.index(max(means))]
    return found


def _counts(metric: str) -> bool:
    """Whether a metric's values are a count; one of the user's is not imported to ask."""
    name = metric.partition("(")[0]
    return not name.startswith("python:") and bool(registry.unit(name))


def _repeat_deviation(scored: Sequence[ScoredAnswer], metric: str) -> float | None:
    values: defaultdict[str, list[float]] = defaultdict(list)
    for each in scored:
        for score in each.scores:
            if score.metric == metric and score.value is not None:
                values[each.answer.question].append(score.value)
    repeated = [np.var(group, ddof=1) for group in values.values() if len(group) > 1]
    return float(np.sqrt(np.mean(repeated))) if repeated else None


def _latency(answers: Sequence[Answer]) -> Latency | None:
    undisturbed = [answer for answer in answers if answer.undisturbed]
    used = undisturbed if len(undisturbed) >= _ENOUGH_UNDISTURBED else answers
    seconds = [standalone(answer.ledger).seconds for answer in used if answer.ledger.stages]
    if not seconds:
        return None
    p50, p95 = np.quantile(seconds, [0.5, 0.95])
    return Latency(p50=float(p50), p95=float(p95), disturbed=used is answers and len(undisturbed) < len(answers))


def _mean_of_known(values: Sequence[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _known_mean(values: Array) -> float | None:
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if len(kept) else None


def _spent(
    answers: Sequence[Answer], questions: Set[str], one_offs: Sequence[OneOff], coefficients: Coefficients
) -> Spent:
    ledgers = [answer.ledger for answer in answers if answer.ledger.stages]
    readings = [spent(ledger) for ledger in ledgers]
    total = add(readings) if readings else None
    known = [reading for reading in readings if price(reading, coefficients) is not None]
    works: dict[str, list[Reading]] = {}
    for work in one_offs:
        works.setdefault(work.work, []).append(work.reading)
    by_work = {work: add(parts) for work, parts in works.items()}
    one_off = add(list(by_work.values())) if by_work else None
    return Spent(
        answers=len(answers),
        answering=None if total is None else price(total, coefficients),
        answering_known=price(add(known), coefficients) if known else None,
        one_offs=by_work,
        one_off_joules=None if one_off is None else price(one_off, coefficients),
        one_off_per_answer=None
        if one_off is None or not answers
        else price(scale(one_off, 1 / len(answers)), coefficients),
        tokens=0 if total is None else (total.tokens_in or 0) + (total.tokens_out or 0),
        unknown=len(ledgers) - len(known),
        reading=total,
        alone=add(map(standalone, ledgers)) if ledgers else None,
        generated_before=sum(map(generated_before, ledgers)),
        asked=Counter(
            configuration
            for configuration, question in {(each.configuration, each.question) for each in answers}
            if question in questions
        ),
    )
