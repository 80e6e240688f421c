"""The run: everything an experiment names is loaded, a session works through it, and what came of it is stored; resumable."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from workbench import registry
from workbench.coefficients import restore
from workbench.contracts import Executor, Meter, Metric, Strategy
from workbench.control import check_budget
from workbench.environment import changes, environment, with_new_models
from workbench.errors import InputError, NotComparable, Stopped
from workbench.expected import expected_costs
from workbench.library import load_corpus, load_evalset
from workbench.racing import settings, terms
from workbench.records import Configuration, PluginChoice, Question, as_json, plugin_label
from workbench.selection import choose_questions, unseen_questions, with_reference
from workbench.session import Progress, Session
from workbench.space import Points, points
from workbench.specification import Experiment, read_experiment
from workbench.store import AT_WORK, RunRecord, Store, problems_of_name
from workbench.workers import PipelineFactory

_RANKING_KEPT = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a call to ``run`` ended: answers stored, of ``total`` at most (a race needs fewer)."""

    run: str
    answers: int
    total: int
    points: Points
    stopped: str = ""


def run(
    experiment: Experiment | Mapping[str, Any] | str | Path,
    *,
    store: Store | str | None = None,
    name: str | None = None,
    fresh: bool = False,
    retry_failed: bool = False,
    executor: PluginChoice = "local",
    planned: Mapping[str, Any] | None = None,
    progress: Callable[[Progress], None] = lambda progress: None,
    stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Run an experiment, or continue the run of that name; returns when nothing is left to ask.

    ``planned`` is a plan of it as plain data, kept with a run that is new so that both can be compared afterwards.

    Raises ``Stopped`` when the budget, a request or ``stop`` ends it early: what was answered is stored, and the same call
    goes on from there. ``InputError`` names everything wrong with the input before anything runs.
    """
    if not isinstance(experiment, Experiment):
        experiment = read_experiment(experiment)
    corpus = load_corpus(experiment.corpus)
    evalset = load_evalset(experiment.evalset, corpus, seed=experiment.seed)
    questions = choose_questions(evalset, experiment.questions, experiment.seed)
    unseen = unseen_questions(evalset, experiment)
    found = points(experiment.space)
    if not found.configurations:
        raise InputError(f"the space has no possible configuration: {'; '.join(found.impossible) or 'it is empty'}")
    configurations, goal = with_reference(found.configurations, experiment.goal)
    metrics = {plugin_label(choice): registry.build("metrics", choice) for choice in experiment.metrics}
    strategy: Strategy = registry.build("strategies", experiment.strategy)
    place: Executor = registry.build("executors", executor)
    meter: Meter = registry.build("meters", experiment.meter)
    store = store if isinstance(store, Store) else Store(store)  # not before the input is known to be good
    judges = {name: metric.prompt for name, metric in metrics.items() if hasattr(metric, "prompt")}
    here = environment(corpus, evalset, meter, judges, experiment.model_dump(mode="json"))
    check_budget(experiment.budget, restore(here["coefficients"]))
    here["reference"] = goal.reference
    if planned is not None:
        here["plan"] = dict(planned)
    if (asked := settings(experiment.strategy)) is not None:
        terms(goal, configurations, **asked)  # a race that cannot be run is refused before anything is written
    record, replaced = _open(store, name or experiment.name, experiment, here, fresh, configurations, questions)
    with _in_place_of(replaced, record, store), store.lease(record):
        if retry_failed:
            store.drop_failed(record.id)
        store.add_trials(record.id, configurations, expected_costs(configurations, goal.minimise).tolist())
        store.add_questions(record.id, [*questions, *unseen])
        held = {trial.configuration.id: number for number, trial in enumerate(store.trials(record.id))}
        configurations = tuple(sorted(configurations, key=lambda each: held[each.id]))  # as reports will see them
        texts = {document.id: document.text for document in corpus.documents}
        session = Session(
            store,
            record,
            experiment.model_copy(update={"goal": goal}),
            configurations,
            questions,
            unseen,
            metrics,
            texts,
            meter,
            progress,
            stop,
        )
        make = PipelineFactory(
            corpus=corpus,
            questions=tuple(evalset.questions),
            meter=experiment.meter,
            ranking_depth=_ranking_depth(metrics),
            seed=experiment.seed,
            timeout_seconds=experiment.timeout_seconds,
            retries=experiment.retries,
        )
        session.workers = workers = place.start(make, meter=meter, record=session.book, report=session.report)
        try:
            with _settled():
                stopped = session.work_through(strategy) or session.confirm()
        finally:
            session.flush()
            workers.close()
            session.book_the_rest()
            if workers.hosts:
                hosts = [*record.environment.get("workers", ()), *map(dict, workers.hosts)]
                store.update(record.id, environment={**record.environment, "workers": hosts})
        store.update(record.id, state="stopped" if stopped else "finished", note=stopped)
    if stopped:
        raise Stopped(
            f"run {record.name!r} stopped: {stopped}; {session.done} of {session.total} answers are stored. Run it again to continue"
        )
    return Outcome(run=record.name, answers=session.done, total=session.total, points=found)


@contextmanager
def _in_place_of(replaced: RunRecord | None, record: RunRecord, store: Store) -> Iterator[None]:
    """A new run takes the place of another when it has an answer; one that came to nothing gives it back."""
    try:
        yield
    finally:
        if replaced is not None:
            if store.count_answers(record.id):
                store.delete(replaced.id)
            else:
                store.delete(record.id)
                store.update(replaced.id, name=record.name)


def _left_out(
    store: Store, record: RunRecord, configurations: Sequence[Configuration], questions: Sequence[Question]
) -> Iterator[str]:
    """What a run holds and is not asked for any more: reports would still hold it, and the run would not."""
    split, wanted = record.experiment["questions"]["split"], {question.id for question in questions}
    compared = (question for question in store.questions(record.id) if split in ("all", question.split))
    if fewer := sum(1 for question in compared if question.id not in wanted):
        yield f"questions left out: {fewer} (a run can grow, not shrink)"
    setups = {trial.configuration.id for trial in store.trials(record.id)}
    if fewer := len(setups - {each.id for each in configurations}):
        yield f"setups left out or changed: {fewer} (a run can grow, not shrink)"


@contextmanager
def _settled() -> Iterator[None]:
    """Spare the garbage collector what lives as long as the run: documents and libraries, a tenth of the loop's time."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _ranking_depth(metrics: Mapping[str, Metric]) -> int:
    """How much of a ranking is kept: what the metrics look at, and enough to say later where an answer was lost."""
    return max([_RANKING_KEPT, *(getattr(metric, "k", 0) for metric in metrics.values())])


def _open(
    store: Store,
    name: str,
    experiment: Experiment,
    here: dict[str, Any],
    fresh: bool,
    configurations: Sequence[Configuration],
    questions: Sequence[Question],
) -> tuple[RunRecord, RunRecord | None]:
    """The run to write: a new one, or the one of that name if it may be continued; and the one that a fresh one replaces."""
    if problems := problems_of_name(name):
        raise InputError(problems)
    wanted = experiment.model_dump(mode="json")
    found = store.find(name)
    if found is not None and fresh:
        if found.state in AT_WORK:
            raise InputError(f"run {name!r} is {found.state}; stop it before --fresh")
        store.update(found.id, name=f"{name} (replaced {found.id})")  # gone as soon as the new one has an answer
        return store.create(name, wanted, here), found
    if found is None:
        return store.create(name, wanted, here), None
    differs = changes(found.environment, here)
    for key in ("goal", "metrics", "repeats", "seed"):
        if found.experiment.get(key) != wanted[key]:
            differs.append(f"{key} changed ({as_json(found.experiment.get(key))} → {as_json(wanted[key])})")
    if found.experiment["questions"]["split"] != wanted["questions"]["split"]:
        differs.append(
            f"questions.split changed ({found.experiment['questions']['split']} → {wanted['questions']['split']})"
        )
    else:
        differs += _left_out(store, found, configurations, questions)
    if differs:
        raise NotComparable(
            f"run {name!r} cannot be continued: {'; '.join(differs)}. Start over with --fresh, or keep both with --name OTHER"
        )
    known = with_new_models(found.environment, here)
    store.update(found.id, experiment=wanted, environment=known)
    return replace(found, environment=known), None
