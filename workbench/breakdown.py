"""What answers' energy is made of: rates per token by model, joules by stage, and one-off work spread over answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from workbench.footprint import plus
from workbench.ledger import add, price, scale
from workbench.rates import Rates, fit, lacking, split
from workbench.records import Coefficients, Configuration, Energy, OneOff, Reading, plugin_label, plugin_name
from workbench.stats import Array
from workbench.tally import Sums, Tally


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


def rates_by_model(configurations: Sequence[Configuration], tallies: Sequence[Tally]) -> dict[str, ModelRates]:
    """The rates of every model that the configurations name, from their answers."""
    by_model: dict[str, list[Array]] = {}
    for configuration, tally in zip(configurations, tallies, strict=True):
        if model := model_label(configuration):
            by_model.setdefault(model, []).append(tally.generations())
    found = {}
    for model, parts in by_model.items():
        rows = np.concatenate(parts)
        cpu, wall = (rows[~np.isnan(rows[:, at])][:, [0, 1, at]] for at in (2, 3))
        found[model] = ModelRates(cpu_seconds=fit(cpu), seconds=fit(wall), lacking=lacking(cpu))
    return found


def stage_figures(sums: Sums, count: int, rates: Rates | None, coefficients: Coefficients) -> dict[str, StageFigures]:
    """Stage → what it takes of an answer on average, as if ``count`` answers had run alone; they sum to the whole answer.

    A generation that the engine did not tell apart is divided by the rates, and counted as ``rebuilt``. Joules are ``None``
    where they are not known of every answer's part.
    """
    readings = {stage: [reading] for stage, reading in sums.stages.items()}
    rebuilt: dict[str, int] = {}
    for reading in sums.generated:
        parts = None if rates is None else split(reading, rates)
        if parts is None:
            readings.setdefault("generate", []).append(reading)
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
