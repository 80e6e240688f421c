"""What the questions of an experiment can show, and what a user should know before spending: claims with their margins, warnings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil, inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench import power, registry
from workbench.footprint import Estimate
from workbench.plans import Decidable, Work
from workbench.power import PAIRED_SD
from workbench.racing import Terms
from workbench.records import Configuration, plugin_label, plugin_name
from workbench.specification import Experiment

_HALF = 0.5  # of the questions: a margin that takes more of them saves little over asking all
_FEW = 20  # questions
_MOST_NEEDED = 1_000_000
_WATT_HOUR = 3600.0  # joules


def decidable(agreed: Terms, configurations: int, questions: int, unseen: int) -> tuple[Decidable, ...]:
    """The claims of a race on these terms, each with the margin that its questions can show of a pick as good as the best.

    ``unseen`` are the questions that a pick is confirmed on.
    """
    return (_here(agreed, configurations, questions), _new(agreed, unseen))


def _here(agreed: Terms, configurations: int, questions: int) -> Decidable:
    """These questions: everything is decided once all are asked; the margin is the one shown after half of them."""
    within = agreed.within_level(configurations)
    margins = [power.margin_here(_HALF * questions, questions, within, sd) for sd in PAIRED_SD]
    found = None if inf in margins else Estimate(*margins)
    needed = ceil(_needed_here(agreed.margin, within, questions)) if agreed.margin > 0 else questions
    early = (
        f"no margin is shown before nearly all of these {questions} questions are answered"
        if found is None
        else f"half of these {questions} questions can show a margin of about {found.central:.2f}, all of them any"
    )
    stated = f"{agreed.margin:g} takes about {needed}"
    if agreed.level == "screen":
        stated += "; level screen drops configurations by it and certifies nothing on these questions"
    return Decidable(
        about="these questions",
        against="the reference" if agreed.level == "reference" else "every configuration",
        questions=questions,
        margin=found,
        needed=needed,
        promised=agreed.level != "screen",
        statement=f"{early}; {stated}",
    )


def _needed_here(margin: float, level: float, questions: int) -> float:
    return float(power.questions_for(np.array([margin]), level, questions)[0])


def _new(agreed: Terms, test_questions: int) -> Decidable:
    """New questions, by the test split: nothing is promised below the margin that it can show."""
    needed = power.new_questions_for(agreed.margin, agreed.confidence)
    many = None if needed > _MOST_NEEDED else ceil(needed / 10) * 10
    takes = f"{agreed.margin:g} needs {'more than anybody asks' if many is None else f'about {many:,}'}"
    if not test_questions:
        margin, promised = None, False
        statement = f"no test split, so nothing can be shown about new questions; {takes} questions in a split test"
    else:
        margin = Estimate(*(power.margin_of_new_questions(test_questions, agreed.confidence, sd) for sd in PAIRED_SD))
        promised = agreed.margin >= margin.central
        statement = f"{test_questions} test questions can show a margin of about {margin.central:.2f}; {takes}"
    return Decidable(
        about="new questions",
        against="the reference",
        questions=test_questions,
        margin=margin,
        needed=many,
        promised=promised,
        statement=statement,
    )


def warnings(
    experiment: Experiment,
    configurations: Sequence[Configuration],
    longest: NDArray[np.float64],
    found: Sequence[Decidable],
    expected: Work,
    questions: int,
    not_estimated: Mapping[str, str],
) -> tuple[str, ...]:
    """What should be mended, or at least known, before anything is spent."""
    said: list[str] = []
    if questions < _FEW:
        said.append(f"{questions} questions are too few to tell setups apart; ask at least {_FEW}, better 100")
    for each in found:
        if each.about == "new questions" and not each.promised:
            said.append(f"nothing is promised about new questions: {each.statement}")
    said += _too_long(configurations, longest)
    said += _unmeasurable(experiment, not_estimated)
    said += _over_budget(experiment, expected)
    return tuple(said)


def _too_long(configurations: Sequence[Configuration], longest: NDArray[np.float64]) -> Iterator[str]:
    """Prompts that with their answer do not fit a model's window, where the model's file tells it."""
    over: dict[str, list[float]] = {}
    windows: dict[str, int | None] = {}
    for configuration, tokens in zip(configurations, longest, strict=True):
        label = plugin_label(configuration["model"])
        if label not in windows:
            windows[label] = window_of(configuration["model"])
        window = windows[label]
        if window is not None and tokens + configuration["max_tokens"] > window:
            over.setdefault(label, []).append(float(tokens))
    for label, lengths in over.items():
        yield (
            f"{len(lengths)} configurations of {label} have prompts of up to {max(lengths):.0f} tokens, and its window holds "
            f"{windows[label]} with the answer: lower context_tokens or passages, or raise the model's context_tokens"
        )


def window_of(choice: Any) -> int | None:
    """The tokens a model's window holds, where its file has a parameter for that; ``None``: nobody says."""
    file, _ = registry.resolve("models", choice)
    if file in ("none", "python"):
        return None
    if isinstance(choice, dict) and "context_tokens" in choice:
        return int(choice["context_tokens"])
    parameters = {each.name: each.default for each in registry.describe("models", file).parameters}
    default = parameters.get("context_tokens")
    return None if default is None else int(default)


def _unmeasurable(experiment: Experiment, not_estimated: Mapping[str, str]) -> Iterator[str]:
    """Budgets in a unit that will not be measured for every model, so that they cannot stop the run."""
    bounded = {unit for unit, amount in experiment.budget if amount is not None}
    if "watt_hours" in bounded and not_estimated:
        names = ", ".join(sorted(not_estimated))
        yield f"budget.watt_hours does not count what is not estimated: {names}"
    here = all(plugin_name(choice) == "none" or _here_too(choice) for choice in experiment.space.model)
    if "dollars" in bounded and here:
        yield "budget.dollars stops nothing: no model of this space is paid for"


def _here_too(choice: Any) -> bool:
    return registry.resolve("models", choice)[0] != "langchain"


def _over_budget(experiment: Experiment, expected: Work) -> Iterator[str]:
    """Bounds below the work that is expected, at which the run will stop."""
    tokens = expected.tokens_in.central + expected.tokens_out.central
    needed: dict[str, float | None] = {
        "minutes": None if expected.seconds is None else expected.seconds.central / 60,
        "watt_hours": None if expected.joules is None else expected.joules.central / _WATT_HOUR,
        "tokens": tokens,
        "calls": expected.calls.central,
        "dollars": None if expected.dollars is None else expected.dollars.central,
    }
    for unit, bound in experiment.budget:
        amount = needed.get(unit)
        if bound is not None and amount is not None and amount > bound:
            yield (
                f"budget.{unit} is {bound:g}, and about {amount:,.4g} are expected: the run will stop early, resumable; "
                f"raise it, or ask fewer configurations or questions"
            )
