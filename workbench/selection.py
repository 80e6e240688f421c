"""What of its data an experiment asks: its questions, those kept for a confirmation, and the reference among its setups."""

from __future__ import annotations

import random
from collections.abc import Sequence

from workbench.confirmation import unseen_split
from workbench.errors import InputError
from workbench.records import (
    Configuration,
    EvalSet,
    Question,
)
from workbench.space import point_configuration
from workbench.specification import Confirmation, Experiment, Goal, Selection, one_point


def choose_questions(evalset: EvalSet, selection: Selection | Confirmation, seed: int) -> list[Question]:
    """The questions of a selection in seeded order, so that a larger limit continues a smaller one."""
    split = selection.split
    chosen = [question for question in evalset.questions if split in ("all", question.split)]
    if not chosen:
        splits = sorted({question.split for question in evalset.questions})
        raise InputError(
            f"eval set {evalset.name!r} has no question in split {split!r}; its splits: {', '.join(splits)}, or all"
        )
    chosen.sort(key=lambda question: question.id)
    random.Random(seed).shuffle(chosen)  # noqa: S311 - a reproducible order, not a secret
    return chosen[: selection.limit]


def unseen_questions(evalset: EvalSet, experiment: Experiment) -> list[Question]:
    """What a race's pick is confirmed on; none where that was not asked for or there is no such split."""
    wanted = experiment.confirm
    split = unseen_split(experiment.strategy, experiment.questions.split, None if wanted is None else wanted.split)
    if wanted is None or not any(question.split == split for question in evalset.questions):
        return []
    return choose_questions(evalset, wanted, experiment.seed)


def with_reference(configurations: Sequence[Configuration], goal: Goal) -> tuple[tuple[Configuration, ...], Goal]:
    """The configurations, a reference that was described by its axes among them, and the goal with the reference's id."""
    if not isinstance(goal.reference, dict):
        return tuple(configurations), goal
    reference = point_configuration(one_point(goal.reference, "goal.reference"))
    extended = tuple(dict.fromkeys([*configurations, reference]))
    return extended, goal.model_copy(update={"reference": reference.id})
