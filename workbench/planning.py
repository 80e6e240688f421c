"""Planning: what an experiment will take, before anything is spent, from a few questions made ready and a few answers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.calibration import ModelRates, Took
from workbench.coefficients import coefficients, with_hosted
from workbench.errors import InputError
from workbench.expected import expected_costs
from workbench.footprint import Estimate
from workbench.foresight import decidable, warnings
from workbench.grids import Site
from workbench.hosted import of_choices
from workbench.impacts import site_of
from workbench.library import load_corpus, load_evalset
from workbench.plans import RACED, ModelPlan, OneAnswer, Plan, Preparation, Work
from workbench.power import race
from workbench.prices import price
from workbench.racing import settings, terms
from workbench.records import Coefficients, Configuration, Energy, PluginChoice, plugin_label, plugin_name
from workbench.selection import choose_questions, unseen_questions, with_reference
from workbench.space import points
from workbench.specification import Experiment, read_experiment
from workbench.tryout import Tryout
from workbench.workload import PerAnswer, per_answer, runs_elsewhere, work

_CONFIRMED = 2  # configurations that answer the test split: the pick and its reference
_KEPT = 1_000  # configurations, up to which a plan tells what an answer of each takes: it is read with its run

Array = NDArray[np.float64]


def plan(
    experiment: Experiment | Mapping[str, Any] | str | Path,
    *,
    calibrate: bool = True,
    report: Callable[[str], None] = lambda doing: None,
) -> Plan:
    """What an experiment will take, before anything is spent: work with ranges, what its questions can decide, warnings.

    A few questions are made ready as the run would do it, to count tokens; with ``calibrate`` the models that run here are
    loaded and answer some of them (seconds to a minute for each), otherwise seconds and joules are not estimated.
    ``report`` hears what it is about. Raises what ``run`` would for input that cannot be used.
    """
    started = time.perf_counter()
    if not isinstance(experiment, Experiment):
        experiment = read_experiment(experiment)
    corpus = load_corpus(experiment.corpus)
    evalset = load_evalset(experiment.evalset, corpus, seed=experiment.seed)
    questions = choose_questions(evalset, experiment.questions, experiment.seed)
    found = points(experiment.space)
    if not found.configurations:
        raise InputError(f"the space has no possible configuration: {'; '.join(found.impossible) or 'it is empty'}")
    configurations, goal = with_reference(found.configurations, experiment.goal)
    content = experiment.model_dump(mode="json")
    known = with_hosted(coefficients(), *of_choices(content))
    tryout = Tryout(experiment, corpus, evalset, questions, timed=calibrate, report=report)
    with closing(tryout):
        report("making prompts ready")
        sizes = tryout.lengths(configurations)
        rates = tryout.rates(configurations, sizes)
        finding = tryout.finding(configurations, rates)
        each = per_answer(
            configurations,
            sizes,
            rates=rates,
            finding=finding,
            coefficients=known,
            prices={name: price(name) for name in (*known.hosted, *known.not_estimated)},
            answers=len(questions),
        )
        preparations = [_preparation(*done, known) for done in tryout.preparations(configurations)]
    site = site_of(content["region"])
    repeats = np.array([each.repeats(experiment.repeats) for each in configurations], dtype=np.float64)
    repeats[list(sizes.refused)] = 0.0
    grid = work(each, np.full((3, 1), float(len(questions))) * repeats, known, site)
    agreed = terms(goal, configurations, **(settings(experiment.strategy) or {}))
    asked = race(expected_costs(configurations, goal.minimise), len(questions), agreed, seed=experiment.seed)
    raced = work(each, asked * repeats, known, site)
    test = len(unseen_questions(evalset, experiment.model_copy(update={"strategy": RACED})))  # others are not confirmed
    claims = decidable(agreed, len(configurations), len(questions), test)
    strategy = plugin_name(experiment.strategy)
    return Plan(
        experiment=experiment.name,
        strategy=strategy,
        level=agreed.level,
        minimise=goal.minimise,
        margin=goal.margin,
        confidence=goal.confidence,
        combinations=found.product,
        configurations=len(configurations),
        merged=found.merged,
        impossible=found.impossible,
        refused=Counter(sizes.refused.values()),
        questions=len(questions),
        test_questions=test,
        repeats=experiment.repeats,
        grid=grid,
        race=raced,
        confirmation=_confirmation(each, repeats, test, known, site) if test else None,
        preparations=tuple(preparations),
        models=tuple(_models(configurations, each, rates, known, calibrate=calibrate)),
        decidable=claims,
        warnings=warnings(
            experiment,
            configurations,
            sizes.longest,
            claims,
            raced if strategy == RACED else grid,
            len(questions),
            known.not_estimated,
        ),
        notes=(*sizes.notes, *tryout.notes),
        region=site.region.name,
        calibrated=calibrate,
        planning_seconds=time.perf_counter() - started,
        one_answer=_one_answer(configurations, each) if len(configurations) <= _KEPT else {},
    )


def _preparation(done: str, what: str, took: Took, known: Coefficients) -> Preparation:
    return Preparation(
        work=done,
        what=what,
        seconds=_estimate(took.seconds),
        joules=_estimate(took.cpu_seconds * np.array(known.watts_per_busy_vcpu)),
    )


def _estimate(values: Array) -> Estimate | None:
    return None if np.isnan(values).any() else Estimate(*map(float, values))


def _one_answer(configurations: Sequence[Configuration], each: PerAnswer) -> dict[str, OneAnswer]:
    tokens = each.tokens_in + each.tokens_out
    return {
        configuration.id: OneAnswer(
            tokens=Estimate(*map(float, tokens[row])),
            seconds=_estimate(each.seconds[row]),
            joules=_estimate(each.joules[row]),
        )
        for row, configuration in enumerate(configurations)
    }


def _confirmation(each: PerAnswer, repeats: Array, questions: int, known: Coefficients, site: Site | None) -> Work:
    """The test split for a pick and its reference, whichever they are: from the cheapest configurations to the dearest."""
    size = each.tokens_in[:, 1] + each.tokens_out[:, 1]
    alive = np.flatnonzero(repeats > 0)
    order = alive[np.argsort(size[alive], kind="stable")]
    chosen = (order[:1], order[[len(order) // 2]], order[-1:])
    parts = []
    for rows in chosen:
        counts = np.zeros((3, len(repeats)))
        counts[:, rows] = questions * _CONFIRMED * repeats[rows]
        parts.append(work(each, counts, known, site))
    low, central, high = parts
    joules = _across(*(None if part.joules is None else Estimate(*_levels(part.joules)) for part in parts))
    return replace(
        central,
        tokens_in=_across(low.tokens_in, central.tokens_in, high.tokens_in) or central.tokens_in,
        tokens_out=_across(low.tokens_out, central.tokens_out, high.tokens_out) or central.tokens_out,
        seconds=_across(low.seconds, central.seconds, high.seconds),
        joules=None
        if joules is None or central.joules is None
        else replace(central.joules, low=joules.low, high=joules.high),
        grams_co2e=_across(low.grams_co2e, central.grams_co2e, high.grams_co2e),
        dollars=_across(low.dollars, central.dollars, high.dollars),
    )


def _levels(energy: Energy) -> tuple[float, float, float]:
    return energy.low, energy.central, energy.high


def _across(*parts: Estimate | None) -> Estimate | None:
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    return Estimate(min(part.low for part in known), known[1].central, max(part.high for part in known))


def _models(
    configurations: Sequence[Configuration],
    each: PerAnswer,
    rates: Mapping[str, ModelRates],
    known: Coefficients,
    *,
    calibrate: bool,
) -> list[ModelPlan]:
    rows: dict[str, list[int]] = {}
    choices: dict[str, PluginChoice] = {}
    for row, configuration in enumerate(configurations):
        label = plugin_label(configuration["model"])
        rows.setdefault(label, []).append(row)
        choices.setdefault(label, configuration["model"])
    found = []
    for label, own in rows.items():
        bought = bool(each.bought[own].any())
        found.append(
            ModelPlan(
                model=label,
                configurations=len(own),
                tokens_in=Estimate(*map(float, each.tokens_in[own].mean(axis=0))),
                tokens_out=Estimate(*map(float, each.tokens_out[own].mean(axis=0))),
                seconds=_estimate(each.seconds[own].mean(axis=0)),
                joules=_estimate(each.joules[own].mean(axis=0)),
                dollars=_estimate(each.dollars[own].mean(axis=0)) if bought else None,
                known=_known(choices[label], rates.get(label), known, calibrate=calibrate),
            )
        )
    return found


def _known(choice: PluginChoice, timed: ModelRates | None, known: Coefficients, *, calibrate: bool) -> str:
    """How a model's seconds and joules are known, in words."""
    if plugin_name(choice) != "none" and runs_elsewhere(choice):
        why = [reason for name, reason in known.not_estimated.items() if name.startswith(plugin_name(choice))]
        return f"seconds are not known before it is asked; joules {why[0] if why else 'by its size'}"
    if not calibrate:
        return "nothing was timed"
    if plugin_name(choice) == "none":
        return "searches timed here"
    return "" if timed is None else timed.lacking or f"{timed.answers} answers timed here"
