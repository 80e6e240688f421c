"""Reading runs back: the comparison, the recommendation, the answers, the list of runs. Imports nothing that runs models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from workbench.coefficients import of_today, with_hosted
from workbench.comparison import Comparison, compare_tallies
from workbench.confirmation import unseen_split
from workbench.errors import InputError
from workbench.geography import WORLD
from workbench.hosted import of_choices
from workbench.impacts import RegionRanking, rank_regions, site_of
from workbench.prices import Price, price
from workbench.recommendation import choose
from workbench.records import Question, ScoredAnswer
from workbench.specification import Goal
from workbench.store import AT_WORK, Claimed, RunRecord, Store
from workbench.tally import tallies
from workbench.tariffs import Tariff, changes, of_environment, stored
from workbench.verdict import Recommendation


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOverview:
    """A run in one line: its name, state, and how much of it is answered."""

    record: RunRecord
    configurations: int
    questions: int
    answers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Repricing:
    """What a run was priced with, and what it is priced with now."""

    run: str
    before: Tariff
    after: Tariff

    @property
    def changes(self) -> tuple[str, ...]:
        """What differs, figure by figure, in words; empty where nothing does."""
        return changes(self.before, self.after)


def compare(
    run: str = "latest", *, over_answers: int | None = None, store: Store | None = None, anew: bool = False
) -> Comparison:
    """Every configuration's figures in a run (its name, or ``latest``).

    With ``over_answers`` loading a model and building an index are shown spread over so many answers, beside the rest. With
    ``anew`` every answer is read, whatever the store has kept of what they come to.
    """
    if over_answers is not None and over_answers < 1:
        raise InputError(f"answers is {over_answers}; expected a number from 1 on, over which one-off work is spread")
    store = store or Store(create=False)
    record = store.get(run)
    experiment = record.experiment
    split, tariff = compared_split(experiment), tariff_of(record)
    trials, questions = store.trials(record.id), store.questions(record.id)
    found = compare_tallies(
        run=record.name,
        state=record.state,
        goal=declared_goal(record),
        environment=record.environment,
        tariff=tariff,
        trials=trials,
        questions=questions,
        tallies=tallies(store, record, trials, questions, split, tariff, anew=anew),
        one_offs=store.one_offs(record.id),
        strategy=experiment.get("strategy", "grid"),
        repeats=experiment["repeats"],
        split=split,
        claimed=_claimed(store, record),
    )
    return replace(found, over_answers=over_answers)


def tariff_of(record: RunRecord) -> Tariff:
    """What a run is priced with: what it stored; today's site and prices where an older version stored none."""
    found = of_environment(record.environment)
    if found.site is not None:
        return found
    models = (*found.coefficients.hosted, *found.coefficients.not_estimated)
    return replace(
        found, site=site_of(record.experiment.get("region", WORLD)), prices=_prices_of(models, record.created)
    )


def _prices_of(models: Iterable[str], created: float) -> dict[str, Price | None]:
    """Prices on the day a run was made."""
    day = datetime.fromtimestamp(created, UTC)
    return {model: price(model, at=day) for model in sorted(models)}


def declared_goal(record: RunRecord) -> Goal:
    """The goal of a run, a reference that was described by its axes under its id."""
    goal = Goal.model_validate(record.experiment["goal"])
    reference = record.environment.get("reference")
    return goal if reference is None else goal.model_copy(update={"reference": reference})


def compared_split(experiment: Mapping[str, Any]) -> str | None:
    """The split of a stored experiment whose questions its setups are compared on, others being there for a confirmation only,
    whatever strategy asked for it; ``None`` where it is all."""
    split: str = experiment["questions"]["split"]
    return None if split == "all" else split


def _claimed(store: Store, record: RunRecord) -> Claimed | None:
    """The pair that a run confirmed last, if it came to that."""
    wanted, strategy = record.experiment.get("confirm"), record.experiment.get("strategy", "grid")
    named = None if wanted is None else wanted["split"]
    split = unseen_split(strategy, record.experiment["questions"]["split"], named)
    if split is None:
        return None
    claimed = store.claims(record.environment["evalset"]["digest"], split)
    own = [each for each in claimed if each.run == record.name and each.created >= record.created]
    return own[-1] if own else None


def regions(
    run: str = "latest",
    *,
    provider: str | None = None,
    configuration: str | None = None,
    store: Store | None = None,
) -> RegionRanking:
    """Rank regions by what the recommended configuration of a run would emit there, or the one whose id begins so.

    ``provider``: aws, azure, gcp, country or zone; without it the regions of all clouds.
    """
    store = store or Store(create=False)
    comparison = compare(run, store=store)
    if configuration is not None:
        return rank_regions(comparison, find_configuration(store, store.get(run), configuration), provider)
    chosen = choose(comparison).chosen
    if chosen is None:
        raise InputError(f"nothing qualifies in run {comparison.run!r}; say for which setup with --configuration ID")
    return rank_regions(comparison, chosen.id, provider)


def reprice(run: str = "latest", *, store: Store | None = None) -> Repricing:
    """Price a stored run anew with today's coefficients for its processor and its models, today's figures of its site, and
    the prices known today of the day it was made; nothing is run again.

    What was in force before is kept in the run's environment, under ``repriced_from``, the oldest first.
    """
    store = store or Store(create=False)
    record = store.get(run)
    if record.state in AT_WORK:
        raise InputError(f"run {record.name!r} is {record.state}; wait for its end, or stop it first")
    before = of_environment(record.environment)
    ports = record.environment.get("server_ports", ())
    known = with_hosted(of_today(before.coefficients), *of_choices(record.experiment, ports))
    region = record.experiment.get("region", WORLD)
    prices = _prices_of((*known.hosted, *known.not_estimated), record.created)
    after = Tariff(coefficients=known, site=site_of(region), prices=prices)
    repricing = Repricing(run=record.name, before=before, after=after)
    if repricing.changes and after.site is not None:
        kept = ("coefficients", "site", "prices", "tariff_digest")
        earlier = [
            *record.environment.get("repriced_from", []),
            {key: record.environment[key] for key in kept if key in record.environment},
        ]
        now = {"coefficients": asdict(known), "region": region, **stored(after.site, prices)}
        store.update(record.id, environment={**record.environment, **now, "repriced_from": earlier})
    return repricing


def recommend(
    run: str | Comparison = "latest", goal: Goal | None = None, *, store: Store | None = None
) -> Recommendation:
    """The smallest configuration that is still good enough, for the declared goal or another (then exploratory)."""
    comparison = run if isinstance(run, Comparison) else compare(run, store=store)
    return choose(comparison, goal)


def answers(
    run: str = "latest",
    *,
    configuration: str | None = None,
    question: str | None = None,
    texts: bool = True,
    store: Store | None = None,
) -> Iterator[tuple[Question, ScoredAnswer]]:
    """Stored answers with their questions; ``configuration`` may be the beginning of an id.

    Without ``texts``, prompts and passages are blank: much less to read where only figures are wanted.
    """
    store = store or Store(create=False)
    record = store.get(run)
    questions = {each.id: each for each in store.questions(record.id)}
    if question is not None and question not in questions:
        raise InputError(f"run {record.name!r} has no question {question!r}; see: workbench answers {record.name}")
    if configuration is not None:
        configuration = find_configuration(store, record, configuration)
    for scored in store.answers(record.id, configuration=configuration, question=question, texts=texts):
        yield questions[scored.answer.question], scored


def find_configuration(store: Store, record: RunRecord, beginning: str) -> str:
    """The one configuration id of a run that begins like this."""
    known = [trial.configuration.id for trial in store.trials(record.id)]
    found = [each for each in known if each.startswith(beginning)]
    if len(found) != 1:
        raise InputError(
            f"{len(found) or 'no'} configurations of run {record.name!r} begin with {beginning!r}; its configurations: {', '.join(known)}"
        )
    return found[0]


def runs(*, store: Store | None = None) -> list[RunOverview]:
    """Every run in the store, newest first; an empty list where there is no store yet."""
    try:
        store = store or Store(create=False)
    except InputError:
        return []
    return [
        RunOverview(
            record=record,
            configurations=store.count_trials(record.id),
            questions=store.count_questions(record.id),
            answers=store.count_answers(record.id),
        )
        for record in store.runs()
    ]


def deletable(store: Store, run: str) -> RunRecord:
    """The run of a name if it may be deleted: nobody writes it, and it is named, not only the newest."""
    record = store.get(run)
    if record.name != run:
        raise InputError(f"name the run to delete; the newest is {record.name!r}")
    if record.state in AT_WORK:
        raise InputError(f"run {run!r} is {record.state}; stop it first: workbench stop {run}")
    return record
