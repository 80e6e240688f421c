"""Optuna's tree-structured Parzen estimator over the axes of the distinct configurations."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner, WilcoxonPruner
from optuna.trial import Trial, TrialState

from workbench.contracts import Round, Standings
from workbench.registry import require
from workbench.strategies._axes import Axes
from workbench.strategies._standings import check_count, check_share, contenders, last_round, left, mean, refuse, shown

if TYPE_CHECKING:
    from workbench.specification import Goal

Pruner = Literal["none", "median", "wilcoxon", "halving"]
Objectives = Literal["score", "both"]

_ETA = 3  # halving keeps a third, as the strategy of that name


@dataclass(slots=True)
class _Tried:
    """A configuration's trial: how many questions it has reported, and what its scores and costs were there.

    ``ended`` trials are told to the study; ``lost`` ones ended because their configuration was closed.
    """

    row: int
    trial: Trial
    reported: int = 0
    told: bytes = b""
    ended: bool = False
    lost: bool = False

    def holds(self, standings: Standings) -> bool:
        """Whether it would go the same way with these standings."""
        return self.told == _told(standings, self.row, self.reported) and (not self.lost or standings.closed[self.row])


@dataclass(slots=True, kw_only=True)
class _Replay:
    """The study as far as it has come: a cache, thrown away when what it was made from has changed."""

    key: tuple[object, ...]
    axes: Axes
    study: optuna.Study
    candidates: list[int]
    tried: list[_Tried] = field(default_factory=list)
    out: dict[int, str] = field(default_factory=dict)


class Tpe:
    """One trial after another, each a configuration on the questions in steps.

    The whole study is a function of what is stored and of the seed: the trials are told again in the order in which the
    sampler chose them, so that a resumed search goes on as if it had not been stopped. What the sampler wishes for is
    taken as the nearest configuration that was not tried yet.
    """

    def __init__(self, pruner: Pruner, objectives: Objectives, share: float, step_questions: int) -> None:
        self._pruner = pruner
        self._objectives = objectives
        self._share = share
        self._step = step_questions
        self._replay: _Replay | None = None

    def propose(self, standings: Standings, goal: Goal, seed: int) -> Round | None:
        """The cells that the running trial lacks for its next step; the pruned ones are out."""
        replay = self._current(standings, seed)
        wanted = math.ceil(self._share * len(contenders(standings)))
        while True:
            if not replay.tried or replay.tried[-1].ended:
                if len(replay.tried) >= wanted:
                    return last_round(standings)
                replay.tried.append(self._next(replay, standings))
            tried = replay.tried[-1]
            if cells := self._advance(replay, standings, tried):
                label = standings.configurations[tried.row].label
                asked = f"questions {cells[0][1] + 1} to {cells[-1][1] + 1}"
                said = f"trial {len(replay.tried)} of {wanted}: {label}, {asked}"
                return Round(cells=cells, out=dict(replay.out), said=said)

    # ------------------------------------------------------------------------------------------------------- study

    def _current(self, standings: Standings, seed: int) -> _Replay:
        """The study that fits these standings: the one kept, or a new one."""
        order = np.argsort(standings.expected_costs, kind="stable")
        key = (seed, standings.answered.shape, order.tobytes(), tuple(each.id for each in standings.configurations))
        kept = self._replay
        if kept is None or kept.key != key or not all(tried.holds(standings) for tried in kept.tried):
            axes = Axes(standings.configurations)
            kept = _Replay(key=key, axes=axes, study=self._study(seed), candidates=contenders(standings))
        self._replay = kept
        return kept

    def _study(self, seed: int) -> optuna.Study:
        sampler = optuna.samplers.TPESampler(seed=seed % 2**32)
        if self._objectives == "both":
            return optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
        return optuna.create_study(direction="maximize", sampler=sampler, pruner=self._made_pruner())

    def _made_pruner(self) -> BasePruner:
        if self._pruner == "median":
            return MedianPruner()
        if self._pruner == "halving":
            return SuccessiveHalvingPruner(min_resource=self._step, reduction_factor=_ETA)
        if self._pruner == "wilcoxon":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                return WilcoxonPruner()
        return NopPruner()

    def _next(self, replay: _Replay, standings: Standings) -> _Tried:
        """Ask the sampler for a point, and begin the trial of the nearest configuration that was not tried yet."""
        axes = replay.axes
        distributions = {axis: _distribution(axes, axis) for axis in axes.sizes}
        wish = replay.study.ask(distributions)
        distances = axes.distances(wish.params)
        replay.study.tell(wish, state=TrialState.FAIL)  # a wish is no trial; failed ones teach the sampler nothing
        row = min(replay.candidates, key=lambda row: (distances[row], standings.expected_costs[row], row))
        replay.candidates.remove(row)
        point = axes.of(row)
        replay.study.enqueue_trial(dict(point))
        return _Tried(row, replay.study.ask({axis: distributions[axis] for axis in point}))

    def _advance(self, replay: _Replay, standings: Standings, tried: _Tried) -> list[tuple[int, int]]:
        """The cells that a trial lacks for its next step; without any it is told to the study and has ended."""
        row, total = tried.row, standings.answered.shape[1]
        pruned = False
        while tried.reported < total and not pruned:
            until = min(tried.reported + self._step, total)
            if cells := left(standings, row, range(tried.reported, until)):
                return cells
            if not standings.answered[row, tried.reported : until].all():
                tried.lost = True
                break
            if self._objectives == "score":
                self._report(tried, standings.scores[row], until)
                pruned = self._prunes(tried.trial) and until < total
            tried.reported = until
            tried.told = _told(standings, row, until)
        if pruned:
            value = shown(mean(standings.scores[row, : tried.reported]))
            replay.out[row] = f"tpe: pruned ({self._pruner}) after {tried.reported} questions with {value}"
        self._tell(replay.study, standings, tried, pruned)
        tried.ended = True
        return []

    def _report(self, tried: _Tried, scores: NDArray[np.float64], until: int) -> None:
        """What the pruner looks at: each score for the paired test, else the mean so far."""
        if self._pruner == "wilcoxon":
            for column in range(tried.reported, until):
                if not np.isnan(scores[column]):
                    tried.trial.report(float(scores[column]), column)
        elif not np.isnan(value := mean(scores[:until])):
            tried.trial.report(value, until)

    def _prunes(self, trial: Trial) -> bool:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the best one lacks a question's score is no news here
            return trial.should_prune()

    def _tell(self, study: optuna.Study, standings: Standings, tried: _Tried, pruned: bool) -> None:
        values = [mean(standings.scores[tried.row, : tried.reported])]
        if self._objectives == "both":
            values.append(mean(standings.costs[tried.row, : tried.reported]))
        if any(map(math.isnan, values)):
            study.tell(tried.trial, state=TrialState.FAIL)  # nothing to learn from
        elif pruned and self._pruner != "wilcoxon":
            study.tell(tried.trial, state=TrialState.PRUNED)
        else:  # after the paired test the mean so far is the best guess, where the last single score would be noise
            study.tell(tried.trial, values)


def _distribution(axes: Axes, axis: str) -> BaseDistribution:
    size = axes.sizes[axis]
    return IntDistribution(0, size - 1) if axes.ordered[axis] else CategoricalDistribution(range(size))


def _told(standings: Standings, row: int, reported: int) -> bytes:
    """What decided a trial so far: its scores and costs on the questions that it has reported."""
    return standings.scores[row, :reported].tobytes() + standings.costs[row, :reported].tobytes()


def build(
    *, pruner: Pruner = "none", objectives: Objectives = "score", share: float = 0.2, step_questions: int = 10
) -> Tpe:
    """Optuna's TPE tries a share of the configurations, the likeliest to be good first, with a pruner if wanted."""
    problems = [*check_share("tpe", share), *check_count("tpe", "step_questions", step_questions, 1)]
    if objectives == "both" and pruner != "none":
        problems.append(
            f"tpe: pruner is {pruner!r}; with objectives: both Optuna prunes nothing, so write pruner: none"
        )
    refuse(problems)
    if pruner == "wilcoxon":
        require("scipy", "pruner wilcoxon")
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # its log goes to standard error, which is for our progress
    return Tpe(pruner, objectives, share, step_questions)
