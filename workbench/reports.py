"""Reading runs back: the comparison, the recommendation, the answers, the list of runs. Imports nothing that runs models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from workbench.coefficients import of_today, restore, with_hosted
from workbench.comparison import Comparison, compare_answers
from workbench.errors import InputError
from workbench.geography import WORLD
from workbench.hosted import of_choices
from workbench.impacts import RegionRanking, rank_regions, site_of
from workbench.prices import price
from workbench.racing import settings
from workbench.recommendation import choose
from workbench.records import Coefficients, HostedCoefficients, Question, ScoredAnswer, Triple, plugin_label
from workbench.specification import Goal
from workbench.store import AT_WORK, Claimed, RunRecord, Store
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
    """What a run's coefficients were, and what they are now."""

    run: str
    before: Coefficients
    after: Coefficients

    @property
    def changes(self) -> tuple[str, ...]:
        """What differs, figure by figure, in words; empty where nothing does."""
        before, after = self.before, self.after
        found = [
            f"{what}: {_triple(old)} → {_triple(new)}"
            for what, old, new in (
                ("watts per busy vCPU", before.watts_per_busy_vcpu, after.watts_per_busy_vcpu),
                ("watts per busy GPU", before.watts_per_busy_gpu, after.watts_per_busy_gpu),
            )
            if old != new
        ]
        for name in sorted({*before.hosted, *after.hosted, *before.not_estimated, *after.not_estimated}):
            old_model, new_model = before.hosted.get(name), after.hosted.get(name)
            if old_model == new_model:
                continue
            for part in ("prompt", "cached", "output"):
                old, new = (_per_token(each, part) for each in (old_model, new_model))
                if old != new:
                    found.append(f"{name}, joules per {part} token: {_triple(old)} → {_triple(new)}")
            if old_model and new_model and old_model.source != new_model.source:
                found.append(f"{name}: {old_model.source} → {new_model.source}")
        return tuple(found)


def _per_token(model: HostedCoefficients | None, part: str) -> Triple | None:
    values: Triple | None = None if model is None else getattr(model, f"joules_per_{part}_token")
    return values


def _triple(values: Triple | None) -> str:
    return "not known" if values is None else f"{values[1]:.4g} ({values[0]:.4g}–{values[2]:.4g})"


def compare(run: str = "latest", *, store: Store | None = None) -> Comparison:
    """Every configuration's figures in a run (its name, or ``latest``)."""
    store = store or Store(create=False)
    record = store.get(run)
    experiment = record.experiment
    goal = Goal.model_validate(experiment["goal"])
    if "reference" in record.environment:
        goal = goal.model_copy(update={"reference": record.environment["reference"]})
    questions = store.questions(record.id)
    unseen = _unseen(experiment, questions)
    found = compare_answers(
        run=record.name,
        state=record.state,
        goal=goal,
        environment=record.environment,
        trials=store.trials(record.id),
        questions=[question for question in questions if question not in unseen],
        answers=store.answers(record.id, texts=False),
        one_offs=store.one_offs(record.id),
        metrics=[plugin_label(choice) for choice in record.experiment["metrics"]],
        strategy=experiment.get("strategy", "grid"),
        unseen=unseen,
        claimed=_claimed(store, record) if unseen else None,
    )
    models = {model for figures in found.figures for model in figures.elsewhere}
    models |= {model for reading in found.spent.one_offs.values() for model in reading.elsewhere}  # judges, embeddings
    day = datetime.fromtimestamp(record.created, UTC)
    return replace(
        found,
        site=site_of(record.experiment.get("region", WORLD)),
        prices={model: price(model, at=day) for model in sorted(models)},
    )


def _unseen(experiment: dict[str, Any], questions: Sequence[Question]) -> list[Question]:
    """The questions of a run that its race never saw."""
    wanted, seen = experiment.get("confirm"), experiment["questions"]["split"]
    if wanted is None or settings(experiment.get("strategy", "grid")) is None or seen in ("all", wanted["split"]):
        return []
    return [question for question in questions if question.split == wanted["split"]]


def _claimed(store: Store, record: RunRecord) -> Claimed | None:
    """The pair that a run confirmed last, if it came to that."""
    claimed = store.claims(record.environment["evalset"]["digest"], record.experiment["confirm"]["split"])
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
    """Price a stored run anew with today's coefficients for its processor and its models; nothing is run again.

    What was in force before is kept in the run's environment, under ``repriced_from``, the oldest first.
    """
    store = store or Store(create=False)
    record = store.get(run)
    if record.state in AT_WORK:
        raise InputError(f"run {record.name!r} is {record.state}; wait for its end, or stop it first")
    before = restore(record.environment["coefficients"])
    after = with_hosted(of_today(before), *of_choices(record.experiment))
    repricing = Repricing(run=record.name, before=before, after=after)
    if repricing.changes:
        earlier = [*record.environment.get("repriced_from", []), record.environment["coefficients"]]
        environment = {**record.environment, "coefficients": asdict(after), "repriced_from": earlier}
        store.update(record.id, environment=environment)
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
            configurations=len(store.trials(record.id)),
            questions=len(store.questions(record.id)),
            answers=store.count_answers(record.id),
        )
        for record in store.runs()
    ]
