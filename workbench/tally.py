"""What a configuration's answers come to: all that reports are made from, kept in the store so that no answer is read twice.

A tally is a pure function of the answers, in the order of questions and repeats, and of the tariff that prices them: one
that was kept and one made anew are the same to the last bit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from workbench import __version__
from workbench.errors import StoreError
from workbench.ledger import add, generated_before, price, spent, standalone
from workbench.rates import generation_of
from workbench.records import Question, Reading, ScoredAnswer, Trial, as_json, digest, plugin_label
from workbench.stats import Array
from workbench.store import KeptTally, RunRecord, Store
from workbench.tariffs import UNITS, Tariff, costs_of

_PLACE = ("question", "repeat")
_STATE = ("lost", "worked", "undisturbed")
_FIGURES = ("seconds", "tokens_in", "tokens_out", "ran_seconds")
_GENERATION = ("generation_in", "generation_out", "generation_cpu_seconds", "generation_seconds")
_COLUMNS = (*_PLACE, *_STATE, *_FIGURES, *_GENERATION, *(f"cost:{unit}" for unit in UNITS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Counts and summed readings of some answers; a reading is ``None`` where there is nothing to sum.

    ``known`` sums the standalone readings that have a price, of answers that infrastructure did not fail, and ``stages`` the
    same by stage; ``generated`` are those generations among them that the engine told no split of, ``rebuilt`` counts
    answers that reused work. ``alone`` and ``spent`` sum all answers with a stage, ``spent_known`` those with a price.
    """

    answers: int
    failures: Mapping[str, int]
    losses: Mapping[str, int]
    rebuilt: int
    generated_before: int
    ledgers: int
    ledgers_known: int
    known: Reading | None
    stages: Mapping[str, Reading]
    generated: tuple[Reading, ...]
    alone: Reading | None
    spent: Reading | None
    spent_known: Reading | None


_SUMS: TypeAdapter[tuple[Sums, Sums]] = TypeAdapter(tuple[Sums, Sums])


@dataclass(frozen=True, kw_only=True)
class Tally:
    """One configuration's answers: a number of each in ``numbers`` of shape (columns, answers), NaN where it is not known,
    and the sums of those to questions that are compared and of those that only test the pick.

    Columns: the question's position in the run and the repeat; whether it was lost to infrastructure, has a stage, was
    undisturbed; standalone seconds and tokens, seconds as it ran; what ``rates.fit`` takes; the
    standalone cost in every unit; the metrics.
    """

    metrics: tuple[str, ...]
    numbers: Array
    asked: Sums
    unseen: Sums

    @cached_property
    def _place(self) -> dict[str, int]:
        return {name: number for number, name in enumerate((*_COLUMNS, *map(_score, self.metrics)))}

    def __getitem__(self, column: str) -> Array:
        return self.numbers[self._place[column]]

    def __len__(self) -> int:
        return int(self.numbers.shape[1])

    def score(self, metric: str) -> Array:
        """The values of a metric by answer."""
        return self[_score(metric)]

    def cost(self, unit: str) -> Array:
        """The standalone cost by answer in a unit of ``UNITS``."""
        return self[f"cost:{unit}"]

    def undisturbed_seconds(self) -> Array:
        """Standalone seconds by answer, NaN where other processes kept the processors busy."""
        return np.where(self["undisturbed"] > 0, self["seconds"], np.nan)

    def positions(self) -> Array:
        """The position of every answer's question in the run."""
        return self["question"].astype(np.intp)

    def generations(self) -> Array:
        """Rows as ``rates.fit`` takes them, with CPU-seconds and seconds in the last two columns."""
        return np.column_stack([self[column] for column in _GENERATION])

    def joined(self, new: Tally) -> Tally:
        """With further answers of the same configuration; sums may differ in the last bits from those made at once."""
        return Tally(
            metrics=self.metrics,
            numbers=np.hstack([self.numbers, new.numbers]),
            asked=_joined(self.asked, new.asked),
            unseen=_joined(self.unseen, new.unseen),
        )

    def among(self, chosen: Array) -> Tally:
        """The same with the numbers of some answers only; the sums stay."""
        return replace(self, numbers=self.numbers[:, chosen])


def tally_of(
    answers: Iterable[ScoredAnswer],
    questions: Sequence[Question],
    split: str | None,
    metrics: Sequence[str],
    tariff: Tariff,
) -> Tally:
    """Add up answers of one configuration, in order, to questions of a run; those that are not of ``split`` only test the pick."""
    places = {question.id: number for number, question in enumerate(questions)}
    compared = frozenset(question.id for question in among(questions, split))
    rows: list[tuple[float, ...]] = []
    adding = (_Adding(), _Adding())
    for scored in answers:
        answer = scored.answer
        worked = bool(answer.ledger.stages)
        lost = answer.failure is not None and answer.failure.kind == "infrastructure"
        alone = standalone(answer.ledger)
        shared = any(cost.standalone is not None for cost in answer.ledger.stages)
        ran = spent(answer.ledger) if shared else alone
        paid = costs_of(alone, tariff) if worked and not lost else dict.fromkeys(UNITS)
        values = {score.metric: score.value for score in scored.scores}
        rows.append(
            (
                places[answer.question],
                answer.repeat,
                lost,
                worked,
                answer.undisturbed,
                alone.seconds if worked else np.nan,
                _number(alone.tokens_in),
                _number(alone.tokens_out),
                ran.seconds if worked else np.nan,
                *generation_of(answer),
                *(_number(paid[unit]) for unit in UNITS),
                *(_number(values.get(metric)) for metric in metrics),
            )
        )
        ran_known = worked and price(ran, tariff.coefficients) is not None
        adding[answer.question not in compared].add(
            scored, alone, ran, known=paid["joules"] is not None, ran_known=ran_known
        )
    width = len(_COLUMNS) + len(metrics)
    numbers = np.array(rows, dtype=np.float64).reshape(len(rows), width).T
    asked, only_tested = (each.sums() for each in adding)
    return Tally(metrics=tuple(metrics), numbers=np.ascontiguousarray(numbers), asked=asked, unseen=only_tested)


def among(questions: Sequence[Question], split: str | None) -> list[Question]:
    """The questions of a split; of all where it is ``None``."""
    return [question for question in questions if split is None or question.split == split]


def total(readings: Iterable[Reading | None]) -> Reading | None:
    """The sum of the readings that are there; ``None`` where none is."""
    known = [reading for reading in readings if reading is not None]
    return add(known) if known else None


def _joined(one: Sums, other: Sums) -> Sums:
    stages = dict.fromkeys([*one.stages, *other.stages])
    found: dict[str, Any] = {
        "failures": Counter(one.failures) + Counter(other.failures),
        "losses": Counter(one.losses) + Counter(other.losses),
        "stages": {stage: total([one.stages.get(stage), other.stages.get(stage)]) for stage in stages},
        "generated": one.generated + other.generated,
    }
    for name in ("known", "alone", "spent", "spent_known"):
        found[name] = total([getattr(one, name), getattr(other, name)])
    for name in ("answers", "rebuilt", "generated_before", "ledgers", "ledgers_known"):
        found[name] = getattr(one, name) + getattr(other, name)
    return Sums(**found)


class _Adding:
    """Sums in the making."""

    def __init__(self) -> None:
        self._answers: list[ScoredAnswer] = []
        self._readings: dict[str, list[Reading]] = {"known": [], "alone": [], "spent": [], "spent_known": []}
        self._stages: dict[str, list[Reading]] = {}
        self._before = 0

    def add(self, scored: ScoredAnswer, alone: Reading, ran: Reading, *, known: bool, ran_known: bool) -> None:
        """One more answer."""
        self._answers.append(scored)
        ledger = scored.answer.ledger
        if known:
            self._readings["known"].append(alone)
            for cost in ledger.stages:
                self._stages.setdefault(cost.stage, []).append(cost.standalone or cost.reading)
        if not ledger.stages:
            return
        self._readings["alone"].append(alone)
        self._readings["spent"].append(ran)
        if ran_known:
            self._readings["spent_known"].append(ran)
        self._before += generated_before(ledger)

    def sums(self) -> Sums:
        """What they come to."""
        generated = self._stages.pop("generate", [])
        failures = (each.answer.failure for each in self._answers)
        return Sums(
            answers=len(self._answers),
            failures=Counter(failure.code for failure in failures if failure is not None),
            losses=Counter(each.loss for each in self._answers if each.loss),
            rebuilt=sum(1 for each in self._answers if each.answer.reused),
            generated_before=self._before,
            ledgers=len(self._readings["spent"]),
            ledgers_known=len(self._readings["spent_known"]),
            stages={stage: add(parts) for stage, parts in self._stages.items()},
            generated=tuple(generated),
            **{name: total(parts) for name, parts in self._readings.items()},
        )


def tallies(
    store: Store,
    record: RunRecord,
    trials: Sequence[Trial],
    questions: Sequence[Question],
    split: str | None,
    tariff: Tariff,
    *,
    anew: bool = False,
) -> list[Tally]:
    """The tally of every trial; what was kept is used where no answer was written since, and what is made is kept.

    The questions are all of the run, those of ``split`` only test the pick. With ``anew`` nothing that was kept is used.
    """
    metrics = [plugin_label(choice) for choice in record.experiment["metrics"]]
    terms = digest(as_json([__version__, _COLUMNS, metrics, split, tariff]))
    stands = store.stands(record.id)  # before the answers: what is written meanwhile shows in the next ones
    kept = {} if anew else store.tallies(record.id, terms)
    found = []
    for trial in trials:
        configuration = trial.configuration.id
        known = kept.get(configuration)
        if known is not None and known.stand == stands[configuration]:
            with suppress(ValueError):  # what cannot be read is made anew
                found.append(_read(known, metrics))
                continue
        answers = store.answers(record.id, configuration=configuration, figures_only=True)
        tally = tally_of(answers, questions, split, metrics, tariff)
        found.append(tally)
        if not anew:
            with suppress(StoreError):  # a store that cannot be written can still be read
                store.keep_tally(record.id, terms, _written(tally, configuration, stands[configuration]))
    return found


def _written(tally: Tally, configuration: str, stand: int) -> KeptTally:
    sums = _SUMS.dump_json((tally.asked, tally.unseen)).decode()
    return KeptTally(configuration=configuration, stand=stand, numbers=tally.numbers.tobytes(), sums=sums)


def _read(kept: KeptTally, metrics: Sequence[str]) -> Tally:
    asked, unseen = _SUMS.validate_json(kept.sums)
    numbers = np.frombuffer(kept.numbers, dtype=np.float64).reshape(len(_COLUMNS) + len(metrics), -1)
    return Tally(metrics=tuple(metrics), numbers=numbers, asked=asked, unseen=unseen)


def _score(metric: str) -> str:
    return f"score:{metric}"


def _number(value: float | None) -> float:
    return np.nan if value is None else value
