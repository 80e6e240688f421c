"""What answers' energy is made of: rates per token by model, joules by stage, and one-off work spread over answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from workbench.footprint import plus
from workbench.ledger import add, price, scale
from workbench.rates import Rates, fit, generations, lacking, split
from workbench.records import (
    Answer,
    Coefficients,
    Configuration,
    Energy,
    OneOff,
    Reading,
    Trial,
    plugin_label,
    plugin_name,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRates:
    """What a token takes of a model on the run's machine, in CPU-seconds and in seconds; ``None`` where ``lacking`` says why."""

    cpu_seconds: Rates | None
    seconds: Rates | None
    lacking: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFigures:
    """One stage's standalone mean over answers. ``rebuilt``: of how many the engine told no split, so that rates made it."""

    seconds: float
    joules: Energy | None
    rebuilt: int = 0


def model_label(configuration: Configuration) -> str:
    """The model of a configuration under the name its rates have; empty without one."""
    label = plugin_label(configuration["model"])
    return "" if label == "none" else label.removeprefix("embedded:")


def rates_by_model(trials: Sequence[Trial], answers: Mapping[str, Sequence[Answer]]) -> dict[str, ModelRates]:
    """The rates of every model that the trials name, from the answers by configuration."""
    by_model: dict[str, list[Answer]] = {}
    for trial in trials:
        if model := model_label(trial.configuration):
            by_model.setdefault(model, []).extend(answers[trial.configuration.id])
    found = {}
    for model, given in by_model.items():
        cpu, wall = generations(given), generations(given, "seconds")
        found[model] = ModelRates(cpu_seconds=fit(cpu), seconds=fit(wall), lacking=lacking(cpu))
    return found


def stage_figures(
    answers: Iterable[Answer], rates: Rates | None, coefficients: Coefficients
) -> dict[str, StageFigures]:
    """Stage → what it takes of an answer on average, as if the answers had run alone; they sum to the whole answer.

    A generation that the engine did not tell apart is divided by the rates, and counted as ``rebuilt``. Joules are ``None``
    where they are not known of every answer's part.
    """
    readings: dict[str, list[Reading]] = {}
    rebuilt: dict[str, int] = {}
    count = 0
    for answer in answers:
        count += 1
        for cost in answer.ledger.stages:
            reading = cost.standalone or cost.reading
            parts = split(reading, rates) if cost.stage == "generate" and rates is not None else None
            if parts is None:
                readings.setdefault(cost.stage, []).append(reading)
                continue
            for stage, part in zip(("prefill", "decode"), parts, strict=True):
                readings.setdefault(stage, []).append(part)
                rebuilt[stage] = rebuilt.get(stage, 0) + 1
    found = {}
    for stage, parts_of in readings.items():
        mean = scale(add(parts_of), 1 / count)
        found[stage] = StageFigures(
            seconds=mean.seconds, joules=price(mean, coefficients), rebuilt=rebuilt.get(stage, 0)
        )
    return found


def load_of(configuration: Configuration, one_offs: Iterable[OneOff]) -> Reading | None:
    """One loading of a configuration's model, the mean where it was loaded more than once; ``None``: not measured."""
    model = plugin_name(configuration["model"])
    if model == "none":
        return Reading(seconds=0.0, cpu_seconds=0.0)
    loads = [work.reading for work in one_offs if work.work == "load" and work.what == model]
    return scale(add(loads), 1 / len(loads)) if loads else None


def amortised(joules: Energy | None, once: Sequence[Energy | None], answers: float) -> Energy | None:
    """Joules of an answer with its part of what is done once for so many answers; ``None`` where any is not measured."""
    found = joules
    for energy in once:
        if found is None or energy is None:
            return None
        part = replace(energy, low=energy.low / answers, central=energy.central / answers, high=energy.high / answers)
        found = plus(found, part)
    return found
