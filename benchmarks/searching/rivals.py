"""What others do today, each as a small function from a case to what it finds.

They were made to find the best, or a frontier; here each takes the cheapest that is within the margin of the best of those
that answered every question, so that all of them look for the same thing.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from math import ceil

import numpy as np
import optuna

from benchmarks.searching.matrix import Array
from benchmarks.searching.replay import Case, Desk, Found

optuna.logging.set_verbosity(optuna.logging.ERROR)

_RESAMPLES = 1000
_EVERY = 10  # questions between two looks
_FIRST_RANKED = 14  # with fewer, SciPy enumerates the ranks of tied differences, which takes seconds for each look


def grid(case: Case) -> Found:
    """Everything answers everything; the means are taken at their word."""
    desk = Desk(case)
    rows = range(len(case.scores))
    desk.ask(rows, slice(None))
    return desk.found(desk.cheapest_within(rows))


def grid_bootstrap(case: Case) -> Found:
    """Everything answers everything; the cheapest that a paired bootstrap shows within the margin of every other.

    Each comparison at the full level (intersection–union); where none passes, the one with the highest mean.
    """
    desk = Desk(case)
    scores = desk.ask(range(len(case.scores)), slice(None))
    questions = scores.shape[1]
    dice = np.random.default_rng(case.seed)
    counts = dice.multinomial(questions, np.full(questions, 1 / questions), size=_RESAMPLES)
    means = counts @ scores.T / questions
    for row in np.argsort(case.joules.mean(axis=1)):
        if (np.quantile(means[:, row, None] - means, case.alpha, axis=0) >= -case.margin - 1e-12).all():
            return desk.found(int(row), certified=True)
    return desk.found(case.best, certified=False)


def random_share(case: Case, share: float = 0.25) -> Found:
    """A random share of the configurations answers everything."""
    desk = Desk(case)
    dice = np.random.default_rng(case.seed)
    rows = [int(row) for row in dice.permutation(len(case.scores))[: ceil(share * len(case.scores))]]
    desk.ask(rows, slice(None))
    return desk.found(desk.cheapest_within(rows))


def tpe(case: Case, share: float = 0.25) -> Found:
    """Optuna's TPE over the axes, maximising the mean, until a share of the configurations has answered everything."""
    desk, asked = Desk(case), dict[int, float]()
    most = ceil(share * len(case.scores))
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=case.seed))
    for _ in range(10 * most):  # it comes back to what it knows
        trial = study.ask()
        row = _suggested(case, trial)
        if row not in asked:
            asked[row] = float(desk.ask(row, slice(None)).mean())
        study.tell(trial, asked[row])
        if len(asked) == most:
            break
    return desk.found(desk.cheapest_within(list(asked)))


def _suggested(case: Case, trial: optuna.Trial) -> int:
    """The configuration that has most of the suggested axes; an axis that does not matter for it agrees with anything."""
    values: dict[str, dict[str, None]] = {}
    for configuration in case.configurations:
        for axis, value in configuration.axes.items():
            values.setdefault(axis, {})[str(value)] = None
    wanted = {axis: trial.suggest_categorical(axis, list(known)) for axis, known in values.items() if len(known) > 1}
    agree = [
        sum(axis not in each.axes or str(each.axes[axis]) == value for axis, value in wanted.items())
        for each in case.configurations
    ]
    return int(np.argmax(agree))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Study:
    """What the pruner reads of a study; a real one copies its best trial at every look."""

    best_trial: optuna.trial.FrozenTrial
    direction: optuna.study.StudyDirection = optuna.study.StudyDirection.MAXIMIZE


def wilcoxon(case: Case, threshold: float = 0.1) -> Found:
    """Optuna's WilcoxonPruner: in random order, each stops when a signed-rank test says it is worse than the best so far."""
    desk, whole = Desk(case), list[int]()
    questions = case.scores.shape[1]
    dice = np.random.default_rng(case.seed)
    with warnings.catch_warnings(category=optuna.exceptions.ExperimentalWarning, action="ignore"):
        pruner = optuna.pruners.WilcoxonPruner(p_threshold=threshold)
    best, highest = None, -1.0
    for row in map(int, dice.permutation(len(case.scores))):
        for stop in [*range(_FIRST_RANKED, questions, _EVERY), questions]:
            steps = dict(enumerate(desk.ask(row, slice(stop)).tolist()))
            trial = optuna.create_trial(state=optuna.trial.TrialState.RUNNING, intermediate_values=steps)
            if best is not None and stop < questions and pruner.prune(best, trial):  # type: ignore[arg-type]
                break
        else:
            mean = float(case.scores[row].mean())
            if mean > highest:
                highest, best = mean, _Study(best_trial=optuna.create_trial(value=mean, intermediate_values=steps))
            whole.append(row)
    return desk.found(desk.cheapest_within(whole))


def halving(case: Case, eta: int = 3, first: int = 10) -> Found:
    """Successive halving on means by rag-ci's rule: rungs of ten questions, thirty, …, the last two answer everything."""
    desk = Desk(case)
    questions = case.scores.shape[1]
    rows, asked = list(range(len(case.scores))), min(first, questions)
    while len(rows) > 2 and asked * eta <= questions:
        means = desk.ask(rows, slice(asked)).mean(axis=1)
        best = np.argsort(-means, kind="stable")[: max(2, len(rows) // eta)]
        rows, asked = [rows[place] for place in best], asked * eta
    desk.ask(rows, slice(None))
    return desk.found(desk.cheapest_within(rows))


def confidence_boxes(case: Case, warm_up: int = 20, z: float = 1.96) -> Found:
    """syftr's rule: one configuration after another, stopped when the good corner of its box is dominated.

    The corner is the mean score plus its half-width and the mean cost less its own; it is dominated when a configuration
    that answered everything scores at least as much and costs less. Here in random order, in place of its sampler's.
    """
    desk, whole = Desk(case), list[int]()
    questions = case.scores.shape[1]
    dice = np.random.default_rng(case.seed)
    for row in map(int, dice.permutation(len(case.scores))):
        for stop in [*range(warm_up, questions, _EVERY), questions]:
            desk.ask(row, slice(stop))
            high = _mean_and_reach(case.scores[row, :stop], z).sum()
            low = _mean_and_reach(case.joules[row, :stop], -z).sum()
            if stop < questions and any(
                case.scores[other].mean() >= high and case.joules[other].mean() < low for other in whole
            ):
                break
        else:
            whole.append(row)
    return desk.found(desk.cheapest_within(whole))


def _mean_and_reach(values: Array, z: float) -> Array:
    return np.array([values.mean(), z * values.std(ddof=1) / np.sqrt(len(values))])
