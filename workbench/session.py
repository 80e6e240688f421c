"""One process's part of a run: propose a round → have it answered → score → store.

Resumable, because every decision is a function of what is stored.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from workbench.answered import Answered
from workbench.booking import Recorder
from workbench.confirmation import confirm, contenders, level_left
from workbench.contracts import Meter, Metric, Standings, Strategy, Workers
from workbench.control import Control
from workbench.errors import InputError
from workbench.ledger import add, spent
from workbench.losses import place_of_loss
from workbench.ordering import in_blocks
from workbench.pipeline import Task
from workbench.races import replayed
from workbench.racing import RaceState, settings, terms
from workbench.records import (
    CORRECT_FROM,
    HARNESS,
    Answer,
    Configuration,
    OneOff,
    Question,
    Reading,
    Score,
    ScoredAnswer,
)
from workbench.specification import Experiment
from workbench.store import RunRecord, Store
from workbench.tariffs import cost, of_environment

_FLUSH_SECONDS = 0.5
_FLUSH_ANSWERS = 500
_REFUSED = "cannot run here:"
_STOPPED = "stopped after"  # how the reason of a trial begins that is not asked any further
_FAILURES_IN_A_ROW = 10  # identical infrastructure failures that stop a trial
_CONFIRMED_AT_ONCE = 10  # questions that a pick and its reference answer before one looks


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a run stands; ``done`` counts stored answers only."""

    done: int
    total: int
    configuration: str
    joules: float | None
    tokens: int
    failures: int
    doing: str = ""


class Session:
    """One process's part of a run; ``workers`` must be set before the first answer is asked for."""

    workers: Workers

    def __init__(
        self,
        store: Store,
        record: RunRecord,
        experiment: Experiment,
        configurations: Sequence[Configuration],
        questions: Sequence[Question],
        unseen: Sequence[Question],
        metrics: Mapping[str, Metric],
        texts: Mapping[str, str],
        meter: Meter,
        progress: Callable[[Progress], None],
        stop: Callable[[], bool],
    ) -> None:
        self._store = store
        self._run = record
        self._run_id = record.id
        self._experiment = experiment
        self._configurations = configurations
        self._questions = questions
        self._unseen = unseen
        self._by_id = {configuration.id: configuration for configuration in configurations}
        self._known_questions = {question.id: question for question in (*questions, *unseen)}
        self._metrics = metrics
        self._texts = texts
        self._meter = meter
        self._judged: dict[str, list[Reading]] = {}
        self._progress = progress
        self._tariff = of_environment(record.environment)
        self._coefficients = self._tariff.coefficients
        self._clock: Callable[[], float] = getattr(meter, "cpu_seconds", time.process_time)
        self._cpu = self._clock()
        one_offs = store.one_offs(record.id)
        self._one_offs_before = len(one_offs)
        self._current = ""
        self._buffer: list[ScoredAnswer] = []
        self._flushed = time.monotonic()
        self._metered = 0.0
        metric, repeats = experiment.goal.metric, experiment.repeats
        self._answered = Answered(configurations, questions, metric=metric, repeats=repeats)
        self._confirmed = Answered(configurations, unseen, metric=metric, repeats=repeats)
        self._total_answers = self._answered.total
        self._control = Control(
            store,
            record,
            self._coefficients,
            seconds_before=sum(work.reading.seconds for work in one_offs if work.work == HARNESS),
            stop=stop,
            settle=self._settle,
            report=self.report,
        )
        before = [work.reading for work in one_offs]
        for scored in store.answers(record.id, texts=False):
            self._count_in(scored)
            before.append(spent(scored.answer.ledger))
        self._done = self._done_before = self._answered.held + self._confirmed.held
        self._control.spend(before, calls=self._done)
        self._failures = Counter({"failed": sum(1 for kind in store.answered(record.id).values() if kind)})
        self._in_a_row: dict[str, tuple[str, int]] = {}
        self._refused: dict[str, str] = {}
        self._raced: RaceState | None = None  # known once nothing is left to ask
        self._indexed: set[str] = set()
        trials = {trial.configuration.id: trial for trial in store.trials(record.id)}
        self._closed = {identifier for identifier, trial in trials.items() if trial.reason.startswith(_STOPPED)}
        self._out = {identifier: trial.reason for identifier, trial in trials.items() if trial.state == "eliminated"}
        self._expected_costs = np.array([trials[configuration.id].expected_cost for configuration in configurations])

    @property
    def total(self) -> int:
        """Answers there will be at most."""
        return self._total_answers

    @property
    def done(self) -> int:
        """Answers stored."""
        return self._done

    # ------------------------------------------------------------------------------------------------------- loop

    def work_through(self, strategy: Strategy) -> str:
        """Round after round until nothing is left to ask; returns why it stopped early, or an empty string."""
        self.report("starting")
        for number in itertools.count():
            wanted = strategy.propose(self._standings(), self._experiment.goal, self._experiment.seed)
            if wanted is None:
                break
            self.report(wanted.said)
            self._note_who_is_out(wanted.out)
            for block in in_blocks(self._configurations, wanted.cells, reverse=number % 2 == 1):
                cells = [(self._configurations[row], self._questions[column]) for row, column in block]
                if reason := self._control.why_stop() or self._ask(cells):
                    return reason
        self.flush()
        self._raced = self._replayed()
        if self._raced is not None:
            self._note_who_is_out(self._raced.out)  # the last answers may have put some out, or brought one back
        self._close_trials()
        if self._refused and len(self._refused) == len(self._configurations):
            raise InputError(f"no configuration can run: {'; '.join(dict.fromkeys(self._refused.values()))}")
        return ""

    def _note_who_is_out(self, out: Mapping[int, str]) -> None:
        for row, configuration in enumerate(self._configurations):
            reason = out.get(row, "")
            if reason != self._out.get(configuration.id, ""):
                self._out[configuration.id] = reason
                self._store.set_trial(self._run_id, configuration.id, "eliminated" if reason else "racing", reason)

    def _replayed(self) -> RaceState | None:
        """Where a race stands after what was asked; ``None`` for any other strategy."""
        asked = settings(self._experiment.strategy)
        if asked is None:
            return None
        return replayed(terms(self._experiment.goal, self._configurations, **asked), self._standings())

    def confirm(self) -> str:
        """Ask a race's pick and its reference what the race never asked, until it is shown or the questions are used up."""
        goal, wanted, state = self._experiment.goal, self._experiment.confirm, self._raced
        if state is None or wanted is None or not self._unseen:
            return ""
        pair = contenders(state, self._standings().scores, named=goal.reference != "best")
        if pair is None:
            return ""
        pick, reference = (self._configurations[row] for row in pair)
        claim = {"pick": pick.id, "reference": reference.id, "metric": goal.metric, "margin": goal.margin}
        claim |= {"questions": len(self._unseen), "seed": self._experiment.seed}  # another order is another look
        if self._experiment.repeats > 1:  # and so are other answers
            claim["repeats"] = self._experiment.repeats
        evalset = self._run.environment["evalset"]["digest"]
        claimed = self._store.claims(evalset, wanted.split)
        alpha = level_left(1 - goal.confidence, wanted.tries, claim, claimed)
        own = [each.claim for each in claimed if each.run == self._run.name and each.created >= self._run.created]
        if not own or own[-1] != claim:
            self._store.add_claim(self._run.name, evalset, wanted.split, claim, alpha)
        if not alpha:
            return ""
        self._total_answers = self._done + self._confirmed.missing(pair)
        for start in range(0, len(self._unseen), _CONFIRMED_AT_ONCE):
            batch = self._unseen[start : start + _CONFIRMED_AT_ONCE]
            for configuration in (pick, reference):
                cells = [(configuration, question) for question in batch]
                if reason := self._control.why_stop() or self._ask(cells):
                    return reason
            scores = self._confirmed.scores()[:, : start + len(batch)]
            if self._confirmed.incomplete()[list(pair)].any():
                break
            judged = confirm(
                scores[pair[0]], scores[pair[1]], margin=goal.margin, alpha=alpha, available=len(self._unseen)
            )
            self.report(f"confirming {pick.label}: {judged.questions} of {judged.available} new questions")
            if judged.shown:
                break
        self.flush()
        return ""

    def _standings(self) -> Standings:
        closed = np.array([configuration.id in self._closed for configuration in self._configurations])
        return self._answered.standings(self._expected_costs, closed)

    def _ask(self, cells: Sequence[tuple[Configuration, Question]]) -> str:
        """Have cells answered whose configurations share an engine and how many answers are under way at once."""
        wanted = [task for each, question in cells for task in self._tasks(each, question)]
        ready = {each for each in dict.fromkeys(task.configuration for task in wanted) if self._prepared(each)}
        tasks = [task for task in wanted if task.configuration in ready]
        reason = ""

        def feed() -> Iterator[Task]:
            nonlocal reason
            for task in tasks:
                reason = self._control.why_stop()
                if reason:
                    return
                if task.configuration.id not in self._closed:
                    yield task

        if tasks:
            for answer in self.workers.run(feed(), tasks[0].configuration["concurrency"]):
                self._take(answer)
        return reason

    def _prepared(self, configuration: Configuration) -> bool:
        """Whether a configuration is ready to answer; one that does not go with this corpus is left out, with the reason."""
        if configuration.id in self._closed:
            return False
        self.report(f"preparing {configuration.label}")
        try:
            self.workers.prepare(configuration)
        except InputError as error:
            self._refused[configuration.id] = str(error)
            self._closed.add(configuration.id)
            self._store.set_trial(self._run_id, configuration.id, "incomplete", f"{_REFUSED} {error}")
            return False
        if configuration.id not in self._indexed and (facts := self.workers.index_facts(configuration)) is not None:
            self._store.set_index_facts(self._run_id, configuration.id, facts)
        self._indexed.add(configuration.id)
        return True

    def _tasks(self, configuration: Configuration, question: Question) -> list[Task]:
        return [
            Task(configuration=configuration, question=question, repeat=repeat)
            for repeat in range(configuration.repeats(self._experiment.repeats))
            if not self._answered.holds(configuration.id, question.id, repeat)
            and not self._confirmed.holds(configuration.id, question.id, repeat)
        ]

    def _count_in(self, scored: ScoredAnswer) -> None:
        cost = self._cost(scored.answer)
        self._answered.add(scored, cost)
        self._confirmed.add(scored, cost)

    def _take(self, answer: Answer) -> None:
        question = self._known_questions[answer.question]
        configuration = self._by_id[answer.configuration]
        self._current = configuration.label
        with Recorder(self._meter, base=None) as recorder:
            scores = score(question, answer, self._metrics)
        scored = ScoredAnswer(answer=answer, scores=scores, loss=self._loss(question, answer, scores))
        judged = recorder.stages()
        for stage, reading in judged.items():
            self._judged.setdefault(stage, []).append(reading)  # what metrics ask of models; never an answer's cost
        self._buffer.append(scored)
        self._count_in(scored)
        reading = spent(answer.ledger)
        self._control.spend([reading, *judged.values()], calls=1)
        self._metered += reading.cpu_seconds or 0.0
        if answer.failure is not None:
            self._failures["failed"] += 1
        self._watch(configuration, answer)
        if time.monotonic() - self._flushed > _FLUSH_SECONDS or len(self._buffer) >= _FLUSH_ANSWERS:
            self.flush()

    def _loss(self, question: Question, answer: Answer, scores: Sequence[Score]) -> str:
        """Where a wrong answer was lost, by the deciding metric; empty for right ones and where it does not apply."""
        value = next((each.value for each in scores if each.metric == self._experiment.goal.metric), None)
        if value is None or self._metrics[self._experiment.goal.metric].judges != "answer":
            return ""
        return place_of_loss(question, answer, correct=value >= CORRECT_FROM, texts=self._texts) or ""

    def _watch(self, configuration: Configuration, answer: Answer) -> None:
        """Close a trial whose answers fail in the same way time after time."""
        failure = answer.failure
        if failure is None or failure.kind != "infrastructure":
            self._in_a_row.pop(configuration.id, None)
            return
        what, count = self._in_a_row.get(configuration.id, ("", 0))
        count = count + 1 if what == failure.code else 1
        self._in_a_row[configuration.id] = (failure.code, count)
        if count >= _FAILURES_IN_A_ROW:
            self._closed.add(configuration.id)
            self._store.set_trial(
                self._run_id,
                configuration.id,
                "incomplete",
                f"{_STOPPED} {count} failures in a row: {failure.code}: {failure.message}",
            )

    def flush(self) -> None:
        """Store what is buffered; only then does it count as done."""
        if self._buffer:
            stored, self._buffer = self._buffer, []
            self._store.add_answers(self._run_id, stored)
            self._done += len(stored)
            self.report("")
        self._flushed = time.monotonic()

    def _close_trials(self) -> None:
        """Those that are in: finished, or incomplete where answers to be compared were lost."""
        for configuration, lost in zip(self._configurations, self._answered.lost().tolist(), strict=True):
            if configuration.id in self._closed or self._out.get(configuration.id):
                continue
            reason = f"{lost} answers lost to infrastructure failures; mend with --retry-failed" if lost else ""
            self._store.set_trial(self._run_id, configuration.id, "incomplete" if lost else "finished", reason)

    # ------------------------------------------------------------------------------------------------- bookkeeping

    def book(self, work: OneOff) -> None:
        """Book a piece of one-off work."""
        self._store.add_one_off(self._run_id, work)
        self._control.spend([work.reading])

    def _settle(self) -> None:
        """Store and book everything so far, before the run waits."""
        self.flush()
        self.book_the_rest()

    def book_the_rest(self) -> None:
        """Book this process's CPU time that no answer and no one-off work accounts for: loop, scoring, storing."""
        for stage, readings in self._judged.items():
            work = OneOff(work=stage, what="scoring answers; not part of what they cost", reading=add(readings))
            self._store.add_one_off(self._run_id, work)
        one_offs = self._store.one_offs(self._run_id)
        if len(one_offs) == self._one_offs_before and self._done == self._done_before:
            return  # nothing was asked: a run that is looked at again stays what it was
        here = self.workers.runs_here
        done = [work for work in one_offs[self._one_offs_before :] if here or work.work in self._judged]
        metered = sum(work.reading.cpu_seconds or 0.0 for work in done) + here * self._metered
        cpu_seconds = max(self._clock() - self._cpu - metered, 0.0)
        rest = Reading(seconds=self._control.take_seconds(), cpu_seconds=cpu_seconds)
        self.book(OneOff(work=HARNESS, what="loop, scoring, storing", reading=rest))
        self._cpu += metered + cpu_seconds
        self._judged, self._metered, self._one_offs_before = {}, 0.0, len(one_offs) + 1

    def _cost(self, answer: Answer) -> float:
        """What the goal minimises, of one answer as it stands alone; NaN where it was not measured."""
        found = cost(answer, self._experiment.goal.minimise, self._tariff)
        return float("nan") if found is None else found

    def report(self, doing: str) -> None:
        """Tell whoever watches where the run stands, and what it is about if that takes long."""
        self._progress(
            Progress(
                done=self.done,
                total=self.total,
                configuration=self._current,
                joules=self._control.joules,
                tokens=self._control.tokens,
                failures=self._failures["failed"],
                doing=doing,
            )
        )


def score(question: Question, answer: Answer, metrics: Mapping[str, Metric]) -> tuple[Score, ...]:
    """An answer's scores, each under the name its metric was asked for by. A model's failure scores 0 wherever a metric of
    answers applies (what was retrieved is judged as always); an infrastructure failure is not scored."""
    failure = answer.failure
    if failure is not None and failure.kind == "infrastructure":
        return tuple(Score(metric=name, value=None, reason=f"not answered: {failure.code}") for name in metrics)
    scores = []
    for name, metric in metrics.items():
        scored = metric.score(question, answer)
        if failure is not None and metric.judges == "answer" and scored.value is not None:
            scored = Score(metric=name, value=0.0, reason=failure.code)
        scores.append(scored if scored.metric == name else replace(scored, metric=name))
    return tuple(scores)
