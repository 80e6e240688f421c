"""The certificate: everything a recommendation states, as data that anybody can recompute from the run's answers.

Nothing in it depends on when, where or by whom it is written: the same store gives the same bytes. Figures are kept to nine
significant digits, so that the last bits of a processor's arithmetic do not matter.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from workbench.comparison import Comparison, Figures
from workbench.errors import InputError
from workbench.recommendation import choose, sentences
from workbench.records import Configuration, Energy, as_json, digest
from workbench.reports import compare
from workbench.search_footprint import Amount, payback, search_footprint, search_sentences
from workbench.specification import Goal
from workbench.stats import RESAMPLES, Interval
from workbench.store import AT_WORK, RunRecord, Store
from workbench.verdict import Claim, Recommendation

FORMAT = 1
"""The version of the certificate's schema."""

_DIGITS = 9
_NOT_MACHINE = ("coefficients", "corpus", "evalset", "judges", "repriced_from")  # these have places of their own


def certify(
    run: str = "latest", goal: Goal | None = None, *, store: Store | None = None, anew: bool = False
) -> dict[str, Any]:
    """The certificate of a run's recommendation as plain data, for the declared goal or another (then exploratory).

    With ``anew`` it is made from the answers themselves, whatever the store has kept of what they come to.
    """
    store = store or Store(create=False)
    comparison = compare(run, store=store, anew=anew)
    return certificate(choose(comparison, goal), comparison, store)


def certificate(recommendation: Recommendation, comparison: Comparison, store: Store) -> dict[str, Any]:
    """The certificate of a recommendation that was made from this comparison of a run in the store.

    Raises ``InputError`` while the run is running: what it states would be out of date before it is read.
    """
    record = store.get(recommendation.run)
    if record.state in AT_WORK:
        raise InputError(
            f"run {record.name!r} is {record.state}; a certificate is of a run that has ended, or was stopped"
        )
    found = {
        "certificate": FORMAT,
        "run": record.name,
        "state": record.state,
        "goal": _goal(recommendation, comparison),
        "verdict": recommendation.verdict,
        "summary": sentences(recommendation),
        "level": recommendation.level,
        "claims": [_claim(claim, recommendation) for claim in recommendation.claims],
        "chosen": _setup(recommendation.chosen, comparison),
        "reference": _setup(recommendation.reference, comparison),
        "proven": _name(recommendation.proven),
        "ties": [_named(each) for each in recommendation.ties],
        "difference": _interval(recommendation.difference, f"{recommendation.goal.metric}, chosen − reference"),
        "savings": {
            unit: _interval(ratio, f"{unit} per answer, chosen ÷ reference")
            for unit, ratio in recommendation.savings.items()
        },
        "questions": _questions(recommendation, record),
        "splits_used": _splits_used(record, store),
        "rejections": [
            {**_named(each.configuration), "reason": each.reason, "open": each.open}
            for each in recommendation.rejections
        ],
        "nearest_miss": recommendation.nearest_miss,
        "search": _search(recommendation, comparison),
        "seeds": {"run": record.experiment["seed"], "bootstrap": 0, "bootstrap_resamples": RESAMPLES},
        "digests": _digests(recommendation, record, store),
        "versions": {key: value for key, value in record.environment.items() if key not in _NOT_MACHINE},
        "coefficients": record.environment["coefficients"],
        "repriced": len(record.environment.get("repriced_from", [])),
    }
    plain: dict[str, Any] = _rounded(json.loads(as_json(found)))
    return plain


def certificate_text(content: Mapping[str, Any]) -> str:
    """A certificate as the text of its file."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def goal_words(goal: Mapping[str, Any]) -> str:
    """A goal in one sentence."""
    limits = "".join(f", {name.replace('_', ' ')} at most {bound:g}" for name, bound in goal["limits"].items())
    floor = "" if goal["floor"] is None else f", {goal['metric']} at least {goal['floor']:g}"
    whom = "the best" if goal["reference"] == "best" else f"configuration {goal['reference']}"
    return (
        f"The fewest {goal['minimise']} per answer with {goal['metric']} at most {goal['margin']:g} below {whom}"
        f"{floor}{limits}, at {goal['confidence']:.0%} confidence."
    )


def _goal(recommendation: Recommendation, comparison: Comparison) -> dict[str, Any]:
    judged = recommendation.goal.model_dump(mode="json")
    return {
        "declared": comparison.goal.model_dump(mode="json"),
        "judged": judged,
        "exploratory": recommendation.exploratory,
        "words": goal_words(judged),
    }


def _claim(claim: Claim, recommendation: Recommendation) -> dict[str, Any]:
    return {
        "about": claim.about,
        "against": claim.against,
        "statement": claim.statement,
        "alpha": claim.alpha,
        "shown": claim.shown,
        "reference": _name(claim.reference),
        "difference": _interval(claim.difference, recommendation.goal.metric),
        "questions_used": claim.questions,
        "questions_available": claim.available,
    }


def _questions(recommendation: Recommendation, record: RunRecord) -> dict[str, Any]:
    return {
        "asked": recommendation.questions,
        "split": record.experiment["questions"]["split"],
        "in_the_eval_set": record.environment["evalset"].get("questions"),
        "needed_in_all": recommendation.questions_needed,
    }


def _splits_used(record: RunRecord, store: Store) -> list[dict[str, Any]]:
    """What the confirming split had been used for when this run last used it, each claim with the error spent on it."""
    wanted = record.experiment.get("confirm")
    if not wanted:
        return []
    claimed = store.claims(record.environment["evalset"]["digest"], wanted["split"])
    last = max((number for number, each in enumerate(claimed, start=1) if each.run == record.name), default=0)
    return [
        {"split": wanted["split"], "run": each.run, "claim": each.claim, "alpha": each.alpha} for each in claimed[:last]
    ]


def _named(configuration: Configuration) -> dict[str, str]:
    return {"id": configuration.id, "label": configuration.label}


def _name(configuration: Configuration | None) -> dict[str, str] | None:
    return None if configuration is None else _named(configuration)


def _setup(configuration: Configuration | None, comparison: Comparison) -> dict[str, Any] | None:
    if configuration is None:
        return None
    return {
        **_named(configuration),
        "axes": dict(configuration.axes),
        "fingerprints": dict(configuration.fingerprints),
        "measured": _measured(comparison.of(configuration.id)),
    }


def _measured(figures: Figures) -> dict[str, Any]:
    latency = figures.seconds
    return {
        "answers": figures.answers,
        "correct_answers": figures.correct,
        "scores": {metric: _interval(found, metric) for metric, found in figures.scores.items()},
        "tokens_in_per_answer": figures.tokens_in,
        "tokens_out_per_answer": figures.tokens_out,
        "seconds_per_answer": None
        if latency is None
        else {"p50": latency.p50, "p95": latency.p95, "disturbed": latency.disturbed},
        "joules_per_answer": _energy(figures.joules),
        "joules_per_correct_answer": figures.joules_per_correct,
        "failures": dict(sorted(figures.failures.items())),
    }


def _search(recommendation: Recommendation, comparison: Comparison) -> dict[str, Any]:
    """What the search itself took and spared, and after how many answers the choice has paid for it."""
    found = search_footprint(comparison)
    unit = comparison.goal.minimise
    back = payback(comparison, recommendation.chosen, recommendation.reference, unit)
    one_offs = comparison.spent.one_offs
    return {
        "words": search_sentences(comparison, recommendation),
        "spent": _amount(found.spent),
        "saved_by_sharing": _amount(found.shared),
        "saved_by_stopping_early": _amount(found.stopped),
        "answers_of_unknown_cost": found.unknown,
        "one_off_cpu_seconds": {work: reading.cpu_seconds for work, reading in sorted(one_offs.items())},
        "paid_back": {"in": unit, "after_answers": back.answers and back.answers._asdict(), "why_not": back.reason},
    }


def _amount(amount: Amount) -> dict[str, Any]:
    return {
        "joules": _energy(amount.joules),
        "seconds": amount.seconds._asdict(),
        "answers": amount.answers,
        "tokens": None if amount.tokens is None else amount.tokens._asdict(),
    }


def _digests(recommendation: Recommendation, record: RunRecord, store: Store) -> dict[str, Any]:
    """What was judged, each by its content; from ``configurations`` to ``answers`` it is of all that the run holds."""
    environment = record.environment
    answers = (digest(as_json(scored)) for scored in store.answers(record.id, texts=False))
    return {
        "goal": _digest_of(recommendation.goal.model_dump(mode="json")),
        "experiment": _digest_of(record.experiment),
        "corpus": environment["corpus"],
        "evalset": environment["evalset"],
        "judges": environment.get("judges", {}).get("digest"),
        "configurations": digest(*(as_json(trial) for trial in store.trials(record.id))),
        "questions": digest(*(as_json(question) for question in store.questions(record.id))),
        "one_off_work": digest(*(as_json(work) for work in store.one_offs(record.id))),
        "answers": digest(*sorted(answers)),  # databases differ in how they order texts
        "coefficients": _digest_of(environment["coefficients"]),
    }


def _digest_of(content: Any) -> str:
    return digest(json.dumps(json.loads(as_json(content)), sort_keys=True, ensure_ascii=False))


def _interval(found: Interval | None, unit: str) -> dict[str, Any] | None:
    return (
        None
        if found is None
        else {"mean": found.mean, "low": found.low, "high": found.high, "questions": found.n, "unit": unit}
    )


def _energy(energy: Energy | None) -> dict[str, Any] | None:
    return (
        None
        if energy is None
        else {
            "low": energy.low,
            "central": energy.central,
            "high": energy.high,
            "known_by": energy.source,
            "includes": energy.includes,
        }
    )


def _rounded(value: Any) -> Any:
    """Plain data with every figure to nine significant digits, and ``None`` for what is not a finite number."""
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value
